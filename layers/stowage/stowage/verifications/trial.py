"""A trial restore: the backup is restored into an empty database, dumped again, and both dumps are compared."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from stowage.basics.errors import RunError
from stowage.postgres.dumps.pg_dump import Dump, pg_dump_version
from stowage.postgres.dumps.portable import Form
from stowage.postgres.dumps.preflight import major
from stowage.postgres.dumps.sameness import compare_dumps
from stowage.postgres.restores.feed import Feed
from stowage.postgres.restores.loading import load
from stowage.postgres.restores.preflight import must_be_triable
from stowage.postgres.restores.session import session
from stowage.postgres.restores.trials import drop_trial, drop_trials, make_trial, must_show_its_rows, trial_of
from stowage.postgres.session.connection import RESTORE, Connection, child_login
from stowage.restores.artifact import Artifact, program
from stowage.runs.attempt import Attempt
from stowage.settings import settings
from stowage.verifications import server_of_trials

FOUND = ("backup_damaged", "restore_refused", "restore_differs")
"""The errors that say something of the backup. All others say only that it could not be tried."""


@dataclass(frozen=True)
class Trial:
    """What was found: the checks that were passed, in their order, how many rows were restored, and why the
    check after those was not passed.
    """

    passed: list[str]
    rows: int
    failure: RunError | None = None


def try_restore(attempt: Attempt) -> Trial:
    """Restore the backup that the run uses, and dump it again. Whatever happens, the database for it is dropped.

    RunError as `must_be_triable`; `client_differs` where the dumps differ and another version of pg_dump or of the
    server may be why.
    """
    passed, rows = list[str](), 0
    try:
        artifact = Artifact(attempt.run, attempt.reporter)
        passed.append("file")
        with _database_for(attempt, artifact) as name:
            _load(attempt, artifact, name)
            rows = artifact.contents.row_count or 0
            passed.append("restored")
            _must_be_the_same(attempt, artifact, name)
            passed.append("same")
    except RunError as error:
        if error.code not in FOUND:
            raise
        return Trial(passed, rows, error)
    return Trial(passed, rows)


@contextmanager
def _database_for(attempt: Attempt, artifact: Artifact) -> Iterator[str]:
    run, name = attempt.run, trial_of(attempt.run.id, attempt.run.attempt)
    server = server_of_trials(run.database)
    with session(server) as connection:
        drop_trials(connection, run.id)
        must_be_triable(connection, artifact.contents)
    try:
        with session(server) as connection:
            make_trial(connection, name, artifact.contents)
        yield name
    finally:
        with session(server) as connection:
            drop_trial(connection, name)


def _load(attempt: Attempt, artifact: Artifact, name: str) -> None:
    contents = artifact.contents
    attempt.reporter.report("loading", "Restoring into an empty database.")
    form = Form(
        keep_owners=True, keep_grants=True, keep_restrictions=False, schema=contents.schema_name, needs=contents
    )
    login = child_login(server_of_trials(attempt.run.database), RESTORE, within=name)
    with closing(Feed(login, program("psql"), artifact.waiting)) as feed:
        load(feed, artifact.script(), form, None, is_live=False, before_commit=artifact.waiting, watch=artifact.watch)


def _must_be_the_same(attempt: Attempt, artifact: Artifact, name: str) -> None:
    """RunError `restore_differs`, naming the first entry, where the dump of what was restored is not the backup."""
    server, schema = server_of_trials(attempt.run.database), artifact.contents.schema_name
    attempt.reporter.report("comparing", "Dumping it again.")
    with session(server, within=name) as connection:
        for each in artifact.contents.counts:
            must_show_its_rows(connection, each)
        is_alike = _is_alike(connection, artifact)
    login = child_login(server, RESTORE, within=name)
    dump = Dump(
        schema,
        "sql",
        login.environment,
        conninfo=login.conninfo,
        encoding=artifact.contents.encoding or None,
        binary=settings().pg_dump,
        included=artifact.included,
    )
    with closing(dump), closing(artifact.script()) as backup:
        again = _watched(dump.chunks(), artifact)
        found = compare_dumps(_watched(backup, artifact), again)
        for _ in again:
            pass  # how pg_dump ends tells whether it wrote all
        dump.finish()
    if found.differs_at is None:
        return
    if not is_alike:
        raise RunError(
            "The backup was restored, but its dump differs from the backup, which another version of pg_dump or of the "
            f"server may explain, at {found.differs_at}.",
            "client_differs",
        )
    raise RunError(f"What was restored is not what was backed up, from {found.differs_at} on.", "restore_differs")


def _watched(chunks: Iterator[bytes], artifact: Artifact) -> Iterator[bytes]:
    for chunk in chunks:
        artifact.waiting()
        yield chunk


def _is_alike(connection: Connection, artifact: Artifact) -> bool:
    """Whether the same programs write both dumps."""
    made = artifact.contents
    server = connection.info.server_version // 10000
    return made.client_version == pg_dump_version(settings().pg_dump) and major(made.server_version) == server
