"""Which rows an export takes: the filters of a request, each read as the type of the field it names (docs/api.md)."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from stowage.basics.errors import BadRequestError, Detail
from stowage.basics.ids import decode_id
from stowage.basics.moments import read_bound
from stowage.entities.declaration import Entity, Field, Key, Reference
from stowage.entities.declared import ENTITIES
from stowage.entities.keys import EXPECTED
from stowage.entities.values import read_value

JOURNAL = "audit"
"""The data type of the journal's entries."""
EVERYTHING = "gdpr"
"""The data type of the zip of everything that a tenant holds."""
JOURNAL_FILTERS = ("actor", "operation", "entity", "type")
"""The fields of a journal entry that a filter may name; its `id` is that of the record it is about."""
LARGEST_NUMBER = 10**38
"""The table keeps 38 digits (DynamoDB developer guide, "Data types"); no column holds more than 19."""
OF_CREATION = ("createdAfter", "createdBefore", "startDate", "endDate")
"""Filters of what has a time of its creation."""
GENERAL_FILTERS = ("search", "ids")
OTHER_NAMES = {"accountGroupId": "groupId"}
"""What the dashboards call a filter, and what it is."""

type FilterValue = str | int | float | bool


@dataclass(frozen=True)
class Filters:
    """What a row has to be: each of `any_of` (a field's name, the values it may have), and all the others.

    `of_others` are the same for fields of a record that the row refers to. `created_after` is the first moment taken,
    `created_before` the first one not taken any more, so that windows that meet share no row. `ids` are raw ids.
    """

    any_of: tuple[tuple[str, tuple[FilterValue, ...]], ...] = ()
    of_others: tuple[tuple[Reference, str, tuple[FilterValue, ...]], ...] = ()
    search: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    ids: tuple[str, ...] | None = None
    newest: int | None = None
    """So many entries of the journal, the newest of those that fit; no filter of the API."""


def filter_names(entity: Entity) -> list[str]:
    """What the records of an entity may be filtered by: its own fields, those of records it refers to, and the rest."""
    fields = [*entity.filters, *(name for reference in entity.references for name in reference.filters)]
    others = [other for other, name in OTHER_NAMES.items() if name in fields]
    of_creation = OF_CREATION if entity.created else ()
    return list(dict.fromkeys((*fields, *others, *GENERAL_FILTERS, *of_creation)))


def parse_filters(data_type: str, raw: Mapping[str, object] | None) -> Filters:
    """Read the filters of an export of `data_type`, an entity's plural or `audit`; null and empty ones are dropped.

    A value is a string, number, boolean or a list of them. In a string commas separate values, of which any will do;
    for a text field the whole string is one of them too, so that `Pine, Oak & Co` finds what bears that name. Strings
    of a list are taken as they are. Ids come raw or encoded (docs/api.md, Ids). Moments are RFC 3339, or a
    date for its first moment in UTC; `startDate` is `createdAfter` by another name, `endDate` the last moment or day
    taken. BadRequestError with one detail for each bad filter, named `filters.{key}`.
    """
    reading = _Reading(data_type)
    for key, value in (raw or {}).items():
        if value is None or value in ("", []):
            continue
        try:
            reading.take(key, value)
        except ValueError as error:
            reading.details.append({"field": f"filters.{key}", "message": str(error)})
    if reading.details:
        first = reading.details[0]
        raise BadRequestError(
            f"The filter {first['field'].removeprefix('filters.')!r} is not one we take: {first['message']}.",
            "invalid_filter",
            details=reading.details,
        )
    return Filters(
        tuple(reading.any_of),
        tuple(reading.of_others),
        reading.search,
        max(reading.after, default=None),
        min(reading.before, default=None),
        reading.ids,
    )


class _Reading:
    """The filters of one request while they are read, and what is wrong with them."""

    def __init__(self, data_type: str) -> None:
        self.entity: Entity | None = None
        if data_type == JOURNAL:
            self.allowed: tuple[str, ...] = JOURNAL_FILTERS
            self.known = [*JOURNAL_FILTERS, *GENERAL_FILTERS, *OF_CREATION]
        elif data_type in ENTITIES:
            self.entity = ENTITIES[data_type]
            self.allowed = self.entity.filters
            self.known = filter_names(self.entity)
        else:
            raise BadRequestError(
                f"{data_type!r} takes no filters; these do: {', '.join((*ENTITIES, JOURNAL))}.", "unknown_data_type"
            )
        self.details: list[Detail] = []
        self.any_of: list[tuple[str, tuple[FilterValue, ...]]] = []
        self.of_others: list[tuple[Reference, str, tuple[FilterValue, ...]]] = []
        self.search: str | None = None
        self.after: list[datetime] = []
        self.before: list[datetime] = []
        self.ids: tuple[str, ...] | None = None

    def take(self, key: str, value: object) -> None:
        """Read one filter. ValueError, whose message completes a sentence, for one that cannot be meant."""
        if not all(map(_is_scalar, value if isinstance(value, list) else [value])):
            raise ValueError("expected a text, a number of at most 38 digits, true, false or a list of them")
        if key not in self.known:
            raise ValueError(f"expected one of {', '.join(self.known)}")
        match key:
            case "search":
                self.search = _text(value)
            case "createdAfter" | "startDate":
                self.after.append(read_bound(value))
            case "createdBefore":
                self.before.append(read_bound(value))
            case "endDate":
                self.before.append(_behind(value))
            case "ids":
                self.ids = _ids(self.entity.key if self.entity else Key(), value) or None
            case _:
                self._take_field(OTHER_NAMES.get(key, key), value)

    def _take_field(self, name: str, value: object) -> None:
        if name in self.allowed:
            if values := self._values(self.entity, name, value):
                self.any_of.append((name, values))
            return
        assert self.entity is not None, "the journal refers to no record"
        reference = next(reference for reference in self.entity.references if name in reference.filters)
        if values := self._values(ENTITIES[reference.entity], name, value):
            self.of_others.append((reference, name, values))

    def _values(self, declared: Entity | None, key: str, value: object) -> tuple[FilterValue, ...]:
        field = declared.field(key) if declared else Field(key, key, "text")
        assert field is not None, f"{key} is declared as a filter but is no field"
        match field.type:
            case "text":
                if field.values:
                    return tuple(_chosen(piece, field.values) for piece in _pieces(value))
                named = declared.key_of(key) if declared else None
                return _ids(named, value) if named else _texts(value)
            case "integer":
                return tuple(_integer(piece) for piece in _pieces(value))
            case "boolean":
                return tuple(_boolean(piece) for piece in _pieces(value))
            case "timestamp":
                return tuple(read_bound(piece).isoformat() for piece in _pieces(value))
            case "json" | "bytes":
                raise ValueError("there is no filter by such values")
            case "other":
                return _texts(value)
            case _ if field.is_array:
                raise ValueError("there is no filter by lists")
            case _:
                return tuple(_read(field, piece) for piece in _pieces(value))


def _is_scalar(value: object) -> bool:
    match value:
        case None | bool() | str():
            return True
        case int() | float():
            return value == 0 or 1 / LARGEST_NUMBER < abs(value) < LARGEST_NUMBER
    return False


# Python's own reading takes 1_000 and ٣ too.
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


def _pieces(value: object) -> list[object]:
    """A filter's values: of a list its elements, of a string what stands between its commas."""
    if isinstance(value, str):
        return [piece.strip() for piece in value.split(",") if piece.strip()]
    if isinstance(value, Sequence):
        return [piece for piece in value if piece is not None and piece != ""]
    return [value]


def _texts(value: object) -> tuple[str, ...]:
    """A text field's values; of a string with commas the whole as well."""
    pieces = _pieces(value)
    if isinstance(value, str):
        pieces.append(value)
    return tuple(dict.fromkeys(_text(piece) for piece in pieces))


def _ids(key: Key, value: object) -> tuple[str, ...]:
    """Ids, in either form. Of a text with commas the whole may be one too, where ids are texts."""
    if key.is_composite and isinstance(value, str) and (whole := key.read(decode_id(value))):
        return (whole,)  # it holds commas
    if not key.is_composite and key.type in ("text", "other"):
        return _both_forms(_texts(value))
    ids = [key.read(decode_id(_text(piece))) for piece in _pieces(value)]
    if None in ids:
        raise ValueError(f"expected {EXPECTED[key.type]}")
    return tuple(dict.fromkeys(each for each in ids if each is not None))


def _both_forms(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Ids as they were given and as decoded: either form is accepted, and a raw id may look like an encoded one."""
    return tuple(dict.fromkeys(form for given in ids for form in (given, decode_id(given)) if "\0" not in form))


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("expected a text without NUL characters and lone surrogates")
        case str() | int() | float():
            return str(value)
    raise ValueError("expected a text")


def _chosen(value: object, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"expected one of {', '.join(choices)}")
    return str(value)


def _integer(value: object) -> int:
    match value:
        case bool():
            pass
        case int():
            return value
        case float() if value.is_integer():
            return int(value)
        case str() if _WHOLE.fullmatch(value):
            with suppress(ValueError):  # more digits than Python reads
                return int(value)
    raise ValueError("expected a whole number")


def _read(field: Field, value: object) -> FilterValue:
    found: FilterValue = read_value(field, value)
    return found


def _boolean(value: object) -> bool:
    match value:
        case bool():
            return value
        case "true":
            return True
        case "false":
            return False
    raise ValueError("expected true or false")


_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _behind(value: object) -> datetime:
    """The first moment after the one that was given, or after the day."""
    end = read_bound(value)
    step = timedelta(days=1) if isinstance(value, str) and _DAY.fullmatch(value) else timedelta(microseconds=1)
    try:
        return end + step
    except OverflowError:
        raise ValueError("expected a time before the end of the year 9999") from None
