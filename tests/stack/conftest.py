"""What tests of records on the running stack share."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import RunningStack
from tests.stack.office import Office, open_office


@pytest.fixture
def office(stack: RunningStack, database: psycopg.Connection) -> Iterator[Office]:
    """A tenant of the test's own."""
    made = open_office(stack, database)
    yield made
    made.close()
