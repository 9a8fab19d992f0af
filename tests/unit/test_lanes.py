"""Where an attempt runs: a pure rule."""

from typing import Any

import pytest

from stowage.runs.plan import lane_of
from stowage.runs.record import Estimate, Run
from stowage.settings import settings

MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    ("lane", "kind", "megabytes", "run"),
    [
        ("inline", "export", 32, {"spec": {"format": "csv"}}),
        ("worker", "export", 33, {"spec": {"format": "csv"}}),
        ("worker", "export", 1, {"spec": {"format": "parquet"}}),
        ("inline", "import", 1, {}),
        ("worker", "import", 40, {}),
        ("image", "export_backup", 64, {}),
        ("worker", "export_backup", 65, {}),
        ("worker", "export_backup", 1, {"trigger": "schedule"}),
        ("image", "export_backup", 1, {"tries": 1}),
        ("worker", "export_backup", 1, {"tries": 2}),
        ("image", "verify", 1, {}),
        ("worker", "of a later version", 1, {}),
    ],
)
def test_a_small_run_that_somebody_waits_for_needs_no_task(
    lane: str, kind: str, megabytes: int, run: dict[str, Any]
) -> None:
    assert lane_of(_run(kind, **run), Estimate(rows=1, bytes=megabytes * MEGABYTE)) == lane


def test_without_a_function_of_the_image_every_backup_runs_in_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOWAGE_IMAGE_MAX_BYTES", "0")
    settings.cache_clear()
    try:
        assert lane_of(_run("export_backup"), Estimate(rows=0, bytes=0)) == "worker"
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def _run(kind: str, **given: Any) -> Run:
    fields = {"spec": {}} | given
    return Run(
        id="run", tenant="acme", kind=kind, database="main", requested_by="ada", created_at="2026-11-28", **fields
    )
