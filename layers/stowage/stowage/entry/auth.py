"""Who calls: a token from the header or the session cookie, checked against the deployment's keys.

docs/api.md, Sign-in.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jwt

from stowage.access.identity import ROLES, Identity, Role
from stowage.aws.keys import read_key
from stowage.basics.errors import UnauthenticatedError, UnavailableError
from stowage.settings import settings

COOKIE = "auth_token"
KEY_PREFIX = "stw_"
"""What our own API keys begin with."""
LONGEST_SUB = 200
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
        return (key, False) if key.startswith(KEY_PREFIX) else ("", False)
    for cookie in cookies:
        name, _, value = cookie.partition("=")
        if name.strip() == COOKIE:
            return value.strip(), True
    return "", False


def token_for_backend(headers: Mapping[str, str], cookies: list[str]) -> tuple[str, bool]:
    """The same for upstream mode, where a key of ours is no token: it means nothing to the backend."""
    token, by_cookie = token_of({name: value for name, value in headers.items() if name != "x-api-key"}, cookies)
    return ("", False) if token.startswith(KEY_PREFIX) else (token, by_cookie)


def identify(token: str, now: datetime, *, by_cookie: bool = False) -> Identity:
    """The caller that a token names; UnauthenticatedError when it names none."""
    if not token:
        raise UnauthenticatedError("Sign in first.")
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


def _claims(token: str, now: datetime) -> dict[str, Any]:
    """A verified token's claims. The algorithms are the deployment's, never the token's own choice."""
    config = settings()
    algorithms = config.jwt_algorithms.split(",")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            _key_for(token, algorithms),
            algorithms=algorithms,
            issuer=config.jwt_issuer or None,
            audience=config.jwt_audience or None,
            options={"require": ["exp", "sub"], "verify_aud": bool(config.jwt_audience), "verify_exp": False},
        )
        if datetime.fromtimestamp(claims["exp"], UTC) <= now:
            raise UnauthenticatedError("The token has expired.")
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, OSError):
        raise UnauthenticatedError("The token is not valid.") from None
    return claims


def _key_for(token: str, algorithms: list[str]) -> Any:
    keys = read_key("jwt")
    if ("secret" if "HS256" in algorithms else "keys") not in keys:
        raise UnavailableError("Sign-in is being changed.", "keys_missing", retry_after=60)
    if "HS256" in algorithms:
        return keys["secret"]
    wanted = jwt.get_unverified_header(token).get("kid")
    for key in keys["keys"]:
        if wanted is None or key.get("kid") == wanted:
            return jwt.PyJWK(key).key
    raise UnauthenticatedError("The token is signed with a key that is not known here.")
