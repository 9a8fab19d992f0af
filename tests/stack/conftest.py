"""What tests on the running stack share."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import Api, RunningStack
from tests.stack.office import Office, open_office
from tests.stack.open_front import open_front
from tests.stack.servers import Servers, start_servers


@pytest.fixture
def office(stack: RunningStack, database: psycopg.Connection) -> Iterator[Office]:
    """A tenant of the test's own."""
    made = open_office(stack, database)
    yield made
    made.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Servers of the tests' own, for all tests of a process: roles that a file makes there are met
    by the next file.
    """
    with start_servers() as servers:
        yield servers


@pytest.fixture(scope="session")
def open_stack(stack: RunningStack) -> Iterator[RunningStack]:
    """The stack behind a front that lets in pages of every site."""
    with open_front(stack) as opened:
        yield opened


@pytest.fixture
def abroad(open_stack: RunningStack) -> Iterator[Api]:
    """The API, for somebody without credentials, as a page of any site reaches it on AWS."""
    with Api(open_stack.api_url, None) as made:
        yield made
