"""Which field each column of a file is."""

from collections.abc import Mapping
from dataclasses import dataclass

from stowage.basics.errors import RunError
from stowage.entities.declaration import Entity

RESULT_COLUMNS = ("_line", "_status", "_id", "_code", "_error", "_text")
"""What our own result files add to a file's columns; passed over when such a file is uploaded again."""
DELETED_AT = "deletedAt"
"""What a GDPR export says of a record that is in the trash; such a row does not come in."""
TRASH_COLUMNS = ("deletedBy", "purgeAt")
"""What it says beside that; passed over."""


@dataclass(frozen=True)
class Columns:
    """The field that each column is, None for one that is passed over."""

    names: tuple[str | None, ...]

    @property
    def given(self) -> frozenset[str]:
        """The fields that the file gives."""
        return frozenset(name for name in self.names if name is not None)


def match_header(entity: Entity, header: list[str], mapping: Mapping[str, str | None]) -> Columns:
    """The fields of a header's columns: by the mapping, else by the fields' own names.

    RunError `wrong_header` that names every column that is none, every field that has two, and the missing ones.
    """
    known_as = field_names(entity, mapping)
    names = [known_as.get(column, column) for column in header]
    fields = {field.name for field in entity.fields} | ({DELETED_AT} if entity.soft_delete else set())
    unknown = [column for column, name in zip(header, names, strict=True) if name is not None and name not in fields]
    twice = sorted({name for name in names if name is not None and names.count(name) > 1})
    missing = [name for name in required_fields(entity) if name not in names]
    unused = [column for column in mapping if column not in header]
    complaints = [
        f"{_listed(unknown)} {'is no field' if len(unknown) == 1 else 'are no fields'} of {entity.name}"
        if unknown
        else "",
        f"{_listed(twice)} {'stands' if len(twice) == 1 else 'stand'} there twice" if twice else "",
        f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing" if missing else "",
        f"the mapping names {_listed(unused)}, which {'is no column' if len(unused) == 1 else 'are no columns'}"
        if unused
        else "",
    ]
    if any(complaints):
        hint = " Columns are separated by commas." if len(header) == 1 and ";" in header[0] else ""
        known = ", ".join(field.name for field in entity.fields)
        raise RunError(
            f"The header does not fit: {'; '.join(filter(None, complaints))}.{hint} The fields are {known}.",
            "wrong_header",
        )
    return Columns(tuple(names))


def field_names(entity: Entity, mapping: Mapping[str, str | None]) -> dict[str, str | None]:
    """The field of every column that is not called as its field is, None for one to pass over."""
    passed_over = (*RESULT_COLUMNS, *TRASH_COLUMNS) if entity.soft_delete else RESULT_COLUMNS
    return dict.fromkeys(passed_over) | dict(mapping)


def required_fields(entity: Entity) -> list[str]:
    """The fields that every record must be given."""
    return [name for name, info in entity.model.model_fields.items() if info.is_required()]


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name[:100]) for name in names[:20])
