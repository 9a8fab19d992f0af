"""PgBouncer between us and the database: what works through it does, and what cannot is refused by name."""

import os
import pwd
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from stowage.basics.errors import RunError
from stowage.entities.declared import ENTITIES
from stowage.imports.files.columns import Naming
from stowage.imports.files.preparing import Batch, Preparer
from stowage.imports.files.reading import Row
from stowage.imports.files.writing import write_batch
from stowage.postgres.dumps.contents import SnapshotContents
from stowage.postgres.dumps.pg_dump import Dump
from stowage.postgres.dumps.preflight import must_have_sessions
from stowage.postgres.edits.file_batches import ImportSession, begin_import
from stowage.postgres.session.connection import APP, DUMP, child_login, connect
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.transactions import look, transact
from stowage.settings import settings
from stowage.tenants import Tenant
from tests.conftest import free_ports, make_home
from tests.stack.dump_surface import Database, whole
from tests.stack.servers import NEWEST, Servers

PGBOUNCER = Path("/usr/sbin/pgbouncer")
CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = {mode}
default_pool_size = {most}
"""

type Pool = Callable[..., None]
"""A mode, parameters of the URL, and the `most` sessions of the server."""


@pytest.fixture(scope="module")
def database(servers: Servers) -> Database:
    made = servers(NEWEST).make_database()
    for schema in ("tenant_acme", "tenant_globex"):
        made.make_tenant(schema)
        made.connect().execute("SELECT stowage.grant_tenant(%s)", (schema,))
    return made


@pytest.fixture
def pooled(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """`pooled("session")` makes the settings those of a deployment behind a pool of that mode."""
    if not PGBOUNCER.exists():
        pytest.fail(f"This needs PgBouncer as {PGBOUNCER}, which Debian's package pgbouncer installs.", pytrace=False)
    started: list[subprocess.Popen[bytes]] = []

    def start(mode: str, parameters: str = "", most: int = 20) -> None:
        folder, port = make_home(), free_ports(1)[0]
        (folder / "users").write_text("".join(f'"{role}" ""\n' for role in (APP, DUMP)))
        (folder / "pgbouncer.ini").write_text(
            CONFIGURATION.format(server=database.environment["PGPORT"], port=port, folder=folder, mode=mode, most=most)
        )
        user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        identity = {"user": user.pw_uid, "group": user.pw_gid} if user else {}
        if user:
            for path in (folder, *folder.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
        with open(folder / "log", "wb") as log:
            started.append(
                subprocess.Popen([PGBOUNCER, folder / "pgbouncer.ini"], stdout=log, stderr=log, cwd="/", **identity)
            )
        url = f"postgresql://127.0.0.1:{port}/{database.environment['PGDATABASE']}"
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(url, user=APP).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
            else:
                break
        for name, value in {"TABLE": "t", "EXPORTS_BUCKET": "e", "BACKUPS_BUCKET": "b"}.items():
            monkeypatch.setenv(f"STOWAGE_{name}", value)
        monkeypatch.setenv("STOWAGE_DATABASE_URL", url + parameters)
        settings.cache_clear()

    yield start
    settings.cache_clear()
    for process in started:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_reads_and_changes_go_through(database: Database, pooled: Pool, mode: str) -> None:
    pooled(mode, "?application_name=mine&connect_timeout=5")

    def work(connection: psycopg.Connection) -> tuple[object, ...] | None:
        connection.execute("INSERT INTO tenant_acme.brands (id, label) VALUES (%s, %s)", (mode, mode))
        return connection.execute("SELECT current_setting('row_security'), current_setting('TimeZone')").fetchone()

    assert transact("main", work) == ("off", "UTC")
    found = look("main", lambda connection: connection.execute("SELECT label FROM tenant_acme.brands").fetchall())
    assert (mode,) in found


def test_a_pool_of_transactions_keeps_what_the_roles_say(database: Database, pooled: Pool) -> None:
    """What a session says is forgotten there; two sessions of the server at once prove that both are asked."""
    pooled("transaction")
    settings_of = "SELECT current_setting('row_security'), current_setting('client_encoding'), pg_backend_pid()"
    with connect("main", APP) as one, connect("main", APP) as two, one.transaction(), two.transaction():
        answers = [connection.execute(settings_of.encode()).fetchone() for connection in (one, two)]
    assert [answer[:2] for answer in answers if answer] == [("off", "UTF8")] * 2
    assert len({answer[2] for answer in answers if answer}) == 2


def test_imports_through_a_pool_of_transactions_leave_each_other_alone(
    database: Database, pooled: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have one session of the server in turn, so what one of them left there the other would meet."""
    monkeypatch.setattr("stowage.postgres.edits.file_batches.mark_dirty", lambda *_: None)
    pooled("transaction", most=1)
    brands = ENTITIES["brands"]
    with connect("main", APP) as one, connect("main", APP) as two:
        imports: list[tuple[str, ImportSession]] = []
        for slug, connection in (("acme", one), ("globex", two)):
            edit = Edit(Tenant(slug, slug, slug), "ann", "operator", datetime.now(UTC))
            assert begin_import(connection, f"import-{slug}", 1, edit, brands, keep_days=9)
            session = ImportSession(connection, edit, brands, f"import-{slug}", 1)
            session.prepare({})
            imports.append((slug, session))
        for first_row in (0, 1):
            for slug, session in imports:
                preparer = Preparer(brands, f"import-{slug}", "ndjson", None, Naming(brands, {}))
                rows: list[Row] = [(first_row + 1, {"label": f"{slug} {first_row}"})]
                batch = Batch(first_row, rows, first_row + 1, 0, 0, True, None)
                assert write_batch(session, brands, "fail", preparer.prepare(batch)).outcomes == "c"
        left = "SELECT count(*), current_setting('enable_seqscan') FROM pg_class WHERE relname = 'import_rows'"
        assert one.execute(left.encode()).fetchone() == (0, "on")
    for slug, _ in imports:
        labels = f"SELECT label FROM tenant_{slug}.brands WHERE label LIKE '%% _' ORDER BY label"
        found = [label for (label,) in database.connect().execute(labels.encode()).fetchall()]
        assert [label for label in found if label.startswith(("acme ", "globex "))] == [f"{slug} 0", f"{slug} 1"]


def test_a_backup_goes_through_a_pool_of_sessions(database: Database, pooled: Pool) -> None:
    pooled("session")
    with connect("main", DUMP) as connection:
        must_have_sessions(connection, lambda: connect("main", DUMP))
        with SnapshotContents(connection, "tenant_acme", "18.4") as contents:
            login = child_login("main", DUMP)
            source = Dump("tenant_acme", "sql", login.environment, snapshot=contents.snapshot, binary=database.pg_dump)
            dump = whole(source)
            assert contents.result(10).rows["brands"] is not None
    assert b"COPY tenant_acme.brands" in dump


def test_a_backup_through_a_pool_of_transactions_is_refused_by_name(database: Database, pooled: Pool) -> None:
    pooled("transaction")
    with connect("main", DUMP) as connection, pytest.raises(RunError) as caught:
        must_have_sessions(connection, lambda: connect("main", DUMP))
    assert (caught.value.code, caught.value.retryable) == ("shared_sessions", False)


def test_startup_options_that_the_pooler_refuses_are_named(database: Database, pooled: Pool) -> None:
    pooled("session", "?options=-c%20work_mem%3D8MB")
    with pytest.raises(RunError, match="options") as caught:
        connect("main", APP)
    assert (caught.value.code, caught.value.retryable) == ("connection_misconfigured", False)


def test_a_pool_of_statements_is_refused_by_name(database: Database, pooled: Pool) -> None:
    pooled("statement")
    for role in (APP, DUMP):
        with pytest.raises(RunError, match="pool_mode=statement") as caught:
            connect("main", role)
        assert (caught.value.code, caught.value.retryable) == ("connection_misconfigured", False)
