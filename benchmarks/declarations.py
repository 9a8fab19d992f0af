"""What many declarations and many tenants cost: `inspect`, `check`, and the start of a function.

    python -m benchmarks.declarations [--tenants 10000] [--rounds 25]

Needs a running stack (its Postgres). `inspect` reads a schema of 150 tables; `check` compares 8 tables in each of the
tenants, as a command of its own; a function starts (its module is imported) with 150 declarations and with the
sample's, in turn. Exits with 1 where a goal is missed.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import LiteralString

import psycopg
from psycopg import sql

from benchmarks.bench_tenant import read_stack
from benchmarks.figures import told
from stowage.entities.__main__ import main as entities
from stowage.entities.building import build

INSPECT_GOAL_SECONDS, CHECK_GOAL_SECONDS, START_GOAL_SECONDS, MEMORY_GOAL_MB = 1.0, 15.0, 0.005, 1.0
TABLES, CHECKED_TABLES, AT_ONCE = 150, 8, 50
INSPECTED, CHECKED = "benchinspect", "benchcheck"
FUNCTION = "records.list_records"

# Each table refers to the one before it; fourteen columns of the usual types.
TABLE: LiteralString = """
CREATE TABLE {schema}.{table} (
    id bigserial PRIMARY KEY, name varchar(100) NOT NULL, code varchar(40) UNIQUE, status varchar(20) NOT NULL
    CHECK (status IN ('draft', 'sent')), amount numeric(12, 2) NOT NULL DEFAULT 0, parent_id bigint {references},
    is_public boolean NOT NULL DEFAULT false, tags text[], settings jsonb, due_on date, position integer,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), deleted_at timestamptz
)
"""
# Eight small tables without TOAST, so that eighty thousand of them fit a laptop.
TENANT: LiteralString = """
CREATE SCHEMA {schema};
{tables}
SELECT stowage.grant_tenant({name})
"""
CHECKED_TABLE: LiteralString = """
CREATE TABLE {schema}.{table} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(100) NOT NULL, amount integer,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
"""
CHECKED_DECLARATION = """
[table_{n}]
key = "id bigint database"
label = "name"
created = "created_at"
updated = "updated_at"
[table_{n}.fields]
name = "varchar(100) not null"
amount = "integer"
"""
# Each start is a fork of a process that has imported the libraries, whose time would hide the difference.
START = f"""
import gc, os, resource, sys, time
import aws_lambda_powertools.event_handler, botocore.session, cryptography.x509, psycopg, pydantic
gc.freeze()
for turn in range({{rounds}} + 1):
    for side in sys.argv[1:] if turn % 2 else sys.argv[:0:-1]:
        if not (child := os.fork()):
            sys.path[:0] = [side, "layers/stowage", "functions"]
            began = time.process_time()
            import {FUNCTION}
            seconds = time.process_time() - began
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            os.write(1, f"{{{{side}}}}|{{{{seconds}}}}|{{{{memory}}}}\\n".encode())
            os._exit(0)
        os.waitpid(child, 0)
"""


def bench_inspect(owner: psycopg.Connection, url: str, folder: Path) -> bool:
    """Read 150 tables; the declarations are left in the folder."""
    schema = sql.Identifier(INSPECTED)
    owner.execute(sql.SQL("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0}").format(schema))
    try:
        for n in range(TABLES):
            before = sql.SQL("REFERENCES {}.{}").format(schema, sql.Identifier(f"table_{n - 1}"))
            owner.execute(
                sql.SQL(TABLE).format(
                    schema=schema, table=sql.Identifier(f"table_{n}"), references=before if n else sql.SQL("")
                )
            )
        seconds = []
        for _ in range(5):
            printed = io.StringIO()
            began = time.perf_counter()
            with contextlib.redirect_stdout(printed):
                assert entities(["inspect", "--url", url, "--schema", INSPECTED]) == 0
            seconds.append(time.perf_counter() - began)
    finally:
        owner.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))
    assert printed.getvalue().count("\n[table_") >= TABLES
    (folder / "tables.toml").write_text(printed.getvalue())
    return told(f"inspect of {TABLES} tables, of a second", median(seconds), INSPECT_GOAL_SECONDS, 1.0)


def bench_check(owner: psycopg.Connection, url: str, folder: Path, tenants: int) -> bool:
    """Compare 8 tables in so many schemas."""
    (folder / "tables.toml").write_text("".join(CHECKED_DECLARATION.format(n=n) for n in range(CHECKED_TABLES)))
    build(folder, folder / "stowage_entities")
    names = [f"{CHECKED}_{n}" for n in range(tenants)]
    parts = [names[start : start + AT_ONCE] for start in range(0, tenants, AT_ONCE)]
    try:
        for part in parts:
            with owner.transaction():
                for name in part:
                    owner.execute(_tenant(name))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), "layers/stowage"])}
        command = [sys.executable, "-m", "stowage.entities", "check", "--url", url]
        asked = [argument for name in names for argument in ("--schema", name)]
        began = time.perf_counter()
        ended = subprocess.run([*command, *asked], check=False, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - began
    finally:
        for part in parts:
            with owner.transaction():
                for name in part:
                    owner.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
    print(ended.stdout[-400:] + ended.stderr[-400:], end="")
    assert f"{CHECKED_TABLES} entities, {tenants:,} tenants" in ended.stdout
    assert ended.returncode == 0
    return told(
        f"check of {tenants:,} tenants with {CHECKED_TABLES} tables, of {CHECK_GOAL_SECONDS:.0f} s",
        seconds,
        CHECK_GOAL_SECONDS,
        1.0,
    )


def _tenant(name: str) -> sql.Composed:
    schema = sql.Identifier(name)
    tables = [
        sql.SQL(CHECKED_TABLE).format(schema=schema, table=sql.Identifier(f"table_{n}")) for n in range(CHECKED_TABLES)
    ]
    return sql.SQL(TENANT).format(schema=schema, name=sql.Literal(name), tables=sql.SQL("").join(tables))


def bench_start(folder: Path, rounds: int) -> list[bool]:
    """Import a function with the declarations in the folder and with the sample's in turn: by how much they differ."""
    build(folder, folder / "stowage_entities")
    many, sample = str(folder), "layers/entities"
    # Compiled modules come with a build; here the first turn writes them.
    left_out = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    command = [sys.executable, "-c", START.format(rounds=rounds), many, sample]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    turns: dict[str, list[list[float]]] = {many: [], sample: []}
    for line in ended.stdout.splitlines():
        side, *values = line.split("|")
        turns[side].append([float(value) for value in values])
    pairs = list(zip(turns[many], turns[sample], strict=True))[1:]
    seconds, megabytes = (median(ours[n] - theirs[n] for ours, theirs in pairs) for n in (0, 1))
    print(f"{FUNCTION}: {1000 * median(theirs[0] for _, theirs in pairs):.0f} ms of a processor with the sample's")
    return [
        told(
            f"start with {TABLES} declarations, longer than with 6",
            seconds,
            START_GOAL_SECONDS,
            1.0,
            unit="ms",
        ),
        told(
            f"memory with {TABLES} declarations, MB more",
            megabytes,
            MEMORY_GOAL_MB,
            1.0,
            unit=None,
        ),
    ]


def main() -> int:
    """Run everything; 0 where all goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=25)
    given = parser.parse_args()
    url = str(read_stack()["database_url"])
    with (
        psycopg.connect(url, autocommit=True) as owner,
        tempfile.TemporaryDirectory() as inspected,
        tempfile.TemporaryDirectory() as checked,
    ):
        met = [
            bench_inspect(owner, url, Path(inspected)),
            *bench_start(Path(inspected), given.rounds),
            bench_check(owner, url, Path(checked), given.tenants),
        ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
