"""What an entry holds of a record: the whole of it as it became, of before only what changed."""

from collections.abc import Sequence

from psycopg import sql

from stowage.entities.declaration import Entity
from stowage.postgres.tables.sameness import field_at, is_same

# A row type of these columns alone: functions take 100 arguments at most, tables have more columns.
_IMAGE = sql.SQL("(SELECT to_jsonb(stw_image) FROM (SELECT {columns}) AS stw_image)")
_COLUMN = sql.SQL("{value} AS {column}")
_TEXT = sql.SQL("{value}::text AS {column}")


def journalled_columns(declared: Entity) -> list[str]:
    """The columns of a record that the journal may hold: those of every declared field.

    Whoever hides a field from everybody leaves it out here.
    """
    return [field.column for field in declared.fields]


def whole_image(declared: Entity, row: str, more: Sequence[str] = ()) -> sql.Composed:
    """The whole record in `row`, an alias of its table or of rows like it, with `more` of its columns."""
    return image_of(declared, row, [*journalled_columns(declared), *more])


def image_of(declared: Entity, row: str, columns: Sequence[str], prefix: str = "") -> sql.Composed:
    """These columns of `row` by their names; there they are called so behind `prefix`.

    A type that Stowage does not know is its text: some have a JSON of their own, hstore an object, that they do not
    read again.
    """
    texts = {field.column for field in declared.fields if field.type == "other"}
    return _IMAGE.format(
        columns=sql.SQL(", ").join(
            (_TEXT if column in texts else _COLUMN).format(
                value=sql.Identifier(row, prefix + column), column=sql.Identifier(column)
            )
            for column in columns
        )
    )


_CHANGED = sql.SQL("{image} - {unchanged}")
_UNCHANGED = sql.SQL("array_remove(ARRAY[{names}]::text[], NULL)")
_NAME = sql.SQL("CASE WHEN {same} THEN {column} END")


def changed_image(declared: Entity, columns: Sequence[str], old: str, new: str, prefix: str = "") -> sql.Composed:
    """Of these columns those that differ between `old` and `new`, as they were in `old`; prefixed there alone."""
    names = sql.SQL(", ").join(
        _NAME.format(
            same=is_same(field_at(declared, column), sql.Identifier(old, prefix + column), sql.Identifier(new, column)),
            column=sql.Literal(column),
        )
        for column in columns
    )
    return _CHANGED.format(image=image_of(declared, old, columns, prefix), unchanged=_UNCHANGED.format(names=names))
