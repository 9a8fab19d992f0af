"""Whether a column has the same value as before, to the last digit and letter.

`IS DISTINCT FROM` takes 1.10 and 1.1 as equal, letters' case in citext, 1 mon and 30 days; and it fails for json and
point, which have no equality. The image of a row (PostgreSQL documentation, "Row and Array Comparison") tells them
apart. Texts, whole numbers, booleans, uuids and moments are compared by themselves, which is faster.
"""

from psycopg import sql

from stowage.entities.declaration import Entity, Field
from stowage.entities.values import is_exact

_EQUAL = sql.SQL("{} IS NOT DISTINCT FROM {}")
_SAME_IMAGE = sql.SQL("record_image_eq(ROW({}), ROW({}))")
# The journal keeps a json's content, not its spaces.
_SAME_JSON = sql.SQL("{}::jsonb::text IS NOT DISTINCT FROM {}::jsonb::text")


def is_same(field: Field | None, old: sql.Composable, new: sql.Composable) -> sql.Composed:
    """Whether two values of a field's column are the same; without a field, of a column that is a text or a moment."""
    if field is None or is_exact(field):
        return _EQUAL.format(old, new)
    if field.type == "json" and not field.is_array:
        return _SAME_JSON.format(old, new)
    return _SAME_IMAGE.format(old, new)


def field_at(declared: Entity, column: str) -> Field | None:
    """The field in a column, None for a column of the trash."""
    return next((field for field in declared.fields if field.column == column), None)
