"""An object of storage read as a file: from any place on, and on from the same byte when the connection is cut."""

import errno
import io
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from stowage.aws.clients import s3
from stowage.aws.uploads import PERMANENT_CODES, error_code
from stowage.basics.errors import RunError, TransientRunError

RETRIES = 5
"""Tries at one place, on top of the client's own."""
BACKOFF_SECONDS = 0.2
BUFFER_BYTES = 1 << 20


class StoredFile(io.RawIOBase):
    """The object that had this entity tag and size (bytes) when it was first looked at, and no other.

    RunError where it was replaced or deleted meanwhile, or storage refuses; TransientRunError where storage goes on
    not to answer. Reading on from a place continues one request; seeking elsewhere begins another.
    """

    def __init__(self, bucket: str, key: str, etag: str, size: int) -> None:
        self._bucket, self._key, self._etag, self._size = bucket, key, etag, size
        self._place = 0
        self._body: Any = None

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes: zip files are read from their end."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to another place; nothing is asked of storage before the next read."""
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if place < 0:
            raise OSError(errno.EINVAL, "before the file's beginning")
        if place != self._place:
            self._hang_up()
            self._place = place
        return place

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into the buffer; 0 only at the file's end."""
        wanted = min(len(buffer), self._size - self._place)
        if wanted <= 0:
            return 0
        for attempt in range(1, RETRIES + 1):
            try:
                data = self._read(wanted)
            except (ClientError, BotoCoreError) as error:
                self._hang_up()
                self._judge(error)
                if attempt == RETRIES:
                    message = f"Storage did not give the file ({error_code(error)})."
                    raise TransientRunError(message, "storage_unavailable") from error
            else:
                if data:
                    buffer[: len(data)] = data
                    self._place += len(data)
                    return len(data)
                self._hang_up()
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
        raise TransientRunError("Storage stopped before the file's end.", "storage_unavailable")

    def close(self) -> None:
        """Give the connection back."""
        self._hang_up()
        super().close()

    def _read(self, wanted: int) -> bytes:
        if self._body is None:
            answer = s3().get_object(Bucket=self._bucket, Key=self._key, Range=f"bytes={self._place}-")
            if answer["ETag"] != self._etag:
                answer["Body"].close()
                raise _replaced()
            self._body = answer["Body"]
        data: bytes = self._body.read(wanted)
        return data

    def _judge(self, error: ClientError | BotoCoreError) -> None:
        code = error_code(error)
        if code in ("NoSuchKey", "404", "InvalidRange"):
            raise _replaced() from error
        if code in PERMANENT_CODES:
            raise RunError(f"Storage refused to give the file ({code}).", "storage_refused") from error

    def _hang_up(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


def _replaced() -> RunError:
    return RunError("The uploaded file was replaced or deleted after the import was started.", "file_replaced")


def open_stored(bucket: str, key: str, etag: str, size: int) -> io.BufferedReader:
    """The object as a buffered file, for reading."""
    return io.BufferedReader(StoredFile(bucket, key, etag, size), BUFFER_BYTES)
