"""Every field that holds an id, of every entity: both forms are taken, the encoded one is shown, files are raw."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import requests

from stowage.basics.ids import encode_id
from stowage.entities.declaration import Entity, Reference
from stowage.entities.declared import ENTITIES
from tests.conftest import Api, RunningStack
from tests.stack.file_import_surface import csv_file, ended, imported, mover_token, ndjson_file, start, uploaded
from tests.stack.office import Office, open_office
from tests.stack.record_surface import data
from tests.stack.route_surface import completed_export

pytestmark = pytest.mark.usefixtures("direct")

REFERENCES = [
    pytest.param(entity, reference, id=f"{entity.name}-{reference.field}")
    for entity in ENTITIES.values()
    for reference in entity.references
]


@pytest.fixture(scope="module")
def office(stack: RunningStack) -> Iterator[Office]:
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        made = open_office(stack, database)
        yield made
        made.close()


@pytest.fixture
def api(office: Office) -> Api:
    """An operator of the office."""
    return office.caller()


class Made:
    """A parent whose id is a URL, and what a record that refers to it must have beside."""

    def __init__(self, api: Api, entity: Entity, reference: Reference) -> None:
        self.entity, self.reference = entity, reference
        self.raw = f"https://x.example/{uuid4()}?a=1,2&b=ü"
        self.encoded = encode_id(self.raw)
        assert self.encoded.startswith("~")
        parent = ENTITIES[reference.entity]
        shown = data(api.post(f"/api/v1/{parent.name}", json={"id": self.raw} | others(parent)), 201)
        assert shown["id"] == self.encoded

    def fields(self, form: str) -> dict[str, Any]:
        """A new record that refers to the parent in that form."""
        return others(self.entity) | {self.reference.field: form}


def others(entity: Entity) -> dict[str, Any]:
    """What a record of an entity must have, with texts of its own."""
    brand = {"brandId": "brd_1"}
    fields: dict[str, dict[str, Any]] = {
        "brands": {},
        "groups": brand,
        "accounts": brand | {"platform": "x"},
        "posts": {"accountId": "acc"},
        "tasks": {},
        "users": {"email": "a@example.com"},
    }
    return fields[entity.name] | {entity.label: f"{uuid4()}"}


@pytest.mark.long(but=["accounts-groupId", "tasks-assignee"])
@pytest.mark.parametrize(("entity", "reference"), REFERENCES)
def test_bodies_take_both_forms_and_answers_have_the_encoded_one(
    api: Api, entity: Entity, reference: Reference
) -> None:
    made, other = Made(api, entity, reference), Made(api, entity, reference)
    path, field = f"/api/v1/{entity.name}", reference.field

    for form in (made.raw, made.encoded):
        record = data(api.post(path, json=made.fields(form)), 201)
        assert record[field] == made.encoded
        assert data(api.get(f"{path}/{record['id']}"))[field] == made.encoded

        [item] = data(api.post(f"/api/v1/import/{entity.name}", json={"items": [made.fields(form)]}), 201)["items"]
        assert item[field] == made.encoded

    for form in (other.raw, other.encoded):
        for wanted, shown in ((form, other.encoded), (made.encoded, made.encoded)):
            assert data(api.patch(f"{path}/{record['id']}", json={field: wanted}))[field] == shown
        update = {"updates": [{"id": record["id"], field: form}]}
        [item] = data(api.patch(f"/api/v1/bulk/{entity.name}", json=update))["items"]
        assert item[field] == other.encoded
        data(api.patch(f"{path}/{record['id']}", json={field: made.raw}))


@pytest.mark.long(but=["accounts-groupId", "tasks-assignee"])
@pytest.mark.parametrize(("entity", "reference"), REFERENCES)
def test_filters_of_lists_and_exports_take_both_forms_and_exports_are_raw(
    stack: RunningStack, office: Office, api: Api, entity: Entity, reference: Reference
) -> None:
    made = Made(api, entity, reference)
    record = data(api.post(f"/api/v1/{entity.name}", json=made.fields(made.raw)), 201)

    with Api(stack.api_url, mover_token(stack)) as exporter:
        for form in (made.raw, made.encoded):
            listed = data(api.get(f"/api/v1/{entity.name}", params={reference.field: form}))
            assert [each["id"] for each in listed] == [record["id"]]
            [exported] = ndjson_export(exporter, office, entity, {reference.field: form})
            assert exported[reference.field] == made.raw


@pytest.mark.long(but=["accounts-groupId", "tasks-assignee"])
@pytest.mark.parametrize(("entity", "reference"), REFERENCES)
def test_files_that_come_in_are_raw(api: Api, office: Office, entity: Entity, reference: Reference) -> None:
    made = Made(api, entity, reference)
    record = made.fields(made.raw)
    columns = ",".join(record)
    cells = ",".join(f'"{value}"' for value in record.values())
    imported(api, entity.name, "csv", csv_file(columns, cells), tenant=office.id)
    imported(api, entity.name, "ndjson", ndjson_file(made.fields(made.raw)), tenant=office.id)

    listed = data(api.get(f"/api/v1/{entity.name}", params={reference.field: made.encoded}))
    assert [each[reference.field] for each in listed] == [made.encoded] * 2

    import_id = uploaded(api, entity.name, "ndjson", ndjson_file(made.fields(made.encoded)), tenant=office.id)
    start(api, entity.name, import_id)
    assert ended(api, import_id)["result"]["failed"] == 1, "an encoded id in a file is another id"


@pytest.mark.long(but=["accounts", "posts"])
@pytest.mark.parametrize("entity", ENTITIES.values(), ids=lambda entity: entity.name)
def test_a_records_own_id_is_echoed_in_results_and_encoded_in_the_trash(
    api: Api, office: Office, entity: Entity
) -> None:
    office.run("INSERT INTO accounts (id, username, platform, brand_id) VALUES ('acc', 'a', 'x', 'brd_1') "
               "ON CONFLICT DO NOTHING")  # fmt: skip
    raw = f"https://x.example/{uuid4()}?a=1,2"
    encoded = encode_id(raw)
    path = f"/api/v1/{entity.name}"
    data(api.post(path, json={"id": raw} | others(entity)), 201)

    for form in (raw, encoded):
        assert [each["id"] for each in data(api.get(path, params={"ids": form}))] == [encoded]
        assert [each["id"] for each in data(api.get(path, params={"id": form}))] == [encoded]
        assert data(api.delete(f"{path}/{encoded}"))["id"] == encoded
        failures = data(api.post(f"/api/v1/bulk/{entity.name}/delete", json={"ids": [form]}), 207)["failures"]
        assert [failure["id"] for failure in failures] == [form]
        failures = data(
            api.patch(f"/api/v1/bulk/{entity.name}", json={"updates": [{"id": form, entity.label: "x"}]}), 207
        )["failures"]
        assert [failure["id"] for failure in failures] == [form]

        items = api.get(office.path("trash"), params={"type": entity.name}).json()["items"]
        assert encoded in [item["id"] for item in items]
        address = office.path(f"trash/{requests.utils.quote(raw, safe='')}")
        refused = api.post(address, json={"dataType": entity.name})
        assert (refused.status_code, refused.json()["code"]) == (400, "encode_id"), "a gateway cuts a raw id at its ?"
        restored = api.post(office.path(f"trash/{encoded}"), json={"dataType": entity.name})
        assert restored.json()["item"]["id"] == encoded

    operation = data(api.post(f"/api/v1/bulk/{entity.name}/delete", json={"ids": [raw]}))["operationId"]
    assert [each["id"] for each in office.undo(operation)["results"]] == [encoded]


def ndjson_export(api: Api, office: Office, entity: Entity, filters: dict[str, str]) -> list[Any]:
    """The rows of an export."""
    body = {"format": "ndjson", "mode": "current_view", "dataType": entity.name, "filters": filters}
    record = completed_export(api, office.id, **body)
    return [json.loads(line) for line in requests.get(record["downloadUrl"], timeout=30).content.splitlines()]
