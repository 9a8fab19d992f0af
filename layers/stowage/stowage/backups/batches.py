"""Small backups of one database made together: one pg_dump of all their schemas, cut into each tenant's own.

What a dump costs apart from the rows, above all reading the whole catalog, comes once and not for each tenant. What is
cut is line by line what the tenant's own dump would have been (`stowage.postgres.dumps.cutting`), and from there on
nothing is shared: each has its own file, read back before its own manifest.

Nothing is stored before the dump of all has proved whole. Whatever spoils it is looked for: tenants that cannot be
dumped are taken out; where none is found, the dump is made again in halves, until the culprit stands alone. That one is
then made as a backup by itself, and ends with its own error.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from stowage.backups.included import included_schemas
from stowage.backups.making import described, finish_verified, make_backup, product_of
from stowage.basics.errors import CancelledError, StowageError, TransientRunError
from stowage.pipeline.compress import Compressor, gzip_compressor
from stowage.postgres.dumps.contents import DumpContents, database_errors, exported_snapshot, read_all_contents
from stowage.postgres.dumps.cutting import Cutter
from stowage.postgres.dumps.pg_dump import Dump, pg_dump_version
from stowage.postgres.dumps.preflight import must_have_sessions
from stowage.postgres.dumps.restored import Archive
from stowage.postgres.dumps.sharing import Fit, fits, room_for_locks
from stowage.postgres.session.connection import DUMP, Connection, child_login, connect
from stowage.runs.attempt import Attempt, Held
from stowage.runs.lane import End, Work
from stowage.runs.plan import SHARED_MAX_BYTES
from stowage.runs.store import change_run
from stowage.settings import settings

LOCK_WAIT_SECONDS = 5.0
"""How long a dump of several waits for a table: then whoever is the reason is taken out of it."""
MOST_HELD_BYTES = 256 * 1024 * 1024
"""The files of one dump that wait in memory for its end, compressed."""
LOOK_SECONDS = 0.5
EVERYBODYS = ("connection_lost", "pg_dump_missing")
"""Errors for which no tenant is the reason: halves would end in the same way."""


def make_backups(attempts: Sequence[Attempt], end: End) -> None:
    """Make the backups of attempts that share an execution; each is as `making.make_backup` would have made it."""
    run = attempts[0].run
    with connect(run.database, DUMP) as connection:
        must_have_sessions(connection, lambda: connect(run.database, DUMP, beside=connection))
        batch = _Batch(connection, end)
        batch.make(attempts)
    batch.make_the_others()


class _Batch:
    def __init__(self, connection: Connection, end: End) -> None:
        self._connection, self._end = connection, end
        self._version = pg_dump_version(settings().pg_dump)
        self._alone: list[Attempt] = []
        self._locked: list[Attempt] = []

    def make(self, attempts: Sequence[Attempt]) -> None:
        """Make those that can be dumped together."""
        with database_errors():
            fit = self._fit(attempts)
            locks = sum(needs.locks for _, needs in fit)
            dumps = max(1, -(-locks // max(1, room_for_locks(self._connection))))
        size = max(1, -(-len(fit) // dumps))
        for first in range(0, len(fit), size):
            self._dump([attempt for attempt, _ in fit[first : first + size]])

    def make_the_others(self) -> None:
        """Make the others, one by one. A table that is still locked is not waited for: the next attempt comes later."""
        for attempt in self._alone:
            _set_apart(attempt)
            self._end(attempt, make_backup)
        for attempt in self._locked:
            _set_apart(attempt)
            self._end(attempt, _make_unless_locked)

    def _fit(self, attempts: Sequence[Attempt]) -> list[tuple[Attempt, Fit]]:
        """Those that can be dumped together now; the others are noted."""
        found = fits(self._connection, [_schema(each) for each in attempts])
        fit: list[tuple[Attempt, Fit]] = []
        taken: set[str] = set()
        """The schemas of these: one that belongs to two tenants is dumped twice."""
        for attempt in attempts:
            needs = found.get(_schema(attempt))
            is_taken = _schema(attempt) in taken
            if needs is None or not needs.fit or is_taken or included_schemas(attempt.run.tenant):
                self._alone.append(attempt)
            elif needs.held:
                self._locked.append(attempt)
            else:
                fit.append((attempt, needs))
                taken.add(_schema(attempt))
        return fit

    def _dump(self, attempts: Sequence[Attempt]) -> None:
        """Dump these together, and make of each its backup."""
        together = [each for each in attempts if self._report(each, "copying", f"Copying {len(attempts)} together.")]
        if len(together) < 2:
            self._alone += together
            return
        try:
            files = self._files(together)
        except StowageError as error:
            if error.code in EVERYBODYS or self._connection.closed:
                raise
            with database_errors():
                rest = [attempt for attempt, _ in self._fit(together)]
            half = len(rest) // 2 if len(rest) == len(together) else len(rest)
            self._dump(rest[:half])
            self._dump(rest[half:])
            return
        for attempt, file in zip(together, files, strict=True):
            if file is None:
                self._alone.append(attempt)
            else:
                self._end(attempt, file.store)

    def _files(self, attempts: Sequence[Attempt]) -> "list[_File | None]":
        """The files of these, from one dump that was whole; None for one that has grown too large to be held."""
        schemas = [_schema(each) for each in attempts]
        connection = self._connection
        with exported_snapshot(connection, LOCK_WAIT_SECONDS) as snapshot:
            groups = {schema: [schema] for schema in schemas}
            contents = read_all_contents(connection, groups, self._version, {schema: {} for schema in schemas})
            files = _Files({_schema(each): _File(each, contents[_schema(each)]) for each in attempts})
            login = child_login(attempts[0].run.database, DUMP, beside=connection)
            dump = Dump(
                schemas[0],
                "custom",
                login.environment | {"PGAPPNAME": f"pg_dump {attempts[0].run.execution}"},
                conninfo=login.conninfo,
                encoding=connection.info.parameter_status("server_encoding"),
                snapshot=snapshot,
                binary=settings().pg_dump,
                lock_wait_seconds=LOCK_WAIT_SECONDS,
                beside=schemas[1:],
            )
            try:
                looking = _Looking(attempts)
                for chunk in dump.chunks():
                    looking.look(moved=bool(chunk))
                    files.feed(chunk)
                dump.finish()
                return files.finish()
            finally:
                dump.close()
                files.close()

    def _report(self, attempt: Attempt, stage: str, message: str) -> bool:
        """Say how far an attempt is; False, and it is ended, where it is to stop."""
        try:
            attempt.reporter.report(stage, message)
        except CancelledError as error:
            self._end(attempt, _raising(error))
            return False
        return True


class _Looking:
    """Shows now and then that the attempts whose dump is being made are alive, one after another."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._turns = _round(attempts)
        self._next = time.monotonic() + LOOK_SECONDS

    def look(self, *, moved: bool) -> None:
        """Do it, if it is time. Who is to stop does so at the end of the dump."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK_SECONDS
        reporter = next(self._turns).reporter
        if moved:
            reporter.moved()
        with suppress(CancelledError):
            reporter.watch_on()


class _File:
    """A tenant's file as it comes: what pg_restore makes of its archive, compressed as its run wants it."""

    def __init__(self, attempt: Attempt, contents: DumpContents) -> None:
        self.contents = contents
        self.held = bytearray()
        self.is_too_large = False
        self._product = product_of(attempt.run, None, lambda: described(contents))
        self._compress: Compressor | None = gzip_compressor() if attempt.run.spec["compress"] else None
        self._source_bytes = 0

    def feed(self, text: bytes) -> None:
        """Take the next bytes of the plain dump."""
        self._source_bytes += len(text)
        self._hold(self._compress.compress(text) if self._compress else text)

    def finish(self) -> None:
        """No more come."""
        if self._compress:
            self._hold(self._compress.flush())
        self.close()

    def close(self) -> None:
        """Free everything but what is held; also twice."""
        if self._compress:
            self._compress.close()

    def give_up(self) -> None:
        """Hold nothing of it: it is made by itself."""
        self.is_too_large = True
        self.held = bytearray()

    def store(self, attempt: Attempt) -> None:
        """Store it, read it back, and write its manifest."""
        held = Held(bytes(self.held), self._source_bytes, self.contents.row_count or 0)
        attempt.store_held(self._product, held)
        finish_verified(attempt, self.contents.table_count)

    def _hold(self, data: bytes) -> None:
        if self.is_too_large:
            return
        self.held += data
        if len(self.held) > SHARED_MAX_BYTES:
            self.give_up()


class _Files:
    """The files of several schemas, which come one after another out of one archive."""

    def __init__(self, files: dict[str, _File]) -> None:
        self._files = files
        self._cutter = Cutter(files.keys())
        self._pg_restore = str(Path(settings().pg_dump).with_name("pg_restore"))
        self._schema: str | None = None
        self._archive: Archive | None = None
        self._held = 0

    def feed(self, chunk: bytes) -> None:
        self._take(self._cutter.feed(chunk))

    def finish(self) -> list[_File | None]:
        """All of them, in their order, once the archive was whole."""
        self._take(self._cutter.finish())
        self._finish_archive()
        return [None if file.is_too_large else file for file in self._files.values()]

    def close(self) -> None:
        """Free everything; at any time."""
        if self._archive:
            self._archive.close()
        for file in self._files.values():
            file.close()

    def _take(self, cuts: Iterator[tuple[str, bytes]]) -> None:
        for schema, piece in cuts:
            if schema != self._schema:
                self._finish_archive()
                self._schema = schema
                self._archive = Archive(self._pg_restore, self._files[schema])
            assert self._archive is not None, "it has just begun"
            self._archive.feed(piece)

    def _finish_archive(self) -> None:
        if self._archive is None or self._schema is None:
            return
        archive, file = self._archive, self._files[self._schema]
        if not archive.finish():
            raise TransientRunError("What was cut from a dump of several schemas cannot be read.", "dump_interrupted")
        archive.close()
        self._archive = None
        self._held += len(file.held)
        if self._held > MOST_HELD_BYTES:
            self._held -= len(file.held)
            file.give_up()


def _make_unless_locked(attempt: Attempt) -> None:
    schema = _schema(attempt)
    with connect(attempt.run.database, DUMP) as connection, database_errors():
        found = fits(connection, [schema]).get(schema)
    if found and found.held:
        raise TransientRunError(f"A table of {schema} stayed locked.", "lock_timeout")
    make_backup(attempt)


def _set_apart(attempt: Attempt) -> None:
    """Have further attempts of a run made by themselves."""
    run = attempt.run
    change_run(run, {"may_share": False}, when={"attempt": run.attempt, "status": "running"})


def _raising(error: StowageError) -> Work:
    def work(_: Attempt) -> None:
        raise error

    return work


def _round(attempts: Sequence[Attempt]) -> Iterator[Attempt]:
    while True:
        yield from attempts


def _schema(attempt: Attempt) -> str:
    return str(attempt.run.spec["schema"])
