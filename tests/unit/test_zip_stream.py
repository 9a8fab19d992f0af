"""The streamed zip: whatever comes in is what other readers take out."""

import io
import shutil
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.pipeline import zip as zip_module
from stowage.pipeline.zip import ZipStream

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


@pytest.mark.parametrize("large", [False, True])
def test_unzip_takes_it(tmp_path: Path, large: bool) -> None:
    if shutil.which("unzip") is None:
        pytest.skip("the program unzip is missing here; CI has it")
    (tmp_path / "a.zip").write_bytes(zipped({"é.txt": [b"one ", b"", b"two"], "b": []}, large=large))
    subprocess.run(["unzip", "-t", tmp_path / "a.zip"], check=True, capture_output=True)


def test_sizes_past_32_bits_stand_in_zip64_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limit lowered, so that offsets past it are told in the way of zip64."""
    first = zipped({"a": [bytes(100)], "b": [b"x" * 50]}, large=True)
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.read("b") == b"x" * 50
    monkeypatch.setattr(zip_module, "_MOST", 10)
    with pytest.raises(OverflowError, match="more than a plain entry"):
        zipped({"a": [bytes(100)]})


def test_empty_chunks_pass_at_once() -> None:
    pieces = list(ZipStream(MOMENT).entry("a", [b"", b"data", b""]))
    assert pieces[:2] == [b"", b""]
    assert len(pieces) == 3
