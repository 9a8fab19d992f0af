"""Declarations that no longer fit: the hourly comparison, GET /api/v1/attention, GET /api/v1/health and /entities."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from stowage.entities.declared import ENTITIES
from tests.conftest import Api, LocalStack, RunningStack


@pytest.fixture
def own(own_stack: Callable[..., LocalStack]) -> Iterator[RunningStack]:
    """A stack whose tables nobody else changes."""
    local = own_stack()
    yield local.start()
    local.stop()


def status(stack: RunningStack) -> str:
    caller = Api(stack.api_url, None)
    try:
        answer = caller.get("/api/v1/health")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["status"])
    finally:
        caller.close()


def attention(stack: RunningStack, who: str) -> list[tuple[str, str | None, str]]:
    caller = Api(stack.api_url, stack.tokens[who])
    try:
        answer = caller.get("/api/v1/attention")
        assert answer.status_code == 200, answer.text
        entries = answer.json()["data"]
        assert all(entry["kind"] == "declaration" and entry["since"].endswith("Z") for entry in entries)
        return [(entry["severity"], entry["tenant"], entry["facts"]["sentence"]) for entry in entries]
    finally:
        caller.close()


def test_a_table_that_fits_no_more_is_told_to_those_who_see_its_tenant_until_it_fits(own: RunningStack) -> None:
    assert (status(own), attention(own, "admin")) == ("ok", []), "the deployment has compared them"
    with psycopg.connect(own.database_url, autocommit=True) as database:
        database.execute("ALTER TABLE tenant_acme.tasks RENAME description TO details")
        own.invoke("CheckDeclarationsFunction")
        assert status(own) == "not_ok"
        missing = ("error", "acme", "there is no column description")
        assert attention(own, "admin") == [missing]
        assert attention(own, "other") == [], "of another tenant"
        database.execute("ALTER TABLE tenant_acme.tasks RENAME details TO description")
        database.execute("DROP TABLE tenant_globex.posts CASCADE")
        own.invoke("CheckDeclarationsFunction")
        gone = ("warning", "globex", "there is no table posts: the entity is absent there")
        assert attention(own, "admin") == attention(own, "other") == [gone]


def test_the_entities_are_listed_as_they_are_declared(viewer: Api) -> None:
    answer = viewer.get("/api/v1/entities").json()
    assert answer["success"] is True
    by_name = {entry["name"]: entry for entry in answer["data"]}
    assert list(by_name) == list(ENTITIES)
    accounts, tasks = by_name["accounts"], by_name["tasks"]
    assert [field["name"] for field in accounts["fields"]] == [field.name for field in ENTITIES["accounts"].fields]
    assert (accounts["label"], accounts["dashboard"], accounts["trash"]) == ("username", True, True)
    assert accounts["reassign"] == ["targetBrandId", "targetGroupId"]
    assert (tasks["dashboard"], tasks["reassign"], tasks["notSupported"]) == (False, [], [])
    fields = {field["name"]: field for field in tasks["fields"]}
    assert fields["status"]["values"] == ["todo", "in_progress", "completed"]
    assert (fields["status"]["default"], fields["status"]["required"]) == ("todo", False)
    assert fields["assignee"]["references"] == {"entity": "users", "onDelete": "keep"}
    assert fields["createdAt"]["readOnly"] is True
    assert {"platform", "brandId", "search", "createdAfter"} <= set(by_name["posts"]["filters"])
