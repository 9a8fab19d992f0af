"""Which field each column of a file is."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from stowage.basics.errors import RunError
from stowage.entities.declaration import Entity
from stowage.imports.files.reading.rows import SEPARATORS, use_delimiter

RESULT_COLUMNS = ("_line", "_status", "_id", "_code", "_error", "_text")
"""What our own result files add to a file's columns; passed over when such a file is uploaded again."""
DELETED_AT = "deletedAt"
"""What a GDPR export says of a record that is in the trash; such a row does not come in."""
TRASH_COLUMNS = ("deletedBy", "purgeAt")
"""What it says beside that; passed over."""
UNNAMED = ""
"""The name of a column for which the header has none."""
MOST_LISTED = 20


@dataclass(frozen=True)
class Columns:
    """The field of each column that comes in, by its place from 0, and the places of columns without a name."""

    used: tuple[tuple[int, str], ...]
    unnamed: tuple[int, ...] = ()

    @property
    def given(self) -> frozenset[str]:
        """The fields that the file gives."""
        return frozenset(name for _, name in self.used)


class Naming:
    """The field of each column (in NDJSON of each key), by the mapping, else by the fields' own names.

    `ignores_unknown` leaves out every column that is no field of the entity.
    """

    def __init__(self, entity: Entity, mapping: Mapping[str, str | None], *, ignores_unknown: bool = False) -> None:
        self._entity, self._mapping, self._ignores_unknown = entity, mapping, ignores_unknown
        self._fields = {field.name for field in entity.fields} | ({DELETED_AT} if entity.soft_delete else set())
        passed_over = (*RESULT_COLUMNS, *TRASH_COLUMNS) if entity.soft_delete else RESULT_COLUMNS
        passed_over = (*passed_over, *(field.name for field in entity.own if field.is_read_only))
        self._known = {name: name for name in self._fields} | dict.fromkeys(passed_over) | dict(mapping)

    def field(self, column: str) -> str | None:
        """The field of a column; None for one to leave out; the column itself where it is no field."""
        return self._known.get(column, None if self._ignores_unknown else column)

    @property
    def drops_unnamed(self) -> bool:
        """Whether values of columns without a name are left out without a word."""
        return self._ignores_unknown or self._mapping.get(UNNAMED, "") is None

    def match(self, header: list[str]) -> Columns:
        """The fields of a header's columns; one without a name is none, unless the mapping says which.

        RunError `wrong_header` that names every column that is none, every field that has two, and the missing ones.
        """
        named = [(n, column, self.field(column)) for n, column in enumerate(header)]
        unnamed = [n for n, column, name in named if column == name == UNNAMED]
        used = [(n, column, name) for n, column, name in named if name]
        unknown = [column for _, column, name in used if name not in self._fields]
        twice = sorted(name for name, times in Counter(name for _, _, name in used).items() if times > 1)
        given, columns = {name for _, _, name in used}, {*header, UNNAMED}
        missing = [name for name in required_fields(self._entity) if name not in given]
        unused = [column for column in self._mapping if column not in columns]
        entity = self._entity.name
        complaints = [
            _complaint(unknown, f"{{}} is no field of {entity}", f"{{}} are no fields of {entity}"),
            _complaint(twice, "{} stands there twice", "{} stand there twice"),
            _complaint(missing, "{} is missing", "{} are missing"),
            _complaint(
                unused, "the mapping names {}, which is no column", "the mapping names {}, which are no columns"
            ),
        ]
        if any(complaints):
            known = ", ".join(field.name for field in self._entity.fields)
            raise RunError(
                f"The header does not fit: {'; '.join(filter(None, complaints))}.{_hint(unknown, self._entity)} "
                f"The fields are {known}.",
                "wrong_header",
            )
        return Columns(tuple((n, name) for n, _, name in used), tuple(unnamed))


def required_fields(entity: Entity) -> list[str]:
    """The fields that every record must be given."""
    return [field.name for field in entity.own if field.required]


def _complaint(names: list[str], one: str, more: str) -> str:
    if not names:
        return ""
    listed = ", ".join(repr(name[:100]) for name in names[:MOST_LISTED])
    if len(names) > MOST_LISTED:
        listed += f" and {len(names) - MOST_LISTED:,} more"
    return (one if len(names) == 1 else more).replace("{}", listed)


def _hint(unknown: list[str], entity: Entity) -> str:
    """What may be behind columns that are none."""
    for separator in SEPARATORS:
        if any(separator in column for column in unknown):
            return f" {use_delimiter(separator)}"
    if any("\udc80" <= character <= "\udcff" for column in unknown for character in column):
        return ' The header holds bytes that are no UTF-8; send "encoding": "windows-1252", or what the file has.'
    if meant := _meant(unknown, entity):
        mapping = json.dumps(meant, ensure_ascii=False)
        return f' Names are compared letter by letter; send "mapping": {mapping} for these.'
    if len(unknown) > 1:
        return ' Send "ignoreUnknown": true to leave such columns out.'
    return ""


def _meant(unknown: list[str], entity: Entity) -> dict[str, str]:
    """The fields that columns of nearly the same name are: in other case, with spaces, or named as in the database."""
    fields = {_letters(name): field.name for field in entity.fields for name in (field.column, field.name)}
    found = {column: fields.get(_letters(column)) for column in unknown[:MOST_LISTED]}
    return {column: name for column, name in found.items() if name}


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name[:100]).casefold()
