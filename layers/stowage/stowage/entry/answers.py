"""What a route declares of itself for the API's document; no behaviour depends on it."""

from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

from stowage.basics.errors import Detail


class Refusal(TypedDict):
    """Every error of ours; `message` is the same sentence as `error`, for older clients.

    `details` are the first 100 of what is wrong, field by field, and `detailCount` says how many there are.
    """

    success: Literal[False]
    error: str
    message: str
    code: str
    requestId: str
    details: NotRequired[list[Detail]]
    detailCount: NotRequired[int]


@dataclass(frozen=True)
class Answer:
    """An answer that is no refusal: its status, the type of its body (None: it has none), and its own headers."""

    status: int
    body: Any = None
    headers: tuple[str, ...] = ()
    media_type: str = "application/json"


@dataclass(frozen=True)
class Description:
    """What the signature of a route does not say.

    `answers`: none given means 200 with the type that the route returns. `refuses`: statuses beyond those that follow
    from the role, the path, the body and the limits (docs/api.md, Errors). `reads`: the request headers that it takes.
    `body`: the type of a body that the route reads itself. `query`: those of parameters that it reads itself, by name.
    """

    answers: tuple[Answer, ...] = ()
    refuses: tuple[int, ...] = ()
    reads: tuple[str, ...] = ()
    body: Any = None
    query: dict[str, Any] | None = None
