"""The database's URL as the stack file has it, `postgresql://OWNER:PASSWORD@HOST:PORT/DATABASE`, for others.

All roles of the embedded server have the owner's password.
"""

import re
from urllib.parse import quote, unquote

SCHEME = "postgresql://"


def as_role(owner_url: str, role: str) -> str:
    """The URL for another role."""
    _, password, place = _parts(owner_url)
    return f"{SCHEME}{role}:{quote(password)}@{place}" if password else f"{SCHEME}{role}@{place}"


def for_product(owner_url: str) -> str:
    """The URL as the product takes it, which chooses the roles itself: no user, the password as a parameter."""
    _, password, place = _parts(owner_url)
    return f"{SCHEME}{place}{'&' if '?' in place else '?'}password={quote(password)}" if password else SCHEME + place


def without_password(owner_url: str) -> tuple[str, str]:
    """The URL without the password, and that: everybody on the machine may read a command line."""
    user, password, place = _parts(owner_url)
    as_parameter = re.search(r"(?<=[?&])password=([^&]*)&?", place)
    if as_parameter:
        password, place = unquote(as_parameter[1]), place.replace(as_parameter[0], "").rstrip("?&")
    return f"{SCHEME}{user}@{place}" if user else SCHEME + place, password


def _parts(url: str) -> tuple[str, str, str]:
    """User, password and the rest."""
    login, _, place = url.partition("://")[2].rpartition("@")
    user, _, password = login.partition(":")
    return user, unquote(password), place
