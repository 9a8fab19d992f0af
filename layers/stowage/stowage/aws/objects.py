"""Objects of the two buckets: look, read small ones, sign, delete. `uploads` writes them."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from stowage.aws.clients import s3
from stowage.basics.errors import UnavailableError

REFUSALS: tuple[type[Exception], ...] = (ClientError, BotoCoreError)
"""What a call of AWS may raise: it said no, or no call could be made."""


def head(bucket: str, key: str) -> dict[str, Any] | None:
    """`{"size", "crc32", "etag", "metadata"}` of an object, or None."""
    answer = _head(bucket, key)
    if answer is None:
        return None
    return {
        "size": answer["ContentLength"],
        "crc32": answer.get("ChecksumCRC32"),
        "etag": answer["ETag"],
        "metadata": answer["Metadata"],
    }


def is_locked(bucket: str, key: str, now: datetime) -> bool:
    """Whether object lock keeps an object from being deleted now."""
    answer = _head(bucket, key) or {}
    until: datetime | None = answer.get("ObjectLockRetainUntilDate")
    return answer.get("ObjectLockLegalHoldStatus") == "ON" or (until is not None and until > now)


def _head(bucket: str, key: str) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = s3().head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise UnavailableError("Storage does not answer as it should.") from error
    except BotoCoreError as error:
        raise UnavailableError("Storage does not answer.") from error
    return answer


def read_json(bucket: str, key: str) -> dict[str, Any] | None:
    """A small JSON object, or None where there is none."""
    try:
        body = s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    except s3().exceptions.NoSuchKey:
        return None
    except REFUSALS as error:
        raise UnavailableError("Storage does not answer as it should.") from error
    document: dict[str, Any] = json.loads(body)
    return document


def keys(bucket: str, prefix: str = "") -> Iterator[str]:
    """The keys of a bucket that begin with a prefix, in their order, read as they are taken."""
    try:
        for page in s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for found in page.get("Contents", []):
                yield found["Key"]
    except REFUSALS as error:
        raise UnavailableError("Storage does not answer as it should.") from error


def delete_prefix(bucket: str, prefix: str) -> int:
    """Delete every object below a prefix, which must end in `/`; returns how many there were."""
    deleted = 0
    for page in s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_folder(prefix)):
        for found in page.get("Contents", []):
            s3().delete_object(Bucket=bucket, Key=found["Key"])
            deleted += 1
    return deleted


def erase_prefix(bucket: str, prefix: str) -> None:
    """Delete every version of every object below a prefix, which must end in `/`, and what marks them as deleted.

    UnavailableError where one of them stays.
    """
    for page in s3().get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=_folder(prefix)):
        found = [
            {"Key": each["Key"], "VersionId": each["VersionId"]}
            for each in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
        ]
        if found and s3().delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True}).get("Errors"):
            raise UnavailableError("Storage has not deleted everything; try again.", retry_after=5)


def _folder(prefix: str) -> str:
    if not prefix.endswith("/") or prefix.count("/") < 2:
        raise ValueError(f"not a folder of one run: {prefix!r}")
    return prefix


def abort_uploads(bucket: str, prefix: str) -> int:
    """Abort every unfinished upload below a prefix; returns how many there were."""
    aborted = 0
    for upload in s3().list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", []):
        try:
            s3().abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            aborted += 1
        except s3().exceptions.NoSuchUpload:
            continue
    return aborted


def signed_link(bucket: str, key: str, *, file_name: str, content_type: str, seconds: int, head: bool = False) -> str:
    """A link to an object that works for `seconds` and saves it under `file_name` (RFC 6266). With `head` it is for
    HEAD alone: the method is part of what S3 signs.
    """
    given = {
        "Bucket": bucket,
        "Key": key,
        "ResponseContentDisposition": content_disposition(file_name),
        "ResponseContentType": content_type,
    }
    link: str
    if head:
        link = s3().generate_presigned_url("head_object", Params=given, ExpiresIn=seconds)
    else:
        link = s3().generate_presigned_url("get_object", Params=given, ExpiresIn=seconds)
    return link


def signed_post(bucket: str, key: str, *, most_bytes: int, seconds: int) -> dict[str, Any]:
    """`{"url", "fields"}` of a form with which a browser puts one object under exactly this key (S3 API reference,
    "Browser-based uploads using POST").
    """
    form: dict[str, Any] = s3().generate_presigned_post(
        bucket, key, Conditions=[["content-length-range", 0, most_bytes]], ExpiresIn=seconds
    )
    return form


def content_disposition(file_name: str) -> str:
    """`attachment` with the name twice: in ASCII for old clients, and whole (RFC 6266 §4.3, RFC 8187)."""
    plain = file_name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_").replace("\\", "_")
    if plain == file_name:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"
