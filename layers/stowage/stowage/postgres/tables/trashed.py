"""How a record says that it is in the trash, and where the trash keeps the rest: what every statement asks or sets.

A record is in the trash while its own column says so: it holds a moment, or its flag is set, as the product itself
would delete it. Who deleted it, by which operation, with which parent (`deleted_with`; empty once its purge has begun)
and when it goes for good lies beside it, in `stowage.trash_entries`. An entry counts only while its `mark` is the
row's own: the moment, or of a flag the time of the row's last change. So what a product's own SQL restores, deletes
anew or deletes itself has no entry from that moment on, and nobody has to watch for it.

`row` is the alias of a record in the surrounding statement. An entry is read by its key, by a subquery for each row:
so its cost does not hang on what the planner believes of a table that grew since the last ANALYZE.
"""

from typing import Literal

from psycopg import sql

from stowage.entities.declaration import Entity, Trash

type Kept = Literal["deleted_at", "deleted_by", "purge_at", "deleted_operation", "deleted_with"]
"""What the trash knows of a record."""

_TENANT = sql.Placeholder("tenant")
_TRUE = sql.SQL("true")

_IS_NULL, _IS_NOT_NULL = sql.SQL("{} IS NULL"), sql.SQL("{} IS NOT NULL")
_NOT, _IS_NOT_TRUE = sql.SQL("NOT {}"), sql.SQL("{} IS NOT TRUE")


def _trash(declared: Entity) -> Trash:
    assert declared.soft_delete, f"{declared.name} have no trash"
    return declared.trash


def _column(declared: Entity, row: str) -> sql.Identifier:
    return sql.Identifier(row, _trash(declared).column)


def outside_trash(declared: Entity, row: str) -> sql.Composable:
    """Whether a record is not in the trash, spelled as partial indexes spell it."""
    if not declared.soft_delete:
        return _TRUE
    if not declared.trash.is_flag:
        return _IS_NULL.format(_column(declared, row))
    return (_IS_NOT_TRUE if declared.trash.may_be_null else _NOT).format(_column(declared, row))


def in_trash(declared: Entity, row: str) -> sql.Composable:
    """Whether a record is in the trash, spelled as partial indexes spell it."""
    column = _column(declared, row)
    return column if declared.trash.is_flag else _IS_NOT_NULL.format(column)


_UNINDEXED = sql.SQL("num_nulls({}) < 1")
_UNINDEXED_FLAG = sql.SQL("num_nulls(NULLIF({}, false)) < 1")


def in_trash_unindexed(declared: Entity, row: str) -> sql.Composed:
    """The same as no index serves it and as the planner takes many rows to meet (`relations` says why)."""
    return (_UNINDEXED_FLAG if declared.trash.is_flag else _UNINDEXED).format(_column(declared, row))


_UNINDEXED_OUTSIDE = sql.SQL("num_nulls({}) > 0")
_UNINDEXED_OUTSIDE_FLAG = sql.SQL("num_nulls(NULLIF({}, false)) > 0")


def outside_trash_unindexed(declared: Entity, row: str) -> sql.Composable:
    """As `in_trash_unindexed`: where many records are asked for by their ids, and joined to what is asked of them."""
    if not declared.soft_delete:
        return _TRUE
    return (_UNINDEXED_OUTSIDE_FLAG if declared.trash.is_flag else _UNINDEXED_OUTSIDE).format(_column(declared, row))


def live_value(declared: Entity) -> dict[str, bool | None]:
    """What the column holds outside the trash, by its name."""
    return {_trash(declared).column: False if declared.trash.is_flag else None}


# The session's time zone is UTC, and so columns without one hold UTC.
_MARK = sql.SQL("{}::timestamptz")
_ENTRY = sql.SQL("""
(SELECT stw_entry.{name} FROM stowage.trash_entries AS stw_entry
 WHERE stw_entry.tenant = {tenant} AND stw_entry.entity = {entity} AND stw_entry.id = {id}::text AND {counts})
""")
_SAME_MARK = sql.SQL("{entry}.mark = {mark}")
_SAME_CHANGE = sql.SQL("({in_trash} AND {entry}.mark IS NOT DISTINCT FROM {mark})")


def mark(declared: Entity, row: str) -> sql.Composable:
    """What an entry's `mark` must be to count: a timestamptz."""
    if not declared.trash.is_flag:
        return _MARK.format(_column(declared, row))
    updated = declared.field("updatedAt")
    return _MARK.format(sql.Identifier(row, updated.column) if updated else sql.NULL)


def counts(declared: Entity, row: str, entry: str) -> sql.Composable:
    """Whether an entry of that alias, of this row's id, is about the trash in which the row lies now."""
    if not declared.trash.is_flag:
        # Not cast to the mark's type: so an index on the column serves, whatever its type.
        return _SAME_MARK.format(entry=sql.Identifier(entry), mark=_column(declared, row))
    return _SAME_CHANGE.format(in_trash=in_trash(declared, row), entry=sql.Identifier(entry), mark=mark(declared, row))


def of_trash(declared: Entity, row: str, name: Kept, tenant: sql.Composable = _TENANT) -> sql.Composable:
    """What the trash knows of a record there; null where the product deleted it itself.

    `tenant` is an SQL value, the statement's own parameter unless given.
    """
    if name == "deleted_at" and not declared.trash.is_flag:
        return _moment(declared, row)
    return _ENTRY.format(
        name=sql.Identifier(name),
        tenant=tenant,
        entity=sql.Literal(declared.name),
        id=sql.Identifier(row, declared.column("id")),
        counts=counts(declared, row, "stw_entry"),
    )


# A product may delete "at infinity", which is no moment to anybody else.
_MOMENT = sql.SQL("CASE WHEN {0} >= '0001-01-01' AND {0} < '10000-01-01' THEN {0}::timestamptz END")


def _moment(declared: Entity, row: str) -> sql.Composed:
    return _MOMENT.format(_column(declared, row))


_NEVER = sql.SQL("coalesce({}, '-infinity')")


def deleted_order(declared: Entity, row: str) -> sql.Composable:
    """By which the trash is sorted: the row's own moment, as an index has it; what is not known comes last."""
    if declared.trash.is_flag:
        return _NEVER.format(of_trash(declared, row, "deleted_at"))
    return _column(declared, row)


_SET = sql.SQL("{} = {}")
_AT = sql.SQL("%(at)s::timestamptz")
NO_PARENT = sql.SQL("NULL::text")


def put_in(declared: Entity) -> sql.Composed:
    """What an UPDATE sets to put records into the trash at `%(at)s`, as the product itself would."""
    value = sql.Literal(True) if _trash(declared).is_flag else _AT
    return _SET.format(sql.Identifier(declared.trash.column), value)


def take_out(declared: Entity) -> sql.Composed:
    """What an UPDATE sets to take records out of the trash, as the product itself would."""
    value = sql.Literal(False) if _trash(declared).is_flag else sql.NULL
    return _SET.format(sql.Identifier(declared.trash.column), value)


# The hidden ones are sorted by themselves, so that they can be merged with rows that are read backward: for the planner
# of a join only the order of its outer side is one that the query asks for.
_IS_LISTED = sql.SQL("""
({in_trash} AND {within} AND NOT EXISTS (
    SELECT FROM (
        SELECT id, mark FROM stowage.trash_entries
        WHERE tenant = {tenant} AND entity = {entity} AND deleted_with IS NOT NULL AND {hidden_within}
        ORDER BY {order} OFFSET 0
    ) AS stw_hidden
    WHERE stw_hidden.id = {id}::text AND {counts}
))
""")
_ASCENDING, _DESCENDING = sql.SQL("mark, id"), sql.SQL("mark DESC, id DESC")


def is_listed(declared: Entity, row: str, *, newest_first: bool = False, within: sql.SQL | None = None) -> sql.Composed:
    """Whether the trash shows a record by itself: it came with no parent, and its purge has not begun.

    A join to the server, which takes the hidden ones along in the order of their moments where it reads many;
    `newest_first` where the statement reads the records so. `within` is a condition on `{}`, the moment in the row's
    own column.
    """
    return _IS_LISTED.format(
        in_trash=in_trash(declared, row),
        tenant=_TENANT,
        entity=sql.Literal(declared.name),
        id=sql.Identifier(row, declared.column("id")),
        order=_DESCENDING if newest_first else _ASCENDING,
        within=within.format(_column(declared, row)) if within else _TRUE,
        hidden_within=within.format(sql.Identifier("mark")) if within else _TRUE,
        counts=counts(declared, row, "stw_hidden"),
    )


# An entry that no longer counts goes first: ON CONFLICT would cost each row a second look at the key. Nobody else
# writes an entry meanwhile, because whoever does so has locked the record.
_ENTER = sql.SQL("""
{former} AS (
    DELETE FROM stowage.trash_entries
    WHERE tenant = %(tenant)s AND entity = {entity} AND id = ANY(ARRAY(SELECT id::text FROM {rows}))
    RETURNING id
),
{name} AS (
    INSERT INTO stowage.trash_entries
        (tenant, entity, id, mark, deleted_at, deleted_by, purge_at, deleted_operation, deleted_with, of_flag)
    SELECT %(tenant)s, {entity}, id::text, stw_mark, %(at)s, %(actor)s, %(purge_at)s, %(operation)s, {parent},
           {of_flag}
    FROM {rows} WHERE (SELECT count(*) FROM {former}) >= 0
),
""")


def enter(declared: Entity, rows: str, parent: sql.Composable = NO_PARENT) -> sql.Composed:
    """The CTE, with its comma, that writes down what the trash keeps of the rows of the CTE `rows`.

    Each has `id` and `stw_mark` and is locked by an earlier statement; `parent` is an SQL value of theirs.
    """
    return _ENTER.format(
        former=sql.Identifier(f"stw_former_{rows}"),
        name=sql.Identifier(f"stw_enter_{rows}"),
        entity=sql.Literal(declared.name),
        rows=sql.Identifier(rows),
        parent=parent,
        of_flag=sql.Literal(declared.trash.is_flag),
    )


_FOLLOW = sql.SQL("""
stw_follow AS (
    UPDATE stowage.trash_entries AS stw_entry SET mark = stw_mark FROM {rows} AS stw_row
    WHERE stw_entry.tenant = %(tenant)s AND stw_entry.entity = {entity} AND stw_entry.id = stw_row.id::text
      AND stw_entry.mark IS NOT DISTINCT FROM stw_former_mark
),
""")


def follow(declared: Entity, rows: str) -> sql.Composable:
    """The CTE, with its comma, that lets entries count on after a change of ours to the rows of the CTE `rows`.

    Each has `id`, `stw_mark` and `stw_former_mark`. Nothing where a change of the row does not touch its mark.
    """
    if not (declared.soft_delete and declared.trash.is_flag):
        return sql.SQL("")
    return _FOLLOW.format(rows=sql.Identifier(rows), entity=sql.Literal(declared.name))


# An array of the ids, so that they are looked up by the key whatever the planner expects.
_LEAVE = sql.SQL("""
{name} AS (
    DELETE FROM stowage.trash_entries
    WHERE tenant = %(tenant)s AND entity = {entity} AND id = ANY(ARRAY(SELECT id::text FROM {rows}))
),
""")


def leave(declared: Entity, rows: str) -> sql.Composed:
    """The CTE, with its comma, that forgets what the trash keeps of the rows of the CTE `rows`, by their `id`."""
    return _LEAVE.format(
        name=sql.Identifier(f"stw_leave_{rows}"), entity=sql.Literal(declared.name), rows=sql.Identifier(rows)
    )
