"""Scheduled backups made together: each is what it would have been alone, and no tenant's fault is another's."""

import gzip
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from local.postgres import binaries
from stowage.backups import batches, new_backup
from stowage.backups.records import BackupRequest
from stowage.postgres.dumps.pg_dump import Dump
from stowage.runs import dispatch as dispatching
from stowage.runs.change import cancel_run
from stowage.runs.executions import members_of
from stowage.runs.kinds import estimator_together_of, work_together_of
from stowage.runs.lane import run_together
from stowage.runs.plan import plan_together
from stowage.runs.settle import settle_execution
from stowage.runs.store import create_run, read_run
from stowage.tenants import Tenant
from tests.faults.run_surface import Json, Runs, eventually, kill
from tests.stack.office import in_process
from tests.stack.test_dump_batches import lines

# Names that a pattern or a list would take for others', and one that has neither tables nor rows.
NAMES = ["plain", "plain2", "plain*", 'in "quotes"', "Groß", "a b; TABLE DATA c", "line\nfeed", "empty"]
FILLED = """
    CREATE TABLE {schema}.notes (id serial PRIMARY KEY, body text, at timestamptz DEFAULT '2026-03-29 01:30:00+00');
    INSERT INTO {schema}.notes (body) VALUES (E'two\\nlines'), (E'\\\\.'), ('-- Type: TABLE DATA; Schema: x'), (NULL);
    INSERT INTO {schema}.notes (body) SELECT {name} || i FROM generate_series(1, 40) i;
    CREATE TABLE {schema}.parts (
        id bigint GENERATED ALWAYS AS IDENTITY, note integer REFERENCES {schema}.notes, at date
    ) PARTITION BY RANGE (at);
    CREATE TABLE {schema}.parts_old PARTITION OF {schema}.parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    INSERT INTO {schema}.parts (note, at) SELECT 1, '2020-05-05' FROM generate_series(1, 5);
    CREATE FUNCTION {schema}.looks() RETURNS text LANGUAGE sql AS $body$ SELECT $$
--
-- Data for Name: notes; Type: TABLE DATA; Schema: other; Owner: -
--

COPY other.notes (id) FROM stdin;
1
\\.
$$ $body$;
    COMMENT ON SCHEMA {schema} IS 'SCHEMA plain2';
    CREATE VIEW {schema}.shown AS SELECT body FROM {schema}.notes WHERE id > 1;
    CREATE INDEX ON {schema}.notes (lower(body));
"""
READABLE = """
    GRANT USAGE ON SCHEMA {schema} TO stowage_dump;
    GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO stowage_dump;
    GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO stowage_dump;
"""


class Batch:
    """Tenants whose backups are due in the same minute."""

    def __init__(self, runs: Runs, database: psycopg.Connection) -> None:
        self.runs, self.database = runs, database
        mark = uuid4().hex[:8]
        self.schemas = [f"{name} {mark}" for name in NAMES]
        self.tenants = [f"b{place}-{mark}" for place in range(len(NAMES))]
        for schema in self.schemas:
            self.execute("CREATE SCHEMA {schema}", schema)
            if not schema.startswith("empty"):
                self.execute(FILLED, schema)
            self.execute(READABLE, schema)
        first, second, *_ = map(sql.Identifier, self.schemas)
        database.execute(sql.SQL("ALTER TABLE {}.notes ADD FOREIGN KEY (id) REFERENCES {}.notes").format(second, first))

    def execute(self, statement: str, schema: str) -> None:
        query = sql.SQL(statement)  # type: ignore[arg-type]
        self.database.execute(query.format(schema=sql.Identifier(schema), name=sql.Literal(schema)))

    def start(self) -> list[str]:
        """Have their backups made as the schedule does; the runs' ids."""
        ids = self.ask()
        self.runs.tick()
        return ids

    def ask(self) -> list[str]:
        """Let their backups be due."""
        now = datetime.now(UTC)
        ids = []
        with in_process(self.runs.stack):
            for place in range(len(NAMES)):
                slug = f"b{place}"
                tenant = Tenant(id=self.tenants[place], slug=slug, name=slug, database="main")
                run = new_backup(tenant, BackupRequest(), "schedule", now, slot="2026-11-29T02:00:00.000Z")
                run.spec["schema"], run.may_share = self.schemas[place], True
                create_run(run, now, [])
                ids.append(run.id)
        return ids

    def carry_out(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Have their backups made by this process; the runs' ids."""
        monkeypatch.setenv("STOWAGE_WAKE_QUEUE", self.runs.stack.resources["WakeQueue"])
        monkeypatch.setattr(dispatching, "start_attempt", lambda _: None)
        ids = self.ask()
        with in_process(self.runs.stack):
            dispatching.dispatch("main", datetime.now(UTC))
            execution = self.shares(ids)
            members = members_of(execution)
            plan_together(members, execution, estimator_together_of, datetime.now(UTC))
            run_together(members, work_together_of, lambda: datetime.now(UTC), lambda *_: None)
            settle_execution(execution, members[0], datetime.now(UTC))
        return ids

    def shares(self, ids: Sequence[str]) -> str:
        """The one execution that they all have."""
        [execution] = {self.runs.record(each)["execution"] for each in ids}
        return str(execution)

    def leader(self, ids: Sequence[str]) -> str:
        """The run by which their worker is known."""
        return self.shares(ids).removeprefix("batch-").rpartition("-")[0]

    def is_as_its_own(self, run: Json) -> None:
        """Assert that a backup is what pg_dump makes of the tenant's schema alone."""
        schema = '"' + run["spec"]["schema"].replace('"', '""') + '"'
        alone = subprocess.run(
            [f"{binaries()}/pg_dump", f"--schema={schema}", f"--dbname={self.runs.stack.database_url}"],
            env={"PGTZ": "UTC"}, capture_output=True, check=True,
        ).stdout  # fmt: skip
        assert lines(gzip.decompress(self.runs.body(run))) == lines(alone)

    @contextmanager
    def locked(self, place: int) -> Iterator[None]:
        """Hold a table of a tenant, as a migration does."""
        with psycopg.connect(self.runs.stack.database_url) as connection:
            schema = sql.Identifier(self.schemas[place])
            connection.execute(sql.SQL("LOCK TABLE ONLY {}.parts IN ACCESS EXCLUSIVE MODE").format(schema))
            yield


@pytest.fixture(scope="module")
def database(stack: object) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:  # type: ignore[attr-defined]
        yield connection


@pytest.fixture
def batch(runs: Runs, database: psycopg.Connection) -> Iterator[Batch]:
    made = Batch(runs, database)
    yield made
    for schema in made.schemas:
        made.execute("DROP SCHEMA IF EXISTS {schema} CASCADE", schema)


def test_each_backup_is_line_by_line_what_it_would_have_been_alone(batch: Batch) -> None:
    ids = batch.start()
    ended = [batch.runs.ends(each, "completed") for each in ids]

    assert batch.shares(ids).startswith("batch-")
    for run, schema in zip(ended, batch.schemas, strict=True):
        batch.is_as_its_own(run)
        manifest = batch.runs.manifest(run)
        assert manifest["contents"]["schema_name"] == schema
        assert manifest["rows"] == (0 if schema.startswith("empty") else 49)
        assert run["verification"]["ok"]
        assert run["attempt"] == 1


def test_a_culprit_fails_by_its_own_error_and_all_others_complete(batch: Batch) -> None:
    batch.execute("REVOKE SELECT ON {schema}.notes FROM stowage_dump", batch.schemas[2])
    batch.execute("DROP SCHEMA {schema} CASCADE", batch.schemas[3])
    with batch.locked(4):
        ids = batch.start()
        for place in (0, 1, 5, 6, 7):
            assert batch.runs.ends(ids[place], "completed")["attempt"] == 1
        eventually(lambda: batch.runs.record(ids[4])["attempts"], "its first attempt has ended")
    unreadable, dropped = (batch.runs.ends(ids[place], "failed") for place in (2, 3))
    late = batch.runs.ends(ids[4], "completed")

    assert unreadable["error"]["code"] == "permission_denied"
    assert "may not read notes" in unreadable["error"]["message"]
    assert dropped["error"]["code"] == "schema_missing"
    assert late["attempts"][0]["error"].endswith("stayed locked.")
    assert late["execution"] == f"{ids[4]}-2"
    batch.is_as_its_own(late)


def test_a_culprit_whom_no_check_finds_is_found_by_halves(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = 'pg_dump: error: Dumping the contents of table "notes" failed: PQgetResult() failed.'
    program, asked = tmp_path / "pg_dump", tmp_path / "asked"
    program.write_text(f"""#!/bin/sh
echo x >> {asked}
case "$*" in *'--schema="{batch.schemas[1]}"'*)
    echo '{words}' >&2; echo 'ERROR:  could not read blocks 0..0' >&2; exit 1;;
esac
exec {binaries()}/pg_dump "$@"
""")
    program.chmod(0o755)
    (tmp_path / "pg_restore").symlink_to(f"{binaries()}/pg_restore")
    monkeypatch.setenv("STOWAGE_PG_DUMP", str(program))
    ids = batch.carry_out(monkeypatch)

    failed = batch.runs.ends(ids[1], "failed")
    assert failed["error"]["code"] == "data_corrupt"
    assert 'Dumping the contents of table "notes" failed' in failed["error"]["message"]
    for place in (0, 2, 3, 4, 5, 6, 7):
        assert batch.runs.ends(ids[place], "completed")["attempt"] == 1
    # Dumps of 8, 4 + 4, 2 + 2 and 1 + 1; and the version is asked for by the batch and by each that is made alone.
    assert asked.read_text().count("x") == 1 + 2 + 2 + 2 + 3


def test_what_is_too_much_for_the_servers_locks_or_for_our_memory_is_made_in_parts(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumps: list[int] = []

    def counted(*given: Any, **more: Any) -> Dump:
        dumps.append(1 + len(more["beside"]))
        return Dump(*given, **more)

    monkeypatch.setattr(batches, "Dump", counted)
    monkeypatch.setattr(batches, "room_for_locks", lambda _: 60)
    monkeypatch.setattr(batches, "SHARED_MAX_BYTES", 500)
    monkeypatch.setenv("STOWAGE_PG_DUMP", f"{binaries()}/pg_dump")
    batch.execute("DROP SCHEMA {schema}", batch.schemas[7])
    batch.schemas[7] = batch.schemas[0]
    ids = batch.carry_out(monkeypatch)

    for each in ids:
        run = batch.runs.ends(each, "completed")
        batch.is_as_its_own(run)
    assert len(dumps) > 1
    assert sum(dumps) == 7, "a schema of two tenants is dumped twice"
    apart = [each for each in ids if not batch.runs.record(each)["may_share"]]
    assert len(apart) == 8, "all are larger, or share a schema"


def test_a_killed_worker_leaves_nothing_and_all_are_made_again(batch: Batch) -> None:
    held = batch.runs.hold("s3", "GetObject", f"{batch.tenants[3]}/", delay=2)
    ids = batch.start()
    held.reached()
    kill(batch.runs.worker(batch.leader(ids)))
    ended = [batch.runs.ends(each, "completed") for each in ids]

    again = [run for run in ended if run["attempt"] == 2]
    assert ids[3] in [run["id"] for run in again]
    assert {run["execution"] for run in again} == {batch.shares([run["id"] for run in again])}
    for run in ended:
        batch.is_as_its_own(run)


def test_one_can_be_cancelled_and_the_others_go_on(batch: Batch) -> None:
    held = batch.runs.hold("s3", "PutObject", f"{batch.tenants[1]}/", delay=2)
    ids = batch.start()
    held.reached()
    with in_process(batch.runs.stack):
        cancel_run(read_run(batch.tenants[6], ids[6]), "ada", datetime.now(UTC))
    batch.runs.ends(ids[6], "cancelled")
    for each in ids[:6] + ids[7:]:
        assert batch.runs.ends(each, "completed")["attempt"] == 1
