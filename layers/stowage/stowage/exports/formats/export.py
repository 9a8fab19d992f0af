"""An export as the pipeline reads it: a file whose rows all come from one snapshot."""

from collections.abc import Callable, Iterator

from stowage.basics.errors import TransientRunError
from stowage.postgres.reads.copy import Snapshot
from stowage.postgres.reads.selection import Selection
from stowage.postgres.session.connection import Connection

type FileFormat = Callable[[Snapshot, Selection], Iterator[bytes]]
"""What makes a file of a selection's rows, piece by piece."""


class Export:
    """One export of a tenant's schema (a `stowage.pipeline.source.Source`). It owns the connection;
    `rows` counts data rows, over all files of a zip.
    """

    def __init__(self, connection: Connection, schema: str, file: Callable[[Snapshot], Iterator[bytes]]) -> None:
        self.rows = 0
        self._snapshot = Snapshot(connection, schema)
        self._file = file
        self._whole = False

    def chunks(self) -> Iterator[bytes]:
        """The file's bytes; `b""` each half second while Postgres is silent.

        RunError where Postgres refuses (a permission, a table that is not there), TransientRunError where the
        connection is cut, CancelledError after `close`.
        """
        for chunk in self._file(self._snapshot):
            self.rows = self._snapshot.rows
            yield chunk
        self._snapshot.end()
        self._whole = True

    def finish(self) -> None:
        """Return if Postgres said of every COPY that it was whole; else TransientRunError."""
        if not self._whole:
            raise TransientRunError("The export broke off before its end.")

    def close(self) -> None:
        """Cancel what runs and close the connection."""
        self._snapshot.close()
