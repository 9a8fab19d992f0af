"""The tests' own servers as a fixture."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.postgres import binaries
from tests.stack.servers import OLDER, OLDER_PROGRAMS, Server, Servers


@contextmanager
def start_servers() -> Iterator[Servers]:
    """`servers(15)` and `servers(18)`: one of each, started when first asked for."""
    started: dict[int, Server] = {}

    def server(version: int) -> Server:
        if version not in started:
            if version == OLDER and not (OLDER_PROGRAMS / "postgres").exists():
                pytest.fail(
                    f"This needs Postgres {OLDER} in {OLDER_PROGRAMS}, as Debian's package postgresql-{OLDER} installs "
                    "it (.ci/run does).",
                    pytrace=False,
                )
            started[version] = Server(OLDER_PROGRAMS if version == OLDER else binaries())
        return started[version]

    try:
        yield server
    finally:
        for each in started.values():
            each.remove()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Servers for all tests of a process: roles that a file makes there are met by the next file."""
    with start_servers() as servers:
        yield servers
