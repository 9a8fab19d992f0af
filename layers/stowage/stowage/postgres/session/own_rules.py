"""What a tenant's tables do with rows without an error: triggers that skip them, rules that do something else instead.

A BEFORE trigger whose function returns NULL leaves its row as it is (PostgreSQL documentation, "Overview of Trigger
Behavior"). Of a table with a rule, Postgres refuses the statements that write records here, or does what the rule says
(PostgreSQL documentation, "CREATE RULE").
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal, LiteralString
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql

from stowage.basics.errors import ConflictError
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.session.violations import Violation

type Event = Literal["INSERT", "UPDATE", "DELETE"]

# pg_trigger.tgtype: 1 for each row, 2 before; the events' own bits (PostgreSQL's source, `catalog/pg_trigger.h`).
_EVENTS = {"INSERT": 4, "DELETE": 8, "UPDATE": 16}
_SKIPPING: LiteralString = """
SELECT tgname::text FROM pg_trigger
WHERE tgrelid = to_regclass(%(table)s) AND NOT tgisinternal AND tgenabled IN ('O', 'A')
  AND tgtype & 3 = 3 AND tgtype & %(event)s <> 0
ORDER BY tgname
"""


def skipped(connection: psycopg.Connection, schema: str, declared: Entity, event: Event) -> Violation | None:
    """Why a record was left out that nothing else keeps out: the table's triggers that may do so; None without any."""
    table = declared.table
    name = sql.Identifier(declared.schema_in(schema), table).as_string(connection)
    found = connection.execute(_SKIPPING, {"table": name, "event": _EVENTS[event]}).fetchall()
    if not found:
        return None
    named = " or ".join(f'"{trigger}"' for (trigger,) in found)
    return Violation("invalid", f"A trigger of {table}, {named}, skipped this change and gave no reason.")


def refuse_kept(
    connection: psycopg.Connection, schema: str, declared: Entity, count: int, event: Event = "UPDATE"
) -> None:
    """ConflictError `not_allowed` where so many records were left as they are without an error; 0: nothing."""
    if count > 0:
        table = declared.table
        found = connection.execute(f"SELECT {INSTEAD}", {"tables": [qualified(schema, declared)]}).fetchone()
        if rules := [rule for _, rule, of in (found or ([],))[0] if of == event]:
            raise _in_the_way([(table, rules)])
        violation = skipped(connection, schema, declared, event)
        why = (
            violation.sentence if violation else f"A rule or a trigger of {declared.table} leaves records as they are."
        )
        raise ConflictError(f"{why} Nothing was changed.", "not_allowed")


_WITH_RULES: LiteralString = """
SELECT tablename::text, array_agg(rulename::text ORDER BY rulename) FROM pg_rules
WHERE schemaname = %s AND rulename <> '_RETURN' GROUP BY tablename ORDER BY tablename
"""


def rules_in_the_way(connection: psycopg.Connection, schema: str) -> ConflictError | None:
    """The refusal of a change by which Postgres would have to follow a rule that it cannot; None without any rule."""
    found = connection.execute(_WITH_RULES, (schema,)).fetchall()
    if not found:
        return None
    return _in_the_way(found)


def _in_the_way(found: Iterable[tuple[str, Sequence[str]]]) -> ConflictError:
    tables = " and ".join(f"{table} ({', '.join(f'"{rule}"' for rule in rules)})" for table, rules in found)
    return ConflictError(
        f"Rules of the tables (CREATE RULE) stand in the way of this change: of {tables}. Nothing was changed; a "
        "trigger in place of such a rule does not stand in the way.",
        "not_allowed",
    )


# A rule of one action with RETURNING is one that Postgres follows in our statements too: they tell what the action
# returns, of whichever table, and the record is as it was.
INSTEAD: LiteralString = """
(SELECT coalesce(jsonb_agg(jsonb_build_array(relname, rulename, CASE ev_type
            WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' ELSE 'DELETE' END) ORDER BY relname, rulename), '[]')
 FROM pg_rewrite JOIN pg_class AS ruled ON ruled.oid = ev_class
 WHERE is_instead AND ev_type <> '1' AND ev_class = ANY(ARRAY(
     SELECT to_regclass(name)::oid FROM unnest(%(tables)s::text[]) AS name
 )))
"""
"""The `Rule`s of the `tables` (`qualified`), a value of a SELECT list."""

# pg_trigger.tgtype: 2 before, 64 instead; 4 and 16 as in `_EVENTS`.
AFTERWARDS: LiteralString = """
ARRAY(SELECT name FROM unnest(%(tables)s::text[]) AS name WHERE EXISTS (
    SELECT FROM pg_trigger WHERE tgrelid = to_regclass(name) AND NOT tgisinternal AND tgenabled IN ('O', 'A')
        AND tgtype & 66 = 0 AND tgtype & 20 <> 0
))
"""
"""Those of the `tables` (`qualified`) that have AFTER triggers of new or changed rows, a value of a SELECT list."""

_afterwards: WeakKeyDictionary[psycopg.Connection, frozenset[str]] = WeakKeyDictionary()


def keep_after_triggers(connection: psycopg.Connection, tables: Collection[str]) -> None:
    """Keep which tables `AFTERWARDS` named, until this is asked anew on that connection."""
    _afterwards[connection] = frozenset(tables)


def has_after_triggers(connection: psycopg.Connection, schema: str, declared: Entity) -> bool:
    """Whether AFTER triggers may have changed what a statement told of an entity's records."""
    return qualified(schema, declared) in _afterwards.get(connection, ())


type Rule = tuple[str, str, Event]
"""A rule that does something else instead: its table, its name, of what."""

_WRITTEN: LiteralString = """
SELECT DISTINCT entity, type FROM stowage.changes WHERE tenant = %(tenant)s AND operation = %(operation)s
"""


def qualified(schema: str, declared: Entity) -> str:
    """The name of an entity's table, in SQL; it need not be there."""
    return sql.Identifier(declared.shared.schema if declared.shared else schema, declared.table).as_string()


def refuse_followed(connection: psycopg.Connection, rules: Sequence[Rule], tenant: str, operation: str) -> None:
    """ConflictError `not_allowed` where one of the rules stood in for what an operation's entries say was done."""
    if not rules:
        return
    written = connection.execute(_WRITTEN, {"tenant": tenant, "operation": operation}).fetchall()
    known = [(ENTITIES[name], how) for name, how in written if name in ENTITIES]
    done = {(entity.table, event) for entity, how in known for event in _events_of(entity, how)}
    followed = [(table, rule) for table, rule, event in rules if (table, event) in done]
    if followed:
        raise _in_the_way([(table, [rule]) for table, rule in followed])


def _events_of(entity: Entity, how: str) -> tuple[Event, ...]:
    """How entries of a type come about."""
    match how:
        case "created":
            return ("INSERT",)
        case "purged":
            return ("DELETE",)
        case "deleted" | "restored" if not entity.soft_delete:
            return ("INSERT", "DELETE")
        case "updated" | "deleted" | "restored":
            return ("UPDATE",)
    return ()
