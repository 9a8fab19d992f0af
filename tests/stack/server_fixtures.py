"""The tests' own servers as a fixture."""

from collections.abc import Iterator

import pytest

from tests.stack.servers import Servers, start_servers


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Servers for all tests of a process: roles that a file makes there are met by the next file."""
    with start_servers() as servers:
        yield servers
