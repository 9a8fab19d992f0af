"""After another state of the schema has taken the live one's place: the journal says so, and the trash follows.

The journal lies outside of the schema, so it knows what the rows do not: who deleted what is in the trash again, and
what has been deleted for good since.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString

import psycopg
from psycopg import sql

from stowage.entities.declaration import Entity
from stowage.postgres.edits.deletes import delete_records
from stowage.postgres.journal.changes import Change, append_changes
from stowage.postgres.session.edit import Edit
from stowage.postgres.tables.relations import id_of, key_type, mine, rows_of, table_of
from stowage.postgres.tables.trashed import counts, in_trash, mark, of_trash
from stowage.postgres.trash.purge_due import in_order
from stowage.postgres.trash.spans import recount_trash

PURGED_AT_ONCE = 10_000
KEPT_FOR = timedelta(days=7)
"""So long a swap can be taken back."""

_FOLLOWED: LiteralString = """
SELECT EXISTS (SELECT FROM stowage.changes WHERE tenant = %s AND operation = %s AND type = 'schema.restored')
"""


def has_followed(connection: psycopg.Connection, tenant: str, run_id: str) -> bool:
    """Whether the journal already says that a run has restored the schema."""
    return connection.execute(_FOLLOWED, (tenant, run_id)).fetchone() == (True,)


def follow_restored(
    connection: psycopg.Connection,
    edit: Edit,
    entities: Sequence[Entity],
    *,
    made_at: datetime,
    trash: timedelta,
    told: dict[str, object],
) -> None:
    """Let journal and trash follow, in one transaction; `edit.operation` is the run's id, `entities` are all that have
    a trash, `made_at` is when the restored state was written, `trash` how long the trash keeps a record.

    What has been purged since goes to the trash as a record whose purge has begun: nobody sees it, and the next purge
    takes it.
    """
    for declared in entities:
        _rebuild(connection, edit, declared, made_at, trash)
    # Children first, as the purge itself does: a parent stays as long as one refers to it.
    stay = sum(_purge_again(connection, edit, each, made_at) for each in in_order() if each in entities)
    if stay:
        told = told | {"not_purged_again": stay}
    recount_trash(connection, edit.tenant, entities)
    restored = Change(edit.operation, "schema", edit.operation, "schema.restored", None, told, edit.actor, edit.at)
    append_changes(connection, edit.tenant.id, [restored])


# A deletion of ours has the moment of the row. A flag has none: there it is the last that the journal says of the
# record before the restored state was written.
_REBUILD = sql.SQL("""
INSERT INTO stowage.trash_entries
    (tenant, entity, id, mark, deleted_at, deleted_by, purge_at, deleted_operation, deleted_with, of_flag)
SELECT %(tenant)s, {entity}, record.{id}::text, {mark}, stw_last.at, stw_last.actor,
       greatest(stw_last.at + %(trash)s, %(from_now)s), stw_last.operation, {parent}, {of_flag}
FROM {table} AS record
CROSS JOIN LATERAL (
    SELECT type, at, actor, operation FROM stowage.changes
    WHERE tenant = %(tenant)s AND entity = {entity} AND id = record.{id}::text AND {which}
    ORDER BY seq DESC LIMIT 1
) AS stw_last
WHERE {mine} AND {in_trash} AND stw_last.type = 'deleted' AND NOT EXISTS (
    SELECT FROM stowage.trash_entries AS stw_known
    WHERE stw_known.tenant = %(tenant)s AND stw_known.entity = {entity} AND stw_known.id = record.{id}::text
      AND {counts}
)
ON CONFLICT (tenant, entity, id) DO UPDATE
SET mark = excluded.mark, deleted_at = excluded.deleted_at, deleted_by = excluded.deleted_by,
    purge_at = excluded.purge_at, deleted_operation = excluded.deleted_operation,
    deleted_with = excluded.deleted_with, of_flag = excluded.of_flag
""")
_SAME_MOMENT = sql.SQL("type = 'deleted' AND abs(extract(epoch FROM at - {})) < 0.001")
_BEFORE = sql.SQL("type = ANY(ARRAY['created', 'updated', 'deleted', 'restored']) AND at <= %(made_at)s")
_NOBODY = sql.SQL("NULL::text")
_PARENT = sql.SQL("""
CASE WHEN EXISTS (
    SELECT FROM stowage.changes AS stw_parent
    WHERE stw_parent.tenant = %(tenant)s AND stw_parent.operation = stw_last.operation
      AND stw_parent.entity = {entity} AND stw_parent.id = record.{column}::text AND stw_parent.type = 'deleted'
) THEN record.{column}::text END
""")
_FIRST_OF = sql.SQL("coalesce({})")


def _rebuild(connection: psycopg.Connection, edit: Edit, declared: Entity, made_at: datetime, trash: timedelta) -> None:
    """Write the entries of what is in the trash again, though it had left it since."""
    parents: list[sql.Composable] = [
        _PARENT.format(entity=sql.Literal(reference.entity), column=sql.Identifier(declared.column(reference.field)))
        for reference in declared.references
        if reference.on_delete == "cascade"
    ]
    moment = of_trash(declared, "record", "deleted_at")
    statement = _REBUILD.format(
        entity=sql.Literal(declared.name),
        id=id_of(declared),
        table=rows_of(edit.schema, declared),
        mine=mine(edit.schema, declared, "record"),
        mark=mark(declared, "record"),
        in_trash=in_trash(declared, "record"),
        parent=_FIRST_OF.format(sql.SQL(", ").join([*parents, _NOBODY])),
        of_flag=sql.Literal(declared.trash.is_flag),
        which=_BEFORE if declared.trash.is_flag else _SAME_MOMENT.format(moment),
        counts=counts(declared, "record", "stw_known"),
    )
    # What had left the trash since may be taken out of it again; a revert finds it where it was.
    given = {"tenant": edit.tenant.id, "made_at": made_at, "trash": trash, "from_now": edit.at + KEPT_FOR}
    connection.execute(statement, given)


_PURGED = sql.SQL("""
SELECT record.{id}::text, {in_trash} FROM {table} AS record
WHERE {mine} AND record.{id} = ANY(ARRAY(
    SELECT DISTINCT id FROM stowage.changes
    WHERE tenant = %(tenant)s AND entity = {entity} AND type = 'purged' AND at >= %(made_at)s
)::{key}[])
""")
_END = sql.SQL("""
INSERT INTO stowage.trash_entries (tenant, entity, id, mark, deleted_at, purge_at, deleted_with, of_flag)
SELECT %(tenant)s, {entity}, record.{id}::text, {mark}, {deleted_at}, %(at)s, '', {of_flag}
FROM {table} AS record WHERE {mine} AND record.{id} = ANY(%(ids)s::{key}[])
ON CONFLICT (tenant, entity, id) DO UPDATE
SET mark = excluded.mark, purge_at = excluded.purge_at, deleted_with = excluded.deleted_with
""")


def _purge_again(connection: psycopg.Connection, edit: Edit, declared: Entity, made_at: datetime) -> int:
    """Put what was purged since into the trash, and say that its purge has begun. How many stay, because a record that
    was not purged refers to them.
    """
    names = {
        "entity": sql.Literal(declared.name),
        "id": id_of(declared),
        "key": key_type(declared),
        "mine": mine(edit.schema, declared, "record"),
    }
    statement = _PURGED.format(**names, in_trash=in_trash(declared, "record"), table=table_of(edit.schema, declared))
    found = connection.execute(statement, {"tenant": edit.tenant.id, "made_at": made_at}).fetchall()
    live = [key for key, is_trashed in found if not is_trashed]
    stay = set[str]()
    for start in range(0, len(live), PURGED_AT_ONCE):
        ids = live[start : start + PURGED_AT_ONCE]
        outcome = delete_records(connection, edit, declared, ids, edit.at, most_children=len(ids) + 10**9, kind=None)
        stay |= {key for key, code in zip(ids, outcome.codes, strict=True) if code is not None}
    ending = [key for key, _ in found if key not in stay]
    if ending:
        end = _END.format(
            **names,
            table=table_of(edit.schema, declared),
            mark=mark(declared, "record"),
            deleted_at=of_trash(declared, "record", "deleted_at"),
            of_flag=sql.Literal(declared.trash.is_flag),
        )
        connection.execute(end, {"tenant": edit.tenant.id, "at": edit.at, "ids": ending})
    return len(stay)
