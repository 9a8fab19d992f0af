"""A run's timeline: each stage's first moment, the attempt that goes on, and what came before a retry."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.conftest import Api
from tests.faults.run_surface import Json, Runs, eventually

type Locking = Callable[[], AbstractContextManager[None]]

LONG_AGO = "2026-01-01T00:00:00.000Z"
IN_BACKUP = ("planning", "starting", "checking", "copying", "storing", "verifying", "recording")
IN_EXPORT = ("planning", "starting", "copying", "storing", "recording")


def timeline(api: Api, run_id: str) -> Json:
    """The timeline, whose moments must be in order and within the attempts that they name."""
    found = api.get(f"/api/jobs/{run_id}/timeline").json()["data"]
    moments = [stage["at"] for stage in found["stages"]]
    assert moments == sorted(moments)
    spans = {attempt["n"]: attempt for attempt in found["attempts"]}
    for stage in found["stages"]:
        if stage["attempt"] is not None:
            span = spans[stage["attempt"]]
            assert (span["started_at"] or "") <= stage["at"] <= (span["ended_at"] or "9999")
    return found


def stages(found: Json) -> list[tuple[str, int | None]]:
    """The stages, each with its attempt."""
    return [(stage["stage"], stage["attempt"]) for stage in found["stages"]]


def of(attempt: int, *names: str) -> list[tuple[str, int | None]]:
    """Stages of one attempt."""
    return [(name, attempt) for name in names]


def test_a_backups_timeline_has_every_stage(runs: Runs, viewer: Api) -> None:
    run_id = runs.backup()
    record = runs.ends(run_id, "completed")
    found = timeline(viewer, run_id)

    assert stages(found) == [("created", None), *of(1, *IN_BACKUP, "completed")]
    by_name = {stage["stage"]: stage["at"] for stage in found["stages"]}
    assert by_name["created"] == record["created_at"]
    assert by_name["planning"] == record["started_at"]
    assert by_name["completed"] == record["completed_at"]


def test_an_exports_timeline_has_every_stage_however_quick_it_was(runs: Runs, viewer: Api) -> None:
    run_id = runs.export("initech", "users")
    runs.ends(run_id, "completed")

    assert stages(timeline(viewer, run_id)) == [("created", None), *of(1, *IN_EXPORT, "completed")]


def test_a_run_that_goes_on_shows_its_attempt_without_an_end(runs: Runs, viewer: Api, holding_dumps: Locking) -> None:
    with holding_dumps():
        run_id = runs.backup("zoo")
        runs.dump("zoo")
        runs.stage(run_id, "checking", "copying")
        waiting = runs.backup("zoo")
        eventually(lambda: len(stages(timeline(viewer, run_id))) >= 4, "the stage is told")
        found = timeline(viewer, run_id)
        assert found["attempts"] == [
            {"n": 1, "started_at": runs.record(run_id)["started_at"], "ended_at": None, "error": None}
        ]
        assert stages(found)[:4] == [("created", None), *of(1, "planning", "starting", "checking")]
        assert found["manifest"] is None
        assert found["cost_usd"] > 0

        empty = timeline(viewer, waiting)
        assert (stages(empty), empty["attempts"], empty["cost_usd"]) == ([("created", None)], [], 0)
    for each in (run_id, waiting):
        runs.ends(each, "completed")


def test_an_attempt_that_failed_stays_in_the_timeline_with_its_stages(runs: Runs, viewer: Api) -> None:
    runs.hold("ecs", "RunTask", not_started="CannotPullContainerError: no such image")
    run_id = runs.backup()
    runs.ends(run_id, "completed")
    found = timeline(viewer, run_id)

    assert stages(found) == [
        ("created", None),
        *of(1, "planning", "failed"),
        *of(2, *IN_BACKUP, "completed"),
    ]
    assert [attempt["error"] for attempt in found["attempts"]] == ["The worker's image could not be pulled.", None]


def test_a_retry_keeps_the_ending_before_it(runs: Runs, viewer: Api, holding_dumps: Locking) -> None:
    with holding_dumps():
        run_id = runs.backup("zoo")
        runs.dump("zoo")
        assert runs.cancel(run_id).status_code == 202
        runs.reaches(run_id, "cancelled")
    before = timeline(viewer, run_id)
    runs.completes_when_retried(run_id)
    after = timeline(viewer, run_id)

    assert stages(before)[-1] == ("cancelled", 1)
    count = len(before["stages"])
    assert after["stages"][:count] == before["stages"]
    assert stages(after)[count:] == [("retried", None), *of(2, *IN_BACKUP, "completed")]
    assert after["attempts"][0] == before["attempts"][0]


def test_a_retry_keeps_the_ending_of_a_run_that_never_ran(runs: Runs, viewer: Api, holding_dumps: Locking) -> None:
    with holding_dumps():
        first = runs.backup("zoo")
        runs.dump("zoo")
        run_id = runs.backup("zoo")
        assert runs.cancel(run_id).status_code == 202
        assert stages(timeline(viewer, run_id)) == [("created", None), ("cancelled", None)]
        runs.retry(run_id)
    for each in (first, run_id):
        runs.ends(each, "completed")

    assert stages(timeline(viewer, run_id)) == [
        ("created", None),
        ("cancelled", None),
        ("retried", None),
        *of(1, *IN_BACKUP, "completed"),
    ]


def test_an_attempt_that_was_never_planned_has_no_start(runs: Runs, viewer: Api) -> None:
    runs.hold("ecs", "RunTask", not_started="CannotPullContainerError: no such image")
    held = runs.hold("dynamodb", "TransactWriteItems", '"Estimating."', delay=3, skip=1)
    run_id = runs.backup()
    eventually(lambda: runs.record(run_id)["attempt"] == 2, "the second attempt")
    held.reached()
    runs.stop_execution(run_id, 2)
    runs.ends(run_id, "completed")
    found = timeline(viewer, run_id)

    first, second, third = found["attempts"]
    assert (bool(first["started_at"]), second["started_at"], bool(third["started_at"])) == (True, None, True)
    assert [stage for stage, attempt in stages(found) if attempt == 2] == ["failed"]


def test_a_run_that_waited_long_is_not_stopped_before_it_was_planned(runs: Runs) -> None:
    held = runs.hold("dynamodb", "TransactWriteItems", '"Estimating."', delay=2)
    run_id = runs.backup()
    held.reached()
    runs.change(run_id, created_at=LONG_AGO, due_at=LONG_AGO)
    runs.tick()

    assert runs.ends(run_id, "completed")["attempt"] == 1


def test_progress_stays_under_a_kilobyte(runs: Runs) -> None:
    held = runs.hold("s3", "CompleteMultipartUpload", "/globex/", delay=1)
    run_id = runs.backup()
    held.reached()
    progress = runs.progress(run_id)
    runs.ends(run_id, "completed")

    assert [moment["stage"] for moment in progress["stages"]] == list(IN_BACKUP[:-2])
    assert len(json.dumps(progress)) < 900


def test_attempts_are_numbered_without_gaps(runs: Runs, viewer: Api) -> None:
    """A run that was started, found to be large and sent back to the queue has used up a fencing number."""
    run_id = runs.export()
    run = runs.ends(run_id, "completed")
    runs.change(run_id, attempt=4, attempts=[{**run["attempts"][0], "n": n, "outcome": "failed"} for n in (2, 4)])
    found = timeline(viewer, run_id)

    assert [attempt["n"] for attempt in found["attempts"]] == [1, 2]
    assert {attempt for _, attempt in stages(found)} == {None, 1, 2}
