"""What transfer() promises, with a real child process or bytes of our own as the source and real storage behind a
proxy."""

import base64
import gzip
import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import repeat

import pytest

from stowage.aws.uploads import MultipartUpload
from stowage.basics.errors import CancelledError, RunError, TransientRunError
from stowage.pipeline.compress import gzip_compressor
from stowage.pipeline.parts import FIRST_PART_BYTES, LARGEST_PART_BYTES, MOST_PARTS, part_size
from stowage.pipeline.transfer import transfer
from tests.faults.s3_proxy import late
from tests.stack.dump_surface import Bucket, Watch

pytest_plugins = ("tests.stack.dump_fixtures",)

CHUNK = 256 * 1024


class Given:
    """A source of given chunks; says what was done with it."""

    def __init__(self, chunks: Iterator[bytes], failure: Exception | None = None) -> None:
        self.rows = 0
        self.closed = 0
        self._chunks, self._failure = chunks, failure

    def chunks(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.rows += 1
            yield chunk

    def finish(self) -> None:
        if self._failure:
            raise self._failure

    def close(self) -> None:
        self.closed += 1


def upload_to(
    bucket: Bucket, key: str = "acme/run/1/file", on_created: Callable[[str], None] = lambda _: None
) -> MultipartUpload:
    return MultipartUpload(bucket.name, key, "run", attempt=1, content_type="application/gzip", on_created=on_created)


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK, FIRST_PART_BYTES - 1, FIRST_PART_BYTES, FIRST_PART_BYTES + 1, 3 * FIRST_PART_BYTES + 7]
)
def test_what_the_source_gives_is_what_is_stored(bucket: Bucket, watch: Watch, size: int) -> None:
    data = os.urandom(size)
    source = Given(data[start : start + CHUNK] for start in range(0, size, CHUNK))

    stored = transfer(source, upload_to(bucket), compress=None, watch=watch)

    assert bucket.read(stored.key) == data
    assert (stored.size_bytes, stored.source_bytes) == (size, size)
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert stored.crc32 == base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    assert stored.rows == source.rows
    assert source.closed
    assert bucket.unfinished() == []


def test_the_stored_gzip_is_one_that_any_gunzip_opens(bucket: Bucket, watch: Watch) -> None:
    data = b"".join(b"row %d of a table\n" % number for number in range(500_000))
    source = Given(data[start : start + CHUNK] for start in range(0, len(data), CHUNK))

    stored = transfer(source, upload_to(bucket), compress=gzip_compressor(), watch=watch)

    packed = bucket.read(stored.key)
    assert gzip.decompress(packed) == data
    assert stored.source_bytes == len(data) > stored.size_bytes == len(packed)
    assert stored.sha256 == hashlib.sha256(packed).hexdigest()


def test_the_object_says_whose_it_is(bucket: Bucket, watch: Watch) -> None:
    created: list[str] = []
    stored = transfer(Given(iter([b"x"])), upload_to(bucket, on_created=created.append), compress=None, watch=watch)

    head = bucket.direct.head_object(Bucket=bucket.name, Key=stored.key)
    assert head["Metadata"] == {"run-id": "run", "attempt": "1"}
    assert head["ContentType"] == "application/gzip"
    assert len(created) == 1


def test_a_source_that_was_not_whole_leaves_nothing(bucket: Bucket, watch: Watch) -> None:
    source = Given(repeat(os.urandom(CHUNK), 30), TransientRunError("killed"))

    with pytest.raises(TransientRunError, match="killed"):
        transfer(source, upload_to(bucket), compress=None, watch=watch)

    assert (bucket.keys(), bucket.unfinished()) == ([], [])
    assert source.closed


def test_what_the_watch_raises_ends_the_transfer_within_a_second_of_a_silent_source(
    bucket: Bucket, watch: Watch
) -> None:
    def silent() -> Iterator[bytes]:
        yield b"something"
        while True:
            time.sleep(0.1)
            yield b""

    source = Given(silent())
    began = time.monotonic()
    watch.cancelled = lambda: time.monotonic() > began + 0.5

    with pytest.raises(CancelledError):
        transfer(source, upload_to(bucket), compress=None, watch=watch)

    assert time.monotonic() - began < 1.5
    assert (bucket.keys(), bucket.unfinished()) == ([], [])
    assert source.closed


def test_the_watch_sees_growing_figures_at_most_ten_times_a_second(bucket: Bucket, watch: Watch) -> None:
    def slow() -> Iterator[bytes]:
        for _ in range(40):
            time.sleep(0.05)
            yield bytes(1000)

    transfer(Given(slow()), upload_to(bucket), compress=None, watch=watch)

    assert 3 <= len(watch.seen) <= 20
    assert watch.seen == sorted(watch.seen)


def test_a_cancel_while_storage_does_not_answer_is_noticed(bucket: Bucket, watch: Watch) -> None:
    bucket.proxy.fail("UploadPart", *[late(0.9)] * 20)
    began = time.monotonic()
    watch.cancelled = lambda: time.monotonic() > began + 0.5

    with pytest.raises(CancelledError):
        transfer(Given(repeat(os.urandom(CHUNK), 400)), upload_to(bucket), compress=None, watch=watch)

    assert time.monotonic() - began < 5
    assert (bucket.keys(), bucket.unfinished()) == ([], [])


def test_a_cancel_while_the_object_is_being_completed_takes_the_object_away(bucket: Bucket, watch: Watch) -> None:
    bucket.proxy.fail("CompleteMultipartUpload", late(0.9))
    watch.cancelled = lambda: bucket.proxy.calls["CompleteMultipartUpload"] > 0

    with pytest.raises(CancelledError):
        transfer(Given(iter([b"x"])), upload_to(bucket), compress=None, watch=watch)

    assert (bucket.keys(), bucket.unfinished()) == ([], [])


def test_a_failure_to_note_the_upload_aborts_it(bucket: Bucket, watch: Watch) -> None:
    def refuse(upload_id: str) -> None:
        raise RunError("another worker has this run")

    with pytest.raises(RunError, match="another worker"):
        transfer(Given(iter([b"x"])), upload_to(bucket, on_created=refuse), compress=None, watch=watch)

    assert bucket.unfinished() == []


def test_parts_grow_so_that_their_number_never_ends_a_dump() -> None:
    sizes = [part_size(number) for number in range(1, MOST_PARTS + 1)]

    assert sizes[0] == FIRST_PART_BYTES
    assert sizes == sorted(sizes)
    assert sizes[1023] < sizes[1024] == 2 * FIRST_PART_BYTES
    assert max(sizes) == LARGEST_PART_BYTES
    assert sum(sizes) > 2 * 1024**4
