"""Between a manifest and its settling: whatever ends the execution then, the run has done what it did, in any kind."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from stowage.runs.kinds import KINDS
from tests.faults.run_surface import Json, Runs, eventually
from tests.stack.file_import_surface import csv_file, started


def _import(runs: Runs) -> str:
    data = csv_file("id,title", *(f"{uuid4().hex},task {n}" for n in range(20)))
    return started(runs.admin, "tasks", "csv", data)


def _verify(runs: Runs) -> str:
    backup_id = runs.backup()
    runs.ends(backup_id, "completed")
    return runs.verify(backup_id)


def _compare(runs: Runs) -> str:
    backup_id = runs.backup()
    runs.ends(backup_id, "completed")
    answer = runs.admin.post(f"/api/backup/{backup_id}/compare")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["data"]["id"])


def _restore(runs: Runs) -> str:
    backup_id = runs.backup()
    backup = runs.ends(backup_id, "completed")
    given = {"project_id": backup["tenant"], "backup_id": backup_id, "mode": "new_schema"}
    answer = runs.admin.post("/api/backup/restore", json=given)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["data"]["id"])


ASK: dict[str, Callable[[Runs], str]] = {
    "export": lambda runs: runs.export(format="parquet"),
    "import": _import,
    "export_backup": lambda runs: runs.backup(),
    "export_logs": lambda runs: runs.logs(),
    "verify": _verify,
    "compare": _compare,
    "restore": _restore,
}
"""How a run of each kind is asked for."""


def _hold_manifest(runs: Runs, kind: str) -> Json:
    """Let the writing of the next manifest of a kind take a second longer, once it is there."""
    if KINDS[kind].bucket is None:
        return runs.hold("dynamodb", "PutItem", "MANIFEST#", late=1)
    return runs.hold("s3", "PutObject", f"/{KINDS[kind].history}/", late=1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_whose_execution_is_stopped_after_its_manifest_has_completed(runs: Runs, kind: str) -> None:
    run_id = ASK[kind](runs)
    held = _hold_manifest(runs, kind)
    held.reached()
    eventually(lambda: runs.manifest(runs.record(run_id)), "the manifest is there")
    runs.stop_execution(run_id)

    run = runs.reaches(run_id, "completed")
    assert run["attempt"] == 1
    eventually(lambda: not runs.workers(run_id), "the worker is gone", 10)
    runs.leaves_nothing(run_id)
    assert runs.job(run_id)["result"]


@pytest.mark.long(but=["export_backup", "import", "restore"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_manifest_of_an_earlier_attempt_proves_nothing(runs: Runs, kind: str) -> None:
    run_id = ASK[kind](runs)
    run = runs.ends(run_id, "completed")
    runs.change(run_id, status="running", attempt=2, due_list="ACTIVE", outcome=None, execution=f"{run_id}-2")
    step = {"tenant": run["tenant"], "run_id": run_id, "attempt": 2, "execution": f"{run_id}-2"}
    runs.invoke("FinishRunFunction", step)

    assert runs.record(run_id)["status"] == "pending"
    assert runs.cancel(run_id).status_code == 202
