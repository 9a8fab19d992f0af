"""A stored backup read again, from its first byte to its last: level 2 of the verifications.

It proves three things: the file is the one that was made, its format can be read to the end, with the rows that
were counted when it was made, and nothing in it is another tenant's. It needs neither a database nor a disk. Each
backup is read so before its own attempt ends (`verify_stored`).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from stowage.aws import objects
from stowage.aws.stored_files import open_stored
from stowage.basics.errors import RunError, TransientRunError
from stowage.basics.ids import rfc3339
from stowage.pipeline.unpack import unpacking
from stowage.postgres.dumps.namespaces import ArchiveNamespaces, PlainNamespaces
from stowage.postgres.dumps.restored import Archive
from stowage.postgres.dumps.script import Script
from stowage.runs.attempt import Clock
from stowage.runs.manifest import bucket_of, read_manifest
from stowage.runs.progress import Reporter
from stowage.runs.record import Run
from stowage.settings import settings

CHUNK_BYTES = 1 << 20
LEVEL = 2
NAMED_TABLES = 5
"""How many tables a message names before it only counts."""


type Check = dict[str, Any]
"""`{"name", "ok", "message"}`; the message is null where all is well."""


def verify_stored(manifest: Mapping[str, Any], bucket: str, reporter: Reporter, clock: Clock) -> dict[str, Any]:
    """Read a file that was just stored, before anybody counts on it: `{"verification", "checks", "fingerprint"}`, facts
    for its manifest; `manifest` is the file's entry there.

    TransientRunError `storage_mismatch` where storage does not give back what it took: another attempt may do better.
    What else is wrong would be so again, and stands in the facts.
    """
    watch = partial(reporter.watch, stage="verifying", message="Reading it back.")
    script = Script()
    checks, _ = read_stored(manifest, bucket, lambda read, rows: watch(read, manifest["size_bytes"], rows), script)
    wrong = first_wrong(checks)
    if wrong and wrong["name"] in ("file", "checksum"):
        raise TransientRunError(f"What was stored did not come back as it was. {wrong['message']}", "storage_mismatch")
    verification = {"level": LEVEL, "at": rfc3339(clock()), "ok": wrong is None}
    return {"verification": verification, "checks": checks, "fingerprint": script.fingerprint}


def first_wrong(checks: list[Check]) -> Check | None:
    """The first check that failed, or None."""
    return next((check for check in checks if not check["ok"]), None)


def read_through(backup: Run | None, reporter: Reporter, script: Script) -> tuple[list[Check], int]:
    """Read a stored backup from its first byte to its last, as a plain dump into `script`; what was found, in the order
    of the checks, and how many rows were read.
    """
    if backup is None:
        return [_bad("file", "The backup is gone.")], 0
    manifest, bucket = read_manifest(backup), str(bucket_of(backup))
    if manifest is None:
        return [_bad("file", "Its manifest is gone.")], 0
    return read_stored(manifest, bucket, lambda read, rows: reporter.watch(read, 0, rows), script)


def read_stored(
    manifest: Mapping[str, Any], bucket: str, watch: Callable[[int, int], None], script: Script
) -> tuple[list[Check], int]:
    """The same of a file by its entry in a manifest; `watch` is called with the bytes and rows read so far."""
    stored = objects.head(bucket, manifest["key"])
    if stored is None:
        return [_bad("file", "Its file is gone.")], 0
    if stored["size"] != manifest["size_bytes"]:
        return [_bad("file", f"Its file has {stored['size']} bytes instead of {manifest['size_bytes']}.")], 0
    reading = Reading(manifest, str(Path(settings().pg_dump).with_name("pg_restore")), script)
    try:
        with (
            open_stored(bucket, manifest["key"], stored["etag"], stored["size"]) as file,
            ThreadPoolExecutor(1) as ahead,
        ):
            # The next bytes are on their way while these are read.
            coming = ahead.submit(file.read, CHUNK_BYTES)
            while data := coming.result():
                place = file.tell()
                coming = ahead.submit(file.read, CHUNK_BYTES)
                reading.feed(data)
                watch(place, reading.script.row_count)
        reading.finish()
    except RunError as error:
        if error.code != "file_replaced":
            raise
        return [_bad("file", "Its file was replaced or deleted while it was read.")], 0
    finally:
        reading.close()
    return [_good("file"), *reading.checks()], reading.script.row_count


class Reading:
    """A backup's bytes on their way through checksum, decompression and the reader of its format."""

    def __init__(self, manifest: Mapping[str, Any], pg_restore: str, script: Script) -> None:
        self._manifest = manifest
        self._sha256 = hashlib.sha256()
        self._unpack = unpacking(manifest.get("compression"))
        plain, contents = manifest["format"] == "sql", manifest["contents"]
        self._counted = {contents["schema_name"]: contents["rows"], **contents.get("included", {})}
        self.script = script
        self._archive = None if plain else Archive(pg_restore, script)
        self._namespaces = PlainNamespaces(*self._counted) if plain else ArchiveNamespaces(*self._counted)
        self._is_foreign = False
        self._is_read = True

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the file."""
        self._sha256.update(data)
        for piece in self._unpack.feed(data):
            self._look(lambda piece=piece: self._namespaces.feed(piece))  # type: ignore[misc]
            if self._archive:
                self._archive.feed(piece)
            else:
                self.script.feed(piece)

    def finish(self) -> None:
        """Read what is left: no more bytes come."""
        self._look(self._namespaces.finish)
        if self._archive:
            self._is_read = self._archive.finish()
        else:
            self.script.finish()

    def _look(self, look: Callable[[], None]) -> None:
        """Look whose entries the file has, until one is not the tenant's."""
        if self._is_foreign:
            return
        try:
            look()
        except RunError:
            self._is_foreign = True
            self._namespaces.close()

    def close(self) -> None:
        """Free everything; at any time, also twice."""
        self._namespaces.close()
        if self._archive:
            self._archive.close()

    def checks(self) -> Iterator[Check]:
        """What was found, in the order in which it is told."""
        yield check(
            "checksum", self._sha256.hexdigest() == self._manifest["sha256"], "Its checksum is not the manifest's."
        )
        yield check("compression", self._unpack.is_whole, "It cannot be decompressed to its end.")
        whole = self._is_read and self.script.is_whole
        yield check("end", whole, "The dump breaks off, or cannot be read to its end.")
        read = self.script.counts
        foreign = sorted(set(read) - set(self._counted))
        holds = (
            f"rows of another schema: {_some(foreign)}" if foreign else "more than this tenant's schema, or none of it"
        )
        yield check("schema", not (foreign or (whole and self._is_foreign)), f"It holds {holds}.")
        wrong = [told for schema, rows in self._counted.items() for told in differing(rows, read.get(schema, {}))]
        yield check("rows", not wrong, f"Not all rows are there: {_some(wrong)}.")


def differing(counted: Mapping[str, int | None], read: Mapping[str, int]) -> list[str]:
    """The tables whose rows in the file differ in number from those counted when the dump was made, as a part of a
    sentence.
    """
    wrong = [
        f"{read.get(table, 0)} of {count} of {table}"
        for table, count in counted.items()
        if count is not None and count != read.get(table, 0)
    ]
    return wrong + [f"{table}, which nobody counted" for table in sorted(set(read) - set(counted))]


def check(name: str, ok: bool, message: str) -> Check:
    """A check that was made; the message says why it is not passed."""
    return {"name": name, "ok": ok, "message": None if ok else message}


def _good(name: str) -> Check:
    return check(name, True, "")


def _bad(name: str, message: str) -> Check:
    return check(name, False, message)


def _some(names: list[str]) -> str:
    more = len(names) - NAMED_TABLES
    return ", ".join(names[:NAMED_TABLES]) + (f" and {more} more" if more > 0 else "")
