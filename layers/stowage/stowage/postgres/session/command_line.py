"""The connection of a command that somebody runs: how its URL is given; whatever goes wrong is told in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from stowage.basics.errors import StowageError
from stowage.postgres.session.percent_signs import Cursor

URL_HELP = "where to connect, as postgresql://user@host:port/database; the password comes from PGPASSWORD or PGPASSFILE"


def connect_as(url: str) -> psycopg.Connection:
    """A connection to a URL, in autocommit, texts in UTF-8; psycopg's errors as they are.

    Without that encoding psycopg would give the texts of a database in SQL_ASCII as bytes.
    """
    return psycopg.connect(url, autocommit=True, prepare_threshold=None, client_encoding="UTF8", cursor_factory=Cursor)


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
