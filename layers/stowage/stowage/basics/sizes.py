"""How large an answer may be (docs/api.md, Limits).

An edit knows the size of its answer before it commits, so nothing is changed whose answer cannot be
sent.
"""

from stowage.basics.errors import TooLargeError

MOST_ANSWER_BYTES = 5_000_000
_MOST_ESCAPED_BYTES = 6_100_000
"""Lambda's 6,291,456 bytes are of the answer as a JSON string with its headers, so a quotation mark counts twice.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

MOST_CHANGED_BYTES = 64_000_000
"""A record that requests change: with a larger one, its entry of the journal takes longer than a request may."""


def too_large_record() -> TooLargeError:
    """The refusal of a request for, or a change of, a record that no answer could carry."""
    return TooLargeError("This record is larger than an answer may be; exports and file imports take such ones.")


def is_deliverable(body: str) -> bool:
    """Whether an answer of that JSON text reaches the caller."""
    size = len(body.encode())
    if 2 * size <= _MOST_ESCAPED_BYTES:
        return True  # even if every character of it were escaped
    return size <= MOST_ANSWER_BYTES and size + body.count('"') + body.count("\\") <= _MOST_ESCAPED_BYTES
