"""Products as others have them, declared by `inspect` alone: records, files and edits over every table and view."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from graphql import GraphQLSchema, validate_schema
from psycopg import sql

from stowage.basics.errors import BadRequestError, NotFoundError, PreconditionFailedError, StowageError
from stowage.basics.ids import encode_id
from stowage.bulk import bulk_undo
from stowage.bulk.requests import UndoRequest
from stowage.entities.checking import check, wanted_columns
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES, writable_entity_at
from stowage.graphql import OWN, answer_graphql
from stowage.graphql.schema import reference_names, schema
from stowage.imports.items import import_items
from stowage.postgres.dumps.pg_dump import Dump
from stowage.postgres.dumps.preflight import preflight
from stowage.postgres.session.connection import DUMP, connect
from stowage.postgres.tables.shapes import read_shapes
from stowage.records import change_record, change_records, clean_id, read_record
from stowage.records.answers import etag
from stowage.records.deleting import RecordIds, bulk_delete, delete_record
from stowage.trash.deleting import delete_item
from stowage.trash.items import RestoreRequest
from stowage.trash.listing import read_trash
from stowage.trash.restoring import restore_item
from tests.conftest import RunningStack
from tests.stack.dump_surface import whole
from tests.stack.office import in_process
from tests.stack.product_surface import MOVED_BY_TRIGGERS, NOW, SECURED, TENANT, VIEWS, Shop, open_shop, raw_ids
from tests.stack.servers import NEWEST, OLDER, Servers

type Json = Any

PRODUCTS = ("rails", "django", "rental", "prisma", "workspace", "kitchen")
# Every other product on the older server: which it is decides nothing of what a product's tables are.
SHOPS = list(zip(PRODUCTS, cycle((OLDER, NEWEST)), strict=False))
ALWAYS = ("rails", "workspace", "kitchen")
"""The products that `make test` tries too: one that a framework wrote, one by hand, and one of other keys and types."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(each, id=f"{each[0]} {each[1]}", marks=() if each[0] in ALWAYS else pytest.mark.long)
        for each in SHOPS
    ],
)
def shop(servers: Servers, stack: RunningStack, request: pytest.FixtureRequest) -> Iterator[Shop]:
    product, version = request.param
    with in_process(stack), open_shop(servers(version), product) as opened:
        yield opened


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
            if field.type != "json" and not field.is_array and field.sql_type != "point":
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


def test_graphql_gives_and_takes_what_the_routes_do(shop: Shop) -> None:
    schema.cache_clear()
    assert validate_schema(GraphQLSchema(**{**schema().to_kwargs(), "assume_valid": False})) == []

    def ask(query: str, **variables: Json) -> Json:
        body = json.dumps({"query": query, "variables": variables}).encode()
        status, told = answer_graphql(shop.edit, body, OWN, lambda error: {"message": repr(error), "code": ""})
        assert status == 200, told
        assert "errors" not in json.loads(told), told
        return json.loads(told)["data"]

    for entity in ENTITIES.values():
        title = schema().query_type.fields[entity.singular].type.name  # type: ignore[union-attr]
        names = {field.name: field.name for field in entity.fields}
        names |= {each.field: reference_names(entity, each)[1] for each in entity.references}
        named = [f"{reference_names(entity, each)[0]} {{ id }}" for each in entity.references]
        asked = " ".join([*names.values(), *named])
        told = ask(f"{{ {entity.name}(limit: 100) {{ edges {{ node {{ {asked} }} }} }} }}")
        found = [{name: edge["node"][other] for name, other in names.items()} for edge in told[entity.name]["edges"]]
        assert found == shop.listed(entity), entity.name
        if entity not in shop.writable():
            continue
        record, before = shop.made[entity.name][0], shop.rows(entity)
        own = {field.name: record[field.name] for field in entity.own if not field.is_read_only}
        mutation = f"mutation ($id: ID!, $to: Update{title}Input!) {{ update{title}(id: $id, input: $to) {{ id }} }}"
        ask(mutation, id=record["id"], to=own)
        assert shop.rows(entity) == before, entity.name
    schema.cache_clear()


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
        if entity.table not in MOVED_BY_TRIGGERS:
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


@pytest.mark.long(
    but=[
        "rails 15-parquet",
        "workspace 15-xlsx",
        "kitchen 18-csv",
    ]
)
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
            assert len(file.splitlines()) == len(raw_ids(shop, ENTITIES[name], everything=True))
        assert b"s3cr3t" not in b"".join([*everything.values(), archive.read("audit.ndjson")])


def has_one_each(entity: Entity) -> bool:
    """Whether each record that it may refer to has one already."""
    return any({*rule} <= {reference.field for reference in entity.references} for rule in entity.unique)


def test_new_records_come_in_many_at_once(shop: Shop) -> None:
    for entity in shop.writable():
        if has_one_each(entity):
            continue
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


def test_check_finds_nothing_that_would_fail(shop: Shop) -> None:
    shapes = read_shapes(shop.database, [TENANT.schema], wanted_columns(shop.literals))
    assert [each for each in check(shop.literals, *shapes) if each.severity == "error"] == []


def test_what_is_deleted_lies_in_the_trash_comes_back_and_goes_for_good(shop: Shop) -> None:
    for entity in shop.writable():
        if has_one_each(entity) or not entity.soft_delete:
            continue
        record = shop.new(entity)
        record_id, named = clean_id(entity, record["id"]), RestoreRequest(dataType=entity.name)
        before = sorted(shop.rows(entity))

        def trashed(entity: Entity = entity, wanted: str = record["id"]) -> Json:
            """The record as the trash has it; no list has it meanwhile."""
            assert wanted not in [each["id"] for each in shop.listed(entity)], entity.name
            items = read_trash(TENANT, NOW, entity.name, 1, 100).items
            return next(item for item in items if item["id"] == wanted)

        def is_back(entity: Entity = entity, before: list[str] = before, record: Json = record) -> bool:
            is_same = sorted(shop.rows(entity)) == before or entity.table in MOVED_BY_TRIGGERS
            return is_same and record["id"] in [each["id"] for each in shop.listed(entity)]

        delete_record(shop.edit, entity, record_id, None)
        assert trashed()["deletedBy"] == "ann@shop"
        restore_item(shop.edit, record_id, named)
        assert is_back(), entity.name

        shop.delete(entity, record_id)
        assert (trashed()["deletedBy"], trashed()["daysUntilPurge"]) == (None, None)
        restore_item(shop.edit, record_id, named)
        assert is_back(), entity.name

        answer = json.loads(bulk_delete(shop.edit, entity, RecordIds(ids=[record["id"]])).body)["data"]
        assert answer["deleted"] == 1
        assert trashed()["deletedBy"] == "ann@shop"
        assert bulk_undo(shop.edit, UndoRequest(operationId=answer["operationId"])).status == 200
        assert is_back(), entity.name

        delete_record(shop.edit, entity, record_id, None)
        assert delete_item(shop.edit, record_id, entity.name) == record_id
        assert record_id not in raw_ids(shop, entity, everything=True)


@pytest.mark.long(but=["rails 15-csv", "workspace 15-ndjson", "kitchen 18-xlsx"])
@pytest.mark.parametrize("type", ["csv", "ndjson", "xlsx"])
def test_what_an_export_writes_an_import_reads(shop: Shop, type: str) -> None:
    for entity in shop.writable():
        before = sorted(shop.rows(entity))
        file, count = shop.export(entity.name, type), len(shop.listed(entity))
        assert shop.import_file(entity, type, file, "update") == ("u" * count, []), entity.name
        if entity.table not in MOVED_BY_TRIGGERS:
            assert sorted(shop.rows(entity)) == before, entity.name


def test_a_backup_holds_every_row(shop: Shop) -> None:
    with connect("main", DUMP) as connection:
        preflight(connection, TENANT.schema, "18.4")
    environment = shop.scratch.environment | {"PGUSER": DUMP}
    copy = shop.server.make_database()
    if shop.name == "workspace":
        copy.restore("custom", shop.scratch.run("pg_dump", "-Fc", "-n", "auth"))
    copy.restore("custom", whole(Dump(TENANT.schema, "custom", environment, binary=shop.scratch.pg_dump)))
    assert copy.state(TENANT.schema)["rows"] == shop.scratch.state(TENANT.schema)["rows"]


def test_where_row_level_security_hides_rows_everything_is_refused_by_name(shop: Shop) -> None:
    if shop.name not in SECURED:
        return  # there is nothing that hides rows
    if shop.name == "workspace":
        shop.database.execute("REVOKE USAGE ON SCHEMA auth FROM stowage_app")
    [(tables,)] = shop.database.execute(
        "SELECT array_agg(relname::text) FROM pg_class "
        "WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relrowsecurity",
        (TENANT.schema,),
    ).fetchall()
    roles = sql.SQL("stowage_app, stowage_dump, stowage_purge")
    shop.database.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(shop.owner), roles))
    try:
        shapes = read_shapes(shop.database, [TENANT.schema], wanted_columns(shop.literals))
        found = check(shop.literals, *shapes)
        named = {each.entity for each in found if "row-level security" in each.sentence}
        secured = {entity.name for entity in ENTITIES.values() if entity.table in tables}
        assert named == secured
        lacking = "stowage_app lacks USAGE of the schema auth, which the default of author_id needs"
        assert any(each.sentence.startswith(lacking) for each in found) == (shop.name == "workspace")
        for entity in map(ENTITIES.__getitem__, secured):
            for ask in (lambda one=entity: shop.listed(one), lambda one=entity: shop.export(one.name, "csv")):
                with pytest.raises(StowageError, match=entity.table) as refused:
                    ask()
                assert refused.value.code == "row_level_security"
        with connect("main", DUMP) as connection, pytest.raises(StowageError) as refused:
            preflight(connection, TENANT.schema, "18.4")
        assert refused.value.code == "row_level_security"
    finally:
        shop.let_in()
