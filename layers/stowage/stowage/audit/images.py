"""An entry's image of a record as the API shows the record: fields by their names, values as `GET` gives them.

Only fields that are declared and not hidden are shown, whatever the journal holds of earlier declarations. Values come
and go as JSON texts, so that no number loses digits on the way.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping

from stowage.basics.ids import encode_id
from stowage.entities.declaration import Entity, Field

# As to_jsonb writes moments in UTC (PostgreSQL documentation, "JSON Functions": ISO 8601).
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(\+00:00)?", re.ASCII)
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


def show_image(entity: Entity, image: Mapping[str, str] | None) -> str:
    """The JSON of an image, whose values are JSON texts by column; null where a purge has left its hash alone."""
    if image is None or set(image) == {"$sha256"}:
        return "null"
    shown = [
        f"{json.dumps(field.name)}: {_value(field, image[field.column], is_id=entity.holds_id(field.name))}"
        for field in entity.fields
        if field.column in image
    ]
    return f"{{{', '.join(shown)}}}"


def _value(field: Field, text: str, *, is_id: bool) -> str:
    if text == "null" or field.type == "json":
        return text
    if field.is_array:
        return json.dumps(_list(field, json.loads(text, parse_float=_Digits, parse_int=_Digits)), ensure_ascii=False)
    given = json.loads(text) if text.startswith('"') else None
    if is_id:
        return json.dumps(encode_id(text if given is None else given), ensure_ascii=False)
    match field.type:
        case "numeric" if given is None and _NUMBER.fullmatch(text):
            return f'"{text}"'
        case "timestamp" | "local_timestamp" if given is not None:
            return json.dumps(_moment(given), ensure_ascii=False)
        case "bytes" if given is not None and given.startswith("\\x"):
            return json.dumps(_base64(given))
        case _:
            return text


class _Digits(str):
    """A number as it was written."""

    __slots__ = ()


def _list(field: Field, given: object) -> object:
    if isinstance(given, list):
        return [_list(field, each) for each in given]
    if field.type == "bytes" and isinstance(given, str):
        return _base64(given)
    if isinstance(given, _Digits) and field.type not in ("numeric", "other"):
        return float(given) if "." in given else int(given)
    return given


def _base64(given: str) -> str:
    return b64encode(bytes.fromhex(given.removeprefix("\\x"))).decode()


def _moment(given: str) -> str:
    """RFC 3339 with three digits of a second, or six where it has more, and always without a zone; else Postgres' text
    (`stowage.postgres.reads.moments`).
    """
    plain = _MOMENT.fullmatch(given)
    if plain is None:
        return given.replace("T", " ").replace("+00:00", "+00")
    digits = (plain[2] or "").ljust(6, "0")
    if plain[3] is None:
        return f"{plain[1]}.{digits}"
    return f"{plain[1]}.{digits.removesuffix('000') if digits.endswith('000') else digits}Z"
