"""Sessions of `stowage_restore`."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg

from stowage.postgres.dumps.failures import database_error
from stowage.postgres.session.connection import RESTORE, connect


@contextmanager
def session(database: str, within: str | None = None) -> Iterator[psycopg.Connection]:
    """A session of `stowage_restore` in that database, or `within` another of its server. Psycopg's errors become
    RunError or TransientRunError.
    """
    with closing(connect(database, RESTORE, within=within)) as connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise database_error(error) from error
