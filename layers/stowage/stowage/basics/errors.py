"""The errors that callers see (docs/api.md, Errors).

Every error that is meant for a caller is a `StowageError`; anything else becomes a 500 without its
message.
"""

from typing import TypedDict


class Detail(TypedDict):
    """One invalid field, named as in the request: `items[1000].status`."""

    field: str
    message: str


class StowageError(Exception):
    """An error a caller may read: a sentence for a person, a code for a program.

    `status` is the HTTP status; `retryable` tells a run whether another attempt may end otherwise.
    """

    status = 500
    code = "internal_error"
    retryable = False

    def __init__(
        self,
        message: str,
        code: str | None = None,
        *,
        details: list[Detail] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.details = details
        self.retry_after = retry_after


class BadRequestError(StowageError):
    """400: the request is not one we take; nothing was changed."""

    status, code = 400, "invalid_request"


class UnauthenticatedError(StowageError):
    """401: no credentials, or none that we accept."""

    status, code = 401, "unauthenticated"


class ForbiddenError(StowageError):
    """403: the caller is known and may see the tenant, but not do this."""

    status, code = 403, "forbidden"


class NotFoundError(StowageError):
    """404: not there, or not the caller's; the two answers are the same."""

    status, code = 404, "not_found"


class MethodNotAllowedError(StowageError):
    """405: the path exists, the method does not."""

    status, code = 405, "method_not_allowed"


class NotAcceptableError(StowageError):
    """406: the client takes no type in which this route answers."""

    status, code = 406, "not_acceptable"


class ConflictError(StowageError):
    """409: the state of the thing forbids it."""

    status, code = 409, "conflict"


class GoneError(StowageError):
    """410: it was here and is gone for good."""

    status, code = 410, "gone"


class TooLargeError(StowageError):
    """413: larger than this route takes; the message names the alternative."""

    status, code = 413, "too_large"


class UnsupportedTypeError(StowageError):
    """415: the body is of a type that this route does not read."""

    status, code = 415, "unsupported_media_type"


class PreconditionFailedError(StowageError):
    """412: the thing is not, or not any more, what `If-Match` says."""

    status, code = 412, "precondition_failed"


class RateLimitedError(StowageError):
    """429: too many; `retry_after` seconds until the next."""

    status, code = 429, "rate_limited"


class UnavailableError(StowageError):
    """503: no room at the moment (database connections, storage); worth another attempt."""

    status, code, retryable = 503, "unavailable", True

    def __init__(
        self,
        message: str,
        code: str | None = None,
        *,
        details: list[Detail] | None = None,
        retry_after: int | None = 1,
    ) -> None:
        super().__init__(message, code, details=details, retry_after=retry_after)


class RunError(StowageError):
    """A run cannot go on, and no further attempt will change that: a refused permission, a schema that is not there."""

    status, code = 409, "run_failed"


class MisconfiguredError(RunError):
    """503: the deployment or its database is not set up for this. Its operator has to act; the
    caller may ask again later.
    """

    status, code = 503, "misconfigured"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message, code, retry_after=300)


class TransientRunError(RunError):
    """A run broke off in a way that another attempt may not: a cut connection, a killed process, a storage error."""

    status, code, retryable = 503, "run_interrupted", True


class ProcessStopped(BaseException):
    """SIGTERM has come: clean up and end. No Exception, because botocore would take that for a network error."""


class CancelledError(StowageError):
    """A run was asked to stop and does."""

    status, code = 409, "cancelled"
