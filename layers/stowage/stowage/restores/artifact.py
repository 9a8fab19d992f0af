"""A backup's stored file on its way to psql: read once, and only whole if it is the one that was made."""

import hashlib
from collections.abc import Collection, Generator
from pathlib import Path

from stowage.aws import objects
from stowage.aws.stored_files import open_stored
from stowage.basics.errors import RunError, StowageError
from stowage.pipeline.unpack import Unpacking, unpacking
from stowage.postgres.dumps.archive import Contents
from stowage.postgres.dumps.contents import DumpContents
from stowage.postgres.restores.archives import plain
from stowage.postgres.restores.copies import beside, copy_of
from stowage.postgres.restores.selection import choose_tables
from stowage.runs.manifest import bucket_of, read_manifest
from stowage.runs.progress import Reporter
from stowage.runs.record import Run
from stowage.runs.store import find_run
from stowage.settings import settings

CHUNK_BYTES = 1 << 20


def program(name: str) -> str:
    """One of Postgres's programs, which stand beside pg_dump."""
    return str(Path(settings().pg_dump).with_name(name))


class Artifact:
    """A backup's stored file and its manifest, read once. RunError `backup_damaged` where it is not what was made."""

    def __init__(self, run: Run, reporter: Reporter) -> None:
        self.reporter = reporter
        self.left_out: list[str] = []
        """What belongs to chosen tables and was left out, because something else is not chosen."""
        self._rows = self._read = 0
        self._tables: Collection[str] | None = run.spec.get("tables")
        backup = find_run(run.tenant, str(run.uses))
        manifest = read_manifest(backup) if backup else None
        if backup is None or manifest is None:
            raise _damaged("its manifest is gone")
        bucket = str(bucket_of(backup))
        stored = objects.head(bucket, manifest["key"])
        if stored is None:
            raise _damaged("its file is gone")
        if (stored["size"], stored["crc32"]) != (manifest["size_bytes"], manifest["crc32"]):
            raise _damaged("its file is not the one that was made")
        self._manifest, self._bucket, self._stored = manifest, bucket, stored
        self.contents = DumpContents.model_validate(manifest["contents"])
        self.made_at = backup.started_at or backup.created_at
        """Not later than the state that it holds."""

    @property
    def included(self) -> list[str]:
        """The schemas that were dumped along."""
        return list(self.contents.included)

    def copies(self, run_id: str) -> dict[str, str]:
        """Where that restore puts each schema of the backup."""
        return {self.contents.schema_name: copy_of(run_id), **beside(copy_of(run_id), self.included)}

    def expected(self, schema: str) -> dict[str, int | None]:
        """The rows that the restored tables of a schema have to have."""
        counts = self.contents.counts[schema]
        if self._tables is None:
            return counts
        chosen = self._tables if schema == self.contents.schema_name else ()
        return {name: count for name, count in counts.items() if name in chosen}

    def script(self) -> Generator[bytes]:
        """The plain dump, to its end only if the file's checksum and its packing are right; each time read anew."""
        if self._manifest["format"] == "sql":
            return self._bytes()
        choose = self._choose if self._tables is not None else None
        return plain(self._bytes(), program("pg_restore"), self.waiting, choose)

    def watch(self, rows: int) -> None:
        """Report how far it is. CancelledError where it should stop."""
        self._rows = rows
        self.reporter.watch(self._read, 0, rows)

    def waiting(self) -> None:
        """The same while nothing moves: psql and the server are at work, on an index for as long as it takes."""
        self.reporter.moved()
        self.reporter.watch(self._read, 0, self._rows)

    def _choose(self, contents: Contents) -> Collection[int]:
        chosen = choose_tables(contents, self.contents.schema_name, self._tables or ())
        self.left_out = chosen.left_out
        return chosen.numbers

    def _bytes(self) -> Generator[bytes]:
        digest, unpack = hashlib.sha256(), unpacking(self._manifest.get("compression"))
        try:
            with open_stored(self._bucket, self._manifest["key"], self._stored["etag"], self._stored["size"]) as file:
                while data := file.read(CHUNK_BYTES):
                    digest.update(data)
                    self._read += len(data)
                    yield from unpack.feed(data)
        except RunError as error:
            if error.code != "file_replaced":
                raise
            raise _damaged("its file was replaced or deleted while it was read") from error
        self._must_be_whole(digest.hexdigest(), unpack)

    def _must_be_whole(self, sha256: str, unpack: Unpacking) -> None:
        if sha256 != self._manifest["sha256"]:
            raise _damaged("its checksum is not the manifest's")
        if not unpack.is_whole:
            raise _damaged("it cannot be decompressed to its end")


def _damaged(why: str) -> StowageError:
    return RunError(f"The backup is damaged: {why}.", "backup_damaged")
