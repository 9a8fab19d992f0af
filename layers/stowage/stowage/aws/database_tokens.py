"""RDS's logins by IAM: a token signed here, without a call (RDS user guide, "IAM database authentication")."""

import botocore.session
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest

_VALID_SECONDS = 900


def login_token(host: str, port: int, user: str) -> str:
    """A password for one login within the next 15 minutes."""
    session = botocore.session.get_session()
    request = AWSRequest("GET", f"https://{host}:{port}/", params={"Action": "connect", "DBUser": user})
    region = session.get_config_variable("region")
    SigV4QueryAuth(session.get_credentials(), "rds-db", region, expires=_VALID_SECONDS).add_auth(request)
    return str(request.prepare().url).removeprefix("https://")
