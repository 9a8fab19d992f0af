"""Scratch databases of the test server, migrated or bare, for tests that change a database as a whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from stowage.postgres.schema.migrations import apply_roles, migrate


def server_url(request: pytest.FixtureRequest) -> str:
    """An owner's URL of the test server: the running stack's, or STOWAGE_TEST_DATABASE_URL."""
    return os.environ.get("STOWAGE_TEST_DATABASE_URL") or str(request.getfixturevalue("stack").database_url)


@contextmanager
def bare_database(server: str) -> Iterator[str]:
    """The URL of a new database that belongs to the server's owner; dropped afterwards."""
    name = f"scratch_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield make_conninfo(server, dbname=name)
        finally:
            owner.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@contextmanager
def migrated_database(server: str) -> Iterator[str]:
    """The URL of a new database with the roles and the product's migrations."""
    with bare_database(server) as url:
        with connect(url) as connection:
            apply_roles(connection)
            migrate(connection)
        yield url


def connect(url: str, role: str | None = None) -> psycopg.Connection:
    """A connection as the product makes them, as the URL's owner or as one of Stowage's roles."""
    return psycopg.connect(make_conninfo(url, user=role) if role else url, autocommit=True, prepare_threshold=None)
