"""One attempt of one run, as the work of its kind sees it: it stores files one by one, and its manifest ends it.

The commit protocol: create the upload, its id kept on the run → parts → the source is whole → the attempt is still ours
→ complete → manifest last. The run becomes `completed` afterwards, when `settle` has looked at the manifest.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from isal import isal_zlib

from stowage.aws import table
from stowage.aws.table import ConditionFailedError
from stowage.aws.uploads import MultipartUpload, put_object
from stowage.basics.errors import CancelledError, StowageError
from stowage.pipeline.compress import Compressor
from stowage.pipeline.source import Source
from stowage.pipeline.transfer import Stored, transfer
from stowage.runs.kinds import kind_of
from stowage.runs.manifest import bucket_of, write_manifest
from stowage.runs.progress import FencedError, Reporter
from stowage.runs.record import ONE_FILE, Run

type Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Product:
    """One file that an attempt stores. `name` distinguishes it from the run's other files, if there are several."""

    object_name: str
    file_name: str
    content_type: str
    source: Source | None
    """None for a file that is there already."""
    compress: Compressor | None = None
    name: str = ONE_FILE
    manifest: dict[str, Any] = field(default_factory=dict)
    describe: Callable[[], dict[str, Any]] = dict
    """Called after the source's last byte; returns what else the manifest says about the file (`contents`)."""


@dataclass(frozen=True)
class Held:
    """The bytes of a small file. `source_bytes` and `rows` are what its source gave."""

    data: bytes
    source_bytes: int
    rows: int

    def stored_as(self, key: str) -> Stored:
        """What the manifest says of it."""
        crc32 = b64encode(isal_zlib.crc32(self.data).to_bytes(4, "big")).decode()
        sha256 = hashlib.sha256(self.data).hexdigest()
        return Stored(key, len(self.data), sha256, crc32, self.source_bytes, self.rows)


class Attempt:
    """An attempt that this process has claimed.

    After a cancellation, a run of a kind that ends itself (`ends_itself`) still stores its files and its manifest.
    """

    def __init__(self, run: Run, reporter: Reporter, clock: Clock) -> None:
        self.run, self.reporter, self.clock = run, reporter, clock
        self._stops = not kind_of(run.kind).ends_itself
        self._files: dict[str, dict[str, Any]] = {}
        self._uploads: list[MultipartUpload] = []

    def store(self, product: Product) -> None:
        """Store one file. If that fails, the error is raised, and `settle` deletes what was stored of the file."""
        run, bucket = self.run, bucket_of(self.run)
        assert bucket is not None, "a kind that leaves files has a bucket"
        assert product.source is not None, "its bytes come from somewhere"
        upload = MultipartUpload(
            bucket,
            run.prefix(run.attempt) + product.object_name,
            run.id,
            attempt=run.attempt,
            content_type=product.content_type,
            on_created=lambda upload_id: _keep_upload(run, bucket, upload_id),
        )
        source = _Checked(product.source, lambda: self._report("storing", "Storing."))
        stored = transfer(source, upload, compress=product.compress, watch=self._watch)
        self._uploads.append(upload)
        with self._undone_by_errors():
            entry = asdict(stored) | {"file_name": product.file_name, "content_type": product.content_type}
            self._files[product.name] = entry | product.manifest | product.describe()

    def store_held(self, product: Product, held: Held) -> None:
        """Store a small file that is there already, by one request. `product.source` is not read."""
        run, bucket = self.run, bucket_of(self.run)
        assert bucket is not None, "a kind that leaves files has a bucket"
        self._report("storing", "Storing.")
        key = run.prefix(run.attempt) + product.object_name
        put_object(bucket, key, held.data, run.id, attempt=run.attempt, content_type=product.content_type)
        entry = asdict(held.stored_as(key)) | {"file_name": product.file_name, "content_type": product.content_type}
        self._files[product.name] = entry | product.manifest | product.describe()

    @property
    def stored_file(self) -> dict[str, Any]:
        """The only file that was stored, as its entry in the manifest will be."""
        return self._files[ONE_FILE]

    def finish(self, facts: Mapping[str, Any], *, rows: int | None = None, failure: StowageError | None = None) -> None:
        """Write the manifest: the files, and facts (a few hundred bytes) that the run's record keeps as well.

        `rows` defaults to the rows of the only file. With a `failure` the manifest says what the run did, but the run
        does not count as completed.
        """
        with self._undone_by_errors():
            self._report("recording", "Writing the manifest.")
        # From here on only `settle` deletes the files: an error of this write does not prove that there is no manifest.
        ended = {"code": failure.code, "message": failure.message} if failure else None
        rows = self._files[ONE_FILE]["rows"] if rows is None else rows
        write_manifest(self.run, self._files, self.clock(), rows=rows, facts=dict(facts), failure=ended)

    def _watch(self, bytes_read: int, bytes_stored: int, rows: int) -> None:
        if self._stops:
            self.reporter.watch(bytes_read, bytes_stored, rows)
        else:
            self._report_though_cancelled(self.reporter.watch_on)

    def _report(self, stage: str, message: str) -> None:
        if self._stops:
            self.reporter.report(stage, message)
        else:
            self._report_though_cancelled(lambda: self.reporter.report(stage, message))

    def _report_though_cancelled(self, report: Callable[[], None]) -> None:
        try:
            report()
        except FencedError:
            raise
        except CancelledError:
            return

    @contextmanager
    def _undone_by_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            for upload in self._uploads:
                upload.abort()
            raise


def _keep_upload(run: Run, bucket: str, upload_id: str) -> None:
    try:
        table.update(
            run.pk,
            run.sk,
            {"upload": {"bucket": bucket, "upload_id": upload_id}},
            when={"attempt": run.attempt, "status": "running"},
        )
    except ConditionFailedError:
        raise FencedError("This attempt is no longer the run's current one.") from None


class _Checked:
    """A source that calls `check` before its upload is completed: the attempt must still be the run's current one."""

    rows = 0

    def __init__(self, source: Source, check: Callable[[], None]) -> None:
        self._source, self._check = source, check

    def chunks(self) -> Iterator[bytes]:
        for chunk in self._source.chunks():
            self.rows = self._source.rows
            yield chunk

    def finish(self) -> None:
        self._source.finish()
        self.rows = self._source.rows
        self._check()

    def close(self) -> None:
        self._source.close()
