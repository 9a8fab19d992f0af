"""Answers put together from JSON that Postgres wrote: nobody reads ten thousand records twice to send them."""

import hashlib
from typing import Any

from pydantic_core import from_json, to_json

from stowage.basics.json_numbers import write_json
from stowage.basics.sizes import is_deliverable, too_large_record

_HEAD, _TAIL = '{"success":true,"data":', "}"


def envelope(data: str) -> str:
    """`{"success": true, "data": …}` around JSON."""
    return _HEAD + data + _TAIL


def whole(record: str) -> str:
    """The same record's JSON; TooLargeError where no answer could carry it."""
    if not is_deliverable(envelope(record)):
        raise too_large_record()
    return record


def data_of(body: str) -> str:
    """The JSON inside an envelope of ours."""
    return body.removeprefix(_HEAD).removesuffix(_TAIL)


def etag(record: str) -> str:
    """A strong entity tag: another one whenever the record is another, whoever changed it (RFC 9110 §8.8.3)."""
    return f'"{hashlib.sha256(record.encode()).hexdigest()[:32]}"'


def names(header: str, tag: str) -> bool:
    """Whether an If-Match or If-None-Match names this tag, by the strong comparison (RFC 9110 §8.8.3.2)."""
    return header.strip() == "*" or tag in [given.strip() for given in header.split(",")]


def fits(head: dict[str, Any], key: str, records: str, failures: list[dict[str, Any]] | None) -> str | None:
    """An operation's envelope: `head`, the records as a list under `key`, the failures; None if that is too large."""
    opening = to_json(head).decode()[:-1]
    tail = "" if failures is None else ',"failures":' + write_json(failures, _with_nulls)
    body = envelope(f'{opening},"{key}":[{records}]{tail}}}')
    return body if is_deliverable(body) else None


def _with_nulls(value: Any) -> str:
    """JSON of items as they were sent, in which NaN is none."""
    return to_json(value, inf_nan_mode="null").decode()


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether the caller has this state already, by the weak comparison (RFC 9110 §8.8.3.2)."""
    return if_none_match is not None and names(if_none_match.replace("W/", ""), tag)


def id_of(record: str) -> str:
    """The id of a record's JSON, in the form that a path survives."""
    found: str = from_json(record)["id"]
    return found
