"""Triggers, checks and functions of a product that say names without the schema find them when we change, import and
export records, as they do when the product itself does.
"""

import csv
import io

import pytest

from tests.stack.file_import_surface import csv_file, imported
from tests.stack.office import Office
from tests.stack.route_surface import completed_export

# Of the product: each function names others by the search path alone.
PRODUCT = """
    CREATE TABLE log (what text);
    GRANT SELECT, INSERT ON log TO stowage_app, stowage_purge;
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO log VALUES (TG_TABLE_NAME || ' ' || TG_OP); RETURN coalesce(NEW, OLD); END $$;
    CREATE TRIGGER note BEFORE INSERT OR UPDATE OR DELETE ON brands FOR EACH ROW EXECUTE FUNCTION note();
    CREATE FUNCTION folded(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
    CREATE FUNCTION is_good(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN RETURN folded($1) <> ''bad''; END';
    ALTER TABLE brands ADD CHECK (is_good(label));
"""


@pytest.fixture
def product(office: Office) -> Office:
    office.run("SET LOCAL check_function_bodies = off;" + PRODUCT)
    return office


def log(office: Office) -> list[str]:
    return [what for (what,) in office.run("SELECT what FROM log")]


def test_single_records_and_bulk_edits(product: Office) -> None:
    api, tenant = product.caller("admin"), {"X-Tenant-Id": product.id}
    made = api.post("/api/v1/brands", json={"label": "Good"}, headers=tenant)
    assert made.status_code == 201, made.text
    brand = made.json()["data"]["id"]
    changed = api.patch(f"/api/v1/brands/{brand}", json={"label": "Better"}, headers=tenant)
    assert changed.status_code == 200, changed.text
    imported = api.post(
        "/api/v1/import/brands", json={"items": [{"label": "Alpha"}, {"label": "Beta"}]}, headers=tenant
    )
    assert imported.status_code == 201, imported.text
    deleted = api.post("/api/v1/bulk/brands/delete", json={"ids": [brand]}, headers=tenant)
    assert deleted.status_code == 200, deleted.text
    undone = api.post(product.path("bulk/undo"), json={"operationId": deleted.json()["data"]["operationId"]})
    assert undone.status_code == 200, undone.text

    assert log(product) == ["brands INSERT", "brands UPDATE", "brands INSERT", "brands INSERT"] + ["brands UPDATE"] * 2


def test_a_table_of_the_same_name_in_public_is_left_alone(product: Office) -> None:
    """Where a product keeps its tables in public too, as a template, the customer's own are meant."""
    product.database.execute("CREATE TABLE public.log (what text); GRANT INSERT ON public.log TO stowage_app")
    try:
        made = product.caller("admin").post(
            "/api/v1/brands", json={"label": "Good"}, headers={"X-Tenant-Id": product.id}
        )
        assert made.status_code == 201, made.text
        assert product.database.execute("SELECT what FROM public.log").fetchall() == []
        assert log(product) == ["brands INSERT"]
    finally:
        product.database.execute("DROP TABLE public.log")


def test_a_rule_that_says_no_is_still_told(product: Office) -> None:
    refused = product.caller("admin").post("/api/v1/brands", json={"label": "BAD"}, headers={"X-Tenant-Id": product.id})
    assert refused.status_code in (400, 409), refused.text
    assert log(product) == []


def test_the_trash_is_emptied(product: Office) -> None:
    api, tenant = product.caller("admin"), {"X-Tenant-Id": product.id}
    brand = api.post("/api/v1/brands", json={"label": "Good"}, headers=tenant).json()["data"]["id"]
    assert api.delete(f"/api/v1/brands/{brand}", headers=tenant).status_code == 200
    gone = api.delete(product.path(f"trash/{brand}?dataType=brands"))
    assert gone.status_code == 200, gone.text
    assert log(product)[-1] == "brands DELETE"


def test_a_file_is_imported(product: Office) -> None:
    file = csv_file("label", "Alpha", "Beta", "bad")
    result = imported(product.caller("admin"), "brands", "csv", file, product.id)
    assert (result["created"], result["failed"]) == (2, 1)
    assert log(product) == ["brands INSERT"] * 2


def test_exports_read_what_functions_compute(product: Office) -> None:
    """A view in a table's place, whose function names another by the path."""
    product.run("""
        ALTER TABLE groups RENAME TO all_groups;
        CREATE VIEW groups AS SELECT * FROM all_groups WHERE is_good(label);
        GRANT SELECT ON groups TO stowage_app;
    """)
    api = product.caller("admin")
    record = completed_export(api, product.id, dataType="groups")
    rows = list(csv.DictReader(io.StringIO(api.get(record["downloadUrl"]).text)))
    assert len(rows) == 2
