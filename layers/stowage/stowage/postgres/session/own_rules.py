"""What a tenant's tables do with rows without an error: triggers that skip them, rules that do something else instead.

A BEFORE trigger whose function returns NULL leaves its row as it is (PostgreSQL documentation, "Overview of Trigger
Behavior"). Of a table with a rule, Postgres refuses the statements that write records here, or does what the rule says
(PostgreSQL documentation, "CREATE RULE").
"""

from typing import Literal, LiteralString

import psycopg
from psycopg import sql

from stowage.basics.errors import ConflictError
from stowage.entities.declaration import Entity
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
    tables = " and ".join(f"{table} ({', '.join(f'"{rule}"' for rule in rules)})" for table, rules in found)
    return ConflictError(
        f"Rules of the tables (CREATE RULE) stand in the way of this change: of {tables}. Nothing was changed; a "
        "trigger in place of such a rule does not stand in the way.",
        "not_allowed",
    )
