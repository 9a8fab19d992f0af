"""A table whose columns are called as our statements call their own things: edited, undone, restored, purged."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from pydantic import BaseModel

from stowage.bulk import bulk_undo
from stowage.bulk.requests import UndoRequest
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.imports.items import import_items
from stowage.records import change_record, change_records, create_record, list_records
from stowage.records.deleting import RecordIds, bulk_delete
from stowage.trash.deleting import delete_item
from stowage.trash.items import RestoreRequest
from stowage.trash.restoring import restore_item
from tests.conftest import RunningStack
from tests.stack.journal_story import holds_what_it_should
from tests.stack.office import Office, in_process, open_office

type Json = Any

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAMES = (
    "n", "k", "item", "old", "new", "given", "line", "record", "ordinality", "before", "after",
    "type", "place", "part", "image", "entity", "operation", "actor", "at", "seq", "base", "rows",
    "wanted", "code", "held", "holder", "found", "other", "parent", "child", "locked", "candidates",
    "changed", "made", "written", "lines", "taken", "counted", "asked", "image_of", "unchanged",
    "changes", "old_n", "new_n", "stage", "renamed", "count",
)  # fmt: skip


class Thing(BaseModel):
    """Something whose fields are called as aliases are."""

    label: str


THING = Entity(
    "things",
    "thing",
    "things",
    type("Thing", (Thing,), {"__annotations__": dict.fromkeys(NAMES, str | None), **dict.fromkeys(NAMES)}),
    label="label",
    id_prefix="thg_",
    search=("label",),
    unique=(("label",), ("record", "n")),
)
TABLE = f"""
CREATE TABLE things (
    id text PRIMARY KEY, label text NOT NULL, {", ".join(f'"{name}" text' for name in NAMES)},
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, deleted_at timestamptz
);
CREATE UNIQUE INDEX ON things (label) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX ON things (record, n) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX own_rule ON things (lower(old), "new") WHERE deleted_at IS NULL;
"""


@pytest.fixture
def office(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setitem(ENTITIES, "things", THING)
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        made = open_office(stack, database)
        made.run(TABLE)
        database.execute("SELECT stowage.grant_tenant(%s)", (made.schema,))
        with in_process(stack):
            yield made
        made.close()


def data(answer: Any) -> Json:
    body = json.loads(answer.body)
    return body.get("data", body)


def sent(value: Json) -> bytes:
    return json.dumps(value).encode()


def test_columns_called_as_aliases_are_edited_as_any_other(office: Office) -> None:
    def edit() -> Any:
        return office.edit(NOW)

    whole = {"label": "A"} | {name: f"{name} of a" for name in NAMES}
    first = data(create_record(edit(), THING, sent(whole)))
    assert {name: first[name] for name in whole} == whole
    items = [{"label": "B", "record": "r", "n": "1"}, {"label": "C", "record": "r", "n": "1"}, {"label": "D"}]
    body = {"items": items, "options": {"skipInvalid": True, "returnFailures": True}}
    imported = data(import_items(edit(), THING, sent(body)))
    assert (imported["created"], [failure["code"] for failure in imported["failures"]]) == (2, ["conflict"])

    changed = {name: f"new {name}" for name in NAMES}
    told = json.loads(change_record(edit(), THING, first["id"], sent(changed), None))
    assert {name: told[name] for name in NAMES} == changed
    ids = [first["id"], *(item["id"] for item in imported["items"])]
    updates = [{"id": record_id, "record": f"r {n}", "item": "it"} for n, record_id in enumerate(ids)]
    updated = data(change_records(edit(), THING, sent({"updates": [*updates, {"id": ids[0] + "x", "n": "1"}]})))
    assert (updated["updated"], updated["failed"]) == (3, 1)
    undone = data(bulk_undo(edit(), UndoRequest(operationId=updated["operationId"])))
    assert (undone["succeeded"], undone["failed"]) == (3, 0)
    assert office.rows("things")[first["id"]]["record"] == "new record"

    deleted = data(bulk_delete(edit(), THING, RecordIds(ids=ids)))
    assert deleted["deleted"] == 3
    assert data(bulk_undo(edit(), UndoRequest(operationId=deleted["operationId"])))["succeeded"] == 3
    bulk_delete(edit(), THING, RecordIds(ids=ids))
    create_record(edit(), THING, sent({"label": "new", "old": "NEW OLD", "new": "new new"}))
    create_record(edit(), THING, sent({"label": "B"}))
    restored = json.loads(restore_item(edit(), ids[1], RestoreRequest(onConflict="rename")).body)["item"]
    assert restored["name"] == "B (restored)"
    delete_item(office.edit(NOW + timedelta(days=1)), ids[2], "things")
    assert set(office.rows("things")) >= {ids[0], ids[1]}
    assert ids[2] not in office.rows("things")
    page = json.loads(list_records(office.tenant, THING, {"sort": "record"}))
    assert page["pagination"]["total"] == 3

    with psycopg.connect(office.app_url, autocommit=True) as connection:
        query = "SELECT to_jsonb(c) FROM stowage.changes AS c WHERE tenant = %s AND entity = 'things' ORDER BY seq"
        entries = [entry for (entry,) in connection.execute(query, (office.id,))]
    assert len(entries) > 15
    for entry in entries:
        holds_what_it_should(entry)
    assert office.is_gapless()
