"""How far a dump is by the server's own account: pg_dump tells nothing, and for `tar` it writes a
table only once it has all of it.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, LiteralString

import psycopg

from stowage.basics.errors import StowageError
from stowage.postgres.dumps.contents import SnapshotContents

LOOK_SECONDS = 1.0
CLOSE_SECONDS = 0.5


class DumpProgress:
    """Looks once a second, over a small connection of its own, at a pg_dump and at the counting
    beside it.

    `rows` is what the pg_dump that calls itself `application` has copied so far; it never falls.
    `counting` tells whether the server is at work on our counts. Where the server does not let us
    look, both stand still: how far a dump is matters less than the dump.
    """

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], application: str, contents: SnapshotContents
    ) -> None:
        self.rows = 0
        self.counting = False
        self._connect, self._application, self._contents = connect, application, contents
        self._copied: dict[str, int] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="dump progress")
        self._thread.start()

    def close(self) -> None:
        """Look no more; at any time, also twice."""
        self._closed.set()
        self._thread.join(CLOSE_SECONDS)

    def _watch(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        while not self._closed.wait(LOOK_SECONDS):
            try:
                connection = connection or self._connect()
                self._look(connection)
            except (psycopg.Error, StowageError):
                self.counting = False
                if connection:
                    connection.close()
                connection = None
        if connection:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _look(self, connection: psycopg.Connection[Any]) -> None:
        active = connection.execute(ACTIVE, (self._contents.backend_pid,)).fetchone()
        self.counting = bool(active and active[0])
        now = dict(connection.execute(COPYING, (self._application,)).fetchall())
        self._copied |= now
        counted = self._contents.counted
        done = sum(max(rows, counted.get(name) or 0) for name, rows in self._copied.items() if name not in now)
        self.rows = max(self.rows, done + sum(now.values()))


ACTIVE: LiteralString = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s AND state = 'active')"
# A role sees the progress of its own sessions (PostgreSQL documentation, "COPY Progress
# Reporting").
COPYING: LiteralString = """
    SELECT c.relname, p.tuples_processed
    FROM pg_stat_progress_copy p
    JOIN pg_stat_activity a ON a.pid = p.pid
    JOIN pg_class c ON c.oid = p.relid
    WHERE p.datname = current_database() AND a.application_name = %s
"""
