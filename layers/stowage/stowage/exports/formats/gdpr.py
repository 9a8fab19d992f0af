"""Everything that Stowage knows of a tenant, as one zip with a file for each entity and one for the journal."""

from collections.abc import Iterator, Sequence

from stowage.exports.formats.export import FileFormat
from stowage.pipeline.zip import ZipStream
from stowage.postgres.reads.copy import Snapshot
from stowage.postgres.reads.selection import Selection


def gdpr_file(snapshot: Snapshot, selections: Sequence[Selection], file: FileFormat, extension: str) -> Iterator[bytes]:
    """A zip of `{entity}.{extension}`, all of one moment."""
    archive = ZipStream(snapshot.began_at())
    for selection in selections:
        yield from archive.entry(f"{selection.name}.{extension}", file(snapshot, selection), large=True)
    yield archive.end()
