"""A run's percent as its clients see it: it never falls, whatever is killed, and is 100 only with completed."""

import threading
from collections.abc import Callable
from typing import Self

from tests.conftest import Api
from tests.faults.run_surface import Runs, eventually, kill

type Point = tuple[str, float]


class Poller:
    """A client that polls until it is stopped, and keeps each new (status, percent)."""

    def __init__(self, look: Callable[[], Point]) -> None:
        self.seen: list[Point] = []
        self._look, self._stop = look, threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._stop.wait(0.03):
            point = self._look()
            if self.seen[-1:] != [point]:
                self.seen.append(point)

    def reaches(self, status: str) -> None:
        """Wait until the client has seen that status last."""
        eventually(lambda: self.seen and self.seen[-1][0] == status, f"a poll shows {status}: {self.seen}")

    def never_falls(self) -> None:
        """Assert what is promised of the percents."""
        percents = [percent for _, percent in self.seen]
        assert percents == sorted(percents), self.seen
        assert {status for status, percent in self.seen if percent == 100} == {"completed"}, self.seen
        assert self.seen[-1] == ("completed", 100), self.seen


def job_of(client: Api, run_id: str) -> Point:
    job = client.get(f"/api/jobs/{run_id}").json()["data"]
    return job["status"], job["progress"]["percent"]


def listed_job_of(client: Api, run_id: str) -> Point:
    [job] = [each for each in client.get("/api/jobs?project_id=acme&limit=5").json()["data"] if each["id"] == run_id]
    return job["status"], job["progress"]["percent"]


def stop_at_part(runs: Runs, run_id: str, attempt: int) -> float:
    """Kill an attempt's worker while its upload is held, once it has reported that; the percent that its bytes make."""
    eventually(lambda: runs.record(run_id)["attempt"] == attempt, f"attempt {attempt}")
    progress = eventually(lambda: reported(runs, run_id, attempt), f"attempt {attempt} reports its bytes")
    kill(runs.worker(run_id))
    return float(progress["percent"])


def reported(runs: Runs, run_id: str, attempt: int) -> dict[str, float] | None:
    progress = runs.progress(run_id)
    found: bool = progress["attempt"] == attempt and progress["stage"] == "copying" and progress["bytes"] > 0
    return progress if found else None


def test_the_percent_of_a_backup_never_falls_across_attempts_and_retries(runs: Runs, admin: Api, viewer: Api) -> None:
    held = runs.hold("s3", "UploadPart", "/acme/", delay=10, drop="before", skip=2)
    run_id = runs.backup("acme", compress=False)
    with Poller(lambda: job_of(admin, run_id)) as one, Poller(lambda: listed_job_of(viewer, run_id)) as listed:
        held.reached()
        highest = stop_at_part(runs, run_id, 1)
        assert 20 < highest < 100
        for attempt in (2, 3):
            # Its own bytes are fewer than those of the attempt before.
            runs.hold("s3", "UploadPart", "/acme/", delay=10, drop="before")
            assert stop_at_part(runs, run_id, attempt) == highest
        for poller in (one, listed):
            poller.reaches("failed")
            assert poller.seen[-1] == ("failed", highest)
        runs.ends(run_id, "failed")

        runs.hold("s3", "UploadPart", "/acme/", delay=2)
        runs.retry(run_id)
        assert runs.ends(run_id, "completed")["attempt"] == 4
        for poller in (one, listed):
            poller.reaches("completed")
    for poller in (one, listed):
        poller.never_falls()
        assert ("pending", highest) in poller.seen


def test_the_percent_of_an_export_never_falls_after_a_cancel_and_a_retry(runs: Runs, admin: Api, viewer: Api) -> None:
    held = runs.hold("s3", "UploadPart", "/acme/", delay=3)
    run_id = runs.export("acme", "posts")

    def polled() -> Point:
        progress = viewer.get(f"/api/guilds/acme/exports/{run_id}/progress").json()
        return progress["status"], progress["progress"]

    def shown() -> Point:
        record = admin.get(f"/api/guilds/acme/exports/{run_id}").json()
        return record["status"], record["progress"]

    with Poller(polled) as progress, Poller(shown) as record:
        held.reached()
        highest = float(eventually(lambda: reported(runs, run_id, 1), "it reports its bytes")["percent"])
        assert highest > 0
        assert runs.cancel(run_id).status_code == 202
        for poller in (progress, record):
            poller.reaches("cancelled")
            assert poller.seen[-1] == ("cancelled", highest)
        runs.retry(run_id)
        runs.ends(run_id, "completed")
        for poller in (progress, record):
            poller.reaches("completed")
    for poller in (progress, record):
        poller.never_falls()
