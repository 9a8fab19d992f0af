"""File imports in Postgres: rows come in by COPY into a temporary table and from there, batch by batch, into their own.

One transaction a batch: the rows, their journal, and how far the import is. Whoever repeats a killed attempt therefore
goes on behind the last row that is there. The number of statements is the same for every batch whose rows are all good.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from stowage.basics.errors import RunError, TransientRunError, UnavailableError
from stowage.entities.declaration import DATABASE, Entity
from stowage.postgres.edits.inserts import SKIPPING, taken
from stowage.postgres.edits.new_ids import default_makers, id_maker, pass_over
from stowage.postgres.edits.rules import Problem, column_of, find_problems, has_parent, misfits, parent_cte, parents_of
from stowage.postgres.edits.settling import settle_staged
from stowage.postgres.edits.updates import Update, Updated, update_problems, update_records
from stowage.postgres.journal.changes import Lines, append_changes, append_staged, prepare_staging, staged
from stowage.postgres.journal.images import whole_image
from stowage.postgres.journal.operations import summary
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.held_tables import WRITING, told_of_held
from stowage.postgres.session.marks import mark_dirty
from stowage.postgres.session.own_rules import qualified, skipped
from stowage.postgres.session.row_security import is_row_security, told_of
from stowage.postgres.session.savepoints import Refused, refusal, tried
from stowage.postgres.session.search_path import follow_search_path
from stowage.postgres.session.violations import Violation
from stowage.postgres.tables.relations import id_of, rows_of, table_of
from stowage.postgres.tables.trashed import outside_trash

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
    """What became of a batch's rows: a letter for each, `[row, code, sentence]` of those that failed, and the ids that
    the database made, by row.
    """

    first_row: int
    outcomes: str
    failures: list[tuple[int, str, str]]
    made_ids: dict[int, str] = field(default_factory=dict)

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
    connection: psycopg.Connection, import_id: str, attempt: int, edit: Edit, entity: Entity, *, keep_days: int
) -> Progress | None:
    """Take an import for this attempt; how far it is, or None where a later attempt has it.

    An import whose operation was summed up already, because it was cancelled or failed for good, goes on under the
    edit's new one. Imports begun more than `keep_days` days ago are forgotten by the way. RunError as `ImportSession`.
    """
    try:
        with connection.cursor(row_factory=class_row(Progress)) as cursor:
            begun = cursor.execute(
                _BEGIN,
                {**edit.given, "id": import_id, "entity": entity.name, "attempt": attempt},
            ).fetchone()
        connection.execute(_FORGET_OLD, {"days": keep_days})
    except psycopg.Error as error:
        raise _failed(error, entity) from error
    return begun


_CLOSE: LiteralString = """
UPDATE stowage.file_imports SET closed_at = now() WHERE id = %(id)s AND closed_at IS NULL
RETURNING tenant, operation, entity, actor, closed_at, rows - operation_began_at_row, failed - operation_failed
"""


def close_import(connection: psycopg.Connection, import_id: str) -> None:
    """Sum an import up in the journal, as one operation, and let no attempt write any more; once, however often called.

    One that has written nothing is no operation.
    """
    with connection.transaction():
        closed = connection.execute(_CLOSE, {"id": import_id}).fetchone()
        if closed is None:
            return
        tenant, operation, entity, actor, at, total, failed = closed
        if total:
            whole = summary(
                operation, "import", entity, actor, at, total=total, succeeded=total - failed, job=import_id
            )
            append_changes(connection, tenant, [whole])


_OUTCOMES: LiteralString = """
SELECT first_row, outcomes, failures, made_ids FROM stowage.file_import_batches
WHERE import = %(id)s AND first_row > %(after)s ORDER BY first_row LIMIT 4
"""


def read_outcomes(connection: psycopg.Connection, import_id: str) -> Iterator[BatchOutcome]:
    """What became of every row so far, in order."""
    after = -1
    while found := connection.execute(_OUTCOMES, {"id": import_id, "after": after}).fetchall():
        for first_row, outcomes, failures, made_ids in found:
            failed = [(row, code, error) for row, code, error in failures]
            yield BatchOutcome(first_row, outcomes, failed, dict(made_ids))
        after = found[-1][0]


_PATIENT: LiteralString = "SET idle_session_timeout = '10min'"
"""A batch waits for the file's next bytes."""

# All that a batch needs is made in its own transaction and gone with it: behind a pooler that shares sessions between
# transactions, the next one may find another import's session, of another tenant. Statements wait for nobody longer
# than the role's own lock_timeout. The planner knows nothing of a temporary table's rows; it must not read all of the
# target to find a few thousand, and nested loops (which `follow_search_path` may have switched off) do not.
_BEGIN_BATCH = sql.SQL("""
SET LOCAL statement_timeout = '60s';
SET LOCAL enable_seqscan = off;
SET LOCAL enable_nestloop = on;
CREATE TEMPORARY TABLE import_rows ON COMMIT DROP AS
SELECT 0::bigint AS stw_n, {columns} FROM {table} WITH NO DATA
{defaults}
""")
_DEFAULTS = sql.SQL("; ALTER TABLE pg_temp.import_rows {}")
_DEFAULT = sql.SQL("ALTER COLUMN {} SET DEFAULT {}")


class ImportSession:
    """One attempt's connection, which becomes its own. `edit` is who the journal names, and when."""

    def __init__(
        self, connection: psycopg.Connection, edit: Edit, entity: Entity, import_id: str, attempt: int
    ) -> None:
        self._connection, self.edit, self._entity = connection, edit, entity
        self._import_id, self._attempt = import_id, attempt
        self._table, self._rows = table_of(edit.schema, entity), rows_of(edit.schema, entity)
        self._columns = [*{field.column: None for field in entity.fields} | dict.fromkeys(entity.owner)]
        self._id = id_of(entity)
        self._database_defaults: dict[str, sql.Composable] = {}
        self._begin_batch = sql.SQL("").format()

    def prepare(self, defaults: dict[str, Any]) -> None:
        """See what batches need; `defaults` are the values, by column, of columns that a file may not have, or
        DATABASE.
        """
        with self.errors():
            self._connection.execute(_PATIENT)
            with self._connection.transaction():
                self._follow()
                defaults = defaults | dict.fromkeys(self._entity.owner, self.edit.tenant.id)
                makers = {column: sql.Literal(value) for column, value in defaults.items() if value is not DATABASE}
                asked = [column for column, value in defaults.items() if value is DATABASE]
                self._database_defaults = default_makers(self._connection, self.edit.schema, self._entity, asked)
        set_defaults = [
            _DEFAULT.format(sql.Identifier(column), maker)
            for column, maker in (makers | self._database_defaults).items()
        ]
        self._begin_batch = _BEGIN_BATCH.format(
            columns=sql.SQL(", ").join(map(sql.Identifier, self._columns)),
            table=self._table,
            defaults=_DEFAULTS.format(sql.SQL(", ").join(set_defaults)) if set_defaults else sql.SQL(""),
        )

    def _follow(self) -> None:
        """Let the transaction find the tenant's names. RunError for rules of the table that stand in the way."""
        tables = [qualified(self.edit.schema, self._entity)]
        rules = follow_search_path(self._connection, self.edit.schema, tables)
        if any(event != "DELETE" for _, _, event in rules):
            raise _ruled_out(self._entity)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Psycopg's errors as ours: UnavailableError, which names held tables, for what a second try of the batch may
        not meet, TransientRunError for a connection that broke, RunError where Postgres refuses for good.
        """
        try:
            yield
        except _BUSY as error:
            waited = isinstance(error, errors.LockNotAvailable)
            held = told_of_held(self._connection, self.edit.schema, WRITING) if waited else None
            told = held or "Others are changing these records at the moment"
            raise UnavailableError(f"{told}.", "database_busy") from error
        except psycopg.Error as error:
            if is_row_security(error):
                raise told_of(self._connection, error) from error
            raise _failed(error, self._entity) from error

    @contextmanager
    def batch(self) -> Iterator[None]:
        """One batch's transaction, for as long as this attempt is the import's; TransientRunError where it is not."""
        tenant = self.edit.tenant
        with self.errors(), self._connection.transaction():
            if self._connection.execute(_FENCE, {"id": self._import_id, "attempt": self._attempt}).fetchone() is None:
                raise TransientRunError("Another attempt has taken over.", "superseded")
            self._follow()
            self._connection.execute(self._begin_batch)
            prepare_staging(self._connection)
            yield
            mark_dirty(tenant.id, tenant.database, self.edit.at)

    def load(self, columns: Sequence[str], text: str) -> Refused | None:
        """COPY rows into the temporary table: CSV of `n`, `id` and these columns. All of them, or why none.

        `n` counts from 1, and is negative where the row came without an id and got one from us.
        """
        names = sql.SQL(", ").join(map(sql.Identifier, ("stw_n", self._entity.column("id"), *columns)))
        try:
            with self._connection.transaction(), self._connection.cursor().copy(_COPY.format(names)) as copy:
                copy.write(text)
        except psycopg.DatabaseError as error:
            if refused := refusal(error):
                return refused
            raise
        return None

    def misfits(self, items: Sequence[Mapping[str, Any]]) -> list[Problem]:
        """The rows (values by column) of which a value does not fit, counted from 1."""
        return misfits(self._connection, self.edit.schema, self._entity, items) or []

    def fill_in(self, columns: Sequence[str]) -> None:
        """Give these columns the database's own default where a row of the file left them empty."""
        for column in columns:
            if column in self._database_defaults:
                self._connection.execute(
                    _FILL_IN.format(column=sql.Identifier(column), maker=self._database_defaults[column])
                )

    def find_ids(self, rule: Sequence[str]) -> None:
        """Give rows that came without an id the one of the live record with the same unique fields."""
        equal = [
            sql.SQL("found.{0} = import_rows.{0}").format(sql.Identifier(self._entity.column(field))) for field in rule
        ]
        self._connection.execute(
            _FIND_IDS.format(
                table=self._rows, id=self._id, equal=_all(equal), live=outside_trash(self._entity, "found")
            )
        )

    def make_ids(self) -> dict[int, str]:
        """Have the database make ids for rows that have none yet; the ids by row. Its sequence passes over the others.

        MisconfiguredError as `stowage.postgres.edits.new_ids.make_ids`.
        """
        if self._entity.key.type != "uuid":
            given = [record_id for (record_id,) in self._connection.execute(_LARGEST_ID.format(self._id))]
            pass_over(self._connection, self.edit.schema, self._entity, filter(None, given))
        maker = id_maker(self._connection, self.edit.schema, self._entity)
        return dict(self._connection.execute(_MAKE_IDS.format(maker=maker, id=self._id)).fetchall())

    def existing(self, rows: Sequence[int]) -> dict[int, str]:
        """Those of the rows whose record is there and live: the record's id."""
        statement = _EXISTING.format(table=self._rows, id=self._id, live=outside_trash(self._entity, "found"))
        return dict(self._connection.execute(statement, {"rows": list(rows)}).fetchall())

    def insert(self, rows: Sequence[int]) -> list[int] | Refused:
        """Insert these rows and stage their journal; those that were not inserted because something stands in their
        way or they lack a parent, or why Postgres took none.
        """
        entity, part = self._entity, sql.Identifier("part")
        own = entity.given_columns
        times = _times(entity)
        parents = parents_of(entity)
        wanted = sql.SQL("SELECT {} FROM part")
        key = [entity.column(field) for field in (entity.unique[0] if entity.unique else ("id",))]

        def compose(skipping: sql.SQL) -> sql.Composed:
            return _INSERT.format(
                skipping=skipping,
                table=self._table,
                id=self._id,
                parents=sql.SQL("").join(
                    sql.SQL("{},\n").format(
                        parent_cte(self.edit.schema, parent, wanted.format(sql.Identifier(parent.column)))
                    )
                    for parent in parents
                ),
                columns=sql.SQL(", ").join(map(sql.Identifier, (*own, *times))),
                given=sql.SQL(", ").join([*(column_of(part, column) for column in own), *times.values()]),
                sound=_all([has_parent(parent, part) for parent in parents]),
                order=sql.SQL(", ").join(
                    sql.SQL('{}::text COLLATE "C"').format(column_of(part, column)) for column in key
                ),
                image=whole_image(entity, "made"),
                journal=staged(_lines(entity)),
            )

        row = tried(
            self._connection,
            compose(SKIPPING),
            {**self.edit.given, "rows": list(rows)},
            strictly=lambda: compose(sql.SQL("")),
        )
        return row if isinstance(row, Refused) else list(row[0] or [])

    def taken(self, rows: Sequence[int], missing: Sequence[int]) -> Refused:
        """Why some of the rows were not inserted of which nothing is known by themselves."""
        candidates = _CANDIDATES.format(table=self._table)
        return taken(self._connection, self.edit.schema, self._entity, candidates, {"rows": list(rows)}, missing)

    def insert_problems(self, rows: Sequence[int]) -> list[Problem]:
        """Why rows cannot be inserted, each by itself."""
        candidates = _CANDIDATES.format(table=self._table)
        found = find_problems(
            self._connection, self.edit.schema, self._entity, candidates, {"rows": list(rows)}, existing=False
        )
        return found or []

    def update(self, updates: Sequence[Update], rows: Sequence[int]) -> Updated | Refused:
        """Change records and stage their journal (`stowage.postgres.edits.updates`), or why Postgres took none."""
        return update_records(self._connection, self.edit, self._entity, updates, places=rows)

    def update_problems(self, updates: Sequence[Update]) -> list[Problem]:
        """Why updates cannot be made, each by itself, counted from 1."""
        return update_problems(self._connection, self.edit.schema, self._entity, updates)[0] or []

    def skipped(self) -> Violation | None:
        """Why updates were left out of which nothing is found: the table's triggers, if it has any."""
        return skipped(self._connection, self.edit.schema, self._entity, "UPDATE")

    def finish_batch(self, outcome: BatchOutcome, position: int, line: int) -> None:
        """Write down how far the import is, then what was staged for the journal; the last statements."""
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
                "made_ids": Jsonb([*outcome.made_ids.items()]),
            },
        )
        if outcome.count("c") or outcome.count("u"):
            settle_staged(self._connection, self.edit.schema, self._entity)
            append_staged(self._connection, self.edit, self._entity.name)


_FENCE: LiteralString = """
SELECT id FROM stowage.file_imports WHERE id = %(id)s AND attempt = %(attempt)s AND closed_at IS NULL FOR UPDATE
"""

_COPY = sql.SQL("COPY pg_temp.import_rows ({}) FROM STDIN (FORMAT csv)")

_FIND_IDS = sql.SQL("""
UPDATE pg_temp.import_rows SET {id} = found.{id} FROM {table} AS found
WHERE import_rows.stw_n < 0 AND {equal} AND {live}
""")

_FILL_IN = sql.SQL("UPDATE pg_temp.import_rows SET {column} = {maker} WHERE {column} IS NULL")

_LARGEST_ID = sql.SQL("SELECT max({})::text FROM pg_temp.import_rows WHERE stw_n > 0")

_MAKE_IDS = sql.SQL("""
UPDATE pg_temp.import_rows SET {id} = made.id
FROM (
    SELECT stw_n, {maker} AS id
    FROM (SELECT stw_n FROM pg_temp.import_rows WHERE {id} IS NULL ORDER BY abs(stw_n) OFFSET 0) AS lacking
) AS made
WHERE import_rows.stw_n = made.stw_n
RETURNING abs(import_rows.stw_n), import_rows.{id}::text
""")

_EXISTING = sql.SQL("""
SELECT abs(stw_n), found.{id}::text FROM pg_temp.import_rows JOIN {table} AS found USING ({id})
WHERE abs(stw_n) = ANY(%(rows)s) AND {live}
""")

_INSERT = sql.SQL("""
WITH part AS MATERIALIZED (
    SELECT * FROM pg_temp.import_rows WHERE abs(stw_n) = ANY(%(rows)s)
),
{parents}inserted AS (
    INSERT INTO {table} AS made ({columns}) OVERRIDING SYSTEM VALUE
    SELECT {given} FROM part WHERE {sound} ORDER BY {order}
    {skipping}
    RETURNING made.{id} AS id, {image} AS after
),
{journal}
SELECT array_agg(abs(stw_n) ORDER BY abs(stw_n)) FILTER (WHERE inserted.id IS NULL)
FROM part LEFT JOIN inserted ON inserted.id = part.{id}
""")


_WHEN = sql.SQL("coalesce({}, %(at)s)")


def _times(entity: Entity) -> dict[str, sql.Composed]:
    """When new records were made and changed, by column: as their file says, else now."""
    given = [sql.Identifier("part", time.column) for time in (entity.updated, entity.created) if time]
    times = {time.column: sql.SQL(", ").join(given[-1:]) for time in (entity.created,) if time}
    times |= {time.column: sql.SQL(", ").join(given) for time in (entity.updated,) if time}
    return {column: _WHEN.format(value) for column, value in times.items()}


_INSERTED = sql.SQL("inserted JOIN (SELECT {} AS id, abs(stw_n) AS n FROM part) AS stw_part USING (id)")


def _lines(entity: Entity) -> Lines:
    return Lines(
        "inserted",
        entity.name,
        "created",
        source=_INSERTED.format(id_of(entity)),
        before=sql.SQL("NULL::jsonb"),
    )


_CANDIDATES = sql.SQL("""
candidates AS MATERIALIZED (
    SELECT stw_item.*, abs(stw_given.stw_n) AS stw_n
    FROM pg_temp.import_rows AS stw_given, jsonb_populate_record(NULL::{table}, to_jsonb(stw_given.*)) AS stw_item
    WHERE abs(stw_given.stw_n) = ANY(%(rows)s)
)""")

_ADVANCE: LiteralString = """
WITH advanced AS (
    UPDATE stowage.file_imports SET
        position = %(position)s, line = %(line)s, rows = rows + %(rows)s, created = created + %(created)s,
        updated = updated + %(updated)s, skipped = skipped + %(skipped)s, failed = failed + %(failed)s
    WHERE id = %(id)s
)
INSERT INTO stowage.file_import_batches (import, first_row, outcomes, failures, made_ids)
VALUES (%(id)s, %(first_row)s, %(outcomes)s, %(failures)s, %(made_ids)s)
"""


def _all(conditions: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true")


def _ruled_out(entity: Entity) -> RunError:
    return RunError(
        f"Rules of the table {entity.table} (CREATE RULE) stand in the way of an import; "
        "a trigger in place of such a rule does not.",
        "import_refused",
    )


def _failed(error: psycopg.Error, entity: Entity) -> RunError:
    """Our error for one of Postgres's that concerns the whole import, without its message."""
    state = error.sqlstate
    match state:
        case "42501":
            told = f"The database role may not write {entity.name}, or not use what their defaults or triggers need"
            return RunError(f"{told}; `python -m stowage.entities check` names lacking rights.", "permission_denied")
        case "42P01" | "3F000" | "42703":
            return RunError(
                f"The database has no table for {entity.name}, or it lacks a column; are the migrations applied?",
                "table_missing",
            )
        case "0A000":
            return _ruled_out(entity)
        case "25006":
            return TransientRunError("The database is read-only; nothing can be imported.", "database_read_only")
        case None:
            return TransientRunError("The connection to the database was cut.", "database_cut")
    if state[:2] in ("08", "40", "53", "55", "57", "58") or state == "25P03":
        return TransientRunError(f"The database stopped the import (SQLSTATE {state}).", "database_stopped")
    return RunError(f"The database refused the import (SQLSTATE {state}).", "import_refused")
