"""Who calls: a token from the header or the session cookie, checked against the deployment's keys.

docs/api.md, Sign-in.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import jwt

from stowage.access.api_keys import PREFIX, identify_key
from stowage.access.identity import ROLES, Identity, Role
from stowage.aws.keys import read_key
from stowage.basics.errors import UnauthenticatedError, UnavailableError
from stowage.settings import settings

COOKIE = "auth_token"
LONGEST_SUB = 200
TOKENS_KEPT = 256
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and lone surrogates: the journal cannot hold a NUL or a surrogate."""


def token_of(headers: Mapping[str, str], cookies: list[str]) -> tuple[str, bool]:
    """The token of a request ("" for none) and whether it came by cookie; a header counts before a cookie.

    `X-API-Key` holds keys of ours alone.
    """
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme:
        return (credentials.strip(), False) if scheme.lower() == "bearer" else ("", False)
    if "x-api-key" in headers:
        key = headers["x-api-key"].strip()
        return (key, False) if key.startswith(PREFIX) else ("", False)
    for cookie in cookies:
        name, _, value = cookie.partition("=")
        if name.strip() == COOKIE:
            return value.strip(), True
    return "", False


def token_for_backend(headers: Mapping[str, str], cookies: list[str]) -> tuple[str, bool]:
    """The same for upstream mode, where a key of ours is no token: it means nothing to the backend."""
    token, by_cookie = token_of({name: value for name, value in headers.items() if name != "x-api-key"}, cookies)
    return ("", False) if token.startswith(PREFIX) else (token, by_cookie)


def identify(token: str, now: datetime, *, by_cookie: bool = False) -> Identity:
    """The caller that a token or an API key names; UnauthenticatedError when it names none.

    A key is for programs: no cookie holds one.
    """
    if not token:
        raise UnauthenticatedError("Sign in first.")
    if token.startswith(PREFIX):
        if by_cookie:
            raise UnauthenticatedError("An API key is for programs; sign in with a token.")
        return identify_key(token, now)
    claims = _claims(token, now)
    config = settings()
    role = _role(claims.get(config.role_claim, "viewer"))
    tenants = claims.get(config.tenants_claim, [])
    if role is None or not isinstance(tenants, list) or not all(isinstance(tenant, str) for tenant in tenants):
        raise UnauthenticatedError("The token does not say what the caller may do.")
    sub, seen = claims["sub"], frozenset(tenants)
    if not isinstance(sub, str) or not 1 <= len(sub) <= LONGEST_SUB or any(map(_UNWRITABLE.search, (sub, *seen))):
        raise UnauthenticatedError("The token names somebody in a way that no journal could.")
    return Identity(sub, role, seen, datetime.fromtimestamp(claims["exp"], UTC), by_cookie)


def _role(given: object) -> Role | None:
    """The role that a claim gives by the deployment's map: of a list of groups the highest that means one."""
    names = given if isinstance(given, list) else [given]
    mapped = {settings().role_map.get(str(name), str(name)) for name in names}
    return next((role for role in reversed(ROLES) if role in mapped), None)


def _claims(token: str, now: datetime) -> Mapping[str, Any]:
    """A verified token's claims. The algorithms are the deployment's, never the token's own choice."""
    config = settings()
    algorithms = config.jwt_algorithms.split(",")
    try:
        claims = _verified(
            token, _key_for(token, algorithms), config.jwt_algorithms, config.jwt_issuer, config.jwt_audience
        )
        if datetime.fromtimestamp(claims["exp"], UTC) <= now:
            raise UnauthenticatedError("The token has expired.")
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, OSError):
        raise UnauthenticatedError("The token is not valid.") from None
    return claims


@lru_cache(maxsize=TOKENS_KEPT)
def _verified(token: str, key: str, algorithms: str, issuer: str, audience: str) -> Mapping[str, Any]:
    """A token's claims, where the key signed it; `key` is a secret or a JWK. Its expiry is looked at by the caller.

    Kept, because a client that polls sends one token many times: what makes a token valid here (the signature, a
    beginning that is past) stays so for as long as the key is the deployment's. jwt.PyJWTError is never kept.
    """
    claims: dict[str, Any] = jwt.decode(
        token,
        key if "HS256" in algorithms else jwt.PyJWK.from_json(key).key,
        algorithms=algorithms.split(","),
        issuer=issuer or None,
        audience=audience or None,
        options={"require": ["exp", "sub"], "verify_aud": bool(audience), "verify_exp": False},
    )
    return claims


def _key_for(token: str, algorithms: list[str]) -> str:
    keys = read_key("jwt")
    if ("secret" if "HS256" in algorithms else "keys") not in keys:
        raise UnavailableError("Sign-in is being changed.", "keys_missing", retry_after=60)
    if "HS256" in algorithms:
        return str(keys["secret"])
    wanted = jwt.get_unverified_header(token).get("kid")
    for key in keys["keys"]:
        if wanted is None or key.get("kid") == wanted:
            return json.dumps(key)
    raise UnauthenticatedError("The token is signed with a key that is not known here.")
