"""Products as others have them, declared by `inspect` alone: records, files and edits over every table and view."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, cycle
from typing import Any
from unittest import mock

import psycopg
import pytest
from psycopg import sql

from stowage.basics.errors import BadRequestError, NotFoundError, PreconditionFailedError
from stowage.basics.ids import encode_id
from stowage.bulk import bulk_undo
from stowage.bulk.requests import UndoRequest
from stowage.entities.declaration import DATABASE, Entity, Field
from stowage.entities.declared import ENTITIES, Entities, writable_entity_at
from stowage.entities.filters import parse_filters
from stowage.entities.inspecting import write_declarations
from stowage.entities.language import read_declarations
from stowage.exports.formats import open_export
from stowage.imports.files.validating import row_types
from stowage.imports.items import import_items
from stowage.postgres.schema.catalogue import read_tables
from stowage.postgres.session.connection import APP, _kept, connect
from stowage.postgres.session.edit import Edit
from stowage.records import change_record, change_records, clean_id, create_record, list_records, read_record
from stowage.records.answers import etag
from stowage.settings import settings
from stowage.tenants import Tenant
from tests.conftest import ROOT, RunningStack
from tests.stack.office import in_process
from tests.stack.servers import NEWEST, OLDER, Servers

type Json = Any

NOW = datetime(2026, 11, 28, 12, 0, 0, 123456, tzinfo=UTC)
TENANT = Tenant("shop", "shop", "Shop", schema='The "Shop" ü')
PRODUCTS = ("rails", "django", "prisma", "rental")
SEED = {
    "rental": """
        INSERT INTO boat_sailor (sailor_id, boat_id) SELECT sailor_id, boat_id FROM sailor, boat;
        INSERT INTO payment (payment_id, rental_id, amount, paid)
        SELECT row_number() OVER (), rental_id, 2.50, '2026-01-02 03:04:05.678901+00' FROM rental;
        REFRESH MATERIALIZED VIEW sales_by_store;
        UPDATE staff SET password = 's3cr3t'
    """,
}
VIEWS = {"rental": ("boat_lists", "sales_by_stores"), "rails": ("open_tickets",)}
"""What a person takes the comment signs away from."""
OTHERS = {"inet": "10.0.0.{n}", "season": "19{n}", "citext": "Text {n}"}
"""Values of types that Stowage does not know."""


@dataclass
class Shop:
    """A tenant whose tables are a product's."""

    name: str
    database: psycopg.Connection
    made: dict[str, list[Json]]
    numbers: Iterator[int]

    @property
    def edit(self) -> Edit:
        return Edit(TENANT, "ann@shop", "admin", NOW)

    def writable(self) -> list[Entity]:
        """The entities of which records are made, each behind those that it refers to."""
        return [ENTITIES[name] for name in self.made]

    def body(self, entity: Entity) -> Json:
        """What makes a new record: every field that may be given."""
        n = next(self.numbers)
        given: dict[str, Json] = {field.name: self._value(entity, field, n) for field in entity.own}
        body = {name: value for name, value in given.items() if value is not None}
        if entity.key.made_by == "client":
            made = {"uuid": f"0198c5a4-7d3e-7000-8000-{n:012x}", "text": f"X{n}"}
            body["id"] = made.get(entity.key.type, str(n))
        return body

    def _value(self, entity: Entity, field: Field, n: int) -> Json:
        reference = next((each for each in entity.references if each.field == field.name), None)
        if reference:
            others = self.made.get(reference.entity) or [{"id": None}]
            return others[n % len(others)]["id"]
        if field.is_read_only or field.default is DATABASE:
            return None
        if field.is_array:
            return []
        size = re.search(r"\((\d+)\)", field.sql_type or "")
        moment = f"2026-12-04T05:06:07.{n:06}"
        values: dict[str, Json] = {
            "text": f"{field.name} {n}"[-int(size[1] if size else 99) :],
            "other": OTHERS.get(field.sql_type or "", "{n}").format(n=n),
            "integer": n,
            "numeric": f"{n % 9}.5",
            "number": n / 4,
            "boolean": n % 2 == 0,
            "timestamp": f"{moment}Z",
            "local_timestamp": moment[: 20 + int(size[1])].rstrip(".") if size else moment,
            "date": f"2026-03-{n % 28 + 1:02}",
            "uuid": f"0198c5a4-7d3e-7000-8000-{n:012x}",
            "json": {"n": n},
        }
        return field.values[0] if field.values else values.get(field.type)

    def rows(self, entity: Entity) -> list[str]:
        """The rows of a table as Postgres writes them, whole."""
        table = sql.Identifier(TENANT.schema, entity.table)
        return [row for (row,) in self.database.execute(sql.SQL("SELECT t::text FROM {} AS t").format(table))]

    def listed(self, entity: Entity, **query: str) -> list[Json]:
        return json.loads(list_records(TENANT, entity, {"limit": "100", **query}))["data"]

    def export(self, data_type: str, format: str, **filters: Json) -> bytes:
        given = None if data_type == "gdpr" else parse_filters(data_type, filters)
        source = open_export(
            connect("main", APP), TENANT.schema, TENANT.id, data_type=data_type, format=format, filters=given
        )
        try:
            return b"".join(source.chunks())
        finally:
            source.close()


def declared(text: str, product: str) -> Entities:
    """What is inspected, with the views."""
    for view in VIEWS.get(product, ()):
        text = re.sub(
            rf"^# \[{view}\]\n(# .*\n)+", lambda block: re.sub(r"^# ", "", block[0], flags=re.M), text, flags=re.M
        )
    entities = Entities(read_declarations({"inspected.toml": text}))
    assert not entities.unable
    assert {*VIEWS.get(product, ())} <= {*entities}
    return entities


@pytest.fixture(
    scope="module",
    # Every other product on the older server: which it is decides nothing of what a product's tables are.
    params=[f"{product} {version}" for product, version in zip(PRODUCTS, cycle((OLDER, NEWEST)), strict=False)],
)
def shop(servers: Servers, stack: RunningStack, request: pytest.FixtureRequest) -> Iterator[Shop]:
    product, version = request.param.split()
    made = servers(int(version)).make_database()
    made.make_tenant("tenant_other")
    database = made.connect()
    schema = sql.Identifier(TENANT.schema)
    database.execute(sql.SQL("CREATE SCHEMA {0}; SET search_path = {0}").format(schema))
    database.execute((ROOT / "tests/stack/products" / f"{product}.sql").read_bytes())
    for (table,) in database.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relrowsecurity",
        (TENANT.schema,),
    ).fetchall():
        database.execute(sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(sql.Identifier(table)))
    database.execute("SELECT stowage.grant_tenant(%s)", (TENANT.schema,))
    entities = declared(write_declarations(TENANT.schema, read_tables(database, TENANT.schema) or []), product)
    values = made.environment
    url = f"postgresql://127.0.0.1:{values['PGPORT']}/{values['PGDATABASE']}"
    row_types.cache_clear()
    with in_process(stack), mock.patch.dict("os.environ", {"STOWAGE_DATABASE_URL": url}):
        settings.cache_clear()
        with mock.patch.multiple(ENTITIES, _literals=entities._literals, _made={}, unable={}):
            opened = Shop(product, database, {}, count(11))
            fill(opened)
            database.execute(SEED.get(product, "").encode())
            yield opened
            while _kept:
                _kept.popitem()[1].close()
    row_types.cache_clear()


def fill(shop: Shop) -> None:
    """Make three records of every entity of which Stowage can make one, in the order of their references."""
    unfilled = {
        (table, column)
        for table, column in shop.database.execute(
            "SELECT relname::text, attname::text FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid "
            "WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND attnum > 0 AND attnotnull AND NOT atthasdef "
            "AND attidentity = ''",
            (TENANT.schema,),
        )
    }

    def can_be_made(entity: Entity) -> bool:
        known = {field.column for field in entity.fields}
        return not entity.why_only_read and not [c for t, c in unfilled if t == entity.table and c not in known]

    waiting = [entity for entity in ENTITIES.values() if can_be_made(entity)]
    while waiting:
        ready = [
            entity
            for entity in waiting
            if all(
                reference.entity in shop.made or reference.entity == entity.name or entity.is_optional(reference.field)
                for reference in entity.references
            )
        ]
        if not ready:
            break
        for entity in ready:
            shop.made[entity.name] = []
            for _ in range(3):
                answer = create_record(shop.edit, entity, json.dumps(shop.body(entity)).encode())
                shop.made[entity.name].append(json.loads(answer.body)["data"])
        waiting = [entity for entity in waiting if entity not in ready]
    assert len(shop.made) >= 8


def raw_ids(shop: Shop, entity: Entity) -> list[str]:
    """Every id as files have it."""
    key = [sql.Identifier(column) for column in entity.key.names]
    one = sql.SQL("jsonb_build_array({})::text" if entity.key.is_composite else "{}")
    chosen = one.format(sql.SQL(", ").join(sql.SQL("{}::text").format(column) for column in key))
    query = sql.SQL("SELECT {} FROM {} AS t").format(chosen, sql.Identifier(TENANT.schema, entity.table))
    return sorted(record_id for (record_id,) in shop.database.execute(query))


def test_every_record_is_listed_read_sorted_and_found_by_each_of_its_fields(shop: Shop) -> None:
    for entity in ENTITIES.values():
        records = shop.listed(entity)
        assert sorted(each["id"] for each in records) == sorted(map(encode_id, raw_ids(shop, entity))), entity.name
        for record in records[:3]:
            assert json.loads(read_record(TENANT, entity, clean_id(entity, record["id"]))) == record
            assert [each["id"] for each in shop.listed(entity, ids=record["id"])] == [record["id"]]
            for name in entity.filters:
                if record[name] not in (None, ""):
                    value = json.dumps(record[name]) if isinstance(record[name], bool) else str(record[name])
                    assert record["id"] in [each["id"] for each in shop.listed(entity, **{name: value})], name
        for field in entity.fields:
            if field.type != "json" and not field.is_array:
                ordered = [
                    each["id"] for each in shop.listed(entity, sort="id" if field.name == "id" else f"-{field.name},id")
                ]
                assert sorted(ordered) == sorted(each["id"] for each in records)
        if not entity.created:
            assert shop.listed(entity) == shop.listed(entity, sort="id")
            with pytest.raises(BadRequestError, match="createdAfter"):
                shop.listed(entity, createdAfter="2026-01-01")
        for nobody in ("x?", '["1"]', "~WyIxIl0"):
            with pytest.raises(NotFoundError):
                read_record(TENANT, entity, clean_id(entity, nobody))
    assert shop.name != "rental" or {len(shop.listed(ENTITIES[name])) for name in VIEWS["rental"]} == {3}


def test_what_a_read_gives_a_change_takes_and_changes_nothing(shop: Shop) -> None:
    for entity in shop.writable():
        record = shop.made[entity.name][0]
        before = shop.rows(entity)
        own = {field.name for field in entity.own if not field.is_read_only}
        body = json.dumps({name: value for name, value in record.items() if name in own}).encode()
        assert json.loads(change_record(shop.edit, entity, clean_id(entity, record["id"]), body, None)) == record
        assert shop.rows(entity) == before


def test_a_bulk_change_is_undone_to_the_last_byte(shop: Shop) -> None:
    for entity in shop.writable():
        change = _change(entity)
        if change is None:
            continue
        before = sorted(shop.rows(entity))
        [name] = change
        updates = [{"id": record["id"], name: f"ä{n}"} for n, record in enumerate(shop.made[entity.name][:2])]
        answer = change_records(shop.edit, entity, json.dumps({"updates": updates}).encode())
        assert answer.status == 200, answer.body
        data = json.loads(answer.body)["data"]
        assert [item[name] for item in data["items"]] == ["ä0", "ä1"], entity.name
        [undone] = [bulk_undo(shop.edit, UndoRequest(operationId=data["operationId"]))]
        assert undone.status == 200, undone.body
        after = sorted(shop.rows(entity))
        # A trigger of the product's own says when it was changed.
        if entity.table not in ("boat", "sailor", "invoices"):
            assert after == before, entity.name


def _change(entity: Entity) -> dict[str, Json] | None:
    """Another value of a text that nothing is unique by."""
    unique = {name for rule in entity.unique for name in rule} | {each.field for each in entity.references}
    for field in entity.own:
        if field.type == "text" and not (field.is_read_only or field.values or field.is_array or field.name in unique):
            return {field.name: "ä"}
    return None


def test_a_state_that_has_changed_since_is_known_by_the_row(shop: Shop) -> None:
    for entity in shop.writable():
        change = _change(entity)
        if change is None:
            continue
        record_id = clean_id(entity, shop.made[entity.name][2]["id"])
        tag = etag(read_record(TENANT, entity, record_id))
        changed = change_record(shop.edit, entity, record_id, json.dumps(change).encode(), tag)
        assert etag(changed) != tag
        with pytest.raises(PreconditionFailedError):
            change_record(shop.edit, entity, record_id, json.dumps(change).encode(), tag)


@pytest.mark.parametrize("format", ["csv", "json", "ndjson", "xlsx", "parquet"])
def test_every_table_and_view_is_exported(shop: Shop, format: str) -> None:
    for entity in ENTITIES.values():
        file, ids = shop.export(entity.name, format), raw_ids(shop, entity)
        match format:
            case "csv":
                # What a spreadsheet would take for a formula begins with an apostrophe.
                found = [row["id"].removeprefix("'") for row in csv.DictReader(io.StringIO(file.decode()))]
            case "json":
                found = [row["id"] for row in json.loads(file)]
            case "ndjson":
                found = [json.loads(line)["id"] for line in file.splitlines()]
            case _:
                assert file
                continue
        assert sorted(found) == ids, entity.name


def test_everything_that_the_tenant_holds_is_one_zip(shop: Shop) -> None:
    with zipfile.ZipFile(io.BytesIO(shop.export("gdpr", "ndjson"))) as archive:
        assert {*archive.namelist()} == {f"{name}.ndjson" for name in (*ENTITIES, "audit")}
        everything = {name: archive.read(f"{name}.ndjson") for name in ENTITIES}
        for name, file in everything.items():
            assert len(file.splitlines()) == len(raw_ids(shop, ENTITIES[name]))
        assert b"s3cr3t" not in b"".join([*everything.values(), archive.read("audit.ndjson")])


def test_new_records_come_in_many_at_once(shop: Shop) -> None:
    for entity in shop.writable():
        if any({*rule} <= {reference.field for reference in entity.references} for rule in entity.unique):
            continue  # there are no more records to refer to
        items = [shop.body(entity) for _ in range(3)]
        try:
            answer = json.loads(import_items(shop.edit, entity, json.dumps({"items": items}).encode()).body)["data"]
        except BadRequestError as refused:
            raise AssertionError(refused.details) from None
        assert (answer["created"], answer["failed"]) == (3, 0)
        for item, made in zip(items, answer["items"], strict=True):
            assert {name: made[name] for name in item if name in made}.keys() == item.keys()


def test_what_is_only_read_is_refused_by_its_reason(shop: Shop) -> None:
    for entity in ENTITIES.values():
        if entity.why_only_read:
            with pytest.raises(BadRequestError, match=entity.why_only_read) as refused:
                writable_entity_at(entity.name)
            assert refused.value.code == "not_supported"
