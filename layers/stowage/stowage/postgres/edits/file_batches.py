"""File imports in Postgres: rows come in by COPY into a temporary table and from there, batch by batch, into their own.

One transaction a batch: the rows, their journal, and how far the import is. Whoever repeats a killed attempt therefore
goes on behind the last row that is there. The number of statements is the same for every batch whose rows are all good.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from stowage.basics.errors import RunError, TransientRunError, UnavailableError
from stowage.entities.declaration import Entity
from stowage.postgres.edits.inserts import Author
from stowage.postgres.edits.rules import Problem, column_of, find_problems, has_parent, parent_cte, parents_of
from stowage.postgres.edits.updates import Update, Updated, update_problems, update_records
from stowage.postgres.session.row_security import is_row_security, told_of
from stowage.postgres.session.savepoints import Refused, refusal, tried
from stowage.postgres.tables.relations import outside_trash, table_of

_BUSY = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)


@dataclass(frozen=True)
class Progress:
    """How far an import is: `position` and `line` for its reader, the rows done, and what became of them."""

    operation: str
    position: int
    line: int
    rows: int
    created: int
    updated: int
    skipped: int
    failed: int


@dataclass(frozen=True)
class BatchOutcome:
    """What became of a batch's rows: a letter for each, and `[row, code, sentence]` of those that failed."""

    first_row: int
    outcomes: str
    failures: list[tuple[int, str, str]]

    def count(self, letter: str) -> int:
        """How many ended so."""
        return self.outcomes.count(letter)


_BEGIN: LiteralString = """
INSERT INTO stowage.file_imports AS known (id, tenant, entity, actor, operation, attempt)
VALUES (%(id)s, %(tenant)s, %(entity)s, %(actor)s, %(operation)s, %(attempt)s)
ON CONFLICT (id) DO UPDATE SET
    attempt = excluded.attempt,
    closed_at = NULL,
    operation = CASE WHEN known.closed_at IS NULL THEN known.operation ELSE excluded.operation END,
    operation_began_at_row = CASE WHEN known.closed_at IS NULL THEN known.operation_began_at_row ELSE known.rows END,
    operation_failed = CASE WHEN known.closed_at IS NULL THEN known.operation_failed ELSE known.failed END
WHERE known.attempt < excluded.attempt
RETURNING operation, position, line, rows, created, updated, skipped, failed
"""

_FORGET_OLD: LiteralString = """
DELETE FROM stowage.file_imports WHERE id IN (
    SELECT id FROM stowage.file_imports WHERE started_at < now() - %(days)s * interval '1 day'
    ORDER BY started_at LIMIT 20 FOR UPDATE SKIP LOCKED
)
"""


def begin_import(
    connection: psycopg.Connection, import_id: str, attempt: int, author: Author, entity: Entity, *, keep_days: int
) -> Progress | None:
    """Take an import for this attempt; how far it is, or None where a later attempt has it.

    An import whose operation was summed up already, because it was cancelled or failed for good, goes on under the
    author's new one. Imports begun more than `keep_days` days ago are forgotten by the way.
    """
    with connection.cursor(row_factory=class_row(Progress)) as cursor:
        begun = cursor.execute(
            _BEGIN,
            {
                "id": import_id,
                "tenant": author.tenant,
                "entity": entity.name,
                "actor": author.actor,
                "operation": author.operation,
                "attempt": attempt,
            },
        ).fetchone()
    connection.execute(_FORGET_OLD, {"days": keep_days})
    return begun


_CLOSE: LiteralString = """
WITH closed AS (
    UPDATE stowage.file_imports SET closed_at = now() WHERE id = %(id)s AND closed_at IS NULL
    RETURNING *, rows - operation_began_at_row AS total, failed - operation_failed AS lost
),
taken AS MATERIALIZED (
    SELECT stowage.take_seqs(tenant, 1) AS base, * FROM closed WHERE total > 0
)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT tenant, base + 1, operation, entity, operation, 'operation', NULL,
       jsonb_build_object('kind', 'import', 'total', total, 'succeeded', total - lost, 'failed', lost, 'job', id),
       actor, now()
FROM taken
"""


def close_import(connection: psycopg.Connection, import_id: str) -> None:
    """Sum an import up in the journal, as one operation, and let no attempt write any more; once, however often called.

    One that has written nothing is no operation.
    """
    connection.execute(_CLOSE, {"id": import_id})


_OUTCOMES: LiteralString = """
SELECT first_row, outcomes, failures FROM stowage.file_import_batches
WHERE import = %(id)s AND first_row > %(after)s ORDER BY first_row LIMIT 4
"""


def read_outcomes(connection: psycopg.Connection, import_id: str) -> Iterator[BatchOutcome]:
    """What became of every row so far, in order."""
    after = -1
    while found := connection.execute(_OUTCOMES, {"id": import_id, "after": after}).fetchall():
        for first_row, outcomes, failures in found:
            yield BatchOutcome(first_row, outcomes, [(row, code, error) for row, code, error in failures])
        after = found[-1][0]


# A batch waits for the file's next bytes, and its statements for nobody longer than the role's own lock_timeout. The
# planner knows nothing of a temporary table's rows; it must not read all of the target to find a few thousand.
_PREPARE: LiteralString = """
SET idle_session_timeout = '10min';
SET statement_timeout = '60s';
SET enable_seqscan = off;
SET jit = off
"""
_ROWS_TABLE = sql.SQL("""
CREATE TEMPORARY TABLE import_rows ON COMMIT DELETE ROWS AS
SELECT 0::bigint AS n, {columns} FROM {table} WITH NO DATA
""")
_CHANGES_TABLE: LiteralString = """
CREATE TEMPORARY TABLE import_changes (n bigint, id text, after jsonb) ON COMMIT DELETE ROWS
"""
_DEFAULT = sql.SQL("ALTER TABLE pg_temp.import_rows ALTER COLUMN {} SET DEFAULT {}")


class ImportSession:
    """One attempt's connection, which becomes its own. `author` is who the journal names, and when."""

    def __init__(
        self, connection: psycopg.Connection, author: Author, entity: Entity, import_id: str, attempt: int
    ) -> None:
        self._connection, self.author, self._entity = connection, author, entity
        self._import_id, self._attempt = import_id, attempt
        self._table = table_of(author.schema, entity)
        self._columns = [field.column for field in entity.fields]

    def prepare(self, defaults: dict[str, Any]) -> None:
        """Make the temporary tables; `defaults` are the values, by column, of columns that a file may not have."""
        with self.errors():
            self._connection.execute(_PREPARE)
            columns = sql.SQL(", ").join(map(sql.Identifier, self._columns))
            self._connection.execute(_ROWS_TABLE.format(columns=columns, table=self._table))
            self._connection.execute(_CHANGES_TABLE)
            for column, value in defaults.items():
                if value is not None:
                    self._connection.execute(_DEFAULT.format(sql.Identifier(column), sql.Literal(value)))

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Psycopg's errors as ours: UnavailableError for what a second try of the batch may not meet,
        TransientRunError for a connection that broke, RunError where Postgres refuses for good.
        """
        try:
            yield
        except _BUSY as error:
            raise UnavailableError("Others are changing these records at the moment.", "database_busy") from error
        except psycopg.Error as error:
            if is_row_security(error):
                raise told_of(self._connection, error) from error
            raise _failed(error, self._entity) from error

    @contextmanager
    def batch(self) -> Iterator[None]:
        """One batch's transaction, for as long as this attempt is the import's; TransientRunError where it is not."""
        with self.errors(), self._connection.transaction():
            if self._connection.execute(_FENCE, {"id": self._import_id, "attempt": self._attempt}).fetchone() is None:
                raise TransientRunError("Another attempt has taken over.", "superseded")
            yield

    def load(self, columns: Sequence[str], text: str) -> Refused | None:
        """COPY rows into the temporary table: CSV of `n`, `id` and these columns. All of them, or why none.

        `n` counts from 1, and is negative where the row came without an id and got one from us.
        """
        names = sql.SQL(", ").join(map(sql.Identifier, ("n", "id", *columns)))
        try:
            with self._connection.transaction(), self._connection.cursor().copy(_COPY.format(names)) as copy:
                copy.write(text)
        except psycopg.DatabaseError as error:
            if refused := refusal(error):
                return refused
            raise
        return None

    def find_ids(self, rule: Sequence[str]) -> None:
        """Give rows that came without an id the one of the live record with the same unique fields."""
        equal = [
            sql.SQL("found.{0} = import_rows.{0}").format(sql.Identifier(self._entity.column(field))) for field in rule
        ]
        self._connection.execute(
            _FIND_IDS.format(table=self._table, equal=_all(equal), live=outside_trash(self._entity, "found"))
        )

    def existing(self, rows: Sequence[int]) -> dict[int, str]:
        """Those of the rows whose record is there and live: the record's id."""
        statement = _EXISTING.format(table=self._table, live=outside_trash(self._entity, "found"))
        return dict(self._connection.execute(statement, {"rows": list(rows)}).fetchall())

    def insert(self, rows: Sequence[int]) -> list[int] | Refused:
        """Insert these rows and stage their journal; those that were not inserted because something stands in their
        way or they lack a parent, or why Postgres took none.
        """
        entity, part = self._entity, sql.Identifier("part")
        own = [column for column in self._columns if column not in ("created_at", "updated_at")]
        parents = parents_of(entity)
        wanted = sql.SQL("SELECT {} FROM part")
        key = [entity.column(field) for field in entity.unique[0]] if entity.unique else ["id"]
        statement = _INSERT.format(
            table=self._table,
            parents=sql.SQL("").join(
                sql.SQL("{},\n").format(
                    parent_cte(self.author.schema, parent, wanted.format(sql.Identifier(parent.column)))
                )
                for parent in parents
            ),
            columns=sql.SQL(", ").join(map(sql.Identifier, own)),
            given=sql.SQL(", ").join(column_of(part, column) for column in own),
            sound=_all([has_parent(parent, part) for parent in parents]),
            order=sql.SQL(", ").join(sql.SQL('{}::text COLLATE "C"').format(column_of(part, column)) for column in key),
            every=sql.SQL(", ").join(sql.Identifier("made", column) for column in self._columns),
            image=sql.SQL(", ").join(
                pair for column in self._columns for pair in (sql.Literal(column), sql.Identifier("inserted", column))
            ),
        )
        row = tried(self._connection, statement, {"rows": list(rows), "at": self.author.at})
        return row if isinstance(row, Refused) else list(row[0] or [])

    def insert_problems(self, rows: Sequence[int]) -> list[Problem]:
        """Why rows cannot be inserted, each by itself."""
        candidates = _CANDIDATES.format(table=self._table)
        found = find_problems(
            self._connection, self.author.schema, self._entity, candidates, {"rows": list(rows)}, existing=False
        )
        return found or []

    def update(self, updates: Sequence[Update]) -> Updated | Refused:
        """Change records and journal what changed (`stowage.postgres.edits.updates`), or why Postgres took none."""
        return update_records(self._connection, self.author, self._entity, updates)

    def update_problems(self, updates: Sequence[Update]) -> list[Problem]:
        """Why updates cannot be made, each by itself, counted from 1."""
        return update_problems(self._connection, self.author.schema, self._entity, updates)[0] or []

    def finish_batch(self, outcome: BatchOutcome, position: int, line: int) -> None:
        """Write down how far the import is, then the journal of what was inserted; the last statements."""
        self._connection.execute(
            _ADVANCE,
            {
                "id": self._import_id,
                "position": position,
                "line": line,
                "rows": len(outcome.outcomes),
                "created": outcome.count("c"),
                "updated": outcome.count("u"),
                "skipped": outcome.count("s"),
                "failed": outcome.count("f"),
                "first_row": outcome.first_row,
                "outcomes": outcome.outcomes,
                "failures": Jsonb(outcome.failures),
            },
        )
        if outcome.count("c"):
            self.journal_inserted()

    def journal_inserted(self) -> None:
        """Write the staged journal of what was inserted: before the batch changes any of it, else last."""
        self._connection.execute(
            _JOURNAL,
            {
                "tenant": self.author.tenant,
                "operation": self.author.operation,
                "entity": self._entity.name,
                "actor": self.author.actor,
                "at": self.author.at,
            },
        )


_FENCE: LiteralString = """
SELECT id FROM stowage.file_imports WHERE id = %(id)s AND attempt = %(attempt)s AND closed_at IS NULL FOR UPDATE
"""

_COPY = sql.SQL("COPY pg_temp.import_rows ({}) FROM STDIN (FORMAT csv)")

_FIND_IDS = sql.SQL("""
UPDATE pg_temp.import_rows SET id = found.id FROM {table} AS found
WHERE import_rows.n < 0 AND {equal} AND {live}
""")

_EXISTING = sql.SQL("""
SELECT abs(n), found.id FROM pg_temp.import_rows JOIN {table} AS found USING (id)
WHERE abs(n) = ANY(%(rows)s) AND {live}
""")

_INSERT = sql.SQL("""
WITH part AS MATERIALIZED (
    SELECT * FROM pg_temp.import_rows WHERE abs(n) = ANY(%(rows)s)
),
{parents}inserted AS (
    INSERT INTO {table} AS made ({columns}, created_at, updated_at)
    SELECT {given}, coalesce(part.created_at, %(at)s), coalesce(part.updated_at, part.created_at, %(at)s)
    FROM part WHERE {sound} ORDER BY {order}
    ON CONFLICT DO NOTHING
    RETURNING {every}
),
staged AS (
    INSERT INTO pg_temp.import_changes (n, id, after)
    SELECT abs(n), inserted.id, jsonb_build_object({image}) FROM inserted JOIN part USING (id)
)
SELECT array_agg(abs(n) ORDER BY abs(n)) FILTER (WHERE inserted.id IS NULL) FROM part LEFT JOIN inserted USING (id)
""")

_CANDIDATES = sql.SQL("""
candidates AS MATERIALIZED (
    SELECT item.*, abs(given.n) AS n
    FROM pg_temp.import_rows AS given, jsonb_populate_record(NULL::{table}, to_jsonb(given)) AS item
    WHERE abs(given.n) = ANY(%(rows)s)
)""")

_ADVANCE: LiteralString = """
WITH advanced AS (
    UPDATE stowage.file_imports SET
        position = %(position)s, line = %(line)s, rows = rows + %(rows)s, created = created + %(created)s,
        updated = updated + %(updated)s, skipped = skipped + %(skipped)s, failed = failed + %(failed)s
    WHERE id = %(id)s
)
INSERT INTO stowage.file_import_batches (import, first_row, outcomes, failures)
VALUES (%(id)s, %(first_row)s, %(outcomes)s, %(failures)s)
"""

_JOURNAL: LiteralString = """
WITH staged AS (DELETE FROM pg_temp.import_changes RETURNING n, id, after),
taken AS MATERIALIZED (
    SELECT stowage.take_seqs(%(tenant)s, (SELECT count(*) FROM staged)) AS base
)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT %(tenant)s, base + row_number() OVER (ORDER BY n), %(operation)s, %(entity)s, id, 'created', NULL, after,
       %(actor)s, %(at)s
FROM staged, taken
"""


def _all(conditions: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true")


def _failed(error: psycopg.Error, entity: Entity) -> RunError:
    """Our error for one of Postgres's that concerns the whole import, without its message."""
    state = error.sqlstate
    match state:
        case "42501":
            return RunError(f"The database role may not write {entity.name}.", "permission_denied")
        case "42P01" | "3F000" | "42703":
            return RunError(
                f"The database has no table for {entity.name}, or it lacks a column; are the migrations applied?",
                "table_missing",
            )
        case None:
            return TransientRunError("The connection to the database was cut.", "database_cut")
    if state[:2] in ("08", "40", "53", "55", "57", "58") or state == "25P03":
        return TransientRunError(f"The database stopped the import (SQLSTATE {state}).", "database_stopped")
    return RunError(f"The database refused the import (SQLSTATE {state}).", "import_refused")
