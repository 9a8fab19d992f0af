"""The local S3 checks what AWS's checks: signatures, expiry, policies, checksums, sizes."""

import base64
import hashlib
import time
import zlib
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from local.s3 import crc32

PART = 5 * 1024 * 1024


@pytest.fixture
def bucket(stack: Any) -> str:
    return str(stack.resources["ExportsBucket"])


@pytest.fixture
def backups(stack: Any) -> str:
    return str(stack.resources["BackupsBucket"])


def error_code(response: requests.Response) -> str:
    return response.text.partition("<Code>")[2].partition("</Code>")[0]


def crc(data: bytes) -> str:
    return crc32.encode(zlib.crc32(data))


def test_joined_checksums_are_those_of_the_whole() -> None:
    pieces = [b"a" * 1000, b"", b"xyz" * 70_001, b"\x00" * 3]
    joined, value = b"", 0
    for piece in pieces:
        value = crc32.combine(value, zlib.crc32(piece), len(piece))
        joined += piece
    assert value == zlib.crc32(joined)


def test_a_link_works_until_it_expires(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="tests/a b+c ü.txt", Body=b"hello", ContentType="text/plain")
    parameters = {
        "Bucket": bucket,
        "Key": "tests/a b+c ü.txt",
        "ResponseContentDisposition": 'attachment; filename="a b.txt"',
    }
    link = s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=1)
    response = requests.get(link, timeout=5)
    assert (response.status_code, response.content) == (200, b"hello")
    assert response.headers["content-disposition"] == 'attachment; filename="a b.txt"'
    time.sleep(2.1)
    expired = requests.get(link, timeout=5)
    assert (expired.status_code, error_code(expired)) == (403, "AccessDenied")
    assert "Request has expired" in expired.text


@pytest.mark.parametrize(
    "change", [("tests/mine", "tests/else"), ("X-Amz-Expires=60", "X-Amz-Expires=6000"), ("Signature=", "Signature=0")]
)
def test_a_tampered_link_is_refused(s3: Any, bucket: str, change: tuple[str, str]) -> None:
    s3.put_object(Bucket=bucket, Key="tests/mine", Body=b"1")
    s3.put_object(Bucket=bucket, Key="tests/else", Body=b"2")
    link = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "tests/mine"}, ExpiresIn=60)
    assert requests.get(link, timeout=5).content == b"1"
    response = requests.get(link.replace(*change), timeout=5)
    assert (response.status_code, error_code(response)) == (403, "SignatureDoesNotMatch")


def test_nobody_reads_without_a_signature(stack: Any, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="tests/closed", Body=b"1")
    response = requests.get(f"{stack.aws_url}/{bucket}/tests/closed", timeout=5)
    assert (response.status_code, error_code(response)) == (403, "AccessDenied")


def test_a_wrong_key_is_refused(stack: Any, bucket: str) -> None:
    import boto3

    client = boto3.client(
        "s3", endpoint_url=stack.aws_url, region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="no"
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.list_objects_v2(Bucket=bucket)
    client.close()


def upload(s3: Any, bucket: str, key: str, parts: list[bytes], **complete: Any) -> Any:
    upload_id = s3.create_multipart_upload(
        Bucket=bucket, Key=key, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT", Metadata={"run": "1"}
    )["UploadId"]
    done = []
    for number, data in enumerate(parts, 1):
        answer = s3.upload_part(
            Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=data, ChecksumCRC32=crc(data)
        )
        done.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": answer["ChecksumCRC32"]})
    return s3.complete_multipart_upload(
        Bucket=bucket,
        Key=key,
        UploadId=upload_id,
        MultipartUpload={"Parts": done},
        ChecksumType="FULL_OBJECT",
        **complete,
    )


def test_a_multipart_upload_is_whole_or_refused(s3: Any, bucket: str) -> None:
    parts = [b"a" * PART, b"b" * PART, b"c" * 17]
    whole = b"".join(parts)
    with pytest.raises(ClientError, match="BadDigest"):
        upload(s3, bucket, "tests/parts", parts, ChecksumCRC32=crc(b"other"))
    with pytest.raises(ClientError, match="InvalidRequest"):
        upload(s3, bucket, "tests/parts", parts, MpuObjectSize=1)
    with pytest.raises(ClientError, match="EntityTooSmall"):
        upload(s3, bucket, "tests/parts", [b"small", b"last"])
    answer = upload(
        s3, bucket, "tests/parts", parts, ChecksumCRC32=crc(whole), MpuObjectSize=len(whole), IfNoneMatch="*"
    )
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    assert answer["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    with pytest.raises(ClientError, match="PreconditionFailed"):
        upload(s3, bucket, "tests/parts", parts, IfNoneMatch="*")
    head = s3.head_object(Bucket=bucket, Key="tests/parts", ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["ChecksumCRC32"], head["Metadata"]) == (len(whole), crc(whole), {"run": "1"})
    assert s3.get_object(Bucket=bucket, Key="tests/parts")["Body"].read() == whole
    part = s3.get_object(Bucket=bucket, Key="tests/parts", Range=f"bytes={PART - 2}-{PART + 1}")
    assert (part["Body"].read(), part["ContentRange"]) == (b"aabb", f"bytes {PART - 2}-{PART + 1}/{len(whole)}")
    assert s3.get_object(Bucket=bucket, Key="tests/parts", Range="bytes=-3")["Body"].read() == b"ccc"


def test_a_part_with_another_checksum_is_refused(s3: Any, bucket: str) -> None:
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="tests/bad", ChecksumAlgorithm="CRC32")["UploadId"]
    with pytest.raises(ClientError, match="BadDigest"):
        s3.upload_part(
            Bucket=bucket, Key="tests/bad", UploadId=upload_id, PartNumber=1, Body=b"x", ChecksumCRC32=crc(b"y")
        )
    s3.abort_multipart_upload(Bucket=bucket, Key="tests/bad", UploadId=upload_id)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.upload_part(Bucket=bucket, Key="tests/bad", UploadId=upload_id, PartNumber=1, Body=b"x")
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.complete_multipart_upload(
            Bucket=bucket,
            Key="tests/bad",
            UploadId=upload_id,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]},
        )


def test_the_backups_bucket_keeps_versions(s3: Any, backups: str) -> None:
    first = s3.put_object(Bucket=backups, Key="tests/versions", Body=b"1")["VersionId"]
    s3.put_object(Bucket=backups, Key="tests/versions", Body=b"2")
    s3.delete_object(Bucket=backups, Key="tests/versions")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=backups, Key="tests/versions")
    assert s3.get_object(Bucket=backups, Key="tests/versions", VersionId=first)["Body"].read() == b"1"


def test_the_buckets_are_as_the_template_says(s3: Any, bucket: str, backups: str) -> None:
    assert s3.get_bucket_versioning(Bucket=backups)["Status"] == "Enabled"
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [rule.get("AbortIncompleteMultipartUpload") for rule in rules if "Abort" in str(rule)]


def test_a_form_may_upload_what_its_policy_allows(s3: Any, bucket: str) -> None:
    form = s3.generate_presigned_post(
        bucket,
        "tests/form",
        Fields={"content-type": "text/plain"},
        Conditions=[{"content-type": "text/plain"}, ["content-length-range", 1, 10]],
        ExpiresIn=60,
    )
    accepted = requests.post(form["url"], data=form["fields"], files={"file": b"0123456789"}, timeout=5)
    assert accepted.status_code in (200, 204)
    assert s3.get_object(Bucket=bucket, Key="tests/form")["Body"].read() == b"0123456789"
    too_large = requests.post(form["url"], data=form["fields"], files={"file": b"0123456789x"}, timeout=5)
    assert (too_large.status_code, error_code(too_large)) == (400, "EntityTooLarge")
    elsewhere = requests.post(form["url"], data=form["fields"] | {"key": "else"}, files={"file": b"1"}, timeout=5)
    assert (elsewhere.status_code, error_code(elsewhere)) == (403, "AccessDenied")
    policy = base64.b64encode(base64.b64decode(form["fields"]["policy"]).replace(b"10]", b"99]")).decode()
    forged = requests.post(form["url"], data=form["fields"] | {"policy": policy}, files={"file": b"1"}, timeout=5)
    assert (forged.status_code, error_code(forged)) == (403, "SignatureDoesNotMatch")
