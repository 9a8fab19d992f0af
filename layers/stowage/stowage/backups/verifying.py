"""A verification's attempt in the worker: it reads the stored backup again, from its first byte to its last.

Level 2 proves two things: the file is the one that was made, and its format can be read to the end, with the rows that
were counted when it was made. It needs neither a database nor a disk.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stowage.aws import objects
from stowage.aws.stored_files import open_stored
from stowage.basics.errors import RunError
from stowage.basics.ids import rfc3339
from stowage.pipeline.unpack import unpacking
from stowage.postgres.dumps.restored import Archive
from stowage.postgres.dumps.script import Script
from stowage.runs.attempt import Attempt
from stowage.runs.manifest import bucket_of, read_manifest
from stowage.runs.progress import Reporter
from stowage.runs.record import Run
from stowage.runs.store import find_run
from stowage.settings import settings

CHUNK_BYTES = 1 << 20
NAMED_TABLES = 5
"""How many tables a message names before it only counts."""


def verify_backup(attempt: Attempt) -> None:
    """Verify the backup that the run uses, and write the findings to the manifest, good or bad.

    RunError `backup_damaged` if any check fails: the run fails then, so that nobody takes it for a proof.
    """
    run = attempt.run
    attempt.reporter.report("checking", "Looking for the file.")
    backup = find_run(run.tenant, str(run.uses))
    checks, rows = read_through(backup, attempt.reporter, Script())
    wrong = next((check for check in checks if not check["ok"]), None)
    verification = {"level": run.spec["level"], "at": rfc3339(attempt.clock()), "ok": wrong is None}
    damaged = RunError(f"The backup is damaged. {wrong['message']}", "backup_damaged") if wrong else None
    facts = {"backup_id": run.uses, "verification": verification, "checks": checks}
    attempt.finish(facts, rows=rows, failure=damaged)
    if damaged:
        raise damaged


type Check = dict[str, Any]
"""`{"name", "ok", "message"}`; the message is null where all is well."""


def read_through(backup: Run | None, reporter: Reporter, script: Script) -> tuple[list[Check], int]:
    """Read a stored backup from its first byte to its last, as a plain dump into `script`; what was found, in the order
    of the checks, and how many rows were read.
    """
    if backup is None:
        return [_bad("file", "The backup is gone.")], 0
    manifest, bucket = read_manifest(backup), str(bucket_of(backup))
    if manifest is None:
        return [_bad("file", "Its manifest is gone.")], 0
    stored = objects.head(bucket, manifest["key"])
    if stored is None:
        return [_bad("file", "Its file is gone.")], 0
    if stored["size"] != manifest["size_bytes"]:
        return [_bad("file", f"Its file has {stored['size']} bytes instead of {manifest['size_bytes']}.")], 0
    reading = Reading(manifest, str(Path(settings().pg_dump).with_name("pg_restore")), script)
    try:
        with open_stored(bucket, manifest["key"], stored["etag"], stored["size"]) as file:
            while data := file.read(CHUNK_BYTES):
                reading.feed(data)
                reporter.watch(file.tell(), 0, reading.script.row_count)
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
        plain = manifest["format"] == "sql"
        self.script = script
        self._archive = None if plain else Archive(pg_restore, script)
        self._is_read = True

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the file."""
        self._sha256.update(data)
        for piece in self._unpack.feed(data):
            if self._archive:
                self._archive.feed(piece)
            else:
                self.script.feed(piece)

    def finish(self) -> None:
        """Read what is left: no more bytes come."""
        if self._archive:
            self._is_read = self._archive.finish()
        else:
            self.script.finish()

    def close(self) -> None:
        """Free everything; at any time, also twice."""
        if self._archive:
            self._archive.close()

    def checks(self) -> Iterator[Check]:
        """What was found, in the order in which it is told."""
        yield _check(
            "checksum", self._sha256.hexdigest() == self._manifest["sha256"], "Its checksum is not the manifest's."
        )
        yield _check("compression", self._unpack.is_whole, "It cannot be decompressed to its end.")
        whole = self._is_read and self.script.is_whole
        yield _check("end", whole, "The dump breaks off, or cannot be read to its end.")
        contents = self._manifest["contents"]
        foreign = sorted(self.script.schemas - {contents["schema_name"]})
        yield _check("schema", not foreign, f"It holds rows of another schema: {_some(foreign)}.")
        wrong = differing(contents["rows"], self.script.rows)
        yield _check("rows", not wrong, f"Not all rows are there: {_some(wrong)}.")


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


def _check(name: str, ok: bool, message: str) -> Check:
    return {"name": name, "ok": ok, "message": None if ok else message}


def _good(name: str) -> Check:
    return _check(name, True, "")


def _bad(name: str, message: str) -> Check:
    return _check(name, False, message)


def _some(names: list[str]) -> str:
    more = len(names) - NAMED_TABLES
    return ", ".join(names[:NAMED_TABLES]) + (f" and {more} more" if more > 0 else "")
