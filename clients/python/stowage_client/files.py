"""Files from and to storage, in pieces: downloads that go on where they broke off, uploads of any size."""

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO
from uuid import uuid4

import requests
import urllib3

from stowage_client.answers import UploadForm
from stowage_client.errors import StowageError
from stowage_client.transport import TIMEOUT, Transport, error_of, unreachable

PIECE = 1 << 18
Progress = Callable[[float, str], None]
"""Called with percents (0 to 100) and a text for a person."""


class _BrokenOffError(Exception):
    """What came is not what was asked for; another request may give it."""


def download(
    transport: Transport,
    link: Callable[[], str],
    path: Path,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fetch a file and put it at `path` once it is whole. What has come of it lies beside it until then,
    as `NAME.….part`, and a later call goes on from there if the file is still the same.

    `link` gives an address that works now, for each attempt anew.
    """
    failures, had = 0, -1
    while True:
        try:
            part = _fetch(transport, link, path, progress)
            break
        except (requests.RequestException, urllib3.exceptions.HTTPError, _BrokenOffError) as error:
            parts = [each.stat().st_size for each in path.parent.glob(f"{_escaped(path.name)}.*.part")]
            failures = 1 if sum(parts) > had >= 0 else failures + 1
            had = sum(parts)
            if failures > transport.retries:
                raise unreachable(error) from error
            time.sleep(random.random())  # noqa: S311  no secret
    if sha256:
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            part.unlink()
            raise StowageError(f"The file's SHA-256 is {found} instead of {sha256}.", code="damaged")
    return part.replace(path)


def upload(transport: Transport, form: UploadForm, path: Path, progress: Progress | None = None) -> None:
    """Send a file where a form says, as a browser does, without reading it whole."""
    body = _Form(form["fields"], path, progress)
    headers = {"content-type": f"multipart/form-data; boundary={body.boundary}"}
    try:
        response = transport.storage.post(form["url"], data=body, headers=headers, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise unreachable(error) from error
    if not response.ok:
        code = re.search(r"<Code>(\w+)</Code>", response.text)
        raise StowageError(
            f"Storage refused the file: {code[1] if code else response.reason}.", status=response.status_code
        )


def _fetch(transport: Transport, link: Callable[[], str], path: Path, progress: Progress | None) -> Path:
    """Bring what is there of the file to its end; where that lies. Its name depends on the file's tag, so
    that parts of two different files never come together.
    """
    with _get(transport, link()) as response:
        tag = response.headers.get("etag", uuid4().hex)
        size = int(response.headers.get("content-length", -1))
        part = path.with_name(f"{path.name}.{hashlib.sha256(f'{tag} {size}'.encode()).hexdigest()[:12]}.part")
        have = part.stat().st_size if part.exists() else 0
        if not 0 < have <= size:
            with part.open("wb") as file:
                _copy(response, file, 0, size, progress)
            return part
    if have < size:
        with _get(transport, link(), {"range": f"bytes={have}-", "if-match": tag}) as response:
            if (
                response.status_code != 206
                or response.headers.get("content-range") != f"bytes {have}-{size - 1}/{size}"
            ):
                part.unlink()
                raise _BrokenOffError("Storage did not go on where the file broke off.")
            with part.open("ab") as file:
                _copy(response, file, have, size, progress)
    return part


def _get(
    transport: Transport, url: str, headers: dict[str, str] | None = None
) -> AbstractContextManager[requests.Response]:
    given = {"accept-encoding": "identity"} | (headers or {})
    response = transport.storage.get(url, headers=given, stream=True, timeout=TIMEOUT)
    if response.status_code == 412:
        response.close()
        raise _BrokenOffError("The file has changed meanwhile.")
    if not response.ok:
        with response:
            raise error_of(response)
    return response


def _copy(response: requests.Response, file: IO[bytes], have: int, size: int, progress: Progress | None) -> None:
    for piece in response.raw.stream(PIECE, decode_content=False):
        file.write(piece)
        have += len(piece)
        if progress and size > 0:
            progress(100 * have / size, f"{have:,} of {size:,} bytes")
    if size not in (-1, have):
        raise _BrokenOffError(f"{have:,} of {size:,} bytes came.")


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


class _Form:
    """A multipart form whose last field is the file, read as it is sent; each sending reads it anew."""

    def __init__(self, fields: dict[str, str], path: Path, progress: Progress | None) -> None:
        self.boundary = uuid4().hex
        self._path, self._size, self._progress = path, path.stat().st_size, progress
        head = [
            f'--{self.boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        head.append(f'--{self.boundary}\r\ncontent-disposition: form-data; name="file"; filename="file"\r\n\r\n')
        self._head, self._tail = "".join(head).encode(), f"\r\n--{self.boundary}--\r\n".encode()

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        left = self._size
        with self._path.open("rb") as file:
            while left and (piece := file.read(min(PIECE, left))):
                left -= len(piece)
                yield piece
                if self._progress:
                    done = self._size - left
                    self._progress(100 * done / self._size, f"{done:,} of {self._size:,} bytes sent")
        if left:
            raise StowageError(f"{self._path} has become shorter while it was sent.", code="damaged")
        yield self._tail
