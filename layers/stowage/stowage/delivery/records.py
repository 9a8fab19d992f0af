"""What a tenant may say about notices (docs/api.md)."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MOST_ADDRESSES = 10
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s.\x00-\x1f\x7f]+(\.[^@\s.\x00-\x1f\x7f]+)+")
_CHAT = re.compile(r"-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{3,31}")


def _an_address(address: str) -> str:
    if not _EMAIL.fullmatch(address) or len(address) > 254:
        raise ValueError("not an e-mail address")
    return address


def _a_chat(chat: str) -> str:
    if not _CHAT.fullmatch(chat):
        raise ValueError("a chat's number, or @ and the name of a channel")
    return chat


Address = Annotated[str, AfterValidator(_an_address)]
Chat = Annotated[str, AfterValidator(_a_chat)]


class WantedNotices(BaseModel):
    """Who is told when a backup, a restore or a verification fails, and whether also of success."""

    model_config = ConfigDict(extra="forbid", strict=True)

    email: Annotated[list[Address], Field(max_length=MOST_ADDRESSES)] = []
    telegram: Chat | None = None
    """The chat that the deployment's bot writes to."""
    on_success: bool = False


class Notices(BaseModel):
    """Who is told when a run ends."""

    email: list[str]
    telegram: str | None
    on_success: bool
