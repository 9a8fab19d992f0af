"""CSV as RFC 4180 has it: a header, CRLF behind each row, quotes doubled; UTF-8."""

import codecs
from collections.abc import Iterator

from stowage.postgres.reads.copy import Rows, Snapshot
from stowage.postgres.reads.rendering import copy_csv
from stowage.postgres.reads.selection import Selection


def csv_file(snapshot: Snapshot, selection: Selection) -> Iterator[bytes]:
    """One file: null is empty, an empty text `""`, formulas are neutralised (`formulas.neutralise`), moments read
    `2026-01-31 09:00:00.5Z`, or as `stowage.postgres.reads.moments` says.
    """
    yield ",".join(column.name for column in selection.columns).encode() + b"\r\n"
    for rows in snapshot.copy(copy_csv(selection), selection.name):
        yield with_crlf(rows)


def csv_file_with_mark(snapshot: Snapshot, selection: Selection) -> Iterator[bytes]:
    """The same behind a byte order mark, by which Excel knows UTF-8."""
    yield codecs.BOM_UTF8
    yield from csv_file(snapshot, selection)


def with_crlf(rows: Rows) -> bytes:
    """Rows that Postgres ended with a line feed, ended as the RFC wants; line feeds inside cells stay as they are."""
    data = b"".join(rows)
    if data.count(b"\n") == len(rows):
        return data.replace(b"\n", b"\r\n")
    return b"\r\n".join([*(row[:-1] for row in rows), b""])
