"""The examples in the API's document are what the stack answers (`make examples`)."""

import json
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from local.openapi import EXAMPLES
from stowage.postgres.schema.migrations import create_tenant
from tests.conftest import RunningStack
from tests.examples import STORY, record
from tests.stack.spare_schemas import remove_tenant


@pytest.fixture
def tenant(stack: RunningStack, database: psycopg.Connection) -> Iterator[str]:
    """A tenant without any record."""
    name = f"example_{uuid4().hex[:10]}"
    create_tenant(database, name, name, "Acme Social")
    stack.invoke("CopyRegistryFunction")
    yield name
    remove_tenant(database, name)


def test_the_examples_are_what_the_stack_answers(stack: RunningStack, tenant: str) -> None:
    committed = json.loads(EXAMPLES.read_text())
    recorded = record(stack, tenant, STORY)
    refusals = recorded.pop("refusals")
    health = recorded["GET /api/v1/health"]["200"]
    assert health["status"] in ("ok", "not_ok"), "other tests' tables are looked at too"
    health["status"] = "ok"
    assert {status: committed["refusals"][status] for status in refusals}.keys() == refusals.keys()
    different = {route: answers for route, answers in recorded.items() if answers != committed[route]}
    assert different == {route: committed[route] for route in different}, "make examples"
    assert {*committed} == {*recorded, "refusals"}
