"""A backup's rows of declared tables, staged in a schema of their own, beside the tenant's.

All columns are texts, but the key, so that what a column's type was or has become makes no difference: the text of the
dump is compared with the text of the live value. The tables are unlogged. After a crash of the server they are empty,
and so is `stw_marker`, which names them: nobody then takes a backup for empty.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import LiteralString

import psycopg
from psycopg import errors, sql

from stowage.basics.errors import RunError
from stowage.entities.declaration import Entity
from stowage.postgres.compares.blocks import Block, Rows, Table
from stowage.postgres.dumps.failures import database_error
from stowage.postgres.session.connection import APP

PREFIX = "stowage_compare_"


def staging_schema(run_id: str, attempt: int) -> str:
    """The schema that holds what an attempt of a comparison has staged.

    Each attempt has one of its own, so that one that is lost cannot write into another's.
    """
    return f"{PREFIX}{run_id}_{attempt}"


_BEGIN = sql.SQL("BEGIN; CREATE SCHEMA {schema}")
_MARKER = sql.SQL("""
CREATE UNLOGGED TABLE {schema}.stw_marker (entity text PRIMARY KEY, place int, columns text[])
""")
_DIFFERENCES = sql.SQL("""
CREATE UNLOGGED TABLE {schema}.stw_differences (
    entity text, kind text, id text, n bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (entity, kind, n)
)
""")
_CREATE = sql.SQL("CREATE UNLOGGED TABLE {table} ({columns})")
_ADD: LiteralString = "ALTER TABLE {table} ADD COLUMN {column} text"
_COPY = sql.SQL("COPY {table} ({columns}) FROM STDIN WITH (FREEZE, ENCODING {encoding})")
_DELETE_OTHERS = sql.SQL("DELETE FROM {table} WHERE {owner} IS DISTINCT FROM {tenant}")
_INDEX = sql.SQL("CREATE INDEX ON {table} ({key})")
_ANALYZE = sql.SQL("ANALYZE {table}")
_MARK = sql.SQL("INSERT INTO {schema}.stw_marker VALUES (%s, %s, %s)")
_GRANT = sql.SQL("""
GRANT USAGE ON SCHEMA {schema} TO {app};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {app};
COMMIT
""")
_LEFT: LiteralString = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)"
_DROP = sql.SQL("BEGIN; SET LOCAL lock_timeout = '5s'; DROP SCHEMA IF EXISTS {schema} CASCADE; COMMIT")


class Staging:
    """Fills the schema of a comparison, in one transaction of a connection as `stowage_restore` (autocommit).

    `entities` are those that are wanted, by their tables in the backup. Until `commit` there is nothing.
    """

    def __init__(
        self, connection: psycopg.Connection, schema: str, tenant: str, entities: Mapping[Table, Sequence[Entity]]
    ) -> None:
        self.columns: dict[Table, list[str]] = {}
        """The columns of each table that the backup holds."""
        self._connection, self._tenant, self._entities = connection, tenant, entities
        self._schema = schema
        self._execute(_BEGIN, _MARKER, _DIFFERENCES)

    def opened(self, block: Block) -> Rows:
        """Where the rows of a block go; its table is made with the first one."""
        known, place = self.columns.get(block.table), len(self.columns)
        if known is None:
            known = self.columns[block.table] = list(block.columns)
            kinds = {column: kind for column, kind in self._entities[block.table][0].key.columns if kind != "other"}
            typed = [_typed(column, kinds.get(column, "text")) for column in known]
            self._connection.execute(_CREATE.format(table=staged_table(self._schema, place), columns=_listed(typed)))
        table = self._name(block.table)
        for column in block.columns:
            if column not in known:
                known.append(column)
                self._connection.execute(sql.SQL(_ADD).format(table=table, column=sql.Identifier(column)))
        columns_copied = _listed([sql.Identifier(column) for column in block.columns])
        encoding = sql.Literal(block.encoding)
        return _Copying(self._connection, _COPY.format(table=table, columns=columns_copied, encoding=encoding))

    def commit(self) -> None:
        """Keep what was staged: only the tenant's own rows, for `stowage_app` to read."""
        for place, (staged, columns) in enumerate(self.columns.items()):
            table, entities = self._name(staged), self._entities[staged]
            declared = entities[0]
            if declared.shared:
                owner, tenant = sql.Identifier(declared.shared.column), sql.Literal(self._tenant)
                self._connection.execute(_DELETE_OTHERS.format(table=table, owner=owner, tenant=tenant))
            if {*declared.key.names} <= {*columns}:
                key = _listed([sql.Identifier(column) for column in declared.key.names])
                self._connection.execute(_INDEX.format(table=table, key=key))
            self._connection.execute(_ANALYZE.format(table=table))
            for each in entities:
                mark = _MARK.format(schema=sql.Identifier(self._schema))
                self._connection.execute(mark, (each.name, place, columns))
        self._connection.execute(_GRANT.format(schema=sql.Identifier(self._schema), app=sql.Identifier(APP)))

    def _name(self, table: Table) -> sql.Identifier:
        return staged_table(self._schema, list(self.columns).index(table))

    def _execute(self, *statements: sql.SQL) -> None:
        for statement in statements:
            self._connection.execute(statement.format(schema=sql.Identifier(self._schema)))


def staged_table(schema: str, place: int) -> sql.Identifier:
    """A staged table, by its place among those that the marker names."""
    return sql.Identifier(schema, f"t{place}")


def drop_staging(connection: psycopg.Connection, run_id: str) -> None:
    """Drop what any attempt of a comparison has staged, if anything is left of it."""
    for (schema,) in connection.execute(_LEFT, (f"{PREFIX}{run_id}_",)).fetchall():
        connection.execute(_DROP.format(schema=sql.Identifier(schema)))


@contextmanager
def refusals() -> Iterator[None]:
    """The database's errors while a backup is staged and compared, as RunError or TransientRunError."""
    try:
        yield
    except errors.DataError as error:
        message = "The keys in the backup do not fit the type that the key has now, so nothing can be compared."
        raise RunError(message, "key_changed") from error
    except psycopg.Error as error:
        raise database_error(error) from error


def _typed(column: str, kind: LiteralString) -> sql.Composed:
    return sql.SQL("{} " + kind).format(sql.Identifier(column))


def _listed(parts: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


class _Copying:
    """A COPY under way."""

    def __init__(self, connection: psycopg.Connection, statement: sql.Composed) -> None:
        self._stack = ExitStack()
        cursor = self._stack.enter_context(connection.cursor())
        self._copy = self._stack.enter_context(cursor.copy(statement))

    def write(self, text: bytes) -> None:
        self._copy.write(text)

    def close(self) -> None:
        self._stack.close()
