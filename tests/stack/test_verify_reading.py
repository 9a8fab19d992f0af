"""A stored backup read to its end: whatever is not as it was made is found, in every format."""

import gzip
import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import settings

from stowage.backups.verifying import Reading
from stowage.postgres.dumps import restored
from stowage.postgres.dumps.contents import DumpContents, SnapshotContents
from stowage.postgres.dumps.pg_dump import Dump, DumpFormat, pg_dump_version
from stowage.postgres.dumps.script import Script
from tests.stack.dump_surface import Database

pytest_plugins = ("tests.stack.dump_fixtures",)

FORMATS: tuple[DumpFormat, ...] = ("sql", "tar", "custom")
KINDS = [(dump_format, compressed) for dump_format in FORMATS for compressed in (True, False)]
SCHEMA = "tenant_zoo"


def dump(database: Database, dump_format: DumpFormat, schema: str = SCHEMA) -> tuple[bytes, DumpContents]:
    """A dump and what its manifest tells of it."""
    with SnapshotContents(database.connect(), schema, pg_dump_version(database.pg_dump)) as contents:
        source = Dump(schema, dump_format, database.environment, snapshot=contents.snapshot, binary=database.pg_dump)
        try:
            data = b"".join(source.chunks())
            source.finish()
        finally:
            source.close()
        return data, contents.result()


def manifest(data: bytes, dump_format: DumpFormat, compressed: bool, contents: DumpContents) -> dict[str, Any]:
    return {
        "format": dump_format,
        "compression": "gzip" if compressed else None,
        "sha256": hashlib.sha256(data).hexdigest(),
        "contents": contents.model_dump(),
    }


def read(told: dict[str, Any], data: bytes, pg_restore: str, size: int = 100_000) -> dict[str, str | None]:
    """What is wrong, by the names of the checks."""
    reading = Reading(told, pg_restore, Script())
    try:
        for start in range(0, len(data), size):
            reading.feed(data[start : start + size])
        reading.finish()
        return {check["name"]: check["message"] for check in reading.checks()}
    finally:
        reading.close()


@pytest.fixture
def zoo(make_database: Callable[[], Database]) -> Database:
    database = make_database()
    database.make_tenant(SCHEMA, zoo=True)
    database.make_tenant("tenant_other", zoo=False)
    return database


ALL_WELL = dict.fromkeys(("checksum", "compression", "end", "schema", "rows"))


@pytest.mark.long(but=["sql", "custom"])
@pytest.mark.parametrize("dump_format", FORMATS)
def test_a_whole_backup_is_good_and_a_damaged_one_is_not(
    zoo: Database, dump_format: DumpFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restored, "SILENCE_SECONDS", 2.0)
    plain, contents = dump(zoo, dump_format)
    pg_restore = str(zoo.programs / "pg_restore")
    assert contents.row_count
    for compressed in (True, False):
        data = gzip.compress(plain, 1) if compressed else plain
        told = manifest(data, dump_format, compressed, contents)
        reads = partial(read, pg_restore=pg_restore)
        assert reads(told, data) == ALL_WELL
        assert reads(told, data, size=977) == ALL_WELL

        for place in (len(data) // 3, len(data) // 2, len(data) - 30):
            flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            assert reads(told, flipped)["checksum"] == "Its checksum is not the manifest's.", place

        # A tar ends in a script that pg_restore does not read, whose loss the checksum alone tells.
        for end in (0, 10, len(data) // 2, *([] if dump_format == "tar" else [len(data) - 600])):
            cut = data[:end]
            # As if it had been cut before the manifest was written: nothing but its own end tells.
            found = reads(told | {"sha256": hashlib.sha256(cut).hexdigest()}, cut)
            assert found["checksum"] is None
            assert found["end"] == "The dump breaks off, or cannot be read to its end.", end
            assert (found["compression"] is None) == (not compressed)

        fewer = {**contents.model_dump(), "rows": {**contents.rows, "animals": 1, "gone": 7}}
        found = reads(told | {"contents": fewer}, data)
        assert found["end"] is None
        assert "of 1 of animals" in str(found["rows"])
        assert "0 of 7 of gone" in str(found["rows"])


def mutations(data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Damaged copies, each damaged at one random place: a flipped bit, a part cut out, doubled, or moved."""
    random = Random(20_261_129)
    while count:
        first, second, third = sorted(random.sample(range(len(data) + 1), 3))
        head, one, two, tail = data[:first], data[first:second], data[second:third], data[third:]
        kind, damaged = random.choice(
            [
                ("flip", head + bytes([one[0] ^ 1 << random.randrange(8)]) + one[1:] + two + tail),
                ("cut", head + two + tail),
                ("cut off", head + one),
                ("duplicate", head + one + one + two + tail),
                ("reorder", head + two + one + tail),
            ]
        )
        if damaged != data:
            count -= 1
            yield f"{kind} at {first}, {second}, {third}", damaged


@pytest.mark.long(but="sql")
@pytest.mark.parametrize("dump_format", FORMATS)
def test_no_random_damage_passes(zoo: Database, dump_format: DumpFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restored, "SILENCE_SECONDS", 0.2)
    plain, contents = dump(zoo, dump_format)
    pg_restore = str(zoo.programs / "pg_restore")
    # Each damaged archive costs a process.
    count = 200 if dump_format == "sql" else settings().max_examples
    for compressed in (True, False):
        data = gzip.compress(plain, 1) if compressed else plain
        told = manifest(data, dump_format, compressed, contents)
        for what, damaged in mutations(data, count // 2):
            assert any(read(told, damaged, pg_restore).values()), what


def test_an_archive_with_something_of_another_tenant_is_seen(zoo: Database) -> None:
    data, contents = dump(zoo, "custom", "tenant_other")
    for told, wrong in ((SCHEMA, True), ("tenant_other", False)):
        of_it = contents.model_copy(update={"schema_name": told})
        found = read(manifest(data, "custom", False, of_it), data, str(zoo.programs / "pg_restore"))
        assert (found["schema"] is not None) == wrong
        assert found["end"] is None


def test_what_could_not_be_counted_is_not_compared(zoo: Database) -> None:
    data, contents = dump(zoo, "sql")
    told = manifest(data, "sql", False, contents)
    uncounted = {**contents.model_dump(), "rows": dict.fromkeys(contents.rows)}
    assert read(told | {"contents": uncounted}, data, "") == ALL_WELL


def test_the_dump_of_another_tenant_is_no_backup_of_this_one(zoo: Database) -> None:
    _, contents = dump(zoo, "sql")
    data, _ = dump(zoo, "sql", "tenant_other")
    found = read(manifest(data, "sql", False, contents), data, "")
    assert found["end"] is None
    assert found["schema"] == "It holds rows of another schema: tenant_other."
    assert found["rows"] is not None


@pytest.mark.parametrize("behind", [b"x", b"\0" * 8, gzip.compress(b"SELECT 1;\n", mtime=0)])
def test_what_stands_behind_the_end_of_the_compression_is_seen(zoo: Database, behind: bytes) -> None:
    plain, contents = dump(zoo, "sql")
    data = gzip.compress(plain, 1) + behind
    for size in (100_000, len(data) - len(behind)):
        found = read(manifest(data, "sql", True, contents), data, "", size)
        assert found["compression"] == "It cannot be decompressed to its end."


def test_a_file_that_unpacks_to_a_thousand_times_its_size_takes_no_memory(zoo: Database) -> None:
    _, contents = dump(zoo, "sql")
    bomb = gzip.compress(b"-" * 200_000_000, 9)
    found = read(manifest(bomb, "sql", True, contents), bomb, "")
    assert found["end"] is not None
