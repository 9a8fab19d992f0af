"""Where an id lies, and what keeps a record in the trash."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.session.encodings import is_held
from stowage.postgres.tables.relations import id_of, is_taken, key_type, lacks_parent, mine, parents, rows_of, table_of
from stowage.postgres.tables.trashed import in_trash, of_trash, outside_trash
from stowage.postgres.tables.unique_rules import UniqueRule, is_in_the_way, out_of_trash, undeclared_rules
from stowage.postgres.trash.lists import TrashRow, name_of, shown_name, shown_rows
from stowage.tenants import Tenant


@dataclass(frozen=True)
class Found:
    """Where an id was found: in that entity's trash (`trash`, or `purging` once that has begun) or outside it, or
    (`purged`) only in the journal.
    """

    entity: str
    state: str


_FIND = sql.SQL("""
SELECT {entity}::text AS entity,
       coalesce(
           (SELECT CASE WHEN {outside} THEN 'outside' WHEN {with} = '' THEN 'purging' ELSE 'trash' END
            FROM {table} AS record WHERE {id_column} = {id}::text::{key}),
           CASE WHEN EXISTS (
               SELECT FROM stowage.changes
               WHERE tenant = %(tenant)s AND entity = {entity} AND id = {id}::text AND type = 'purged'
           ) THEN 'purged' ELSE 'nowhere' END
       ) AS state
""")


def find_in_trash(connection: psycopg.Connection, tenant: Tenant, entities: Sequence[Entity], id: str) -> list[Found]:
    """What each of these entities knows of that id, in one statement: a state of `Found`, or `nowhere`.

    Entities of which no record can have it are left out.
    """
    if not is_held(connection, id):
        return []
    given: dict[str, object] = {"tenant": tenant.id}
    parts: list[sql.Composed] = []
    for n, declared in enumerate(entities):
        given[f"id_{n}"] = declared.key.read(id)
        if given[f"id_{n}"] is not None:
            parts.append(
                _FIND.format(
                    entity=sql.Literal(declared.name),
                    table=rows_of(tenant.schema, declared),
                    id_column=id_of(declared),
                    id=sql.Placeholder(f"id_{n}"),
                    outside=outside_trash(declared, "record"),
                    **{"with": of_trash(declared, "record", "deleted_with")},
                    key=key_type(declared),
                )
            )
    if not parts:
        return []
    with connection.cursor(row_factory=class_row(Found)) as cursor:
        return cursor.execute(sql.SQL(" UNION ALL ").join(parts), given).fetchall()


_ONE = sql.SQL("WITH asked AS (SELECT {entity}::text AS entity, %(id)s::text AS id) ")


_CAN_COME_BACK = sql.SQL("WHERE {in_trash} AND {with} IS DISTINCT FROM ''")


def read_trashed(connection: psycopg.Connection, tenant: Tenant, declared: Entity, id: str) -> TrashRow | None:
    """One record of the trash; None where it is not there, or its purge has begun."""
    can_come_back = _CAN_COME_BACK.format(
        in_trash=in_trash(declared, "record"), **{"with": of_trash(declared, "record", "deleted_with")}
    )
    shown = shown_rows(tenant.schema, declared, "asked")
    statement = _ONE.format(entity=sql.Literal(declared.name)) + shown + can_come_back
    with connection.cursor(row_factory=class_row(TrashRow)) as cursor:
        return cursor.execute(statement, {"id": id, "tenant": tenant.id}).fetchone()


_NAME_OF = sql.SQL("SELECT {name} FROM {table} AS record WHERE {id} = %s::{key}")


def read_name(connection: psycopg.Connection, schema: str, declared: Entity, id: str) -> str:
    """What names a record to a person, as the trash shows it."""
    statement = _NAME_OF.format(
        name=name_of(declared), table=rows_of(schema, declared), id=id_of(declared), key=key_type(declared)
    )
    row = connection.execute(statement, (id,)).fetchone()
    assert row is not None, "the record is locked"
    return shown_name(row[0])


_PARENTS_OF = sql.SQL("SELECT {conditions} FROM {table} AS record WHERE {id} = %(id)s::{key}")


def parents_in_trash(connection: psycopg.Connection, schema: str, declared: Entity, id: str) -> list[str]:
    """The entities of which this record's own parent is in the trash, by their plural names."""
    needed = parents(declared)
    if not needed:
        return []
    conditions = [lacks_parent(schema, parent, declared, reference, "record") for parent, reference in needed]
    statement = _PARENTS_OF.format(
        conditions=sql.SQL(", ").join(conditions),
        table=rows_of(schema, declared),
        id=id_of(declared),
        key=key_type(declared),
    )
    row = connection.execute(statement, {"id": id}).fetchone()
    assert row is not None, "the record is locked"
    return [parent.name for (parent, _), lacks in zip(needed, row, strict=True) if lacks]


@dataclass(frozen=True)
class Clash:
    """A unique rule that keeps a record in the trash: the fields that a record outside it has taken, with their values.

    `rule` is the name of one that nobody declared; `fields` are those that it looks at.
    """

    entity: str
    id: str
    fields: tuple[str, ...]
    values: Mapping[str, Any]
    rule: str | None = None


_CLASHES = sql.SQL("""
SELECT {entity}::text, record.{id}::text, {rule}::int, jsonb_build_object({values})
FROM {table} AS record
WHERE {which} AND {taken}
""")

_MOST_CLASHES = 100


_RULED_OUT = sql.SQL("""
SELECT {entity}::text, record.{id}::text, {rule}::int, NULL::jsonb
FROM {table} AS record WHERE {mine} AND {which} AND {in_the_way}
""")


def find_clashes(connection: psycopg.Connection, tenant: Tenant, declared: Entity, id: str) -> list[Clash]:
    """What stands in the way of a record of the trash and of what would come with it; the first hundred."""
    schema = tenant.schema
    coming = [(declared, sql.SQL("record.{id} = %(id)s::{key}").format(id=id_of(declared), key=key_type(declared)))]
    for child, reference in declared.children("cascade"):
        with_it = sql.SQL(
            "record.{column} = %(id)s::{key} AND {with} = %(id)s::text AND {operation} "
            "IS NOT DISTINCT FROM (SELECT {theirs} FROM {table} AS parent WHERE {id} = %(id)s::{key})"
        ).format(
            operation=of_trash(child, "record", "deleted_operation"),
            theirs=of_trash(declared, "parent", "deleted_operation"),
            **{"with": of_trash(child, "record", "deleted_with")},
            column=sql.Identifier(child.column(reference.field)),
            table=rows_of(schema, declared),
            id=id_of(declared),
            key=key_type(declared),
        )
        coming.append((child, with_it))
    undeclared = undeclared_rules(connection, schema, [entity for entity, _ in coming])
    parts: list[sql.Composed] = []
    for entity, which in coming:
        parts += [_clashes(schema, entity, rule, which) for rule in range(len(entity.unique))]
        parts += [
            _RULED_OUT.format(
                entity=sql.Literal(entity.name),
                rule=sql.Literal(-1 - place),
                id=id_of(entity),
                table=table_of(schema, entity),
                mine=mine(schema, entity, "record"),
                which=which,
                in_the_way=is_in_the_way(
                    rows_of(schema, entity), entity, rule, out_of_trash(entity, "record"), "record"
                ),
            )
            for place, rule in enumerate(undeclared[entity.name])
        ]
    if not parts:
        return []
    statement = sql.SQL(" UNION ALL ").join(parts) + sql.SQL(" LIMIT {}").format(sql.Literal(_MOST_CLASHES))
    return [
        Clash(entity, record_id, ENTITIES[entity].unique[rule], values)
        if rule >= 0
        else _ruled_out(ENTITIES[entity], record_id, undeclared[entity][-1 - rule])
        for entity, record_id, rule, values in connection.execute(statement, {"id": id, "tenant": tenant.id})
    ]


def _ruled_out(entity: Entity, record_id: str, rule: UniqueRule) -> Clash:
    fields = tuple(field.name for field in entity.fields if field.column in rule.columns)
    return Clash(entity.name, record_id, fields, {}, rule.name)


def _clashes(schema: str, declared: Entity, rule: int, which: sql.Composable) -> sql.Composed:
    values = [
        sql.SQL("{}, record.{}").format(sql.Literal(name), sql.Identifier(declared.column(name)))
        for name in declared.unique[rule]
    ]
    return _CLASHES.format(
        entity=sql.Literal(declared.name),
        rule=sql.Literal(rule),
        id=id_of(declared),
        values=sql.SQL(", ").join(values),
        table=rows_of(schema, declared),
        which=which,
        taken=is_taken(schema, declared, declared.unique[rule], "record"),
    )
