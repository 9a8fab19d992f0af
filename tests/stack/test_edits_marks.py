"""Whoever changes a tenant's records marks the tenant, before the commit and again after it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from stowage.basics.errors import NotFoundError, UnavailableError
from stowage.bulk import bulk_delete
from stowage.bulk.requests import DeleteRequest
from stowage.entities.declared import ENTITIES
from stowage.postgres.session.marks import MARK
from stowage.records import change_record
from tests.conftest import RunningStack
from tests.stack.file_import_surface import counts, imported
from tests.stack.office import Office, in_process, open_office

NOW = datetime(2026, 11, 20, 12, 34, 56, 789000, tzinfo=UTC)


@pytest.fixture
def office(stack: RunningStack) -> Iterator[Office]:
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        made = open_office(stack, database)
        made.accounts("a", "b")
        with in_process(stack):
            yield made
        made.close()


def mark(office: Office) -> dict[str, Any]:
    """The tenant's mark, `version` 0 where there is none."""
    client = office.stack.aws("dynamodb")
    try:
        key = {"pk": {"S": f"T#{office.id}"}, "sk": {"S": MARK}}
        found = client.get_item(TableName=office.stack.resources["Table"], Key=key, ConsistentRead=True)
    finally:
        client.close()
    item = {name: next(iter(value.values())) for name, value in found.get("Item", {}).items()}
    return item | {"version": int(item.get("version", 0))}


def delete(office: Office, *ids: str, key: str | None = None) -> str:
    """Delete accounts in bulk; the answer."""
    return bulk_delete(office.edit(NOW, key), DeleteRequest(ids=list(ids), dataType="accounts")).body


def test_an_edit_marks_its_tenant_twice(office: Office) -> None:
    delete(office, "a")
    marked = mark(office)
    assert (marked["version"], marked["database"], marked["marked_at"]) == (2, "main", "2026-11-20T12:34:56.789Z")
    delete(office, "b")
    assert mark(office)["version"] == 4


def test_an_answer_given_again_marks_nothing(office: Office) -> None:
    first = delete(office, "a", key="once")
    assert delete(office, "a", key="once") == first
    assert mark(office)["version"] == 2


def test_a_refused_edit_marks_nothing(office: Office) -> None:
    with pytest.raises(NotFoundError):
        change_record(office.edit(NOW), ENTITIES["accounts"], "nobody", b'{"followers": 1}', None)
    assert mark(office)["version"] == 0


def refuse_marks(skip: int) -> dict[str, Any]:
    """As often as the client asks, and more often: one mark fails, behind so many that are set."""
    error = '{"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "slow down"}'
    of_marks = {"service": "dynamodb", "operation": "UpdateItem", "contains": f'"{MARK}"', "skip": skip}
    return of_marks | {"times": 50, "status": 400, "body": error}


def test_without_a_mark_nothing_is_changed(office: Office) -> None:
    office.stack.faults(refuse_marks(0))
    with pytest.raises(UnavailableError):
        delete(office, "a")
    office.stack.faults()
    assert office.live("accounts") == {"a", "b"}
    assert mark(office)["version"] == 0


def test_a_change_without_its_second_mark_is_answered_all_the_same(office: Office) -> None:
    office.stack.faults(refuse_marks(1))
    assert '"succeeded":1' in delete(office, "a")
    office.stack.faults()
    assert office.live("accounts") == {"b"}
    assert mark(office)["version"] == 1


@pytest.mark.parametrize(
    "work",
    [
        lambda office: office.caller("admin").delete(office.path("trash/b")),
        lambda office: office.caller().post(office.path("trash/b/restore")),
        lambda office: office.caller().patch("/api/v1/accounts/a", json={"followers": 7}),
        lambda office: office.caller().post("/api/v1/import/brands", json={"items": [{"label": "Three"}]}),
    ],
    ids=["delete for good", "restore", "change", "import"],
)
def test_every_kind_of_edit_marks(office: Office, work: Callable[[Office], Any]) -> None:
    delete(office, "b")
    before = mark(office)["version"]
    assert work(office).status_code in (200, 201)
    assert mark(office)["version"] == before + 2


def test_a_file_import_marks_with_each_batch_and_when_it_is_summed_up(office: Office) -> None:
    result = imported(office.caller(), "brands", "csv", b"label\nThree\nFour\n", office.id)
    assert counts(result) == {"created": 2}
    assert mark(office)["version"] >= 3
