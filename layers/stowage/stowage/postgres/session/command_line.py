"""The connection of a command that somebody runs: how its URL is given; whatever goes wrong is told in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from stowage.basics.errors import StowageError

URL_HELP = "where to connect, as postgresql://user@host:port/database; the password comes from PGPASSWORD or PGPASSFILE"


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    """A connection to a URL, in autocommit. StowageError where the database does not answer or refuses."""
    try:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise StowageError(f"The database did not answer: {str(error).strip()}") from error
    except psycopg.Error as error:
        raise StowageError(str(error.diag.message_primary or error).strip()) from error
