"""A backup's attempt in the worker: checks first, then pg_dump and the counting of its rows in one snapshot."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from stowage.backups.included import included_schemas
from stowage.backups.verifying import first_wrong, verify_stored
from stowage.basics.errors import RunError, TransientRunError
from stowage.pipeline.compress import gzip_compressor
from stowage.pipeline.source import Source
from stowage.postgres.dumps.contents import DumpContents, SnapshotContents
from stowage.postgres.dumps.pg_dump import Dump, pg_dump_version
from stowage.postgres.dumps.preflight import must_have_sessions, preflight
from stowage.postgres.dumps.progress import DumpProgress
from stowage.postgres.session.connection import DUMP, Connection, child_login, connect
from stowage.runs.attempt import Attempt, Product
from stowage.runs.manifest import bucket_of
from stowage.runs.progress import Reporter
from stowage.runs.record import Run
from stowage.settings import settings

CONTENT_TYPES = {"sql": "application/sql", "tar": "application/x-tar", "custom": "application/octet-stream"}
_LOOK_SECONDS = 0.4


def make_backup(attempt: Attempt) -> None:
    """Store the dump, read it back, and write its manifest. RunError, before anything is written, when the dump cannot
    succeed; RunError `backup_damaged`, with the manifest, when the file does not hold what was dumped.
    """
    source = open_dump(attempt.run, attempt.reporter)
    attempt.store(product_of(attempt.run, source, lambda: described(source.contents)))
    finish_verified(attempt, source.contents.table_count)


def finish_verified(attempt: Attempt, table_count: int) -> None:
    """Verify the file that an attempt has stored, and end the attempt with what was found."""
    found = verify_stored(attempt.stored_file, str(bucket_of(attempt.run)), attempt.reporter, attempt.clock)
    wrong = first_wrong(found["checks"])
    damaged = RunError(f"The backup is damaged. {wrong['message']}", "backup_damaged") if wrong else None
    attempt.finish({"tables": table_count, **found}, failure=damaged)
    if damaged:
        raise damaged


def open_dump(run: Run, reporter: Reporter) -> "SnapshotDump":
    """Check that the dump can succeed, then open it. RunError, before anything is written, when it cannot."""
    schema = run.spec["schema"]
    version = pg_dump_version(settings().pg_dump)
    reporter.report("checking", "Checking what will be dumped.")
    connection = connect(run.database, DUMP)
    try:
        included = included_schemas(run.tenant)
        preflight(connection, schema, version, included)
        must_have_sessions(connection, lambda: connect(run.database, DUMP, beside=connection))
        return SnapshotDump(run, connection, version, reporter.moved, included)
    except BaseException:
        connection.close()
        raise


def product_of(run: Run, source: Source | None, describe: Callable[[], dict[str, Any]]) -> Product:
    """The file that a dump becomes; `describe` tells what is in it (`described`)."""
    compress = run.spec["compress"]
    return Product(
        object_name=run.spec["file_name"],
        file_name=run.spec["file_name"],
        content_type="application/gzip" if compress else CONTENT_TYPES[run.spec["format"]],
        source=source,
        compress=gzip_compressor() if compress else None,
        manifest={"format": run.spec["format"], "compression": "gzip" if compress else None},
        describe=describe,
    )


def described(contents: DumpContents) -> dict[str, Any]:
    """What the manifest tells of the schema."""
    return {"rows": contents.row_count, "contents": contents.model_dump()}


class SnapshotDump:
    """pg_dump, and beside it the counting of the dumped rows, both in one snapshot. It is complete when both are.

    `rows` are the rows that the server has copied so far, at the end those that were counted. `moved` is called while
    only the counting goes on, which neither bytes nor rows show.
    """

    def __init__(
        self,
        run: Run,
        connection: Connection,
        version: str,
        moved: Callable[[], None],
        included: Sequence[str] = (),
    ) -> None:
        self.rows = 0
        self._connection, self._moved = connection, moved
        self._reading = SnapshotContents(connection, run.spec["schema"], version, included)
        self._reading.__enter__()
        self._contents: DumpContents | None = None
        self._progress: DumpProgress | None = None
        self._database, self._name = run.database, f"pg_dump {run.id}-{run.attempt}"
        login = child_login(run.database, DUMP, beside=connection)
        self._dump = Dump(
            run.spec["schema"],
            run.spec["format"],
            login.environment | {"PGAPPNAME": self._name},
            conninfo=login.conninfo,
            encoding=connection.info.parameter_status("server_encoding"),
            snapshot=self._reading.snapshot,
            binary=settings().pg_dump,
            included=included,
        )

    def chunks(self) -> Iterator[bytes]:
        """What pg_dump writes, then nothing while the counting goes on."""
        looking = partial(connect, self._database, DUMP, beside=self._connection)
        progress = DumpProgress(looking, self._name, self._reading)
        self._progress = progress
        for chunk in self._dump.chunks():
            self._reading.check()
            self.rows = progress.rows
            yield chunk
        while self._contents is None:
            try:
                self._contents = self._reading.result(_LOOK_SECONDS)
            except TransientRunError as error:
                if error.code != "count_timeout":
                    raise
                if progress.counting:
                    self._moved()
                yield b""

    def finish(self) -> None:
        """Return only if the dump is complete; from then on its rows are known."""
        self._dump.finish()
        assert self._contents is not None, "the chunks end with the contents"
        if self._contents.row_count is not None:
            self.rows = self._contents.row_count

    def close(self) -> None:
        """End pg_dump, then the snapshot."""
        self._dump.close()
        if self._progress:
            self._progress.close()
        self._reading.__exit__(None, None, None)
        self._connection.close()

    @property
    def contents(self) -> DumpContents:
        """What the dump holds, once it is whole."""
        assert self._contents is not None, "asked once it is whole"
        return self._contents
