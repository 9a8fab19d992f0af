"""What a caller of the client may meet: one class, with two kinds that a program handles by themselves."""

from collections.abc import Mapping
from typing import Any


class StowageError(Exception):
    """A refusal of the API, or an answer that never came whole.

    The text is the API's own sentence for a person. `status` is the HTTP status, None where there was no
    answer; `code` is for programs (docs/api.md lists them; `unreachable` and `damaged` are the client's
    own); `details` names fields; `request_id` finds the request in the deployment's log.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        details: list[dict[str, str]] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.details, self.request_id = status, code, details or [], request_id


class CursorGoneError(StowageError):
    """What followed a cursor of the changes is not kept any more: read the records anew, then follow again."""


class RunFailedError(StowageError):
    """A run that was waited for has failed or was cancelled; `run` is its last state."""

    def __init__(self, message: str, run: Mapping[str, Any], code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.run = run
