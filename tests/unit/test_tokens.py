"""Tokens of identity providers: the algorithms are the deployment's, the keys come from its key set."""

import hmac
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from stowage.access import keys as key_copies
from stowage.aws import keys
from stowage.basics.errors import UnauthenticatedError
from stowage.entry.auth import identify
from stowage.settings import settings

NOW = datetime.now(UTC)
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
CLAIMS = {"sub": "ada", "exp": int(time.time()) + 600, "https://x.example/role": "owner", "orgs": ["acme"]}
KEY_SET = [
    {**json.loads(RSAAlgorithm.to_jwk(RSA_KEY.public_key())), "kid": "rsa-1"},
    {**json.loads(ECAlgorithm.to_jwk(EC_KEY.public_key())), "kid": "ec-1"},
]


@pytest.fixture(autouse=True)
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A deployment for tokens of an identity provider, warm: it has its key set already."""
    for name, value in {
        "TABLE": "none",
        "EXPORTS_BUCKET": "none",
        "BACKUPS_BUCKET": "none",
        "JWT_ALGORITHMS": "RS256,ES256",
        "TENANTS_CLAIM": "orgs",
        "ROLE_CLAIM": "https://x.example/role",
        "ROLE_MAP": '{"owner": "admin", "member": "viewer"}',
        "JWT_ISSUER": "https://issuer.example/",
        "JWT_AUDIENCE": "stowage",
    }.items():
        monkeypatch.setenv(f"STOWAGE_{name}", value)
    settings.cache_clear()
    keys._known["jwt"] = (time.monotonic(), {"keys": KEY_SET})
    yield
    keys._known.clear()
    settings.cache_clear()


def token(key: Any, algorithm: str, kid: str | None = "rsa-1", **changes: Any) -> str:
    claims = {"iss": "https://issuer.example/", "aud": "stowage", **CLAIMS, **changes}
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None},
        key,
        algorithm=algorithm,
        headers={"kid": kid} if kid else None,
    )


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA_KEY, "RS256", "rsa-1"), (EC_KEY, "ES256", "ec-1")])
def test_a_providers_token_is_read_by_its_own_claim_names(key: Any, algorithm: str, kid: str) -> None:
    identity = identify(token(key, algorithm, kid), NOW)
    assert (identity.sub, identity.role, identity.tenants) == ("ada", "admin", frozenset({"acme"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example/"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"exp": int(time.time()) - 1},
        {"exp": None},
        {"sub": None},
        {"https://x.example/role": "stranger"},
        {"orgs": "acme"},
    ],
    ids="-".join,
)
def test_a_claim_that_is_wrong_or_missing_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        identify(token(RSA_KEY, "RS256", **changes), NOW)


@pytest.mark.parametrize(
    ("given", "role"), [(["member", "owner"], "admin"), (["x", "member"], "viewer"), ("member", "viewer")]
)
def test_of_several_groups_the_highest_that_means_a_role_counts(given: Any, role: str) -> None:
    assert identify(token(RSA_KEY, "RS256", **{"https://x.example/role": given}), NOW).role == role


def test_a_key_of_somebody_else_is_refused() -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(UnauthenticatedError):
        identify(token(other, "RS256"), NOW)
    with pytest.raises(UnauthenticatedError):
        identify(token(RSA_KEY, "RS256", kid="rsa-2"), NOW)


def test_the_public_key_is_no_shared_secret() -> None:
    public = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # Signed by hand: the library itself refuses to.
    unsigned = token("x" * 32, "HS256").rpartition(".")[0]
    signature = urlsafe_b64encode(hmac.digest(public, unsigned.encode(), "sha256")).decode().rstrip("=")
    with pytest.raises(UnauthenticatedError):
        identify(f"{unsigned}.{signature}", NOW)


def test_a_token_without_a_signature_is_refused() -> None:
    with pytest.raises(UnauthenticatedError):
        identify(token(None, "none"), NOW)


def test_a_token_without_a_key_id_is_tried_with_the_first_key() -> None:
    assert identify(token(RSA_KEY, "RS256", kid=None), NOW).sub == "ada"


def test_a_token_that_was_valid_once_is_refused_after_its_end_and_under_other_keys() -> None:
    known = token(RSA_KEY, "RS256")
    assert identify(known, NOW).sub == "ada"
    with pytest.raises(UnauthenticatedError):
        identify(known, NOW + timedelta(seconds=601))
    other = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key()))
    for key_set in ([{**other, "kid": "rsa-1"}], [{**KEY_SET[0], "kid": "rsa-2"}], []):
        keys._known["jwt"] = (time.monotonic(), {"keys": key_set})
        with pytest.raises(UnauthenticatedError):
            identify(known, NOW)


def test_the_key_set_is_fetched_from_the_providers_address() -> None:
    class Provider(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": KEY_SET}).encode())

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    server = HTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    assert key_copies._fetch_key_set(f"http://127.0.0.1:{server.server_port}/jwks.json") == KEY_SET
    thread.join()
    server.server_close()
