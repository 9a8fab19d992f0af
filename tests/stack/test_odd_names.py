"""Tables and columns of any name, through everything that composes statements."""

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from unittest import mock

import psycopg
import pytest
from psycopg import sql

from stowage.basics.errors import ConflictError
from stowage.bulk import bulk_undo
from stowage.bulk.deleting import bulk_delete as dashboard_delete
from stowage.bulk.requests import DeleteRequest, UndoRequest
from stowage.entities.checking import check, wanted_columns
from stowage.entities.declared import ENTITIES, Entities
from stowage.entities.filters import parse_filters
from stowage.entities.inspecting import write_declarations
from stowage.entities.language import read_declarations
from stowage.exports.formats import open_export
from stowage.imports.files.columns import Naming
from stowage.imports.files.opening import open_rows
from stowage.imports.files.preparing import Batch, Preparer
from stowage.imports.files.reading import Layout
from stowage.imports.files.validating import row_types
from stowage.imports.files.writing import write_batch
from stowage.imports.items import import_items
from stowage.postgres.dumps.contents import SnapshotContents
from stowage.postgres.dumps.estimates import estimate
from stowage.postgres.edits.file_batches import ImportSession, begin_import
from stowage.postgres.schema.catalogue import read_tables
from stowage.postgres.session.connection import APP, _kept, connect
from stowage.postgres.session.edit import Edit
from stowage.postgres.tables.shapes import read_shapes
from stowage.records import change_record, change_records, create_record, list_records, read_record
from stowage.records.deleting import RecordIds, bulk_delete
from stowage.settings import settings
from stowage.tenants import Tenant
from stowage.trash.deleting import delete_item
from stowage.trash.items import RestoreRequest
from stowage.trash.listing import read_trash
from stowage.trash.purging import purge_tenant
from stowage.trash.restoring import restore_item
from tests.conftest import RunningStack
from tests.stack.office import in_process
from tests.stack.servers import NEWEST, OLDER, Servers

type Json = Any

NOW = datetime(2026, 11, 28, 12, 0, 0, 123456, tzinfo=UTC)
TENANT = Tenant("shop", "shop", "Shop", schema='100% of %s "Shop" \\ ü')
EVENTS, PARTS = 'par%ents of "all" %s', "ch\\ild'ren {} %(id)s"
ODD = (
    "a%b", "100%", "%s", "%(id)s", "%%", "%", 'quo"te', "apos'trophe", "back\\slash", "two words", " lead", "ü ñ 名",
    "select", "user", "order", "{brace}", "{}", "{0}", "semi;colon --", "line\nfeed", "tab\tstop", "$1", ":name", "?",
    "a.b", "/* c", "Ü" * 31 + "x", "x" * 63, "id", "n", "excluded", "ctid2", "E'x'", "$$", "given",
)  # fmt: skip
FIELDS = {f"f{n}": column for n, column in enumerate(ODD)}
KEY, LABEL, MADE, CHANGED, GONE = "k%y", "%label", "made%s", 'ch"anged%(at)s\\', 'gone "%"'
NUMBERS = count(1)


def declarations() -> str:
    """Both tables; the fields are texts in columns of odd names."""

    def own(*more: str) -> str:
        fields = [f'{name} = {{ type = "text", column = {json.dumps(column)} }}' for name, column in FIELDS.items()]
        return "\n".join([f'label = {{ type = "text not null", column = {json.dumps(LABEL)} }}', *more, *fields])

    common = f"""
label = "label"
search = ["label", "f0"]
filters = ["f0", "f6"]
created = {json.dumps(f"{MADE} timestamptz")}
updated = {json.dumps(f"{CHANGED} timestamptz")}
trash = {json.dumps(GONE)}
"""
    parent = '{ type = "text not null", column = "par%nt", references = "events", onDelete = "cascade" }'
    other = parent.replace("par%nt", "oth%r").replace(" not null", "")
    return f"""
[events]
table = {json.dumps(EVENTS)}
key = {json.dumps(f"{KEY} text stowage")}
prefix = "e_"
unique = [["label"], ["f2", "f4"]]
{common}
[events.fields]
{own()}

[parts]
table = {json.dumps(PARTS)}
key = {json.dumps(f"{KEY} text stowage")}
prefix = "p_"
unique = [["eventId", "label"]]
{common}
[parts.fields]
{own(f"eventId = {parent}", f"otherId = {other}")}
"""


def tables() -> sql.Composed:
    columns = [sql.SQL("{} text").format(sql.Identifier(column)) for column in ODD]
    kept = sql.SQL("{} text PRIMARY KEY, {} text NOT NULL, {} timestamptz, {} timestamptz, {} timestamptz").format(
        *map(sql.Identifier, (KEY, LABEL, MADE, CHANGED, GONE))
    )
    texts, live = sql.SQL(", ").join([kept, *columns]), sql.SQL("{} IS NULL").format(sql.Identifier(GONE))
    return sql.SQL("""
        CREATE TABLE {events} ({texts}, {gen} text GENERATED ALWAYS AS (lower({label})) STORED,
                               CONSTRAINT "ch%ck" CHECK ({label} <> 'refused %s'));
        CREATE TABLE {parts} ({texts}, "par%nt" text NOT NULL REFERENCES {events},
                              "oth%r" text REFERENCES {events});
        CREATE UNIQUE INDEX "own % rule" ON {events} ((lower({label}) || '%')) WHERE {live};
        CREATE UNIQUE INDEX ON {parts} ("par%nt", {label}) WHERE {live};
    """).format(
        events=sql.Identifier(TENANT.schema, EVENTS),
        parts=sql.Identifier(TENANT.schema, PARTS),
        texts=texts,
        gen=sql.Identifier("gen%"),
        label=sql.Identifier(LABEL),
        live=live,
    )


@pytest.fixture(scope="module", params=(OLDER, NEWEST))
def database(servers: Servers, stack: RunningStack, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    made = servers(request.param).make_database()
    made.make_tenant("tenant_other")
    connection = made.connect()
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(TENANT.schema)))
    connection.execute(tables())
    connection.execute("SELECT stowage.grant_tenant(%s)", (TENANT.schema,))
    entities = Entities(read_declarations({"odd.toml": declarations()}))
    assert not entities.unable
    values = made.environment
    url = f"postgresql://127.0.0.1:{values['PGPORT']}/{values['PGDATABASE']}"
    row_types.cache_clear()
    with in_process(stack), mock.patch.dict("os.environ", {"STOWAGE_DATABASE_URL": url}):
        settings.cache_clear()
        with mock.patch.multiple(ENTITIES, _literals=entities._literals, _made={}, unable={}):
            yield connection
            while _kept:
                _kept.popitem()[1].close()
    row_types.cache_clear()


def edit(days: int = 0) -> Edit:
    return Edit(TENANT, "ann@shop", "admin", NOW + timedelta(days=days))


def body(**given: Json) -> bytes:
    return json.dumps(given).encode()


def data(answer: Any) -> Json:
    found = json.loads(answer.body)
    return found.get("data", found)


def texts(mark: str) -> dict[str, str]:
    return {name: f"{mark} {column} %s" for name, column in FIELDS.items()}


def rows(database: psycopg.Connection, table: str) -> list[str]:
    query = sql.SQL("SELECT t::text FROM {} AS t ORDER BY 1").format(sql.Identifier(TENANT.schema, table))
    return [row for (row,) in database.execute(query)]


def made(label: str, entity: str = "events", **more: Json) -> Json:
    return data(create_record(edit(), ENTITIES[entity], body(label=label, **texts(label), **more)))


@pytest.mark.long(but="15")
def test_records_are_made_read_listed_filtered_and_sorted(database: psycopg.Connection) -> None:
    events = ENTITIES["events"]
    one = made("100% one")
    assert {name: one[name] for name in FIELDS} == texts("100% one")
    assert json.loads(read_record(TENANT, events, one["id"])) == one
    for query in (
        {"ids": one["id"]}, {"search": "100% o"}, {"f0": one["f0"]}, {"f6": one["f6"]},
        {"sort": "-f3,f6,id", "ids": one["id"]}, {"createdAfter": "2026-01-01", "ids": one["id"]},
    ):  # fmt: skip
        assert json.loads(list_records(TENANT, events, query))["data"] == [one], query
    part = made("part %", "parts", eventId=one["id"])
    assert json.loads(list_records(TENANT, ENTITIES["parts"], {"ids": part["id"]}))["data"] == [part]


@pytest.mark.long(but="18")
def test_changes_in_bulk_are_undone_to_the_last_byte(database: psycopg.Connection) -> None:
    events = ENTITIES["events"]
    items = [{"label": f"bulk % {n}", **texts(f"b{n}")} for n in range(3)]
    ids = [each["id"] for each in data(import_items(edit(), events, body(items=items)))["items"]]
    before = rows(database, EVENTS)
    updates = [{"id": each, **texts(f"new {n} %%")} for n, each in enumerate(ids)]
    changed = data(change_records(edit(), events, body(updates=[*updates, {"id": "none", "f0": "x"}])))
    assert (changed["updated"], changed["failed"]) == (3, 1)
    told = json.loads(change_record(edit(), events, ids[0], body(f2="%(x)s"), None))
    assert told["f2"] == "%(x)s"
    change_record(edit(), events, ids[0], body(f2=updates[0]["f2"]), None)
    undone = data(bulk_undo(edit(), UndoRequest(operationId=changed["operationId"])))
    assert (undone["succeeded"], undone["failed"]) == (3, 0)
    assert [row.split(",")[4:] for row in rows(database, EVENTS)] == [row.split(",")[4:] for row in before]


REFUSED = {
    "a check of the table": ({"label": "refused %s"}, "ch%ck"),
    "a unique rule of the table": ({"label": "TWICE %"}, "own % rule"),
    "a unique rule of the declaration": ({"label": "twice %"}, "label"),
}


@pytest.mark.long(
    but=["18-a check of the table", "18-a unique rule of the table", "15-a unique rule of the declaration"]
)
@pytest.mark.parametrize(("given", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_rules_of_any_name_are_told(database: psycopg.Connection, given: Json, named: str) -> None:
    events = ENTITIES["events"]
    if not json.loads(list_records(TENANT, events, {"search": "twice %"}))["data"]:
        made("twice %")
    before = rows(database, EVENTS)
    options = {"skipInvalid": True, "returnFailures": True}
    failed = data(import_items(edit(), events, body(items=[given, {"label": f"fine {named}"}], options=options)))
    assert [failure["index"] for failure in failed["failures"]] == [0]
    assert named in failed["failures"][0]["error"]
    data(bulk_delete(edit(), events, RecordIds(ids=[each["id"] for each in failed["items"]])))
    assert purge_tenant(TENANT, NOW + timedelta(days=99), lambda: True)[1]
    assert rows(database, EVENTS) == before


@pytest.mark.long(but="18")
def test_the_trash_keeps_restores_renames_and_purges(database: psycopg.Connection) -> None:
    events, parts = ENTITIES["events"], ENTITIES["parts"]
    event = made("gone %")
    part = made("goes along %s", "parts", eventId=event["id"])
    before = rows(database, EVENTS), rows(database, PARTS)
    done = data(bulk_delete(edit(), events, RecordIds(ids=[event["id"]])))
    assert done["deleted"] == 1
    assert json.loads(list_records(TENANT, parts, {"ids": part["id"]}))["data"] == []
    page = read_trash(TENANT, NOW, "event", 1, 10)
    assert [(item["id"], item.get("cascaded")) for item in page.items] == [(event["id"], {"parts": 1})]
    assert data(bulk_undo(edit(), UndoRequest(operationId=done["operationId"])))["succeeded"] == 1
    assert (rows(database, EVENTS), rows(database, PARTS)) == before

    bulk_delete(edit(), events, RecordIds(ids=[event["id"]]))
    again = data(create_record(edit(), events, body(label="gone %")))
    restored = json.loads(restore_item(edit(), event["id"], RestoreRequest(onConflict="rename")).body)["item"]
    assert restored["name"] == "gone % (restored)"
    assert json.loads(read_record(TENANT, parts, part["id"])) == part
    bulk_delete(edit(), events, RecordIds(ids=[event["id"], again["id"]]))
    delete_item(edit(1), event["id"], "events")
    assert purge_tenant(TENANT, NOW + timedelta(days=99), lambda: True) == (1, True)
    assert not [row for row in rows(database, EVENTS) + rows(database, PARTS) if "gone %" in row or "along" in row]


SKIP = """
CREATE FUNCTION {schema}.skip() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RETURN CASE WHEN old.{key} = '{id}' THEN NULL WHEN TG_OP = 'DELETE' THEN old ELSE new END; END $$;
CREATE TRIGGER "skip %" BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {schema}.skip()
"""


@pytest.mark.long(but=["18-0", "15-1", "18-2", "18-3"])
@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_what_refers_twice_goes_along_once_and_is_missed_where_a_trigger_keeps_it(
    database: psycopg.Connection, which: int
) -> None:
    one, two = made(f"one {which}")["id"], made(f"two {which}")["id"]
    parts = [
        made(f"{n} of {which}", "parts", eventId=event, otherId=other)["id"]
        for n, (event, other) in enumerate(((one, one), (one, two), (two, one), (one, None)))
    ]
    schema = sql.Identifier(TENANT.schema)
    skip = sql.SQL(SKIP).format(
        schema=schema, table=sql.Identifier(TENANT.schema, PARTS), key=sql.Identifier(KEY), id=sql.SQL(parts[which])
    )
    drop = sql.SQL("DROP FUNCTION {}.skip() CASCADE").format(schema)
    asked, later = DeleteRequest(ids=[one], dataType="events"), edit(1)

    def is_refused(change: Callable[[], Any]) -> None:
        before = rows(database, EVENTS), rows(database, PARTS)
        database.execute(skip)
        with pytest.raises(ConflictError, match="skip %") as refused:
            change()
        database.execute(drop)
        assert refused.value.code == "not_allowed"
        assert (rows(database, EVENTS), rows(database, PARTS)) == before

    is_refused(lambda: dashboard_delete(edit(), asked))
    deleted = data(dashboard_delete(edit(), asked))
    assert (deleted["succeeded"], deleted["cascaded"]) == (1, {"parts": 4})
    [item] = [item for item in read_trash(TENANT, NOW, "event", 1, 10).items if item["id"] == one]
    assert item["cascaded"] == {"parts": 4}
    is_refused(lambda: restore_item(edit(), one, RestoreRequest(dataType="events")))
    is_refused(lambda: delete_item(later, one, "events"))
    assert data(bulk_undo(edit(), UndoRequest(operationId=deleted["operationId"])))["succeeded"] == 1
    assert len(json.loads(list_records(TENANT, ENTITIES["parts"], {"ids": ",".join(parts)}))["data"]) == 4
    dashboard_delete(edit(), asked)
    delete_item(later, one, "events")
    assert [row for row in rows(database, PARTS) if any(each in row for each in parts)] == []


@pytest.mark.long(but=["18-csv", "15-ndjson", "18-xlsx", "15-json", "18-parquet"])
@pytest.mark.parametrize("format", ["csv", "ndjson", "xlsx", "json", "parquet"])
def test_what_an_export_writes_an_import_reads(database: psycopg.Connection, format: Any) -> None:
    events = ENTITIES["events"]
    one = made(f"file {format} %")
    filters = parse_filters("events", {"ids": one["id"], "f0": one["f0"], "search": "file"})
    source = open_export(
        connect("main", APP), TENANT.schema, TENANT.id, data_type="events", format=format, filters=filters
    )
    file = b"".join(source.chunks())
    source.close()
    if format in ("json", "parquet"):
        assert one["id"].encode() in file
        return
    before = rows(database, EVENTS)
    for on_conflict, outcome in (("skip", "s"), ("update", "u"), ("fail", "f")):
        assert import_file(file, format, on_conflict) == outcome
        assert rows(database, EVENTS) == before
    database.execute(
        sql.SQL("DELETE FROM {} WHERE {} = {}").format(
            sql.Identifier(TENANT.schema, EVENTS), sql.Identifier(KEY), one["id"]
        )
    )
    assert import_file(file, format, "fail") == "c"
    assert rows(database, EVENTS) == before
    assert len(json.loads(list_records(TENANT, events, {"ids": one["id"]}))["data"]) == 1


def import_file(file: bytes, format: Any, on_conflict: Any) -> str:
    """What becomes of the rows of a file, a letter each."""
    events = ENTITIES["events"]
    reader: Any = io.BufferedReader(io.BytesIO(file))  # type: ignore[arg-type]
    read = open_rows(Layout(format, None, None, False), reader)
    naming = Naming(events, {})
    columns = None if read.header is None else naming.match(read.header)
    import_id = f"odd-{next(NUMBERS)}"
    preparer = Preparer(events, import_id, format, columns, naming)
    with connect("main", APP) as connection:
        assert begin_import(connection, import_id, 1, edit(), events, keep_days=9)
        session = ImportSession(connection, edit(), events, import_id, 1)
        defaults = row_types("events", format).defaults
        session.prepare({events.column(name): each for name, each in defaults.items() if each is not None})
        return write_batch(
            session, events, on_conflict, preparer.prepare(Batch(0, list(read), 0, 0, 0, True, None))
        ).outcomes


@pytest.mark.long(but="15")
def test_inspect_and_check_read_the_tables_and_a_backup_counts_them(database: psycopg.Connection) -> None:
    written = write_declarations(TENANT.schema, read_tables(database, TENANT.schema) or [])
    found = read_declarations({"inspected.toml": written})
    inspected = Entities(found)
    columns = {each.table: {field.column for field in each.fields} for each in inspected.values()}
    assert {EVENTS, PARTS} <= columns.keys()
    assert {*ODD, LABEL} <= columns[EVENTS]
    literals = read_declarations({"odd.toml": declarations()})
    absent, shapes = read_shapes(database, [TENANT.schema], wanted_columns(literals))
    assert [each for each in check(literals, absent, shapes) if each.severity == "error"] == []
    made("counted %")
    with (
        connect("main", "stowage_dump") as dumping,
        SnapshotContents(dumping, TENANT.schema, "18.4") as contents,
    ):
        rows_counted = contents.result(30).rows
    assert rows_counted[EVENTS] == len(rows(database, EVENTS))
    assert estimate(database, TENANT.schema).tables == 2
