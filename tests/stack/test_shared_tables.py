"""Tables that all tenants share: each sees its own rows, in every route that reads (writes: the file beside it)."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from unittest import mock

import psycopg
import pytest

from stowage.basics.errors import NotFoundError
from stowage.entities.declared import ENTITIES, Entities
from stowage.entities.filters import parse_filters
from stowage.entities.language import read_declarations
from stowage.exports.formats import open_export
from stowage.postgres.session.connection import APP, _kept, connect
from stowage.postgres.tables.shared import check_shared
from stowage.records import clean_id, list_records, read_record
from stowage.settings import settings
from stowage.tenants import Tenant
from tests.stack.servers import NEWEST, OLDER, Servers

ACME, GLOBEX, NOBODY = (Tenant(name, name, name.title()) for name in ("7", "8", "9"))
DECLARED = """
[invoices]
schema = "Billing"
where = { "tenant id" = "tenant" }
key = "id bigint client"
label = "number"
search = ["number"]
created = "issued_at"
[invoices.fields]
number = "text not null"
total = "numeric(9,2)"
secret = { type = "text", hidden = true }

[lines]
schema = "Billing"
where = { tenant_id = "tenant" }
key = ["invoice_id bigint client", "n integer client"]
[lines.fields]
invoiceId = "bigint not null"
"""
TABLES = """
CREATE SCHEMA "Billing"; CREATE SCHEMA tenant_7; CREATE SCHEMA tenant_8; CREATE SCHEMA tenant_9;
SET search_path = "Billing";
CREATE TABLE invoices (
    "tenant id" bigint NOT NULL, id bigint NOT NULL, number text NOT NULL, total numeric(9,2), secret text,
    issued_at timestamptz DEFAULT now(), PRIMARY KEY ("tenant id", id)
);
CREATE TABLE lines (tenant_id text, invoice_id bigint, n integer, PRIMARY KEY (tenant_id, invoice_id, n));
INSERT INTO invoices ("tenant id", id, number, total, secret)
SELECT tenant, i, format('%s of %s', i, tenant), i, 's3cr3t'
FROM unnest(ARRAY[7, 8]) AS tenant, generate_series(1, 3) AS i;
INSERT INTO invoices ("tenant id", id, number) VALUES (8, 99, 'theirs alone');
INSERT INTO lines SELECT tenant, i, 1 FROM unnest(ARRAY['7', '8']) AS tenant, generate_series(1, 2) AS i;
INSERT INTO lines VALUES ('8', 99, 1);
GRANT USAGE ON SCHEMA "Billing" TO stowage_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "Billing" TO stowage_app
"""


@pytest.fixture(scope="module", params=[OLDER, NEWEST])
def database(servers: Servers, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    made = servers(request.param).make_database()
    made.make_tenant("tenant_other")
    connection = made.connect()
    connection.execute(TABLES.encode())
    values = made.environment
    environment = {
        "STOWAGE_TABLE": "t",
        "STOWAGE_EXPORTS_BUCKET": "e",
        "STOWAGE_BACKUPS_BUCKET": "b",
        "STOWAGE_DATABASE_URL": f"postgresql://127.0.0.1:{values['PGPORT']}/{values['PGDATABASE']}",
    }
    entities = Entities(read_declarations({"shared.toml": DECLARED}))
    with mock.patch.dict("os.environ", environment):
        settings.cache_clear()
        with mock.patch.multiple(ENTITIES, _literals=entities._literals, _made={}, unable={}):
            yield connection
            while _kept:
                _kept.popitem()[1].close()
    settings.cache_clear()


def numbers(tenant: Tenant, **query: str) -> list[str]:
    listed = json.loads(list_records(tenant, ENTITIES["invoices"], {"sort": "id", **query}))
    assert listed["pagination"]["total"] == len(listed["data"])
    return [each["number"] for each in listed["data"]]


def export(tenant: Tenant, data_type: str, format: str, **filters: str) -> bytes:
    given = None if data_type == "gdpr" else parse_filters(data_type, filters)
    source = open_export(
        connect("main", APP), tenant.schema, tenant.id, data_type=data_type, format=format, filters=given
    )
    try:
        return b"".join(source.chunks())
    finally:
        source.close()


@pytest.mark.usefixtures("database")
def test_each_tenant_lists_and_reads_its_own_rows() -> None:
    mine, theirs = [f"{n} of 7" for n in (1, 2, 3)], [f"{n} of 8" for n in (1, 2, 3)]
    assert numbers(ACME) == mine
    assert numbers(GLOBEX) == [*theirs, "theirs alone"]
    assert numbers(NOBODY) == []
    for query in ({"ids": "99"}, {"id": "99"}, {"search": "theirs"}, {"number": "theirs alone"}, {"search": "of 8"}):
        assert numbers(ACME, **query) == []
        assert numbers(GLOBEX, **query)
    assert numbers(ACME, createdAfter="2000-01-01", sort="-total") == mine[::-1]

    invoices, lines = ENTITIES["invoices"], ENTITIES["lines"]
    assert json.loads(read_record(ACME, invoices, clean_id(invoices, "2")))["number"] == "2 of 7"
    assert json.loads(read_record(GLOBEX, invoices, clean_id(invoices, "2")))["number"] == "2 of 8"
    assert json.loads(read_record(GLOBEX, lines, clean_id(lines, '["99", "1"]')))["invoiceId"] == 99
    for entity, theirs_alone in ((invoices, "99"), (lines, '["99", "1"]')):
        for tenant in (ACME, NOBODY):
            with pytest.raises(NotFoundError):
                read_record(tenant, entity, clean_id(entity, theirs_alone))
    assert len(json.loads(list_records(ACME, lines, {"ids": '["99", "1"]'}))["data"]) == 0


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("format", ["csv", "json", "ndjson", "xlsx", "parquet"])
def test_each_tenants_files_hold_its_own_rows(format: str) -> None:
    file = export(ACME, "invoices", format)
    assert b"s3cr3t" not in file
    if format == "csv":
        assert [row["number"] for row in csv.DictReader(io.StringIO(file.decode()))] == [f"{n} of 7" for n in (1, 2, 3)]
    elif format in ("json", "ndjson"):
        assert file.count(b"of 7") == 3
        assert b"of 8" not in file
    assert export(NOBODY, "invoices", "ndjson") == b""
    assert export(ACME, "invoices", "ndjson", ids="99") == b""
    assert len(export(GLOBEX, "lines", "ndjson").splitlines()) == 3
    with zipfile.ZipFile(io.BytesIO(export(ACME, "gdpr", "ndjson"))) as archive:
        assert archive.read("invoices.ndjson").count(b"\n") == 3
        assert b"of 8" not in archive.read("invoices.ndjson")
        assert archive.read("lines.ndjson").count(b"\n") == 2


def test_what_does_not_fit_is_told(database: psycopg.Connection) -> None:
    def told(old: str = "", new: str = "") -> list[str]:
        found = check_shared(database, read_declarations({"shared.toml": DECLARED.replace(old, new)}))
        return [each.sentence for each in found if each.severity == "error"]

    assert told() == []
    assert told('"tenant id"', "customer") == ["there is no column customer, which says whose a row is"]
    assert told('schema = "Billing"\nwhere = { tenant_id', 'schema = "billing"\nwhere = { tenant_id') == [
        "there is no schema billing"
    ]
    assert told("[lines]", '[lines]\ntable = "rows"') == ["there is no table rows: the entity is absent there"]
    assert told("numeric(9,2)", "text") == ["total is numeric(9,2), not text"]
    schemas = [Tenant(tenant, "acme", "Acme").schema for tenant in ("7", "acme", "10000000000000000000")]
    found = check_shared(database, read_declarations({"shared.toml": DECLARED}), schemas)
    assert [each.sentence for each in found if each.severity == "error"] == [
        "tenant id is bigint, which the tenant's id acme and 1 more is not"
    ]
    database.execute('REVOKE DELETE ON "Billing".invoices FROM stowage_app')
    assert told() == ["stowage_app lacks DELETE; run `grant` for the schema"]
    assert told("label =", "readOnly = true\nlabel =") == []
