"""A night of small scheduled backups, in batches and one by one: processor time and tenants a minute.

Counted is the time of this process, which does what the clock, the state machine's steps and the worker do; of pg_dump
and pg_restore; and of the database's server. Not counted is that of the local AWS. A worker's own start is told apart:
a batch has one, and so has each backup that is made alone.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
from psycopg import sql

from benchmarks.bench_tenant import pg_dump_binary, read_stack
from benchmarks.figures import told
from local.database_urls import for_product
from stowage.aws import table
from stowage.backups import new_backup
from stowage.backups.records import BackupRequest
from stowage.runs import dispatch as dispatching
from stowage.runs.executions import member_of, members_of
from stowage.runs.kinds import estimator_of, estimator_together_of, work_of, work_together_of
from stowage.runs.lane import run_attempt, run_together
from stowage.runs.plan import plan_attempt, plan_together
from stowage.runs.record import Run
from stowage.runs.settle import settle_execution
from stowage.runs.store import create_run
from stowage.tenants import Tenant

GOAL_SECONDS = 0.060
TABLES = 8
ALONE = 10
"""So many are made one by one."""


@dataclass
class Spent:
    """Processor seconds, and seconds by the clock on the wall."""

    ours: float
    children: float
    server: float
    wall: float

    def __sub__(self, other: "Spent") -> "Spent":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Spent(*(mine - theirs for mine, theirs in pairs))

    @property
    def processor(self) -> float:
        """All of the processor's."""
        return self.ours + self.children + self.server


def main() -> None:
    """Make the tenants, measure both ways, and drop them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=400)
    count = parser.parse_args().tenants
    stack = read_stack()
    with psycopg.connect(stack["database_url"], autocommit=True) as connection, as_worker(stack):
        tenants = [Tenant(id=f"night-{n}", slug=f"night-{n}", name="Night", database="main") for n in range(count)]
        for tenant in tenants:
            fill(connection, tenant.schema)
        connection.execute("ANALYZE")
        try:
            measure = Measure(connection)
            together, runs = measure.spent(lambda: night(tenants))
            alone, single = measure.spent(lambda: one_by_one(tenants[:ALONE]))
            start = measure.worker_start()
        finally:
            for tenant in tenants:
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(tenant.schema)))
    tell("batches", together, count, start / dispatching.MOST_TOGETHER)
    tell("one by one", alone, max(1, len(single)), start)
    whole = (together.processor + start * -(-count // dispatching.MOST_TOGETHER)) / count
    told("processor time of a tenant's backup against the goal", whole, GOAL_SECONDS, 1.0, unit="ms")
    print(f"stored: {len(runs)} of {count}")


def fill(connection: psycopg.Connection, schema: str) -> None:
    """A tenant of eight small tables with keys, indexes and a reference."""
    space = sql.Identifier(schema)
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(space))
    for number in range(TABLES):
        connection.execute(
            sql.SQL(
                "CREATE TABLE {space}.{name} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL,"
                " body jsonb DEFAULT '{{}}', at timestamptz DEFAULT now(), first bigint REFERENCES {space}.part0);"
                "CREATE INDEX ON {space}.{name} (at);"
                "INSERT INTO {space}.{name} (title) SELECT 'record ' || i FROM generate_series(1, 50) i"
            ).format(space=space, name=sql.Identifier(f"part{number}"))
        )
    connection.execute(
        sql.SQL(
            "GRANT USAGE ON SCHEMA {0} TO stowage_dump; GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO stowage_dump;"
            "GRANT SELECT ON ALL SEQUENCES IN SCHEMA {0} TO stowage_dump"
        ).format(space)
    )


def night(tenants: Sequence[Tenant]) -> list[Run]:
    """Their backups as the schedule has them made; those that have completed."""
    ask(tenants)
    done: list[Run] = []
    while launched := dispatch():
        for execution in dict.fromkeys(str(run.execution) for run in launched):
            members = members_of(execution)
            plan_together(members, execution, estimator_together_of, datetime.now(UTC))
            run_together(members, work_together_of, lambda: datetime.now(UTC), lambda *_: None)
            settle_execution(execution, members[0], datetime.now(UTC))
        done += launched
    return completed(done)


def one_by_one(tenants: Sequence[Tenant]) -> list[Run]:
    """The same without batches."""
    ask(tenants)
    done: list[Run] = []
    while launched := dispatch(together=False):
        for run in launched:
            member, execution = member_of(run), str(run.execution)
            plan_attempt(run.tenant, run.id, run.attempt, execution, estimator_of, datetime.now(UTC))
            run_attempt(run.tenant, run.id, run.attempt, work_of, lambda: datetime.now(UTC))
            settle_execution(execution, member, datetime.now(UTC))
        done += launched
    return completed(done)


def ask(tenants: Sequence[Tenant]) -> None:
    """Let their backups wait. The stack leaves those that may share a place to its clock, and so to this process."""
    now = datetime.now(UTC)
    for tenant in tenants:
        run = new_backup(tenant, BackupRequest(), "schedule", now, slot="2026-11-29T02:00:00.000Z")
        run.may_share = True
        create_run(run, now, [])


def dispatch(*, together: bool = True) -> list[Run]:
    """Launch what waits; whoever calls carries it out."""
    may_share = dispatching.may_share if together else lambda _: False
    with mock.patch.multiple(dispatching, start_attempt=mock.Mock(), may_share=may_share):
        return dispatching.dispatch("main", datetime.now(UTC))


def completed(runs: Sequence[Run]) -> list[Run]:
    """Those that have."""
    items = (table.get(run.pk, run.sk) for run in runs)
    return [run for run in map(Run.model_validate, filter(None, items)) if run.status == "completed"]


def tell(name: str, spent: Spent, count: int, start: float) -> None:
    """Print what a tenant's backup takes."""
    each = {part: getattr(spent, part) / count * 1000 for part in ("ours", "children", "server")}
    print(
        f"{name}: {each['ours']:.0f} ms ours, {each['children']:.0f} ms pg_dump and pg_restore, "
        f"{each['server']:.0f} ms the server, {start * 1000:.0f} ms of a worker's start; "
        f"{count / spent.wall * 60:.0f} tenants a minute"
    )


class Measure:
    """The clocks of this process, its children, and the database's server."""

    def __init__(self, connection: psycopg.Connection) -> None:
        found = connection.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'").fetchone()
        assert found is not None
        self._server = int(_stat(found[0])[1])

    def spent(self, work: Callable[[], list[Run]]) -> tuple[Spent, list[Run]]:
        """What a piece of work takes, and what it gives."""
        before = self._now()
        given = work()
        return self._now() - before, given

    def worker_start(self) -> float:
        """The processor seconds of a worker that has nothing to do."""
        before = _times(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "STOWAGE_RUN_ID": "none", "STOWAGE_ATTEMPT": "1"}
        subprocess.run([sys.executable, "-m", "worker"], env=environment, stderr=subprocess.DEVNULL, check=False)
        return _times(resource.RUSAGE_CHILDREN) - before

    def _now(self) -> Spent:
        ticks = os.sysconf("SC_CLK_TCK")
        stats = {int(path.name): _stat(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdecimal()}
        server = sum(map(int, stats[self._server][11:15]))
        server += sum(sum(map(int, stat[11:13])) for stat in stats.values() if stat and int(stat[1]) == self._server)
        return Spent(
            _times(resource.RUSAGE_SELF), _times(resource.RUSAGE_CHILDREN), server / ticks, time.perf_counter()
        )


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _times(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


@contextmanager
def as_worker(stack: dict[str, Any]) -> Iterator[None]:
    """Let this process be what the stack's steps and workers are."""
    resources = stack["resources"]
    given = {
        "AWS_ENDPOINT_URL": stack["aws_endpoint_url"],
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "STOWAGE_TABLE": resources["Table"],
        "STOWAGE_BACKUPS_BUCKET": resources["BackupsBucket"],
        "STOWAGE_EXPORTS_BUCKET": resources["ExportsBucket"],
        "STOWAGE_WAKE_QUEUE": resources["WakeQueue"],
        "STOWAGE_DATABASE_URL": for_product(stack["database_url"]),
        "STOWAGE_PG_DUMP": pg_dump_binary(),
    }
    with mock.patch.dict(os.environ, given):
        yield


if __name__ == "__main__":
    main()
