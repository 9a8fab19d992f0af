"""Tokens of four people, as an identity provider would issue them."""

import time
from typing import Any

import jwt

HOURS = 24


def issue(secret: str, sample_tenants: list[str]) -> dict[str, str]:
    """Tokens by the stack file's names: three roles on every sample tenant, and an admin of globex only."""
    people = {
        "admin": ("admin", sample_tenants),
        "operator": ("operator", sample_tenants),
        "viewer": ("viewer", sample_tenants),
        "other": ("admin", ["globex"]),
    }
    expires = int(time.time()) + HOURS * 3600
    return {
        name: jwt.encode(
            {"sub": f"{name}@example.com", "role": role, "tenants": tenants, "exp": expires}, secret, algorithm="HS256"
        )
        for name, (role, tenants) in people.items()
    }


def sign_in_url(description: dict[str, Any]) -> str:
    """The console's address that offers an admin to sign in at one click, from what stack.json holds.

    No server sees what follows `#`.
    """
    return f"{description['console_url']}/sign-in#token={description['tokens']['admin']}"
