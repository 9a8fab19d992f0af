"""RDS's logins by IAM: a token signed here, without a call (RDS user guide, "IAM database authentication")."""

from typing import Any

import botocore.session
from botocore.signers import RequestSigner

_VALID_SECONDS = 900


def login_token(host: str, port: int, user: str) -> str:
    """A password for one login within the next 15 minutes."""
    session = botocore.session.get_session()
    region = session.get_config_variable("region")
    signer = RequestSigner(
        session.get_service_model("rds").service_id, region, "rds-db", "v4", session.get_credentials(), _NoEvents()
    )
    request = {
        "method": "GET",
        "url": f"https://{host}:{port}/?Action=connect&DBUser={user}",
        "body": {},
        "headers": {},
        "context": {},
    }
    url: str = signer.generate_presigned_url(
        request, operation_name="connect", expires_in=_VALID_SECONDS, region_name=region, signing_name="rds-db"
    )
    return url.removeprefix("https://")


class _NoEvents:
    """The signer wants botocore's event system, of which a lone signature has no need."""

    def emit_until_response(self, *_: Any, **__: Any) -> tuple[None, None]:
        return None, None

    def emit(self, *_: Any, **__: Any) -> list[Any]:
        return []
