"""Writing objects so that each exists whole or not at all, also when storage's answers get lost.

Every key carries its run and attempt, so an object under our key with our run in its metadata is ours.
"""

import base64
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from stowage.aws.clients import s3
from stowage.basics.errors import RunError, TransientRunError
from stowage.pipeline.parts import Part

COMPLETE_ATTEMPTS = 4
"""Ours, on top of the client's own retries: 409 is not retried there."""
COMPLETE_BACKOFF_SECONDS = 0.3

PERMANENT_CODES = frozenset(
    {"AccessDenied", "AllAccessDisabled", "InvalidBucketName", "KMS.DisabledException", "NoSuchBucket"}
)
REFUSED_CODES = frozenset({"BadDigest", "EntityTooSmall", "InvalidPart", "InvalidPartOrder", "InvalidRequest"})
"""Storage received other bytes than we sent, or not all of them: this upload cannot end well, a new one may."""

FINAL_CODES = PERMANENT_CODES | REFUSED_CODES | {"NoSuchUpload", "PreconditionFailed"}
"""Completing again would end in the same way: refused, or ended by someone else, or another's object is there."""


class MultipartUpload:
    """One object of unknown length, as `stowage.pipeline.transfer` writes it.

    `on_created(upload_id)` is called before the first part; what it raises ends the upload.
    """

    def __init__(
        self,
        bucket: str,
        key: str,
        run_id: str,
        *,
        attempt: int,
        content_type: str,
        on_created: Callable[[str], None],
    ) -> None:
        self.bucket = bucket
        self.key = key
        self.upload_id: str | None = None
        self._metadata = run_metadata(run_id, attempt)
        self._content_type = content_type
        self._on_created = on_created
        self._crc32: str | None = None
        self._aborted = False

    def create(self) -> None:
        """Begin; TransientRunError where storage does not answer, RunError where it refuses."""
        with storage_errors():
            answer = s3().create_multipart_upload(
                Bucket=self.bucket,
                Key=self.key,
                ContentType=self._content_type,
                Metadata=self._metadata,
                ChecksumAlgorithm="CRC32",
                ChecksumType="FULL_OBJECT",
            )
        self.upload_id = answer["UploadId"]
        if answer["ResponseMetadata"].get("RetryAttempts"):
            _abort_uploads_of(self.bucket, self.key, but=self.upload_id)  # one whose answer was lost
        self._on_created(answer["UploadId"])

    def part(self, number: int, data: bytearray, crc32: str) -> Part:
        """Store one part, verified by storage against its CRC32 (base64). Called from several threads."""
        with storage_errors():
            answer = s3().upload_part(
                Bucket=self.bucket,
                Key=self.key,
                UploadId=self.upload_id,
                PartNumber=number,
                Body=data,
                ChecksumCRC32=crc32,
            )
        return Part(number, answer["ETag"], crc32)

    def complete(self, parts: list[Part], *, crc32: str, size: int) -> None:
        """Make the object and see that it is there with our checksum (CRC32 of the whole in base64) and size in bytes.

        Storage may do it and its answer be lost, or answer 200 with an error in the body (S3 API reference,
        CompleteMultipartUpload): after any failure the object itself tells what happened. TransientRunError where the
        upload is gone: someone ended this attempt, and this process is the one that lost.
        """
        self._crc32 = crc32
        for attempt in range(1, COMPLETE_ATTEMPTS + 1):
            try:
                self._complete_once(parts, crc32, size)
            except (ClientError, BotoCoreError) as error:
                if self._is_there(crc32, size):
                    return
                code = error_code(error)
                if code in FINAL_CODES or attempt == COMPLETE_ATTEMPTS:
                    raise translated(error) from error
                time.sleep(COMPLETE_BACKOFF_SECONDS * 2 ** (attempt - 1))
            else:
                break
        if not self._is_there(crc32, size):
            raise TransientRunError("The stored object is not the one that was sent.", "storage_mismatch")

    def abort(self) -> None:
        """Take away everything of this attempt, an object that was completed included; as often as one likes."""
        if self._aborted:
            return
        if self.upload_id is None:
            _abort_uploads_of(self.bucket, self.key)  # created perhaps, its answer lost
        else:
            abort_upload(self.bucket, self.key, self.upload_id)
        if self._crc32 is not None and self._head(self._crc32) is not None:
            with storage_errors():
                s3().delete_object(Bucket=self.bucket, Key=self.key)
        self._aborted = True

    def _complete_once(self, parts: list[Part], crc32: str, size: int) -> None:
        s3().complete_multipart_upload(
            Bucket=self.bucket,
            Key=self.key,
            UploadId=self.upload_id,
            MultipartUpload={
                "Parts": [{"PartNumber": part.number, "ETag": part.etag, "ChecksumCRC32": part.crc32} for part in parts]
            },
            IfNoneMatch="*",
            MpuObjectSize=size,
            ChecksumCRC32=crc32,
            ChecksumType="FULL_OBJECT",
        )

    def _is_there(self, crc32: str, size: int) -> bool:
        head = self._head(crc32)
        return head is not None and head["ContentLength"] == size

    def _head(self, crc32: str) -> dict[str, Any] | None:
        """Read what storage says of our object; None if there is none, or not ours, or not these bytes."""
        return _head_of(self.bucket, self.key, crc32, self._metadata)


def put_object(
    bucket: str, key: str, data: bytes, run_id: str, *, attempt: int, content_type: str = "application/json"
) -> None:
    """Write a small object (a manifest) once: it is there with these bytes, or TransientRunError or RunError.

    A second call with the same bytes is no error; with other bytes it is.
    """
    crc32 = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    metadata = run_metadata(run_id, attempt)
    try:
        s3().put_object(
            Bucket=bucket,
            Key=key,
            Body=data,
            ContentType=content_type,
            Metadata=metadata,
            ChecksumAlgorithm="CRC32",
            ChecksumCRC32=crc32,
            IfNoneMatch="*",
        )
    except (ClientError, BotoCoreError) as error:
        if _head_of(bucket, key, crc32, metadata) is None:
            raise translated(error) from error


def abort_upload(bucket: str, key: str, upload_id: str) -> None:
    """End an upload that somebody left behind; one that is gone already is no error."""
    with storage_errors(ignore=("NoSuchUpload",)):
        s3().abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)


def run_metadata(run_id: str, attempt: int) -> dict[str, str]:
    """Give the metadata that marks an object as one attempt's own."""
    return {"run-id": run_id, "attempt": str(attempt)}


@contextmanager
def storage_errors(ignore: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn what the client raises into RunError (refused) or TransientRunError (worth another attempt)."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        if error_code(error) not in ignore:
            raise translated(error) from error


def translated(error: ClientError | BotoCoreError) -> RunError:
    """Give our error for the client's. The client's own message names buckets and hosts, so ours leaves it out."""
    code = error_code(error)
    if code in PERMANENT_CODES:
        return RunError(f"Storage refused the artifact ({code}).", "storage_refused")
    if code in ("NoSuchUpload", "PreconditionFailed"):
        return TransientRunError("The upload was ended by someone else.", "upload_ended")
    if code in REFUSED_CODES:
        return TransientRunError(f"Storage did not accept the artifact's parts ({code}).", "storage_mismatch")
    return TransientRunError(f"Storage did not take the artifact ({code}).", "storage_unavailable")


def error_code(error: ClientError | BotoCoreError) -> str:
    """Give storage's code (`SlowDown`, `NoSuchUpload`, …), or the exception's name where no answer came."""
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


def _head_of(bucket: str, key: str, crc32: str, metadata: dict[str, str]) -> dict[str, Any] | None:
    with storage_errors(ignore=("404", "NoSuchKey", "NotFound")):
        head: dict[str, Any] = s3().head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        if head.get("ChecksumCRC32") == crc32 and metadata.items() <= head.get("Metadata", {}).items():
            return head
    return None


def _abort_uploads_of(bucket: str, key: str, *, but: str | None = None) -> None:
    """Abort every upload to exactly this key, which is one attempt's own."""
    with storage_errors():
        answer = s3().list_multipart_uploads(Bucket=bucket, Prefix=key)
    for upload in answer.get("Uploads", []):
        if upload["Key"] == key and upload["UploadId"] != but:
            abort_upload(bucket, key, upload["UploadId"])
