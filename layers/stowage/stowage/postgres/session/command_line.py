"""The connection of a command that somebody runs: how its URL is given; whatever goes wrong is told in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import make_conninfo

from stowage.basics.errors import MisconfiguredError, StowageError
from stowage.postgres.session.percent_signs import Cursor
from stowage.postgres.session.refusals import refusal

URL_HELP = "where to connect, as postgresql://user@host:port/database; the password comes from PGPASSWORD or PGPASSFILE"


def connect_as(url: str) -> psycopg.Connection:
    """A connection to a URL, in autocommit, texts in UTF-8; psycopg's errors as they are, MisconfiguredError for what
    is no URL.

    Without that encoding psycopg would give the texts of a database in SQL_ASCII as bytes.
    """
    try:
        conninfo = make_conninfo(url.strip(), client_encoding="UTF8")
        return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None, cursor_factory=Cursor)
    except psycopg.ProgrammingError as error:
        # libpq's words may hold the password.
        unreadable = MisconfiguredError(
            "The URL is not read by libpq. Give it as postgresql://user@host:port/database."
        )
        raise refusal(str(error)) or unreadable from error


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    """A connection to a URL, in autocommit. StowageError where the database does not answer or refuses."""
    try:
        with connect_as(url) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise StowageError(f"The database did not answer: {str(error).strip()}") from error
    except psycopg.Error as error:
        raise StowageError(str(error.diag.message_primary or error).strip()) from error
