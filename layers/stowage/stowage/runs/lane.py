"""One attempt inside its lane, a function or the worker: claim it, make the artifact, write the manifest.

The commit protocol (DESIGN §4): claim → create the upload, its id kept on the run → parts → the source is whole →
the attempt is still ours → complete → manifest last. The run becomes `completed` afterwards, when the state machine
has looked at the manifest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stowage.aws import table
from stowage.aws.table import Below, ConditionFailedError
from stowage.aws.uploads import MultipartUpload
from stowage.basics.errors import CancelledError, ProcessStopped, StowageError
from stowage.basics.ids import rfc3339
from stowage.pipeline.compress import Compressor
from stowage.pipeline.source import Source
from stowage.pipeline.transfer import transfer
from stowage.runs.manifest import write_manifest
from stowage.runs.progress import FencedError, Reporter
from stowage.runs.record import Failure, Run
from stowage.runs.store import read_progress
from stowage.settings import settings

type Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Product:
    """What one attempt is to write, and where."""

    bucket: str
    object_name: str
    file_name: str
    content_type: str
    source: Source
    compress: Compressor | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    describe: Callable[[], dict[str, Any]] = dict
    """Called once the source is whole: what else the manifest tells (`rows`, `contents`)."""


type Work = Callable[[Run, Reporter, Clock], None]
"""What one kind of run does in an attempt: checks first (RunError before anything is written), then its artifact
(`write_artifact`), its manifest last.
"""


def run_attempt(tenant: str, run_id: str, attempt: int, work_of: Callable[[str], Work], clock: Clock) -> bool:
    """Carry out a run's attempt; True when its artifact and manifest are written, False when that is not ours to do.

    Raises what ended the attempt, after it was written on the run: a StowageError tells whether to try again.
    """
    run = claim(tenant, run_id, attempt)
    if run is None:
        return False
    reporter = Reporter(run, read_progress(run.id) or {"sequence": 0, "percent": 0})
    try:
        reporter.report("starting", "Connecting.")
        work_of(run.kind)(run, reporter, clock)
    except FencedError:
        return False
    except CancelledError:
        raise
    except StowageError as error:
        record_failure(run, error.code, error.message, retryable=error.retryable)
        raise
    except ProcessStopped:
        if reporter.stalled:
            message = f"Nothing had moved for {settings().stale_seconds} seconds."
            record_failure(run, "no_progress", message, retryable=True)
        else:
            record_failure(run, "worker_stopped", "The worker was stopped.", retryable=True)
        raise
    except Exception:
        record_failure(run, "internal_error", "Something broke; it was logged.", retryable=True)
        raise
    return True


def claim(tenant: str, run_id: str, attempt: int) -> Run | None:
    """Take an attempt for this process; None when it is not current, not running, or taken by another."""
    try:
        item = table.update(
            f"T#{tenant}",
            f"RUN#{run_id}",
            {"claimed": attempt},
            when={"attempt": attempt, "status": "running", "claimed": Below(attempt)},
        )
    except ConditionFailedError:
        return None
    return Run.model_validate(item)


def record_failure(run: Run, code: str, message: str, *, retryable: bool) -> None:
    """Write on the run why its attempt ends, while it is the current one."""
    failure = Failure(code=code, message=message, retryable=retryable, attempt=run.attempt)
    try:
        table.update(
            run.pk,
            run.sk,
            {"error": failure.model_dump()},
            when={"attempt": run.attempt, "status": ("pending", "running")},
        )
    except ConditionFailedError:
        return


def write_artifact(run: Run, product: Product, reporter: Reporter, clock: Clock) -> None:
    """Store the product and its manifest, or raise with nothing left but what `settle` takes away."""
    upload = MultipartUpload(
        product.bucket,
        run.prefix(run.attempt) + product.object_name,
        run.id,
        attempt=run.attempt,
        content_type=product.content_type,
        on_created=lambda upload_id: _keep_upload(run, product.bucket, upload_id),
    )
    source = _Checked(product.source, reporter)
    stored = transfer(source, upload, compress=product.compress, watch=reporter.watch)
    try:
        told = product.describe()
        reporter.report(
            "recording", "Writing the manifest.",
            bytes_read=stored.source_bytes, bytes_stored=stored.size_bytes, rows=stored.rows,
        )  # fmt: skip
    except BaseException:
        upload.abort()
        raise
    # From here on only `settle` takes the object away: whatever we are told, the manifest may be there and believed.
    write_manifest(
        product.bucket,
        run,
        {
            "file_name": product.file_name,
            "key": stored.key,
            "content_type": product.content_type,
            "size_bytes": stored.size_bytes,
            "sha256": stored.sha256,
            "crc32": stored.crc32,
            "source_bytes": stored.source_bytes,
            "rows": stored.rows,
            "created_at": rfc3339(clock()),
        }
        | product.manifest
        | told,
    )


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
    """A source that is whole only while the attempt is still the run's: looked at before the object is completed."""

    rows = 0

    def __init__(self, source: Source, reporter: Reporter) -> None:
        self._source, self._reporter = source, reporter

    def chunks(self) -> Iterator[bytes]:
        for chunk in self._source.chunks():
            self.rows = self._source.rows
            yield chunk

    def finish(self) -> None:
        self._source.finish()
        self.rows = self._source.rows
        self._reporter.report("storing", "Storing.", rows=self._source.rows)

    def close(self) -> None:
        self._source.close()
