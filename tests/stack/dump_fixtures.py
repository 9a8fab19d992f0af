"""Fixtures of the tests of pipeline and dumps: scratch databases, a bucket behind a proxy, a watch.

The server and the storage are the running stack's.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.bench_tenant import pg_dump_binary
from stowage.aws import clients
from tests.conftest import RunningStack
from tests.faults.s3_proxy import S3Proxy
from tests.stack.dump_surface import Bucket, Database, Watch


@pytest.fixture(scope="session")
def postgres_programs() -> Path:
    """The folder of pg_dump, pg_restore and psql of the stack's server."""
    return Path(pg_dump_binary()).parent


@pytest.fixture
def make_database(stack: RunningStack, postgres_programs: Path) -> Iterator[Callable[[], Database]]:
    """Make scratch databases that are gone after the test."""
    databases: list[Database] = []
    with psycopg.connect(stack.database_url, autocommit=True) as owner:

        def make() -> Database:
            name = f"dumps_{uuid4().hex[:12]}"
            owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            databases.append(Database(make_conninfo(stack.database_url, dbname=name), postgres_programs))
            return databases[-1]

        yield make
        for database in databases:
            for connection in database.opened:
                connection.close()
            name = str(conninfo_to_dict(database.url)["dbname"])
            owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def scratch(make_database: Callable[[], Database]) -> Database:
    """One empty scratch database."""
    return make_database()


@pytest.fixture
def bucket(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket; the product's client reaches it through the proxy, with time-outs that a test can wait for."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.aws_url)
    monkeypatch.setattr(clients, "READ_SECONDS", 1)
    clients.s3.cache_clear()
    direct = clients.s3()
    name = f"dumps-{uuid4().hex[:12]}"
    direct.create_bucket(Bucket=name)
    with S3Proxy(stack.aws_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        clients.s3.cache_clear()
        yield Bucket(name, proxy, direct)
    clients.s3.cache_clear()


@pytest.fixture
def watch() -> Watch:
    return Watch()
