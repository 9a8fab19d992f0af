"""What a tenant's tables are not like their declarations, looked up once a statement has failed."""

from collections.abc import Callable
from typing import LiteralString

import psycopg
from psycopg import errors

from stowage.basics.errors import MisconfiguredError
from stowage.entities.absence import absent, without
from stowage.entities.checking import check, wanted_columns
from stowage.postgres.session.connection import borrowed
from stowage.postgres.tables.shapes import read_shapes
from stowage.postgres.tables.shared import check_shared
from stowage_entities import DECLARED

_TOLD = 3
"""How many disagreements a message names before it only counts."""

_LACKING: LiteralString = """
SELECT to_regnamespace(quote_ident(%(schema)s)) IS NOT NULL, ARRAY(
    SELECT name FROM unnest(%(tables)s::text[]) AS wanted (name)
    WHERE NOT EXISTS (
        SELECT FROM pg_class JOIN pg_namespace AS space ON space.oid = relnamespace
        WHERE nspname = %(schema)s AND relname = wanted.name AND relkind IN ('r', 'p', 'v', 'm', 'f')
    )
)
"""


def lacking_entities(connection: psycopg.Connection, schema: str) -> frozenset[str]:
    """The names of the entities whose table a tenant's schema does not have; MisconfiguredError `schema_missing`."""
    tables = {
        literal["table"]: name for name, literal in DECLARED.items() if not (literal["schema"] or literal["lacks"])
    }
    row = connection.execute(_LACKING, {"schema": schema, "tables": list(tables)}).fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    if not row[0]:
        raise MisconfiguredError(f"There is no schema {schema} in the tenant's database.", "schema_missing")
    return frozenset(tables[table] for table in row[1])


def as_tables_are[T](database: str, role: str, schema: str, ask: Callable[[], T]) -> T:
    """What `ask` gives. Where it fails and a table is not there, it is asked again without what the tenant lacks.

    MisconfiguredError `declaration_differs` where a statement failed because a table is not as it is declared; any
    other error of Postgres as it is.
    """
    try:
        return ask()
    except (errors.ProgrammingError, errors.DataError) as error:
        with borrowed(database, role) as connection:
            lacking = lacking_entities(connection, schema)
            if lacking <= absent():
                raise _disagreement(connection, schema) or error from error
    with without(lacking):
        return as_tables_are(database, role, schema, ask)


def _disagreement(connection: psycopg.Connection, schema: str) -> MisconfiguredError | None:
    _, shapes = read_shapes(connection, [schema], wanted_columns(DECLARED))
    found = [
        f"{each.entity}: {each.sentence}"
        for each in [
            *(one for one in check(DECLARED, [], shapes) if one.tenants),
            *check_shared(connection, DECLARED, [schema]),
        ]
        if each.severity == "error"
    ]
    if not found:
        return None
    more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return MisconfiguredError(
        f"The tenant's tables are not as they are declared ({'; '.join(found[:_TOLD])}{more}). "
        "`python -m stowage.entities check` tells everything.",
        "declaration_differs",
    )
