"""S3 operations that moto would hold in memory or not check; everything else goes on to moto."""

import base64
import hashlib
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote

from local import signature
from local.aws_errors import AwsError
from local.configuration import ACCOUNT
from local.http_server import Headers, Request, Response
from local.s3 import cors, crc32, form, policy
from local.s3.files import FileBytes, FileStore, Segment

type Json = Any
type Moto = Callable[[Request], Response]
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")
CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
OVERRIDES = {
    "response-cache-control": "cache-control",
    "response-content-disposition": "content-disposition",
    "response-content-encoding": "content-encoding",
    "response-content-language": "content-language",
    "response-content-type": "content-type",
    "response-expires": "expires",
}
STANDARD_METADATA = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
)


def backend() -> Any:
    """S3 as moto holds it."""
    from moto.s3.models import s3_backends

    return s3_backends[ACCOUNT]["aws"]


def operation_of(request: Request) -> str:
    """The name of the S3 operation, as far as anybody here needs to know."""
    query = parse_qs(request.query, keep_blank_values=True)
    has_key = "/" in request.path.strip("/")
    if "uploadId" in query:
        by_method = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}
        return by_method.get(request.method, "ListParts")
    if "uploads" in query:
        return "CreateMultipartUpload" if request.method == "POST" else "ListMultipartUploads"
    if not has_key:
        return {"POST": "PostObject", "GET": "ListObjects", "HEAD": "HeadBucket"}.get(request.method, "Bucket")
    return f"{request.method.title()}Object"


class Objects:
    """Answers S3 requests, by itself or through `moto`, which must be given requests one at a time."""

    def __init__(self, store: FileStore, moto: Moto) -> None:
        self._store, self._moto = store, moto
        self._completion = threading.local()
        self._completing = threading.Lock()
        self._keep_bytes_in_files()

    def answer(self, request: Request) -> Response:
        """Check the request as S3 does and answer it."""
        try:
            response = self._answer(request)
        except AwsError as error:
            response = error.response("s3")
        return response if request.method == "OPTIONS" else cors.allow(request, response, _cors_rules(request))

    def _answer(self, request: Request) -> Response:
        operation = operation_of(request)
        if request.method not in METHODS:
            raise AwsError(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        if request.method == "OPTIONS":
            return cors.preflight(request, _cors_rules(request))
        if operation == "PostObject" and request.header("content-type").startswith("multipart/form-data"):
            return self._post(request)
        signature.verify(request, "s3")
        if request.header("content-encoding").startswith("aws-chunked"):
            _decode_chunks(request)
        if operation == "UploadPart" and not request.header("x-amz-copy-source"):
            return self._upload_part(request)
        if operation == "PutObject" and not request.header("x-amz-copy-source"):
            _verify_body(request)
        if operation == "CompleteMultipartUpload":
            return self._complete(request)
        if operation == "GetObject":
            return self._get(request) or self._moto(request)
        return self._moto(request)

    def _upload_part(self, request: Request) -> Response:
        bucket, _ = _bucket_and_key(request)
        query = parse_qs(request.query)
        number = int(query["partNumber"][0])
        uploads = backend().get_bucket(bucket).multiparts
        upload = uploads.get(query["uploadId"][0])
        if upload is None:
            raise AwsError(404, "NoSuchUpload", "The specified upload does not exist.")
        if not 1 <= number <= 10_000:
            raise AwsError(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
        path, size, crc, md5 = self._store.new_path(), 0, 0, hashlib.md5(usedforsecurity=False)
        with open(path, "wb", buffering=0) as file:
            for piece in request.pieces():
                file.write(piece)
                md5.update(piece)
                crc = zlib.crc32(piece, crc)
                size += len(piece)
        try:
            if request.left:
                raise AwsError(400, "IncompleteBody", "You did not provide the number of bytes specified.")
            _verify_checksums(request, crc, md5.digest())
        except AwsError:
            path.unlink()
            raise
        part = upload.set_part(number, FileBytes(self._store, [Segment(path, size)]))
        part._etag = md5.hexdigest()
        part.crc32 = crc
        return Response(200, [("ETag", part.etag), ("x-amz-checksum-crc32", crc32.encode(crc))])

    def _complete(self, request: Request) -> Response:
        """Complete through moto, with the size and checksum of the request to be compared."""
        self._completion.size = request.header("x-amz-mp-object-size")
        self._completion.crc32 = request.header("x-amz-checksum-crc32")
        bucket, _ = _bucket_and_key(request)
        upload_id = parse_qs(request.query)["uploadId"][0]
        with self._completing:
            # Also for an upload that is complete: whoever lost that answer must find out by the object itself.
            if upload_id not in backend().get_bucket(bucket).multiparts:
                raise AwsError(404, "NoSuchUpload", "The specified upload does not exist.")
            return self._moto(request)

    def _get(self, request: Request) -> Response | None:
        """The object from its files; None leaves the request to moto, which also words the refusals."""
        query = parse_qs(request.query, keep_blank_values=True)
        foreign = [name for name in query if not name.lower().startswith(("x-amz-", "response-", "x-id"))]
        if set(foreign) - {"versionId"} or any(request.header(name) for name in CONDITIONS):
            return None
        bucket, key_name = _bucket_and_key(request)
        try:
            key = backend().get_object(bucket, key_name, version_id=query.get("versionId", [None])[0])
        except Exception:
            return None
        if key is None or not isinstance(getattr(key, "_value_buffer", None), FileBytes):
            return None
        headers = _object_headers(key, query)
        first, last, partial = _range(request.header("range"), key.size)
        if partial:
            headers.append(("Content-Range", f"bytes {first}-{last}/{key.size}"))
        elif request.header("x-amz-checksum-mode") == "ENABLED" and key.checksum_value:
            headers.append(("x-amz-checksum-crc32", str(key.checksum_value)))
            headers.append(("x-amz-checksum-type", "FULL_OBJECT"))
        return Response(206 if partial else 200, headers, key._value_buffer.open(first, last))

    def _post(self, request: Request) -> Response:
        fields, size = form.parse(request.header("content-type"), request.body)
        bucket = request.path.strip("/")
        policy.verify(fields, bucket, size)
        response = self._moto(request)
        if response.status < 300:
            response.headers.append(("ETag", backend().get_object(bucket, fields["key"]).etag))
        return response

    def _keep_bytes_in_files(self) -> None:
        """Make moto's keys hold `FileBytes`, and its multipart uploads join files; let buckets know what changes."""
        from moto.s3 import models
        from moto.s3.exceptions import S3ClientError

        store, completion = self._store, self._completion
        key_class: Any = models.FakeKey

        def set_value(self: Any, value: bytes | str | FileBytes) -> None:
            if not isinstance(value, FileBytes):
                value = store.write(value.encode() if isinstance(value, str) else value)
            self._value_buffer = value
            self.contentsize = value.size

        def complete(self: Any, body: Iterator[tuple[int, str]]) -> tuple[Any, str, tuple[str, str, int]]:
            parts: list[Any] = []
            for number, etag in body:
                part = self.parts.get(number)
                if part is None or part.etag.strip('"') != etag.strip('"'):
                    raise models.InvalidPart()
                if parts and parts[-1].contentsize < models.S3_UPLOAD_PART_MIN_SIZE:
                    raise models.EntityTooSmall()
                parts.append(part)
            if not parts:
                raise models.MalformedXML()
            crc, size = parts[0].crc32, parts[0].contentsize
            for part in parts[1:]:
                crc, size = crc32.combine(crc, part.crc32, part.contentsize), size + part.contentsize
            if completion.size and int(completion.size) != size:
                message = "The provided 'x-amz-mp-object-size' header value does not match what was computed."
                raise S3ClientError("InvalidRequest", message)
            if completion.crc32 and completion.crc32 != crc32.encode(crc):
                raise S3ClientError("BadDigest", "The CRC32 you specified did not match the calculated checksum.")
            digest = hashlib.md5(usedforsecurity=False)
            for part in parts:
                digest.update(bytes.fromhex(part.etag.strip('"')))
            segments = [segment for part in parts for segment in part._value_buffer.release()]
            checksum = ("FULL_OBJECT", crc32.encode(crc), 1)
            return FileBytes(store, segments), f"{digest.hexdigest()}-{len(parts)}", checksum

        class Keys(models._VersionedKeyStore):  # type: ignore[misc]
            """A bucket's objects, all versions by name, and the names of those that have changed."""

            def __init__(self) -> None:
                super().__init__()
                self.changed: set[str] = set()

            def __setitem__(self, key: str, value: Any) -> None:
                super().__setitem__(key, value)
                self.changed.add(key)

            def setlist(self, key: str, versions: Any) -> None:
                super().setlist(key, versions)
                self.changed.add(key)

            def pop(self, key: str) -> None:
                super().pop(key)
                self.changed.add(key)

        models._VersionedKeyStore = Keys
        key_class.value = key_class.value.setter(set_value)
        models.FakeMultipart.complete = complete


def _bucket_and_key(request: Request) -> tuple[str, str]:
    bucket, _, key = unquote(request.path)[1:].partition("/")
    return bucket, key


def _cors_rules(request: Request) -> list[Any]:
    bucket = backend().buckets.get(_bucket_and_key(request)[0])
    return bucket.cors if bucket else []


def _object_headers(key: Any, query: dict[str, list[str]]) -> Headers:
    headers = {
        "ETag": key.etag,
        "Last-Modified": key.last_modified_RFC1123,
        "Accept-Ranges": "bytes",
        "x-amz-server-side-encryption": key.encryption or "AES256",
    }
    if key._is_versioned:
        headers["x-amz-version-id"] = key.version_id
    headers |= {
        name: value
        for name, value in key.metadata.items()
        if name.lower() in STANDARD_METADATA or name.lower().startswith("x-amz-meta-")
    }
    for parameter, name in OVERRIDES.items():
        if parameter in query:
            headers = {key: value for key, value in headers.items() if key.lower() != name}
            headers[name] = query[parameter][0]
    return list(headers.items())


def _range(header: str, size: int) -> tuple[int, int, bool]:
    """First and last byte to send, and whether that is a part only; AwsError 416 where it lies outside."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if not match or not (match[1] or match[2]):
        return 0, size - 1, False
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first > last:
        raise AwsError(416, "InvalidRange", "The requested range is not satisfiable")
    return first, last, True


def _verify_body(request: Request) -> None:
    md5 = hashlib.md5(request.body, usedforsecurity=False).digest()
    _verify_checksums(request, zlib.crc32(request.body), md5)


def _verify_checksums(request: Request, crc: int, md5: bytes) -> None:
    given = request.header("x-amz-checksum-crc32")
    if given and given != crc32.encode(crc):
        raise AwsError(400, "BadDigest", "The CRC32 you specified did not match the calculated checksum.")
    given = request.header("content-md5")
    if given and given != base64.b64encode(md5).decode():
        raise AwsError(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")


def _decode_chunks(request: Request) -> None:
    """Replace an aws-chunked body by its bytes, and its trailing checksum by a header.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
    """
    rest, pieces = request.body, []
    while True:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:
            break
        pieces.append(rest[:size])
        rest = rest[size + 2 :]
    for line in rest.split(b"\r\n"):
        name, _, value = line.decode().partition(":")
        if name.startswith("x-amz-checksum-"):
            request.headers.append((name, value))
    request.body = b"".join(pieces)
    hidden = ("content-encoding", "x-amz-decoded-content-length", "x-amz-trailer", "content-length")
    request.headers = [(name, value) for name, value in request.headers if name.lower() not in hidden]
