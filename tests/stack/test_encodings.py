"""Databases of other encodings: backed up as they are, read and written as UTF-8, and what cannot be is said."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import openpyxl
import psycopg
import pyarrow.parquet
import pytest

from local.postgres import binaries
from stowage.basics.errors import RunError, StowageError
from stowage.entities.checking import check, wanted_columns
from stowage.entities.declared import ENTITIES
from stowage.entities.filters import Filters, parse_filters
from stowage.exports.formats import open_export
from stowage.imports.files.columns import Naming
from stowage.imports.files.preparing import Batch, Preparer
from stowage.imports.files.reading import Row
from stowage.imports.files.writing import write_batch
from stowage.imports.items import import_items
from stowage.postgres.dumps.contents import SnapshotContents
from stowage.postgres.dumps.pg_dump import Dump, DumpFormat
from stowage.postgres.edits.file_batches import ImportSession, begin_import
from stowage.postgres.schema.migrations import create_tenant, migrate
from stowage.postgres.session.command_line import connect_as
from stowage.postgres.session.connection import APP, DUMP, OWNER, child_login, connect
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.transactions import transact
from stowage.postgres.tables.shapes import read_shapes
from stowage.records import change_record, change_records, list_records
from stowage.records.deleting import RecordIds, bulk_delete
from stowage.settings import settings
from stowage.tenants import Tenant
from stowage_entities import DECLARED
from tests.stack.dump_surface import Database, whole
from tests.stack.servers import NEWEST, OLDER, Servers

TENANT = Tenant("acme", "acme", "Acme")
SCHEMA = "tenant_acme"
FORMATS: tuple[DumpFormat, ...] = ("sql", "tar", "custom")


@pytest.fixture(params=[(OLDER, "LATIN1"), (OLDER, "SQL_ASCII"), (NEWEST, "LATIN1"), (NEWEST, "SQL_ASCII")], ids=str)
def case(servers: Servers, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database of that encoding, migrated as a deployment does it, with a tenant; we are deployed on it."""
    version, encoding = request.param
    database = servers(version).make_database(encoding)
    values = database.environment
    for name, value in {"TABLE": "t", "EXPORTS_BUCKET": "e", "BACKUPS_BUCKET": "b"}.items():
        monkeypatch.setenv(f"STOWAGE_{name}", value)
    monkeypatch.setenv("STOWAGE_DATABASE_URL", f"postgresql://127.0.0.1:{values['PGPORT']}/{values['PGDATABASE']}")
    settings.cache_clear()
    kept: dict[tuple[str, str], psycopg.Connection] = {}
    monkeypatch.setattr("stowage.postgres.session.connection._kept", kept)
    from stowage.postgres.schema.migrations import apply_roles

    apply_roles(database.connect())
    with connect("main", OWNER) as connection:
        assert migrate(connection)
    with connect("main", "postgres") as connection:
        create_tenant(connection, "acme", "acme", "Acme")
        connection.execute("INSERT INTO tenant_acme.brands (id, label) VALUES ('b1', 'Café'), ('b2', 'Tea')")
    yield database
    for each in kept.values():
        each.close()
    settings.cache_clear()


def encoding_of(database: Database) -> str:
    return str(database.connect().info.parameter_status("server_encoding"))


def dumped(database: Database, dump_format: DumpFormat) -> bytes:
    with connect("main", DUMP) as connection, SnapshotContents(connection, SCHEMA, "18.4") as contents:
        login = child_login("main", DUMP)
        source = Dump(
            SCHEMA,
            dump_format,
            login.environment,
            encoding=connection.info.parameter_status("server_encoding"),
            snapshot=contents.snapshot,
            binary=str(binaries() / "pg_dump"),
        )
        dump = whole(source)
        found = contents.result(30)
    assert found.encoding == encoding_of(database)
    assert (found.rows["brands"], found.warnings) == (2, [])
    return dump


def labels(database: Database) -> list[bytes]:
    query = "SELECT label::bytea FROM tenant_acme.brands ORDER BY id"
    if encoding_of(database) == "LATIN1":
        query = "SELECT convert_to(label, 'UTF8') FROM tenant_acme.brands ORDER BY id"
    return [bytes(label) for (label,) in database.connect().execute(query.encode()).fetchall()]


@pytest.mark.long(but=["(15, 'LATIN1')-sql", "(15, 'SQL_ASCII')-custom", "(18, 'LATIN1')-tar", "(18, 'SQL_ASCII')-sql"])
@pytest.mark.parametrize("dump_format", FORMATS)
def test_a_backup_is_restored_as_it_was(case: Database, servers: Servers, dump_format: DumpFormat) -> None:
    dump = dumped(case, dump_format)
    version = OLDER if case.programs != binaries() else NEWEST
    copy = servers(version).make_database(encoding_of(case))
    if dump_format != "sql":
        dump = Database(copy.url, binaries()).run("pg_restore", "-f", "-", data=dump)

    copy.restore("sql", dump.replace(b"SET transaction_timeout = 0;\n", b""))

    assert labels(copy) == labels(case) == ["Café".encode(), b"Tea"]


@pytest.mark.long(but=["(15, 'SQL_ASCII')", "(18, 'LATIN1')"])
def test_lists_exports_and_changes_are_in_utf8(case: Database) -> None:
    assert "Café" in list_records(TENANT, ENTITIES["brands"], {})
    source = open_export(connect("main", APP), SCHEMA, "acme", data_type="brands", format="csv", filters=Filters())
    exported = b"".join(source.chunks())
    source.close()
    assert "Café" in exported.decode()

    def rename(connection: psycopg.Connection) -> None:
        connection.execute("UPDATE tenant_acme.brands SET label = %s WHERE id = 'b2'", ("Thé",))

    transact("main", rename)
    assert labels(case) == ["Café".encode(), "Thé".encode()]


@pytest.mark.long(but=["(15, 'SQL_ASCII')", "(18, 'LATIN1')"])
def test_a_character_that_the_database_does_not_have_is_told(case: Database) -> None:
    def rename(connection: psycopg.Connection) -> None:
        connection.execute("UPDATE tenant_acme.brands SET label = %s WHERE id = 'b2'", ("🍵",))

    if encoding_of(case) == "SQL_ASCII":
        transact("main", rename)  # which holds any bytes
        assert "🍵" in list_records(TENANT, ENTITIES["brands"], {})
        return
    with pytest.raises(StowageError) as caught:
        transact("main", rename)
    assert (caught.value.status, caught.value.code) == (400, "character_not_held")


@pytest.mark.long(but=["(15, 'SQL_ASCII')", "(18, 'LATIN1')"])
def test_of_many_records_only_those_with_such_a_character_fail(case: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    brands, edit = ENTITIES["brands"], Edit(TENANT, "ann", "operator", datetime.now(UTC))
    held = encoding_of(case) == "SQL_ASCII"
    monkeypatch.setattr("stowage.postgres.session.edit.mark_dirty", lambda *_: None)
    monkeypatch.setattr("stowage.postgres.edits.file_batches.mark_dirty", lambda *_: None)

    with connect("main", APP) as connection:
        assert begin_import(connection, "import", 1, edit, brands, keep_days=9)
        session = ImportSession(connection, edit, brands, "import", 1)
        session.prepare({})
        preparer = Preparer(brands, "import", "ndjson", None, Naming(brands, {}))
        rows: list[Row] = [(n, {"label": label}) for n, label in enumerate(("Maté", "茶", "Rooibos", "🍵"), 1)]
        written = write_batch(session, brands, "fail", preparer.prepare(Batch(0, rows, 4, 0, 0, True, None)))
    told = "label: this label holds a character that the tenant's database does not have in its encoding."
    assert written.outcomes == ("cccc" if held else "cfcf")
    assert written.failures == ([] if held else [(1, "invalid", told), (3, "invalid", told)])

    options = {"skipInvalid": True, "returnFailures": True}
    body = {"items": [{"label": "Matcha ☃"}, {"label": "Ginseng"}], "options": options}
    imported = json.loads(import_items(edit, brands, json.dumps(body).encode()).body)["data"]
    assert (imported["created"], imported["failed"]) == ((2, 0) if held else (1, 1))
    updates = [{"id": "b1", "label": "Caffè"}, {"id": "b2", "label": "чай"}]
    changed = json.loads(change_records(edit, brands, json.dumps({"updates": updates}).encode()).body)["data"]
    assert (changed["updated"], changed["failed"]) == ((2, 0) if held else (1, 1))
    assert all("character" in each["error"] for each in imported["failures"] + changed["failures"])


@pytest.mark.long(but=["(15, 'SQL_ASCII')", "(18, 'LATIN1')"])
def test_every_format_of_an_export_is_in_utf8(case: Database) -> None:
    """A text that is too long for a cell of Excel ends in a character that not every encoding has."""
    with connect("main", "postgres") as connection:
        connection.execute("INSERT INTO tenant_acme.tasks (id, title) VALUES ('1', 'Café'), ('2', repeat('x', 40000))")
    exported = {}
    for kind in ("csv", "ndjson", "json", "xlsx", "parquet"):
        source = open_export(connect("main", APP), SCHEMA, "acme", data_type="tasks", format=kind, filters=Filters())
        exported[kind] = io.BytesIO(b"".join(source.chunks()))
        source.close()
    rows = openpyxl.load_workbook(exported.pop("xlsx"), read_only=True).worksheets[0].values
    assert {cell for row in rows for cell in row} >= {"Café", "x" * 32_766 + "…"}
    assert "Café" in pyarrow.parquet.read_table(exported.pop("parquet")).column("title").to_pylist()
    assert all("Café" in file.read().decode() for file in exported.values())


@pytest.mark.long(but=["(15, 'SQL_ASCII')", "(18, 'LATIN1')"])
def test_an_export_by_a_character_that_the_database_does_not_have_is_told(case: Database) -> None:
    filters = parse_filters("brands", {"search": "茶"})
    source = open_export(connect("main", APP), SCHEMA, "acme", data_type="brands", format="ndjson", filters=filters)
    try:
        if encoding_of(case) == "SQL_ASCII":
            assert b"".join(source.chunks()) == b""
        else:
            with pytest.raises(RunError, match="A filter's value holds a character") as caught:
                list(source.chunks())
            assert (caught.value.code, caught.value.retryable) == ("invalid_filter", False)
    finally:
        source.close()


@pytest.mark.long(but=["(15, 'SQL_ASCII')", "(18, 'LATIN1')"])
def test_bytes_that_are_no_utf8_are_backed_up_and_refused_elsewhere(case: Database, servers: Servers) -> None:
    if encoding_of(case) != "SQL_ASCII":
        return  # no other encoding lets them in
    case.connect().execute("UPDATE tenant_acme.brands SET label = convert_from('\\xe9', 'SQL_ASCII') WHERE id = 'b1'")

    dump = dumped(case, "sql")
    copy = servers(OLDER).make_database("SQL_ASCII")
    copy.restore("sql", dump.replace(b"SET transaction_timeout = 0;\n", b""))
    assert labels(copy)[0] == b"\xe9"

    with pytest.raises(StowageError) as listed:
        list_records(TENANT, ENTITIES["brands"], {})
    assert (listed.value.code, listed.value.status) == ("not_utf8", 503)
    for kind in ("csv", "xlsx", "ndjson"):
        source = open_export(connect("main", APP), SCHEMA, "acme", data_type="brands", format=kind, filters=Filters())
        with pytest.raises(RunError, match="brands") as exported:
            list(source.chunks())
        source.close()
        assert (exported.value.code, exported.value.retryable) == ("not_utf8", False)

    # The journal could not be read with such bytes in it, so what would write them there changes nothing.
    brands, edit = ENTITIES["brands"], Edit(TENANT, "ann", "operator", datetime.now(UTC))
    before = case.connect().execute("SELECT b::text::bytea FROM tenant_acme.brands AS b ORDER BY id").fetchall()
    for change in (
        lambda: change_record(edit, brands, "b1", b'{"label": "Chai"}', None),
        lambda: change_records(edit, brands, b'{"updates": [{"id": "b1", "label": "Chai"}]}'),
        lambda: bulk_delete(edit, brands, RecordIds(ids=["b1", "b2"])),
    ):
        with pytest.raises(StowageError) as changed:
            change()
        assert (changed.value.code, changed.value.status) == ("not_utf8", 503)
    after = case.connect().execute("SELECT b::text::bytea FROM tenant_acme.brands AS b ORDER BY id").fetchall()
    assert after == before
    assert case.connect().execute("SELECT count(*) FROM stowage.changes").fetchone() == (0,)


@pytest.mark.long(but=["(15, 'SQL_ASCII')", "(18, 'LATIN1')"])
def test_the_commands_read_texts_in_every_encoding(case: Database) -> None:
    with connect_as(case.url) as connection:
        assert migrate(connection) == []
        absent, shapes = read_shapes(connection, ["tenant_acme"], wanted_columns(DECLARED))
    assert (absent, check(DECLARED, absent, shapes)) == ([], [])


def test_a_database_that_prefers_another_encoding_for_its_clients(servers: Servers) -> None:
    """pg_dump would take over the preference, and break at what it cannot hold."""
    database = servers(NEWEST).make_database()
    database.connect().execute("""
        CREATE SCHEMA tenant_acme; CREATE TABLE tenant_acme.brands (label text);
        INSERT INTO tenant_acme.brands VALUES (U&'\\20AC');
    """)
    name = database.environment["PGDATABASE"]
    database.connect().execute(f"ALTER DATABASE {name} SET client_encoding = 'LATIN1'".encode())

    source = Dump(SCHEMA, "sql", database.environment, encoding="UTF8", binary=database.pg_dump)
    assert "€" in whole(source).decode()
