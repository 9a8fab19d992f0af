"""What tests of faults share: the runs of the stack, and a database whose tables can be held."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest

from tests.conftest import Api, RunningStack
from tests.faults.run_surface import Runs


@pytest.fixture
def runs(stack: RunningStack, admin: Api, dynamodb: Any, s3: Any, stepfunctions: Any) -> Iterator[Runs]:
    """The stack's runs; faults that have not come are forgotten afterwards."""
    yield Runs(stack, admin, dynamodb, s3, stepfunctions)
    stack.faults()


@pytest.fixture
def holding_dumps(stack: RunningStack) -> Callable[[], AbstractContextManager[None]]:
    """Within the block, pg_dump of the zoo waits for a lock. The parent of partitions is locked alone, because
    reading a table's size for an estimate waits for a lock too.
    """

    @contextmanager
    def hold() -> Iterator[None]:
        with psycopg.connect(stack.database_url) as connection:
            connection.execute("LOCK TABLE ONLY tenant_zoo.events IN ACCESS EXCLUSIVE MODE")
            yield

    return hold
