"""Storage that fails: every fault ends in a whole object or in none, with nothing left over."""

import os
import time
from collections.abc import Iterator

import pytest

from stowage.aws import clients, uploads
from stowage.aws.uploads import MultipartUpload, abort_upload, put_object
from stowage.basics.errors import RunError, TransientRunError
from stowage.pipeline.transfer import Stored, transfer
from tests.faults.s3_proxy import Answer, Fault, Forward, cut, error_in_body, lost_answer, refused, silent, slow_down
from tests.stack.dump_surface import Bucket, Watch

pytest_plugins = ("tests.stack.dump_fixtures",)

DATA = os.urandom(6 * 1024 * 1024)
KEY = "acme/run/1/file"


class Bytes:
    rows = 0

    def chunks(self) -> Iterator[bytes]:
        yield DATA[: 5 * 1024 * 1024]
        yield DATA[5 * 1024 * 1024 :]

    def finish(self) -> None:
        """Always whole."""

    def close(self) -> None:
        """Nothing to free."""


def store(bucket: Bucket, watch: Watch, *, attempt: int = 1) -> Stored:
    upload = MultipartUpload(
        bucket.name, KEY, "run", attempt=attempt, content_type="application/gzip", on_created=lambda _: None
    )
    return transfer(Bytes(), upload, compress=None, watch=watch)


PASSING = {
    "503": slow_down(),
    "500": refused(500, "InternalError"),
    "cut before": cut(),
    "answer lost": lost_answer(),
    "time-out": silent(1.5),
    "time-out after it was done": silent(1.5, committed=True),
    "200 with an error in the body": error_in_body(),
}


CALLS = [
    pytest.param(operation, fault, id=f"{operation}, {name}")
    for operation in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
    for name, fault in PASSING.items()
    if (operation, name) != ("UploadPart", "200 with an error in the body")  # its answers have no body
]


@pytest.mark.long(
    but=[
        "CreateMultipartUpload, 503",
        "UploadPart, 500",
        "CompleteMultipartUpload, cut before",
        "CompleteMultipartUpload, answer lost",
        "UploadPart, time-out",
        "CompleteMultipartUpload, time-out after it was done",
        "CompleteMultipartUpload, 200 with an error in the body",
    ]
)
@pytest.mark.parametrize(("operation", "fault"), CALLS)
def test_a_passing_fault_of_storage_costs_only_time(bucket: Bucket, watch: Watch, operation: str, fault: Fault) -> None:
    bucket.proxy.fail(operation, fault)

    stored = store(bucket, watch)

    assert bucket.read(KEY) == DATA
    assert stored.size_bytes == len(DATA)
    assert bucket.unfinished() == []


@pytest.mark.parametrize("fault", [lost_answer(), error_in_body(committed=True), silent(1.5, committed=True)])
def test_a_lost_answer_of_the_last_call_is_success_when_the_object_is_ours(
    bucket: Bucket, watch: Watch, fault: Fault
) -> None:
    bucket.proxy.fail("CompleteMultipartUpload", *[fault] * 2)

    store(bucket, watch)

    assert bucket.read(KEY) == DATA


def test_a_conflict_is_tried_again(bucket: Bucket, watch: Watch) -> None:
    bucket.proxy.fail("CompleteMultipartUpload", refused(409, "ConditionalRequestConflict"))

    store(bucket, watch)

    assert bucket.read(KEY) == DATA


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_storage_that_stays_away_is_worth_another_attempt(
    bucket: Bucket, watch: Watch, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "ATTEMPTS", 2)
    monkeypatch.setattr(uploads, "COMPLETE_ATTEMPTS", 2)
    clients.s3.cache_clear()
    bucket.proxy.fail(operation, *[slow_down()] * 20)

    with pytest.raises(TransientRunError, match="SlowDown"):
        store(bucket, watch)

    assert (bucket.keys(), bucket.unfinished()) == ([], [])


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_a_refusal_of_storage_is_not_tried_again(bucket: Bucket, watch: Watch, operation: str) -> None:
    bucket.proxy.fail(operation, *[refused(403, "AccessDenied")] * 4)

    with pytest.raises(RunError, match="AccessDenied") as caught:
        store(bucket, watch)

    assert not caught.value.retryable
    assert bucket.unfinished() == []


def test_a_worker_whose_upload_was_aborted_loses(bucket: Bucket, watch: Watch) -> None:
    def aborted_by_the_reaper(forward: Forward) -> Answer | None:
        for item in bucket.direct.list_multipart_uploads(Bucket=bucket.name)["Uploads"]:
            abort_upload(bucket.name, item["Key"], item["UploadId"])
        return refused(404, "NoSuchUpload")(forward)  # moto 5.2.5 itself answers 500 here

    bucket.proxy.fail("CompleteMultipartUpload", aborted_by_the_reaper)

    with pytest.raises(TransientRunError) as caught:
        store(bucket, watch)

    assert caught.value.code == "upload_ended"
    assert (bucket.keys(), bucket.unfinished()) == ([], [])


def test_an_object_of_somebody_else_is_never_taken_for_ours_nor_removed(bucket: Bucket, watch: Watch) -> None:
    bucket.direct.put_object(Bucket=bucket.name, Key=KEY, Body=DATA, Metadata={"run-id": "run", "attempt": "2"})

    with pytest.raises(RunError):
        store(bucket, watch)

    assert bucket.keys() == [KEY]
    assert bucket.unfinished() == []


def test_aborting_twice_or_after_someone_else_is_no_error(bucket: Bucket) -> None:
    upload = MultipartUpload(bucket.name, KEY, "run", attempt=1, content_type="text/plain", on_created=lambda _: None)
    upload.create()
    assert upload.upload_id is not None
    abort_upload(bucket.name, KEY, upload.upload_id)
    abort_upload(bucket.name, KEY, upload.upload_id)
    upload.abort()
    upload.abort()

    assert bucket.unfinished() == []


def test_an_abort_that_fails_does_not_hide_why_there_was_one(bucket: Bucket, watch: Watch) -> None:
    bucket.proxy.fail("UploadPart", refused(403, "AccessDenied"))
    bucket.proxy.fail("AbortMultipartUpload", *[refused(403, "AccessDenied")] * 2)

    with pytest.raises(RunError, match="AccessDenied") as caught:
        store(bucket, watch)

    assert any("Cleaning up failed" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("fault", [slow_down(), cut(), lost_answer()])
def test_a_manifest_is_written_once(bucket: Bucket, fault: Fault) -> None:
    bucket.proxy.fail("PutObject", fault)

    put_object(bucket.name, "manifest.json", b"{}", "run", attempt=1)
    put_object(bucket.name, "manifest.json", b"{}", "run", attempt=1)
    with pytest.raises(RunError):
        put_object(bucket.name, "manifest.json", b'{"other": 1}', "run", attempt=1)

    assert bucket.read("manifest.json") == b"{}"


def test_no_message_names_a_bucket_or_a_host(bucket: Bucket, watch: Watch) -> None:
    bucket.proxy.fail("CreateMultipartUpload", refused(403, "AccessDenied"))

    with pytest.raises(RunError) as caught:
        store(bucket, watch)

    assert bucket.name not in caught.value.message
    assert "127.0.0.1" not in caught.value.message


def test_a_worker_stops_in_time_although_storage_is_silent(bucket: Bucket, watch: Watch) -> None:
    bucket.proxy.fail("UploadPart", *[silent(1.5)] * 40)
    began = time.monotonic()
    watch.cancelled = lambda: time.monotonic() > began + 0.5

    class Endless(Bytes):
        def chunks(self) -> Iterator[bytes]:
            while True:
                yield DATA

    upload = MultipartUpload(bucket.name, KEY, "run", attempt=1, content_type="text/plain", on_created=lambda _: None)
    with pytest.raises(Exception, match="cancelled"):
        transfer(Endless(), upload, compress=None, watch=watch)

    assert time.monotonic() - began < 5
