"""What the table says of runs stays true: late steps, lost leases, notes that fail, records that outlive."""

import time
import uuid
from typing import Any, LiteralString

import pytest

from stowage.aws.table import encode
from stowage.runs.record import waiting_list
from tests.conftest import RunningStack
from tests.faults.run_surface import Runs, eventually

YEAR = 366 * 86_400
COUNT: LiteralString = "SELECT count(*) FROM stowage.changes WHERE tenant = 'archived' AND id = %s"


def test_a_plan_that_comes_late_does_not_revive_a_run_that_waits_again(runs: Runs) -> None:
    """StopExecution comes while Plan's function starts cold; the run has been settled when Plan runs at last."""
    run_id = runs.export()
    run = runs.ends(run_id, "completed")
    runs.change(
        run_id,
        status="pending",
        due_list=waiting_list("main"),
        due_at=f"0#{run['created_at']}#{run_id}",
        not_before="2999-01-01T00:00:00.000Z",
    )
    step = {"tenant": run["tenant"], "run_id": run_id, "attempt": run["attempt"], "execution": f"{run_id}-1"}
    with pytest.raises(AssertionError, match="CancelledError"):
        runs.invoke("PlanRunFunction", step)

    assert (runs.record(run_id)["status"], runs.record(run_id)["due_list"]) == ("pending", waiting_list("main"))
    assert runs.cancel(run_id).status_code == 202
    runs.reaches(run_id, "cancelled")


def test_a_place_whose_run_is_gone_is_free_after_the_next_tick(runs: Runs) -> None:
    lost = f"lost-{uuid.uuid4()}"
    runs.stack.aws("dynamodb").update_item(
        TableName=runs.stack.resources["Table"],
        Key={"pk": encode("DB#main"), "sk": encode("LEASES")},
        UpdateExpression="SET held.#lost = :lease",
        ExpressionAttributeNames={"#lost": lost},
        ExpressionAttributeValues={":lease": encode({"tenant": "globex", "kind": "export_backup", "lane": "worker"})},
    )
    assert lost in runs.leases()
    runs.tick()
    assert lost not in runs.leases()


def put_note(stack: RunningStack, tenant: str, database: str) -> dict[str, Any]:
    """An audit entry, noted in the table for the journal."""
    note = {
        "pk": "NOTE#audit",
        "sk": str(uuid.uuid4()),
        "tenant": tenant,
        "database": database,
        "type": "export.expired",
        "subject": str(uuid.uuid4()),
        "actor": "stowage",
        "at": "2026-01-01T00:00:00.000Z",
        "after": None,
    }
    stack.aws("dynamodb").put_item(
        TableName=stack.resources["Table"], Item={name: encode(value) for name, value in note.items()}
    )
    return note


def test_an_audit_entry_of_an_unknown_database_holds_up_no_others(runs: Runs, stack: RunningStack) -> None:
    note = put_note(stack, "gone", "nowhere")
    try:
        run_id = runs.export()
        runs.ends(run_id, "completed")
        eventually(lambda: "export.completed" in runs.journal(run_id), "the journal has the export's end")
    finally:
        key = {name: encode(note[name]) for name in ("pk", "sk")}
        stack.aws("dynamodb").delete_item(TableName=stack.resources["Table"], Key=key)


def test_the_audit_of_an_archived_tenant_is_still_written(runs: Runs, stack: RunningStack) -> None:
    """The registry no longer names it; its files still expire."""
    note = put_note(stack, "archived", "main")

    def written() -> int:
        with runs.connect("stowage_app") as connection:
            return connection.execute(COUNT, (note["subject"],)).fetchone()[0]  # type: ignore[index]

    eventually(written, "the entry is in the journal")
    assert written() == 1


def test_a_poll_finds_a_backup_as_long_as_its_file_lives(runs: Runs) -> None:
    run_id = runs.backup()
    run = runs.ends(run_id, "completed")
    # Its tenant's retention says how long that is, so neither has an end of its own.
    assert "ttl" not in runs.progress(run_id).keys() | run.keys()


def test_a_run_that_is_started_anew_lives_as_long_as_a_new_one(runs: Runs) -> None:
    run_id = runs.export()
    run = runs.ends(run_id, "completed")
    soon = int(time.time()) + 600
    runs.change(run_id, status="failed", ttl=soon)
    runs.change_progress(run_id, status="failed", ttl=soon)
    runs.retry(run_id)
    renewed = runs.record(run_id)["ttl"]
    assert soon + 86_400 < renewed < soon + YEAR
    assert runs.progress(run_id)["ttl"] == renewed
    assert runs.reaches(run_id, "completed")["attempt"] == run["attempt"] + 1
