"""How far a run is: one item under 1 KB, written at most once a second, read with one GetItem."""

import time
from datetime import UTC, datetime
from typing import Any

from stowage.aws import table
from stowage.aws.table import Below, ConditionFailedError, Item
from stowage.basics.errors import CancelledError, UnavailableError
from stowage.basics.ids import rfc3339
from stowage.runs.record import Run, StageMoment
from stowage.runs.store import progress_key, read_progress, stages_of

HIGHEST_UNFINISHED = 99.0
"""100 comes only with `completed`."""

_WRITE_SECONDS = 1.0


class FencedError(CancelledError):
    """Another attempt has taken over, or the run has ended: the process that gets this error stops and writes nothing
    more.
    """

    code = "superseded"


class Reporter:
    """Reports one attempt's progress, and learns from each report whether to stop."""

    def __init__(self, run: Run, current: Item) -> None:
        self.run = run
        self._sequence = int(current["sequence"])
        self._percent = float(current["percent"])
        self._last = 0.0
        self.moved_at = time.monotonic()
        """The monotonic time at which bytes or rows last grew or `moved` was called. The watchdog reads it."""
        self.stalled = False
        """Whether the watchdog has ended the attempt."""
        self._seen: tuple[int, int] = (0, 0)
        self._stages = stages_of(run, current)

    def moved(self) -> None:
        """Say that the attempt makes progress that neither bytes nor rows show."""
        self.moved_at = time.monotonic()

    def watch(
        self, bytes_read: int, bytes_stored: int, rows: int, *, stage: str = "copying", message: str = "Copying."
    ) -> None:
        """Report what a transfer has done so far, at most once a second. CancelledError when the run is to stop."""
        if (bytes_read, rows) != self._seen:
            self._seen = (bytes_read, rows)
            self.moved()
        self._come_to(stage)
        if time.monotonic() - self._last < _WRITE_SECONDS:
            return
        try:
            self.report(stage, message, bytes_read=bytes_read, bytes_stored=bytes_stored, rows=rows)
        except UnavailableError:
            return  # a busy table ends no dump of hours: the next report tells as much, and whether to stop

    def watch_on(self) -> None:
        """Report again what was seen last, so that nobody takes the attempt for dead."""
        bytes_read, rows = self._seen
        self.watch(bytes_read, 0, rows)

    def report(self, stage: str, message: str, *, bytes_read: int = 0, bytes_stored: int = 0, rows: int = 0) -> None:
        """Write the progress now. CancelledError when the run is to stop, FencedError when it is no longer ours."""
        self._last = time.monotonic()
        self._come_to(stage)
        self._sequence += 1
        self._percent = max(self._percent, self._share(bytes_read, rows))
        changes: dict[str, Any] = {
            "stage": stage,
            "stages": [moment.model_dump() for moment in self._stages],
            "message": message,
            "percent": round(self._percent, 1),
            "sequence": self._sequence,
            "reported_at": int(time.time()),
        }
        if bytes_read or rows:
            changes |= {"bytes": bytes_stored, "rows": rows}
        try:
            item = table.update(
                *progress_key(self.run.id),
                changes,
                when={"attempt": self.run.attempt, "status": "running", "sequence": Below(self._sequence)},
            )
        except ConditionFailedError:
            item = self._catch_up()
        if item.get("cancel_requested"):
            raise CancelledError("The run was cancelled.")

    def _come_to(self, stage: str) -> None:
        """Note a stage's first moment; it is written with the next report."""
        if all(moment.stage != stage for moment in self._stages):
            self._stages.append(StageMoment(stage=stage, at=rfc3339(datetime.now(UTC))))

    def _catch_up(self) -> Item:
        """Read the progress anew after a write was refused; FencedError if another attempt has taken over.

        Otherwise the client has repeated a write whose answer was lost, or the run was cancelled
        meanwhile.
        """
        item = read_progress(self.run.id)
        if item is None or (item.get("attempt"), item["status"]) != (self.run.attempt, "running"):
            raise FencedError("This attempt is no longer the run's current one.")
        self._sequence = int(item["sequence"])
        return item

    def _share(self, bytes_read: int, rows: int) -> float:
        estimate = self.run.estimate
        if estimate is None:
            return 0.0
        by_rows = rows / estimate.rows if estimate.rows else 0.0
        by_bytes = bytes_read / estimate.bytes if estimate.bytes else 0.0
        return min(HIGHEST_UNFINISHED, 100 * max(by_rows, by_bytes))
