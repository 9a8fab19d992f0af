"""Databases of other encodings: backed up as they are, read and written as UTF-8, and what cannot be is said."""

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import openpyxl
import psycopg
import pyarrow.parquet
import pytest

from local.postgres import binaries
from stowage.access.identity import Identity
from stowage.audit.reading import read_history
from stowage.basics.errors import RunError, StowageError
from stowage.bulk.deleting import bulk_delete as bulk_delete_of_the_dashboard
from stowage.bulk.reassigning import bulk_reassign
from stowage.bulk.requests import DeleteRequest, ReassignRequest, UndoRequest
from stowage.bulk.undoing import bulk_undo
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
from stowage.postgres.session.idempotency import KeptAnswer
from stowage.postgres.session.transactions import transact
from stowage.postgres.tables.shapes import read_shapes
from stowage.records import change_record, change_records, list_records, read_record
from stowage.records.deleting import RecordIds, bulk_delete, delete_record
from stowage.settings import settings
from stowage.tenants import Tenant
from stowage.trash.deleting import delete_item
from stowage.trash.items import RestoreRequest
from stowage.trash.listing import read_trash
from stowage.trash.restoring import restore_item
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
def test_an_id_with_such_a_character_is_nobodys(case: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a request asks of it, alone or among others."""
    for module in ("session.edit", "edits.file_batches"):
        monkeypatch.setattr(f"stowage.postgres.{module}.mark_dirty", lambda *_: None)
    brands, accounts, tea = ENTITIES["brands"], ENTITIES["accounts"], "茶"
    edit = Edit(TENANT, "ann", "admin", datetime.now(UTC))
    with connect("main", "postgres") as connection:
        connection.execute("INSERT INTO tenant_acme.brands (id, label) VALUES ('b3', 'Chai')")
        connection.execute(
            "INSERT INTO tenant_acme.accounts (id, username, platform, brand_id)"
            " VALUES ('a1', 'x', 'p', 'b1'), ('a2', 'y', 'p', 'b1')"
        )
    identity = Identity("ann", "admin", frozenset({"acme"}), datetime.max.replace(tzinfo=UTC))
    alone: list[tuple[Callable[[], object], str]] = [
        (lambda: read_record(TENANT, brands, tea), "record_not_found"),
        (lambda: read_history(TENANT, identity, brands, tea, None, 20), "record_not_found"),
        (lambda: change_record(edit, brands, tea, b'{"label": "Chai"}', None), "record_not_found"),
        (lambda: change_record(edit, brands, tea, b'{"label": "Chai"}', '"x"'), "record_not_found"),
        (lambda: delete_record(edit, brands, tea, None), "record_not_found"),
        (lambda: delete_record(edit, brands, tea, '"x"'), "record_not_found"),
        (lambda: restore_item(edit, tea, RestoreRequest()), "not_in_trash"),
        (lambda: delete_item(edit, tea, "brands"), "not_in_trash"),
        (lambda: bulk_undo(edit, UndoRequest(operationId=tea)), "operation_not_found"),
        (lambda: reassigned(edit, ["a1"], tea), "unknown_brand"),
    ]
    for ask, code in alone:
        with pytest.raises(StowageError) as caught:
            ask()
        assert caught.value.code == code

    updates = [{"id": "b1", "label": "Caffè"}, {"id": tea, "label": "Té"}, {"id": "b2", "label": "Thé"}]
    for made, done in (
        (change_records(edit, brands, json.dumps({"updates": updates}).encode()), {"updated": 2, "failed": 1}),
        (bulk_delete(edit, brands, RecordIds(ids=[tea, "b3"])), {"deleted": 1, "failed": 1}),
    ):
        data = json.loads(made.body)["data"]
        assert (made.status, data | done) == (207, data)
        assert [(each["id"], each["code"]) for each in data["failures"]] == [(tea, "not_found")]
    request = DeleteRequest(ids=["a1", tea], dataType="accounts")
    for made in (reassigned(edit, ["a1", tea], "b2"), bulk_delete_of_the_dashboard(edit, request)):
        answer = json.loads(made.body)
        assert (made.status, answer["succeeded"], answer["failed"]) == (207, 1, 1)
        assert [each.get("code") for each in answer["results"]] == [None, "not_found"]
    assert labels(case) == ["Caffè".encode(), "Thé".encode(), b"Chai"]

    with connect("main", APP) as connection:
        assert begin_import(connection, "import", 1, edit, accounts, keep_days=9)
        session = ImportSession(connection, edit, accounts, "import", 1)
        session.prepare({})
        preparer = Preparer(accounts, "import", "ndjson", None, Naming(accounts, {}))
        given = [{"id": each, "username": f"u{each}", "platform": "p", "brandId": "b1"} for each in ("a2", tea, "a3")]
        rows: list[Row] = [*enumerate(given, 1)]
        written = write_batch(session, accounts, "update", preparer.prepare(Batch(0, rows, 3, 0, 0, True, None)))
    assert written.outcomes == ("ucc" if encoding_of(case) == "SQL_ASCII" else "ufc")


def reassigned(edit: Edit, ids: list[str], brand: str) -> KeptAnswer:
    return bulk_reassign(edit, ReassignRequest.model_validate({"ids": ids, "targetBrandId": brand}))


@pytest.mark.long(but=["(15, 'SQL_ASCII')", "(18, 'LATIN1')"])
def test_the_trash_shortens_names_by_characters(case: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stowage.postgres.session.edit.mark_dirty", lambda *_: None)
    edit = Edit(TENANT, "ann", "admin", datetime.now(UTC))
    names = ["Café", "é" * 2_000, "é" * 2_001, "é" * 40_000]
    with connect("main", "postgres") as connection:
        for n, name in enumerate(names):
            connection.execute("INSERT INTO tenant_acme.tasks (id, title) VALUES (%s, %s)", (f"t{n}", name))
    bulk_delete(edit, ENTITIES["tasks"], RecordIds(ids=["t0", "t1", "t2", "t3"]))
    items = read_trash(TENANT, datetime.now(UTC), "tasks", 1, 20).items
    assert sorted(item["name"] for item in items) == ["Café", "é" * 2_000, "é" * 2_000 + "…", "é" * 2_000 + "…"]
    restored = json.loads(restore_item(edit, "t3", RestoreRequest()).body)
    assert restored["item"]["name"] == "é" * 2_000 + "…"


@pytest.mark.long(but=["(15, 'SQL_ASCII')", "(18, 'LATIN1')"])
def test_every_format_of_an_export_is_in_utf8(case: Database) -> None:
    """A text that is too long for a cell of Excel ends in a character that not every encoding has."""
    with connect("main", "postgres") as connection:
        connection.execute(
            "INSERT INTO tenant_acme.tasks (id, title) VALUES ('1', 'Café'), ('2', repeat('x', 40000)),"
            " ('3', repeat('é', 20000)), ('4', 'x' || repeat('é', 40000))"
        )
    exported = {}
    for kind in ("csv", "ndjson", "json", "xlsx", "parquet"):
        source = open_export(connect("main", APP), SCHEMA, "acme", data_type="tasks", format=kind, filters=Filters())
        exported[kind] = io.BytesIO(b"".join(source.chunks()))
        source.close()
    rows = openpyxl.load_workbook(exported.pop("xlsx"), read_only=True).worksheets[0].values
    kept = 16_382 if encoding_of(case) == "SQL_ASCII" else 32_765  # it counts bytes
    expected = {"Café", "x" * 32_766 + "…", "é" * 20_000, "x" + "é" * kept + "…"}
    assert {cell for row in rows for cell in row} >= expected
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
