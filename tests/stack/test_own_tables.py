"""An adopter's own tables, declared in a copy of the repository: without a trash at first, later with one."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from functools import cached_property
from itertools import count, cycle
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
import requests

from local.configuration import layers
from stowage.basics.ids import encode_id
from stowage.postgres.schema.soft_delete import soft_delete_migration
from tests.conftest import ROOT, Api, LocalStack, RunningStack, make_home
from tests.faults.run_surface import eventually
from tests.stack.file_import_surface import counts, csv_file, fetched, imported
from tests.stack.record_surface import data, refused

type Json = Any

NUMBERS = count(1)

TENANT = "globex"
WITH_TRASH = 'trash = "deleted_at"\n'
DECLARATIONS = """
[suppliers]
description = "Who sends us products."
key = "id text stowage"
prefix = "sup_"
label = "name"
created = "created_at"
updated = "updated_at"
[suppliers.fields]
name = "text not null"

[products]
description = "Something that a brand sells."
key = "id text stowage"
prefix = "prd_"
label = "name"
search = ["name"]
unique = [["sku"]]
created = "created_at"
updated = "updated_at"
[products.fields]
sku = "text not null"
name = "text not null"
brandId = { type = "text not null", references = "brands", onDelete = "restrict" }
supplierId = { type = "text", references = "suppliers", onDelete = "restrict" }
price = { type = "float8 not null", default = 0 }
"""
TABLES: LiteralString = """
CREATE TABLE suppliers (
    id text PRIMARY KEY, name text NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
CREATE TABLE products (
    id text PRIMARY KEY, sku text NOT NULL UNIQUE, name text NOT NULL CHECK (name <> ''),
    brand_id text NOT NULL REFERENCES brands (id), supplier_id text REFERENCES suppliers (id),
    price float8 NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
CREATE TABLE films (
    film_id serial PRIMARY KEY, id text, title text NOT NULL, note text, last_update timestamptz NOT NULL
);
CREATE TABLE offices (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text NOT NULL, note text,
    "createdAt" timestamp(3) NOT NULL, "updatedAt" timestamp(3) NOT NULL
);
CREATE TABLE visitors (
    id uuid PRIMARY KEY, title text NOT NULL, note text,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
CREATE TABLE visits (
    "visitId" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL, note text,
    office_id uuid NOT NULL REFERENCES offices, visitor_id uuid REFERENCES visitors,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
CREATE TABLE badges (
    id text PRIMARY KEY, word varchar(20) NOT NULL, slug text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE codes (
    id bigint PRIMARY KEY, title text NOT NULL, note text, secret text NOT NULL DEFAULT 'kept',
    size integer GENERATED ALWAYS AS (length(title)) STORED
);
CREATE TABLE film_codes (film_id integer REFERENCES films, code text, PRIMARY KEY (film_id, code));
CREATE VIEW titles AS SELECT film_id AS titled, upper(title) AS title FROM films;
CREATE MATERIALIZED VIEW counts AS SELECT count(*) AS films, current_date AS day;
"""
DECLARATIONS += """
[badges]
key = "id text stowage"
label = "word"
created = "created_at"
updated = "updated_at"
[badges.fields]
word = { type = "varchar(20) not null", hook = "clean_word" }
slug = { type = "text not null", hook = "slug_of" }
"""
HOOKS = """
def clean_word(value, record):
    if value is not None and "!" in value:
        raise ValueError("no shouting, please")
    return value.strip() if value else value


def slug_of(value, record):
    return record["word"].strip().lower() if "word" in record else value
"""
KEYED = {
    "films": "integer database",
    "offices": "uuid database",
    "visitors": "uuid stowage",
    "visits": "bigint database",
    "codes": "bigint client",
}
"""Tables with keys of other types, and who makes them."""
KEY_COLUMNS = {"films": "film_id", "visits": "visitId"}
"""Keys in columns that are not called id."""
COMMON = 'created = "created_at"\nupdated = "updated_at"\n'
TIMES = {
    "films": 'updated = "last_update"\n',
    "offices": 'created = "createdAt timestamp(3)"\nupdated = "updatedAt timestamp(3)"\n',
    "codes": "",
}
"""Times of other names and types, or none."""
REFERENCES = """
officeId = { type = "uuid not null", references = "offices", onDelete = "cascade" }
visitorId = { type = "uuid", references = "visitors", onDelete = "keep" }
"""
MORE = {
    "films": 'legacyId = { column = "id", type = "text" }\n',
    "codes": 'secret = { type = "text not null", hidden = true }\nsize = { type = "integer", readOnly = true }\n',
}
"""A column that is called id and is no key; one that nobody sees, and one that nobody writes."""
DECLARATIONS += "".join(
    f"""
[{entity}]
key = "{KEY_COLUMNS.get(entity, "id")} {key}"
label = "title"
search = ["title"]
unique = [["title"]]
{TIMES.get(entity, COMMON)}trash = "deleted_at"
[{entity}.fields]
title = "text not null"
note = "text"
{REFERENCES if entity == "visits" else ""}{MORE.get(entity, "")}"""
    for entity, key in KEYED.items()
)
DECLARATIONS += """
[film_codes]
key = ["film_id integer client", "code text client"]
[film_codes.fields]
filmId = { type = "integer not null", references = "films", onDelete = "restrict" }
[titles]
key = "titled integer client"
label = "title"
search = ["title"]
readOnly = true
[titles.fields]
title = "text"
[counts]
key = "day date client"
readOnly = true
[counts.fields]
films = "bigint"
"""
NO_ID = {"films": "2147483648", "offices": "0", "visitors": "nobody", "visits": "007", "codes": "9" * 19}
"""A text that is no id of each."""
LARGE_ID = {
    "films": "5000",
    "offices": "0198C5A4-7d3e-7000-8000-3f5a9c1e2b4d",
    "visitors": "0198c5a4-7d3e-7000-8000-3f5a9c1e2b4d",
    "visits": "9007199254740993",
    "codes": "-9223372036854775808",
}


def declarations_of(root: Path) -> Path:
    """A file of the adopter's own beside the sample's."""
    return root / "layers" / "entities" / "shop.toml"


class Shop:
    """The stack of an adopter who has declared suppliers and products."""

    def __init__(self, root: Path, started: LocalStack, stack: RunningStack) -> None:
        self.root, self.started, self.stack = root, started, stack
        self.declarations = declarations_of(root)
        self.api = Api(stack.api_url, stack.tokens["admin"])
        self.api.headers["x-tenant-id"] = TENANT
        [self.brand, *_] = [each["id"] for each in data(self.api.get("/api/v1/brands"))]

    def product(self, sku: str, **fields: Json) -> Json:
        """A new product."""
        body = {"sku": sku, "name": sku.title(), "brandId": self.brand} | fields
        return data(self.api.post("/api/v1/products", json=body), 201)

    def body(self, entity: str, title: str, **fields: Json) -> Json:
        """What makes a record of one of the entities with keys of other types."""
        fields = {"title": title} | fields
        if entity == "visits":
            fields.setdefault("officeId", self.office)
        if entity == "codes":
            fields.setdefault("id", str(next(NUMBERS)))
        return fields

    @cached_property
    def office(self) -> str:
        """The id of an office."""
        return str(self.make("offices", "The office")["id"])

    def make(self, entity: str, title: str, **fields: Json) -> Json:
        """A new record of one of them."""
        return data(self.api.post(f"/api/v1/{entity}", json=self.body(entity, title, **fields)), 201)

    def dashboard(self, method: str, path: str, **options: Any) -> requests.Response:
        """A dashboard's request."""
        return self.api.request(method, f"/api/guilds/{TENANT}/{path}", **options)

    def undo(self, operation: str) -> requests.Response:
        """Undo an operation."""
        return self.dashboard("POST", "bulk/undo", json={"operationId": operation})

    def export(self, data_type: str, format: str = "csv", **more: Json) -> bytes:
        """The file of an export."""
        body = {"format": format, "mode": "all", "dataType": data_type} | more
        asked = self.dashboard("POST", "exports", json=body)
        assert asked.status_code == 202, asked.text

        def done() -> Json:
            record = self.dashboard("GET", f"exports/{asked.json()['id']}").json()
            assert record["status"] != "failed", record
            return record if record["status"] == "completed" else None

        return requests.get(eventually(done, "the export completes")["downloadUrl"], timeout=10).content

    def rows(self, table: LiteralString) -> list[tuple[Any, ...]]:
        """A table's ids and the rest of its rows."""
        with psycopg.connect(self.stack.database_url) as connection:
            return connection.execute(f"SELECT * FROM tenant_globex.{table} ORDER BY 1").fetchall()

    def execute(self, statements: bytes, *tenants: str) -> None:
        """Run SQL in each of these tenants' schemas, or in every one, as its owner."""
        with psycopg.connect(self.stack.database_url) as connection:
            for tenant in tenants or [each["slug"] for each in self.stack.description["tenants"]]:
                connection.execute(f"SET search_path = tenant_{tenant}".encode())
                connection.execute(statements)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    home, root = make_home(), make_home()
    for name in ("local", "functions", "layers", "worker", "statemachines", "template.yaml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, root / name)
    declarations_of(root).write_text(DECLARATIONS)
    (root / "layers" / "entities" / "hooks.py").write_text(HOOKS)
    started = LocalStack(home, root, PYTHONPATH=os.pathsep.join(map(str, (root, *layers(root)))))
    try:
        stack = started.start()
        with psycopg.connect(stack.database_url) as connection:
            for tenant in stack.description["tenants"]:
                connection.execute(f"SET search_path = tenant_{tenant['slug']}".encode())
                connection.execute(TABLES)
                for table in KEYED:
                    connection.execute(soft_delete_migration(table, key=KEY_COLUMNS.get(table, "id")).encode())
                    unique = f"CREATE UNIQUE INDEX ON {table} (title) WHERE deleted_at IS NULL"
                    connection.execute(unique.encode())
        made = Shop(root, started, stack)
        yield made
        made.api.close()
    finally:
        started.stop()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)


def test_its_records_are_made_read_listed_and_changed(shop: Shop) -> None:
    supplier = data(shop.api.post("/api/v1/suppliers", json={"name": "Sal"}), 201)["id"]
    made = shop.product("crud-1", supplierId=supplier, price=2.5)
    at = f"/api/v1/products/{made['id']}"
    assert made["id"].startswith("prd_")
    assert data(shop.api.get(at)) == made
    assert data(shop.api.get("/api/v1/products?sku=crud-1")) == [made]
    assert data(shop.api.get("/api/v1/products?search=CRUD")) == [made]

    changed = data(shop.api.patch(at, json={"price": 3, "supplierId": None}))
    assert (changed["price"], changed["supplierId"], changed["name"]) == (3, None, "Crud-1")
    refused(shop.api.patch(at, json={"supplierId": "nobody"}), 400, "invalid_reference")
    refused(
        shop.api.post("/api/v1/products", json={"sku": "crud-1", "name": "x", "brandId": shop.brand}), 409, "conflict"
    )
    body = {"updates": [{"id": made["id"], "price": 4}, {"id": "none", "price": 4}]}
    answer = data(shop.api.patch("/api/v1/bulk/products", json=body), 207)
    assert (answer["updated"], [failure["code"] for failure in answer["failures"]]) == (1, ["not_found"])


def test_hooks_judge_and_make_fields_of_records_however_they_come(shop: Shop) -> None:
    made = data(shop.api.post("/api/v1/badges", json={"word": " One "}), 201)
    assert (made["word"], made["slug"]) == ("One", "one")
    at = f"/api/v1/badges/{made['id']}"
    assert data(shop.api.patch(at, json={"word": "Two"}))["slug"] == "two"
    told = refused(shop.api.patch(at, json={"word": "No!"}), 400, "invalid_request")
    assert told["details"] == [{"field": "word", "message": "no shouting, please"}]
    refused(shop.api.post("/api/v1/badges", json={"slug": "alone"}), 400, "invalid_request")
    body = {"updates": [{"id": made["id"], "word": "Ah!"}]}
    [failure] = data(shop.api.patch("/api/v1/bulk/badges", json=body), 207)["failures"]
    assert (failure["code"], failure["error"]) == ("invalid", "word: no shouting, please.")
    items = [{"word": "Three"}, {"word": "Oh!"}]
    told = refused(shop.api.post("/api/v1/import/badges", json={"items": items}), 400, "invalid_items")
    assert told["details"] == [{"field": "items[1].word", "message": "no shouting, please"}]
    options = {"skipInvalid": True}
    answer = data(shop.api.post("/api/v1/import/badges", json={"items": items, "options": options}), 201)
    assert (answer["created"], answer["failed"]) == (1, 1)
    file = b"word\nFour\nNo!\n"
    assert counts(imported(shop.api, "badges", "csv", file, TENANT)) == {"created": 1, "failed": 1}
    assert {row["slug"] for row in data(shop.api.get("/api/v1/badges"))} == {"two", "three", "four"}


def test_what_it_refers_to_is_kept_for_it(shop: Shop) -> None:
    brand = data(shop.api.post("/api/v1/brands", json={"label": "Kept"}), 201)["id"]
    shop.product("kept-1", brandId=brand)
    refused(shop.api.delete(f"/api/v1/brands/{brand}"), 409, "has_children")


@pytest.mark.parametrize("type", ["csv", "ndjson"])
def test_it_is_imported_and_exported(shop: Shop, type: str) -> None:
    items = [{"sku": f"{type}-{n}", "name": f"N {n}", "brandId": shop.brand, "price": n / 4} for n in range(20)]
    bad = [items[3], {"sku": f"{type}-bad", "name": "", "brandId": "nobody", "price": 1}]
    if type == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, [*items[0]])
        writer.writeheader()
        writer.writerows(items + bad)
        file = text.getvalue()
    else:
        file = "\n".join(map(json.dumps, items + bad))
    result = imported(shop.api, "products", type, file.encode(), TENANT)
    assert counts(result) == {"created": 20, "failed": 2}

    again = imported(shop.api, "products", type, file.encode(), TENANT, onConflict="skip")
    assert counts(again) == {"skipped": 21, "failed": 1}
    rows = list(csv.DictReader(io.StringIO(shop.export("products").decode())))
    assert [*rows[0]] == ["id", "sku", "name", "brandId", "supplierId", "price", "createdAt", "updatedAt"]
    assert sorted(row["id"] for row in rows) == [row[0] for row in shop.rows("products")]
    assert len([row for row in rows if row["sku"].startswith(type)]) == 20


@pytest.mark.parametrize("format", ["json", "xlsx", "parquet"])
def test_it_is_exported_in_every_format(shop: Shop, format: str) -> None:
    shop.product(f"format-{format}")
    file = shop.export("products", format)
    if format == "json":
        assert sorted(row["id"] for row in json.loads(file)) == [row[0] for row in shop.rows("products")]
    else:
        assert file.startswith({"xlsx": b"PK", "parquet": b"PAR1"}[format])


def test_it_is_in_what_the_tenant_holds(shop: Shop) -> None:
    shop.product("gdpr-1")
    with zipfile.ZipFile(io.BytesIO(shop.export("gdpr"))) as archive:
        [name] = [name for name in archive.namelist() if "products" in name]
        rows = list(csv.DictReader(io.StringIO(archive.read(name).decode())))
    assert sorted(row["id"] for row in rows) == [row[0] for row in shop.rows("products")]
    assert "deletedAt" not in rows[0]


@pytest.mark.long(but=["films", "offices", "visits"])
@pytest.mark.parametrize("entity", KEYED)
def test_keys_of_other_types_are_made_read_listed_and_changed(shop: Shop, entity: str) -> None:
    first, second = shop.make(entity, "crud 1"), shop.make(entity, "crud 2", note="n")
    at = f"/api/v1/{entity}/{first['id']}"
    assert isinstance(first["id"], str)
    assert data(shop.api.get(at)) == first
    assert data(shop.api.get(f"/api/v1/{entity}?ids={first['id']},{second['id']}&sort=id")) in (
        [first, second],
        [second, first],
    )
    assert data(shop.api.get(f"/api/v1/{entity}?id={second['id']}")) == [second]
    changed = data(shop.api.patch(at, json={"note": "changed"}))
    assert changed == data(shop.api.get(at))
    moved = {name for name in first if changed[name] != first[name]}
    assert moved == {"note", "updatedAt"} & {*first, "note"}

    given = LARGE_ID[entity]
    made = shop.make(entity, "crud 3", id=given)
    assert made["id"] == given.lower()
    assert data(shop.api.get(f"/api/v1/{entity}/{given}")) == made
    refused(shop.api.post(f"/api/v1/{entity}", json=shop.body(entity, "crud 4", id=given)), 409, "conflict")
    shop.make(entity, "crud 5")
    shop.make(entity, "crud 6")
    if entity == "films":
        assert [row[0] for row in shop.rows("films")][-2:] == [5001, 5002]


def test_records_without_times_are_listed_by_their_key_and_not_filtered_by_them(shop: Shop) -> None:
    made = [shop.make("codes", f"timeless {n}", id=str(10**6 - n)) for n in range(3)]
    listed = [each["id"] for each in data(shop.api.get("/api/v1/codes?search=timeless"))]
    assert listed == [each["id"] for each in reversed(made)]
    assert not {"createdAt", "updatedAt"} & {*made[0]}
    for name in ("createdAfter", "createdBefore", "startDate", "endDate"):
        answer = refused(shop.api.get(f"/api/v1/codes?{name}=2026-01-01"), 400, "invalid_query")
        assert answer["details"][0]["message"].startswith("expected one of ")
        body = {"format": "csv", "mode": "all", "dataType": "codes", "filters": {name: "2026-01-01"}}
        refused(shop.dashboard("POST", "exports", json=body), 400, "invalid_filter")
    refused(shop.api.get("/api/v1/codes?sort=-createdAt"), 400, "invalid_query")
    refused(shop.api.get("/api/v1/films?createdAfter=2026-01-01"), 400, "invalid_query")
    assert data(shop.api.get("/api/v1/offices?createdAfter=2999-01-01")) == []


def test_a_state_is_known_by_the_row_where_it_has_no_times(shop: Shop) -> None:
    made = shop.make("codes", "etag")
    at = f"/api/v1/codes/{made['id']}"
    tag = shop.api.get(at).headers["ETag"]
    assert shop.api.get(at, headers={"If-None-Match": tag}).status_code == 304
    shop.execute(f"UPDATE codes SET note = 'theirs' WHERE id = {made['id']}".encode())
    refused(shop.api.patch(at, json={"note": "ours"}, headers={"If-Match": tag}), 412, "precondition_failed")
    refused(shop.api.delete(at, headers={"If-Match": tag}), 412, "precondition_failed")
    tag = shop.api.get(at).headers["ETag"]
    assert data(shop.api.patch(at, json={"note": "ours"}, headers={"If-Match": tag}))["note"] == "ours"

    updates = {"updates": [{"id": made["id"], "note": "bulk"}]}
    operation = data(shop.api.patch("/api/v1/bulk/codes", json=updates))["operationId"]
    shop.execute(f"UPDATE codes SET note = 'later' WHERE id = {made['id']}".encode())
    [result] = shop.undo(operation).json()["results"]
    assert result["code"] == "changed_since"


def test_what_is_hidden_is_told_nowhere_and_kept_by_every_edit(shop: Shop) -> None:
    made = shop.make("codes", "hidden")
    at = f"/api/v1/codes/{made['id']}"
    assert made["size"] == 6
    shop.execute(f"UPDATE codes SET secret = 's3cr3t' WHERE id = {made['id']}".encode())
    for field in ("secret", "size"):
        for body in ({"title": "x", "id": "1", field: "1"}, {"title": "x", "id": "1", field: 1}):
            assert refused(shop.api.post("/api/v1/codes", json=body), 400, "invalid_request")["details"]
        assert refused(shop.api.patch(at, json={field: 1}), 400, "invalid_request")["details"][0]["field"] == field
    for query in ("secret=s3cr3t", "sort=secret", "search=s3cr3t"):
        answer = shop.api.get(f"/api/v1/codes?{query}")
        assert answer.status_code == 400 or data(answer) == []

    updates = {"updates": [{"id": made["id"], "note": "n"}]}
    operation = data(shop.api.patch("/api/v1/bulk/codes", json=updates))["operationId"]
    assert shop.undo(operation).json()["succeeded"] == 1
    data(shop.api.delete(at))
    assert shop.dashboard("POST", f"trash/{made['id']}", json={"dataType": "codes"}).status_code == 200
    file = shop.export("codes", "ndjson", filters={"ids": made["id"]})
    assert counts(imported(shop.api, "codes", "ndjson", file, TENANT, onConflict="update")) == {"updated": 1}
    # Postgres' own words of a broken check hold the whole row.
    shop.execute(b"ALTER TABLE codes ADD CONSTRAINT not_bad CHECK (secret = 'kept' OR note IS DISTINCT FROM 'bad')")
    told = [shop.api.patch(at, json={"note": "bad"}).content]
    rows = csv_file("id,title,note", f"{made['id']},hidden,bad")
    failed = imported(shop.api, "codes", "csv", rows, TENANT, onConflict="update")
    assert counts(failed) == {"failed": 1}
    told.append(fetched(failed, "failed"))
    assert all(b"not_bad" in each for each in told), told
    shop.execute(b"ALTER TABLE codes DROP CONSTRAINT not_bad")
    told += [file, shop.export("audit"), shop.export("gdpr", "json"), shop.api.get("/api/v1/entities").content]
    told += [shop.api.get(at).content, shop.api.get("/api/v1/codes").content]
    assert not [each for each in told if b"s3cr3t" in each]
    with psycopg.connect(shop.stack.database_url) as connection:
        kept = connection.execute("SELECT secret FROM tenant_globex.codes WHERE id = %s", (made["id"],)).fetchone()
        assert kept == ("s3cr3t",)
        query = "SELECT count(*) FROM stowage.changes WHERE concat(before, after) LIKE '%s3cr3t%'"
        assert connection.execute(query).fetchone() == (0,)


@pytest.mark.parametrize("entity", KEYED)
def test_what_is_no_id_is_nobodys(shop: Shop, entity: str) -> None:
    no_id = NO_ID[entity]
    at = f"/api/v1/{entity}/{no_id}"
    for answer in (shop.api.get(at), shop.api.patch(at, json={"note": "x"}), shop.api.delete(at)):
        refused(answer, 404, "record_not_found")
    for method, path in (("POST", f"trash/{no_id}"), ("DELETE", f"trash/{no_id}?dataType={entity}")):
        named = {"json": {"dataType": entity}} if method == "POST" else {}
        refused(shop.dashboard(method, path, **named), 404, "not_in_trash")
    answer = refused(shop.api.get(f"/api/v1/{entity}?ids={no_id}"), 400, "invalid_query")
    assert [detail["field"] for detail in answer["details"]] == ["ids"]
    body = shop.body(entity, "bad id", id=no_id)
    answer = refused(shop.api.post(f"/api/v1/{entity}", json=body), 400, "invalid_request")
    assert [detail["field"] for detail in answer["details"]] == ["id"]

    good = shop.make(entity, "no id")["id"]
    body = {"updates": [{"id": no_id, "note": "x"}, {"id": good, "note": "y"}]}
    answer = data(shop.api.patch(f"/api/v1/bulk/{entity}", json=body), 207)
    assert [(each["index"], each["id"], each["code"]) for each in answer["failures"]] == [(0, no_id, "not_found")]
    assert [each["note"] for each in answer["items"]] == ["y"]
    answer = data(shop.api.post(f"/api/v1/bulk/{entity}/delete", json={"ids": [good, no_id]}), 207)
    assert (answer["deleted"], [(each["index"], each["code"]) for each in answer["failures"]]) == (
        1,
        [(1, "not_found")],
    )


def test_two_spellings_of_a_uuid_are_one_id(shop: Shop) -> None:
    made = shop.make("visitors", "spelled")["id"]
    assert data(shop.api.get(f"/api/v1/visitors?ids={made.upper()}"))[0]["id"] == made
    both = [made, made.upper()]
    refused(shop.api.post("/api/v1/bulk/visitors/delete", json={"ids": both}), 400, "duplicate_ids")
    updates = {"updates": [{"id": each, "note": "x"} for each in both]}
    refused(shop.api.patch("/api/v1/bulk/visitors", json=updates), 400, "duplicate_ids")


def test_a_reference_has_the_type_of_the_key_that_it_names(shop: Shop) -> None:
    visitor = shop.make("visitors", "referred")["id"]
    made = shop.make("visits", "refers", visitorId=visitor)
    assert (made["officeId"], made["visitorId"]) == (shop.office, visitor)
    assert [each["id"] for each in data(shop.api.get(f"/api/v1/visits?visitorId={visitor.upper()}"))] == [made["id"]]
    for bad, code in (("nobody", "invalid_request"), (visitor.replace("0", "1"), "invalid_reference")):
        answer = refused(shop.api.patch(f"/api/v1/visits/{made['id']}", json={"visitorId": bad}), 400, code)
        assert answer["details"][0]["field"] == "visitorId"
    refused(shop.api.get("/api/v1/visits?visitorId=nobody"), 400, "invalid_query")


@pytest.mark.long(but=["codes", "visits"])
@pytest.mark.parametrize("entity", KEYED)
def test_keys_of_other_types_go_through_bulk_edits_trash_and_undo(shop: Shop, entity: str) -> None:
    body = {"items": [shop.body(entity, f"bulk {n}") for n in range(12)]}
    imported = data(shop.api.post(f"/api/v1/import/{entity}", json=body), 201)
    ids = [item["id"] for item in imported["items"]]
    assert [item["title"] for item in imported["items"]] == [f"bulk {n}" for n in range(12)]
    before = shop.rows(entity)  # type: ignore[arg-type]
    updates = {"updates": [{"id": each, "note": each} for each in ids]}
    updated = data(shop.api.patch(f"/api/v1/bulk/{entity}", json=updates))
    assert [(item["id"], item["note"]) for item in updated["items"]] == [(each, each) for each in ids]
    deleted = data(shop.api.post(f"/api/v1/bulk/{entity}/delete", json={"ids": ids[:6]}))
    pages = [shop.dashboard("GET", f"trash?type={entity}&limit=2&page={n}").json() for n in (1, 2, 3)]
    listed = [item["id"] for page in pages for item in page["items"]]
    assert sorted(listed) == sorted(ids[:6])
    if entity in ("films", "visits"):
        assert [*map(int, listed)] == sorted(map(int, listed), reverse=True)

    assert shop.undo(deleted["operationId"]).json()["succeeded"] == 6
    assert shop.undo(updated["operationId"]).json()["succeeded"] == 12
    assert shop.rows(entity) == before  # type: ignore[arg-type]
    data(shop.api.delete(f"/api/v1/{entity}/{ids[0]}"))
    shop.make(entity, "bulk 0")
    named = {"dataType": entity}
    refused(shop.dashboard("POST", f"trash/{ids[0]}", json=named), 409, "conflict")
    restored = shop.dashboard("POST", f"trash/{ids[0]}", json=named | {"onConflict": "rename"})
    assert (restored.status_code, restored.json()["item"]["id"]) == (200, ids[0]), restored.text
    data(shop.api.delete(f"/api/v1/{entity}/{ids[1]}"))
    assert shop.dashboard("DELETE", f"trash/{ids[1]}?dataType={entity}").json() == {"success": True, "id": ids[1]}
    assert shop.dashboard("DELETE", f"trash/{ids[1]}?dataType={entity}").status_code == 410
    undone = shop.undo(imported["operationId"]).json()
    codes = [(each["id"], each.get("code")) for each in undone["results"]]
    assert codes == [(ids[0], "changed_since"), (ids[1], "purged"), *((each, None) for each in ids[2:])]


def test_records_with_other_keys_go_along_come_back_and_are_purged(shop: Shop) -> None:
    office, visitor = shop.make("offices", "parent")["id"], shop.make("visitors", "kept")["id"]
    visits = [shop.make("visits", f"child {n}", officeId=office, visitorId=visitor)["id"] for n in range(3)]
    data(shop.api.delete(f"/api/v1/offices/{office}"))
    [item] = shop.dashboard("GET", "trash?type=offices").json()["items"][:1]
    assert (item["id"], item["cascaded"]) == (office, {"visits": 3})
    assert shop.dashboard("POST", f"trash/{office}/restore", json={}).status_code == 200
    assert {shop.api.get(f"/api/v1/visits/{each}").status_code for each in visits} == {200}

    data(shop.api.delete(f"/api/v1/visitors/{visitor}"))
    assert shop.dashboard("DELETE", f"trash/{visitor}").status_code == 200
    assert data(shop.api.get(f"/api/v1/visits/{visits[0]}"))["visitorId"] is None
    data(shop.api.delete(f"/api/v1/offices/{office}"))
    shop.execute(b"UPDATE stowage.trash_entries SET purge_at = now() WHERE entity IN ('offices', 'visits')")
    shop.stack.invoke("PurgeTrashFunction")
    assert not {int(each) for each in visits} & {row[0] for row in shop.rows("visits")}
    assert shop.dashboard("DELETE", f"trash/{office}").status_code == 410


@pytest.mark.long(but=["offices-ndjson", "films-csv"])
@pytest.mark.parametrize(("entity", "type"), [*zip(KEYED, cycle(("csv", "ndjson")), strict=False)])
def test_an_export_of_other_keys_comes_back_by_an_import(shop: Shop, entity: str, type: str) -> None:
    """Each key in one of the two: a file's format does not know of what its columns hold are keys."""
    made = [shop.make(entity, f"file {type} {n}") for n in range(3)]
    ids = ",".join(each["id"] for each in made)
    file = shop.export(entity, type, filters={"ids": ids})
    again = imported(shop.api, entity, type, file, TENANT, onConflict="update")
    assert counts(again) == {"updated": 3}
    shop.execute(f"DELETE FROM {entity} WHERE title LIKE 'file {type} %'".encode())
    assert counts(imported(shop.api, entity, type, file, TENANT)) == {"created": 3}
    assert [data(shop.api.get(f"/api/v1/{entity}/{each['id']}"))["title"] for each in made] == [
        each["title"] for each in made
    ]

    rows = [shop.body(entity, f"new {type} {n}") for n in range(3)] + [shop.body(entity, "bad", id=NO_ID[entity])]
    columns = [*rows[-1]]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    lines = text.getvalue() if type == "csv" else "\n".join(map(json.dumps, rows))
    assert counts(imported(shop.api, entity, type, lines.encode(), TENANT)) == {"created": 3, "failed": 1}


def test_nothing_deletes_what_has_no_trash(shop: Shop) -> None:
    made = shop.product("stays-1")
    before = shop.rows("products")
    named = {"json": {"dataType": "products"}}
    for answer in (
        shop.api.delete(f"/api/v1/products/{made['id']}"),
        shop.api.post("/api/v1/bulk/products/delete", json={"ids": [made["id"], "none"]}),
        shop.dashboard("GET", "trash?type=products"),
        shop.dashboard("GET", "trash?type=product"),
        shop.dashboard("POST", f"trash/{made['id']}", **named),
        shop.dashboard("POST", f"trash/{made['id']}/restore", **named),
        shop.dashboard("DELETE", f"trash/{made['id']}?dataType=products"),
    ):
        assert "no trash for products" in refused(answer, 400, "not_supported")["error"]
    assert shop.dashboard("POST", f"trash/{made['id']}").status_code == 404
    assert shop.rows("products") == before


def test_views_and_keys_of_several_columns_are_read_and_no_route_writes_them(shop: Shop) -> None:
    film = shop.make("films", "seen")["id"]
    shop.execute(b"INSERT INTO film_codes SELECT film_id, 'a/b \xc3\xa4' FROM films; REFRESH MATERIALIZED VIEW counts")
    [code] = data(shop.api.get(f"/api/v1/film_codes?filmId={film}"))
    assert code == {"id": encode_id(f'["{film}", "a/b ä"]'), "filmId": film}
    assert data(shop.api.get(f"/api/v1/film_codes/{code['id']}")) == code
    assert data(shop.api.get(f"/api/v1/film_codes?ids={code['id']}")) == [code]
    [title] = data(shop.api.get("/api/v1/titles?search=SEEN"))
    assert (title, data(shop.api.get(f"/api/v1/titles/{film}"))) == ({"id": film, "title": "SEEN"}, title)
    [counted] = data(shop.api.get("/api/v1/counts"))
    assert data(shop.api.get(f"/api/v1/counts/{counted['id']}")) == counted
    for nobody in ("counts/yesterday", "titles/x", "film_codes/x", f"film_codes/{encode_id('["1"]')}"):
        refused(shop.api.get(f"/api/v1/{nobody}"), 404, "record_not_found")
    refused(shop.api.delete(f"/api/v1/films/{film}"), 409, "has_children")

    why = {"film_codes": "their key has several columns", "titles": "their declaration says readOnly"}
    for entity, record in (("film_codes", code), ("titles", title)):
        at, named = f"/api/v1/{entity}/{record['id']}", {"json": {"dataType": entity}}
        file = {"filename": "x.csv", "size": 9, "type": "csv"}
        for answer in (
            shop.api.post(f"/api/v1/{entity}", json={}),
            shop.api.patch(at, json={}),
            shop.api.delete(at),
            shop.api.patch(f"/api/v1/bulk/{entity}", json={"updates": [{"id": record["id"]}]}),
            shop.api.post(f"/api/v1/bulk/{entity}/delete", json={"ids": [record["id"]]}),
            shop.api.post(f"/api/v1/import/{entity}", json={"items": [{}]}),
            shop.api.post(f"/api/v1/import/{entity}/file", json=file),
        ):
            assert why[entity] in refused(answer, 400, "not_supported")["error"]
        for answer in (
            shop.dashboard("GET", f"trash?type={entity}"),
            shop.dashboard("POST", f"trash/{record['id']}", **named),
            shop.dashboard("DELETE", f"trash/{record['id']}?dataType={entity}"),
        ):
            refused(answer, 400, "not_supported")
        body = {"ids": [record["id"]], "dataType": entity}
        assert shop.dashboard("POST", "bulk/delete", json=body).status_code == 400
        assert shop.dashboard("POST", "bulk/reassign", json=body | {"targetBrandId": shop.brand}).status_code == 400
    shop.execute(b"DELETE FROM film_codes")


def test_its_updates_are_undone_and_its_creations_are_not(shop: Shop) -> None:
    made = shop.product("undo-1")
    body = {"updates": [{"id": made["id"], "sku": "undo-2", "price": 9}]}
    operation = data(shop.api.patch("/api/v1/bulk/products", json=body))["operationId"]
    undone = shop.undo(operation)
    assert (undone.status_code, undone.json()["succeeded"]) == (200, 1), undone.text
    assert data(shop.api.get(f"/api/v1/products/{made['id']}")) == made

    items = {"items": [{"sku": "undo-3", "name": "x", "brandId": shop.brand}]}
    operation = data(shop.api.post("/api/v1/import/products", json=items), 201)["operationId"]
    before = shop.rows("products")
    refused(shop.undo(operation), 400, "not_supported")
    assert shop.rows("products") == before
    listed = shop.dashboard("GET", "bulk/operations").json()["operations"]
    assert [each["undoneAt"] for each in listed if each["id"] == operation] == [None]


def test_the_purge_passes_it_by(shop: Shop) -> None:
    before = shop.rows("products")
    shop.stack.invoke("PurgeTrashFunction")
    assert shop.rows("products") == before


def test_a_mistake_leaves_the_running_stack_as_it_is(shop: Shop) -> None:
    shop.declarations.write_text(DECLARATIONS.replace("float8", "flaot8 flaot8"))
    try:
        told = "shop.toml:26: products.fields.price.type"
        eventually(
            lambda: shop.product(f"still-{time.monotonic_ns()}") and told in shop.started.terminal(),
            "the mistake is told",
        )
    finally:
        shop.declarations.write_text(DECLARATIONS)


def test_the_migration_that_a_command_prints_gives_it_a_trash(shop: Shop) -> None:
    """The last test here: products have a trash from now on. Their suppliers have none."""
    supplier = data(shop.api.post("/api/v1/suppliers", json={"name": "Sue"}), 201)["id"]
    items = {
        "items": [{"sku": f"trash-{n}", "name": "T", "brandId": shop.brand, "supplierId": supplier} for n in "123"]
    }
    imported = data(shop.api.post("/api/v1/import/products", json=items), 201)
    first, second, third = (item["id"] for item in imported["items"])
    command = [sys.executable, "-m", "stowage.postgres", "soft-delete", "tenant_globex.products"]
    command += ["--url", shop.stack.database_url]
    printed = subprocess.run(command, cwd=shop.root / "layers" / "stowage", check=True, capture_output=True).stdout
    with psycopg.connect(shop.stack.database_url) as connection:
        connection.execute(printed)
    others = [each["slug"] for each in shop.stack.description["tenants"] if each["slug"] != TENANT]
    shop.execute(soft_delete_migration("products").encode(), *others)
    shop.declarations.write_text(DECLARATIONS.replace("[products.fields]", f"{WITH_TRASH}[products.fields]"))
    eventually(lambda: shop.dashboard("GET", "trash?type=products").status_code == 200, "the stack has noticed")

    data(shop.api.delete(f"/api/v1/products/{first}"))
    listed = shop.dashboard("GET", "trash?type=product").json()
    assert [(item["id"], item["type"], item["name"]) for item in listed["items"]] == [(first, "product", "T")]
    assert shop.api.get(f"/api/v1/products/{first}").status_code == 404
    shop.product("trash-1")
    named = {"dataType": "products"}
    refused(shop.dashboard("POST", f"trash/{first}", json=named), 409, "conflict")
    deleted = data(shop.api.post("/api/v1/bulk/products/delete", json={"ids": [second]}))
    assert shop.undo(deleted["operationId"]).json()["succeeded"] == 1
    data(shop.api.delete(f"/api/v1/products/{second}"))
    restored = shop.dashboard("POST", f"trash/{second}", json=named)
    assert (restored.status_code, restored.json()["item"]["id"]) == (200, second), restored.text
    gone = shop.dashboard("DELETE", f"trash/{first}?dataType=products")
    assert gone.json() == {"success": True, "id": first}
    assert shop.dashboard("DELETE", f"trash/{first}?dataType=products").status_code == 410

    undone = shop.undo(imported["operationId"]).json()
    assert [(each["id"], each.get("code")) for each in undone["results"]] == [
        (first, "purged"),
        (second, None),
        (third, None),
    ]


def test_an_edited_function_runs_soon(shop: Shop) -> None:
    handler = shop.root / "functions" / "service" / "get_health.py"
    source, address = handler.read_text(), f"{shop.stack.api_url}/api/v1/health"
    assert requests.get(address, timeout=30).status_code == 200
    try:
        handler.write_text("def app(event, context):\n    return {'statusCode': 200, 'body': 'edited'}\n")
        eventually(lambda: requests.get(address, timeout=30).text == "edited", "the edit")
    finally:
        handler.write_text(source)
    eventually(lambda: requests.get(address, timeout=30).text != "edited", "the old one")
