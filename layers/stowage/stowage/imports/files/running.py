"""An import's attempt in its lane: rows from storage into the database, batch by batch, then the result files.

Whatever ends it early, what was written stays, is one operation (which `bulk/undo` takes back), and is told: by the
result files where the run was cancelled or cannot go on, by the journal in any case.
"""

import io
from collections.abc import Callable, Generator
from concurrent.futures import wait
from contextlib import closing
from dataclasses import replace
from typing import Any

from stowage.aws.stored_files import open_stored
from stowage.basics.errors import CancelledError, RunError, StowageError
from stowage.entities.absence import without
from stowage.entities.declared import ENTITIES
from stowage.imports.files.opening import open_rows
from stowage.imports.files.preparing import BATCH_BYTES, BATCH_ROWS, Batch, Prepared, Preparer
from stowage.imports.files.reading import Place, Row, Rows
from stowage.imports.files.records import FileImportSpec
from stowage.imports.files.results import RESULTS, Result, ResultFile, extension
from stowage.imports.files.validating import row_types
from stowage.imports.files.writing import write_batch
from stowage.pipeline.threads import DaemonThreads
from stowage.postgres.edits.file_batches import (
    BatchOutcome,
    ImportSession,
    Progress,
    begin_import,
    close_import,
    read_outcomes,
)
from stowage.postgres.session.connection import APP, connect
from stowage.postgres.session.disagreements import lacking_entities
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.marks import mark_dirty
from stowage.runs.attempt import Attempt, Product
from stowage.runs.progress import FencedError
from stowage.runs.record import Estimate, Run
from stowage.settings import settings

UNPACKED = {"csv": 1, "ndjson": 1, "xlsx": 8}
"""How much larger a file is than what is uploaded of it, about: what decides the lane."""
CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
ABANDON_SECONDS = 2.0
"""How long an import that ends early waits for the batch that is being read."""
KEEP_DAYS = 14
"""How long what became of each row is kept; an import can be retried so long."""


def estimate_run(run: Run) -> Estimate:
    """What the file's size says; its rows are counted while they are read."""
    spec = FileImportSpec.of(run.spec)
    return Estimate(rows=0, bytes=spec.size * UNPACKED[spec.type])


def import_file(attempt: Attempt) -> None:
    """Import the file of a run, from where an earlier attempt has come to.

    NotFoundError where the tenant has no table for it.
    """
    connection = connect(attempt.run.database, APP)
    try:
        with without(lacking_entities(connection, attempt.run.spec["schema_name"])):
            work = _Import(attempt, connection)
            stopped = work.write_rows()
        close_import(connection, attempt.run.id)
        mark_dirty(attempt.run.tenant, attempt.run.database, attempt.clock())
        work.store_results()
        work.finish(stopped)
    finally:
        connection.close()
    if stopped:
        raise stopped


class _Import:
    """What one attempt of one import does."""

    def __init__(self, attempt: Attempt, connection: Any) -> None:
        self._attempt, self._run, self._connection = attempt, attempt.run, connection
        run = attempt.run
        self._spec = FileImportSpec.of(run.spec)
        self._entity = ENTITIES[self._spec.entity]
        now = attempt.clock()
        # Who asked for the import was an operator then.
        edit = Edit(self._spec.tenant(run.tenant, run.database), run.requested_by, "operator", now)
        begun = begin_import(connection, run.id, run.attempt, edit, self._entity, keep_days=KEEP_DAYS)
        if begun is None:
            raise FencedError("This attempt is no longer the run's current one.")
        self._progress = begun
        self._blank = 0
        edit = replace(edit, operation=begun.operation)
        self._session = ImportSession(connection, edit, self._entity, run.id, run.attempt)

    def write_rows(self) -> StowageError | None:
        """Write every row that is not written yet; what stopped us for good after some were, or None."""
        try:
            with self._open() as file:
                self._write_rows(file)
        except FencedError:
            raise
        except (CancelledError, RunError) as error:
            if error.retryable or not self._progress.rows:
                raise
            return error
        return None

    def _write_rows(self, file: io.BufferedReader) -> None:
        spec, entity = self._spec, self._entity
        rows = open_rows(spec.layout(entity), file, Place(self._progress.position, self._progress.line))
        naming = spec.naming(entity)
        columns = None if rows.header is None else naming.match(rows.header)
        preparer = Preparer(entity, self._run.id, spec.type, columns, naming)
        defaults = row_types(entity.name, spec.type).defaults
        self._session.prepare({entity.column(name): value for name, value in defaults.items() if value is not None})
        batches = _Batches(rows, self._progress.rows)
        with closing(_ahead(lambda: preparer.prepare(batches.take()))) as ahead:
            for prepared in ahead:
                batch = prepared.batch
                if batch.rows:
                    self._session.edit = replace(self._session.edit, at=self._attempt.clock())
                    outcome = write_batch(self._session, entity, spec.on_conflict, prepared)
                    self._progress = _advanced(self._progress, outcome, batch)
                    self._attempt.reporter.watch(batch.read_bytes * UNPACKED[spec.type], 0, self._progress.rows)
                if batch.broken:
                    raise batch.broken

    def store_results(self) -> None:
        """Store the three files that tell what became of the rows."""
        for result in RESULTS:
            source = self._result_file(result)
            self._attempt.store(self._product(result, source))
            self._blank += source.blank

    def _result_file(self, result: Result) -> ResultFile:
        spec, progress = self._spec, self._progress
        needless = result == "failed" and not progress.failed
        return ResultFile(
            result,
            spec,
            self._entity,
            self._run.id,
            self._open,
            iter(()) if needless else read_outcomes(self._connection, self._run.id),
            Place(progress.position, progress.line),
        )

    def _product(self, result: Result, source: ResultFile) -> Product:
        spec = self._spec
        stem = spec.filename.rpartition(".")[0] or spec.filename
        return Product(
            name=result,
            object_name=source.name,
            file_name=f"{stem}-{source.name}",
            content_type=CONTENT_TYPES[extension(spec)],
            source=source,
            manifest={"format": spec.type},
        )

    def finish(self, stopped: StowageError | None) -> None:
        """Write the manifest; `stopped` is what ended the import before its file did."""
        progress = self._progress
        succeeded = progress.rows - progress.failed
        facts = {
            "operation_id": progress.operation,
            "entity": self._entity.name,
            "total": progress.rows,
            "succeeded": succeeded,
            "created": progress.created,
            "updated": progress.updated,
            "skipped": progress.skipped,
            "failed": progress.failed,
            "blank": self._blank,
        }
        self._attempt.finish(facts, rows=succeeded, failure=stopped)

    def _open(self) -> io.BufferedReader:
        spec = self._spec
        return open_stored(settings().uploads_bucket, spec.key, spec.etag, spec.size)


class _Batches:
    """The rows of a file, a batch at a time."""

    def __init__(self, rows: Rows, first_row: int) -> None:
        self._rows, self._next_row = rows, first_row
        self._given = iter(rows)

    def take(self) -> Batch:
        """The next batch; TransientRunError where storage does not give it."""
        rows, taken = self._rows, list[Row]()
        position, line = rows.position, rows.line
        enough = rows.weight() + BATCH_BYTES
        broken: RunError | None = None
        is_last = True
        try:
            for row in self._given:
                taken.append(row)
                position, line = rows.position, rows.line
                if len(taken) == BATCH_ROWS or rows.weight() >= enough:
                    is_last = False
                    break
        except RunError as error:
            if error.retryable:
                raise
            broken = error
        first_row, self._next_row = self._next_row, self._next_row + len(taken)
        return Batch(first_row, taken, position, line, rows.read_bytes(), is_last, broken)


def _ahead(make: Callable[[], Prepared]) -> Generator[Prepared]:
    """Every batch to the last, each prepared in a thread while Postgres is busy with the one before."""
    threads = DaemonThreads(1, "prepare")
    try:
        pending = threads.submit(make)
        while not (prepared := pending.result()).batch.is_last:
            pending = threads.submit(make)
            yield prepared
        yield prepared
    finally:
        wait([pending], ABANDON_SECONDS)
        threads.close()


def _advanced(progress: Progress, outcome: BatchOutcome, batch: Batch) -> Progress:
    return replace(
        progress,
        position=batch.position,
        line=batch.line,
        rows=progress.rows + len(outcome.outcomes),
        created=progress.created + outcome.count("c"),
        updated=progress.updated + outcome.count("u"),
        skipped=progress.skipped + outcome.count("s"),
        failed=progress.failed + outcome.count("f"),
    )
