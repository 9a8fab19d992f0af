"""The streamed zip: whatever comes in is what other readers take out."""

import io
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from stowage.pipeline.zip import ZipStream

LIMIT = 0xFFFFFFFF
"""The first size and offset in zip64 records: 32 bits of ones are the mark for them (APPNOTE.TXT 4.4.1.4)."""
MEBIBYTE = 1024 * 1024
MOMENT = datetime(2026, 11, 20, 8, 30, 12, tzinfo=UTC)


def zipped(files: dict[str, list[bytes]], *, large: bool = False) -> bytes:
    stream = ZipStream(MOMENT)
    pieces = [piece for name, chunks in files.items() for piece in stream.entry(name, chunks, large=large)]
    return b"".join([*pieces, stream.end()])


@given(
    st.dictionaries(
        st.text(alphabet="abcé字/", min_size=1).filter(lambda n: not n.endswith("/")), st.lists(st.binary())
    ),
    st.booleans(),
)
def test_entries_come_out_as_they_went_in(files: dict[str, list[bytes]], large: bool) -> None:
    with zipfile.ZipFile(io.BytesIO(zipped(files, large=large))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {n: b"".join(c) for n, c in files.items()}
        assert all(info.date_time == (2026, 11, 20, 8, 30, 12) for info in archive.infolist())


def read_directory(file: Path) -> dict[str, bytes]:
    """What the standard library reads: by the directory at the end."""
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def read_from_the_front(file: Path) -> dict[str, bytes]:
    """What a reader of streams reads: local headers and the descriptors behind the data (APPNOTE.TXT 4.3.7, 4.3.9)."""
    found, rest = {}, file.read_bytes()
    while rest.startswith(b"PK\x03\x04"):
        version, flags, method, *_, name_bytes, extra_bytes = struct.unpack("<4xHHHHHLLLHH", rest[:30])
        assert (flags, method) == (0x808, 8)
        name = rest[30 : 30 + name_bytes].decode()
        extra = rest[30 + name_bytes : 30 + name_bytes + extra_bytes]
        assert extra == (struct.pack("<HHQQ", 1, 16, 0, 0) if version == 45 else b"")
        packed = rest[30 + name_bytes + extra_bytes :]
        inflate = zlib.decompressobj(-15)
        found[name] = inflate.decompress(packed) + inflate.flush()
        assert inflate.eof
        stored, layout = len(packed) - len(inflate.unused_data), "<4sLQQ" if extra else "<4sLLL"
        told = struct.unpack_from(layout, inflate.unused_data)
        assert told == (b"PK\x07\x08", zlib.crc32(found[name]), stored, len(found[name]))
        rest = inflate.unused_data[struct.calcsize(layout) :]
    assert rest[:4] == b"PK\x01\x02"
    return found


def read_with_unzip(file: Path) -> dict[str, bytes]:
    """What Info-ZIP reads."""

    def told(*arguments: str) -> bytes:
        return subprocess.run(["unzip", *arguments], check=True, capture_output=True).stdout

    told("-tqq", str(file))
    return {name: told("-p", str(file), name) for name in told("-Z1", str(file)).decode().splitlines()}


READERS = [read_directory, read_from_the_front]
if shutil.which("unzip"):  # CI installs it
    READERS.append(read_with_unzip)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("read", READERS)
def test_every_reader_takes_it(tmp_path: Path, read: Callable[[Path], dict[str, bytes]], large: bool) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"one.txt": [b"one ", b"", b"two"], "b": [], "c": [bytes(9)]}, large=large))
    assert read(tmp_path / "a.zip") == {"one.txt": b"one two", "b": b"", "c": bytes(9)}


def test_an_entry_of_more_than_4_gib_comes_out_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size, block = LIMIT + 10 * MEBIBYTE + 1, bytes(16 * MEBIBYTE)

    def zeros() -> Iterator[bytes]:
        yield from repeat(block, size // len(block))
        yield block[: size % len(block)]

    stream = ZipStream(MOMENT)
    with open(tmp_path / "a.zip", "wb") as file:
        for piece in chain(stream.entry("first", [b"1"]), stream.entry("big", zeros(), large=True)):
            file.write(piece)
        file.writelines([*stream.entry("last", [b"2"], large=True), stream.end()])

    # zipfile reads the archive; what inflates is only quicker.
    monkeypatch.setattr(zipfile, "zlib", isal_zlib)
    monkeypatch.setattr(zipfile, "crc32", isal_zlib.crc32)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.getinfo("big").file_size == size
        with archive.open("big") as entry:
            read = sum(len(chunk) for chunk in iter(lambda: entry.read(MEBIBYTE), b""))  # and compares the CRC
        assert (read, archive.read("first"), archive.read("last")) == (size, b"1", b"2")


def test_an_entry_that_was_not_announced_as_large_is_refused_past_4_gib() -> None:
    with pytest.raises(OverflowError, match="more than a plain entry"):
        list(ZipStream(MOMENT).entry("a", repeat(bytes(64 * MEBIBYTE), 65)))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("read", [read_directory, *READERS[2:]])
def test_entries_and_a_directory_past_4_gib_are_found(
    tmp_path: Path, read: Callable[[Path], dict[str, bytes]], large: bool
) -> None:
    """In a file with a hole, of which the stream is told that it has given so much."""
    stream = ZipStream(MOMENT)
    with open(tmp_path / "a.zip", "wb") as file:
        file.writelines(stream.entry("before", [b"1"], large=large))
        for name, offset in (("at the limit", LIMIT - 1), ("at the mark", LIMIT), ("beyond", LIMIT + 2 * MEBIBYTE)):
            stream._offset = max(offset, stream._offset)
            file.seek(stream._offset)
            file.writelines(stream.entry(name, [name.encode(), bytes(100)], large=large))
        file.write(stream.end())

    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert [info.filename for info in archive.infolist() if info.extra or large] == [
            *(["before", "at the limit"] if large else []), "at the mark", "beyond",
        ]  # fmt: skip
    assert read(tmp_path / "a.zip") == {"before": b"1"} | {
        name: name.encode() + bytes(100) for name in ("at the limit", "at the mark", "beyond")
    }


def test_empty_chunks_pass_at_once() -> None:
    pieces = list(ZipStream(MOMENT).entry("a", [b"", b"data", b""]))
    assert pieces[:2] == [b"", b""]
    assert len(pieces) == 3
