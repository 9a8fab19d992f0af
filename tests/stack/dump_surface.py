"""What the tests of pipeline and dumps look at: a scratch database, a bucket behind a proxy that fails on request, a
watch."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from local.sample.rows import Sizes, fill
from stowage.basics.errors import CancelledError
from stowage.postgres.dumps.pg_dump import Dump
from stowage.postgres.schema.migrations import apply_roles, migrate
from tests.faults.s3_proxy import S3Proxy

ROOT = Path(__file__).parents[2]
TENANT_TABLES = sorted((ROOT / "layers/stowage/stowage/postgres/schema/migrations/tenant").glob("*.sql"))
ZOO = ROOT / "local/sample/zoo.sql"


@dataclass
class Database:
    """A scratch database, as an owner's connection string and as libpq's environment."""

    url: str
    programs: Path
    opened: list[psycopg.Connection[Any]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
        values = conninfo_to_dict(self.url)
        return {names[name]: str(value) for name, value in values.items() if name in names}

    @property
    def pg_dump(self) -> str:
        return str(self.programs / "pg_dump")

    def connect(self, **changes: str) -> psycopg.Connection[Any]:
        connection = psycopg.connect(make_conninfo(self.url, **changes), autocommit=True, prepare_threshold=None)
        self.opened.append(connection)
        return connection

    def run(self, program: str, *arguments: str, data: bytes | None = None) -> bytes:
        """Run one of Postgres's programs against this database; its output."""
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            input=data,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", **self.environment},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def restore(self, dump_format: str, data: bytes) -> None:
        """Restore an uncompressed dump; any error fails the test."""
        if dump_format == "sql":
            self.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", data=data)
        else:
            self.run(
                "pg_restore", "--exit-on-error", "--single-transaction", "-d", self.environment["PGDATABASE"], data=data
            )

    def make_tenant(self, schema: str, *, zoo: bool = False) -> None:
        """Make a tenant's tables, with everything of the zoo beside them where asked for."""
        connection = self.connect()
        apply_roles(connection)
        migrate(connection)
        connection.execute(sql.SQL("CREATE SCHEMA {0}; SET search_path = {0}").format(sql.Identifier(schema)))
        for file in TENANT_TABLES:
            connection.execute(file.read_bytes())
        if zoo:
            fill(connection, schema.removeprefix("tenant_"), Sizes(2, 4, 60, 240, 20, 5))
            connection.execute(ZOO.read_bytes())

    def state(self, schema: str) -> dict[str, Any]:
        """Every table's count and checksum, every sequence's state, and the definition of everything in the schema."""
        connection = self.connect()
        connection.execute("SET extra_float_digits = 3; SET timezone = 'UTC'")
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (schema,)
        ).fetchall()
        rows = {
            name: connection.execute(
                sql.SQL(
                    "SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM {} t"
                ).format(sql.Identifier(schema, name))
            ).fetchone()
            for (name,) in tables
        }
        sequences = connection.execute(
            "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = %s ORDER BY 1", (schema,)
        ).fetchall()
        definition = self.run("pg_dump", "--schema-only", "-n", '"' + schema.replace('"', '""') + '"').decode()
        lines = [line for line in definition.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
        return {"rows": rows, "sequences": sequences, "definition": lines}


def whole(source: Dump) -> bytes:
    """All that a dump gives, once it has said that this is all."""
    try:
        given = b"".join(source.chunks())
        source.finish()
    finally:
        source.close()
    return given


@dataclass
class Bucket:
    """An own bucket behind the proxy, which the product's client uses, and a look at it past the proxy."""

    name: str
    proxy: S3Proxy
    direct: Any

    def keys(self) -> list[str]:
        return [item["Key"] for item in self.direct.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def unfinished(self) -> list[str]:
        return [item["Key"] for item in self.direct.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]

    def read(self, key: str) -> bytes:
        return bytes(self.direct.get_object(Bucket=self.name, Key=key)["Body"].read())


class Watch:
    """A run's watcher: notes what it is told, and cancels once it is told to."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []
        self.cancelled: Callable[[], bool] = lambda: False

    def __call__(self, read: int, stored: int, rows: int) -> None:
        self.seen.append((read, stored, rows))
        if self.cancelled():
            raise CancelledError("The run was cancelled.")
