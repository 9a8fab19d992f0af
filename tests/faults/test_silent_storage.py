"""Storage or the table takes a call and does not answer: the client stops waiting and asks again, and all goes on."""

import time

from stowage.aws.clients import READ_SECONDS, TABLE_READ_SECONDS
from tests.conftest import Api
from tests.faults.run_surface import Runs

SILENT = READ_SECONDS + 20
"""Longer than the test waits: a client without a time-out of its own fails it."""


def test_storage_that_is_silent_beyond_the_clients_patience_costs_time_and_no_attempt(runs: Runs) -> None:
    """Each step of the protocol meets it in a run of its own, all at the same time: the test takes one time-out."""
    silences = {
        # Storage does it, and nobody hears of it.
        runs.hold("s3", "CreateMultipartUpload", "/initech/", late=SILENT): lambda: runs.backup("initech"),
        runs.hold("s3", "CompleteMultipartUpload", "/acme2/", late=SILENT): lambda: runs.backup("acme2"),
        runs.hold("s3", "PutObject", "/globex/", late=SILENT): lambda: runs.export("globex", "brands"),
        # Storage never sees it.
        runs.hold("s3", "UploadPart", "/zoo/", delay=SILENT, drop="before"): lambda: runs.backup("zoo"),
    }
    run_ids = [ask() for ask in silences.values()]
    for held in silences:
        held.reached()
    for run_id in run_ids:
        assert runs.ends(run_id, "completed", seconds=SILENT - 5)["attempt"] == 1


def test_a_silent_table_costs_a_poll_time_and_no_answer(runs: Runs, admin: Api) -> None:
    run_id = runs.export("acme2")
    runs.ends(run_id, "completed")
    runs.hold("dynamodb", "GetItem", run_id, delay=SILENT, drop="before")
    began = time.monotonic()
    assert admin.get(f"/api/guilds/acme2/exports/{run_id}/progress").json()["status"] == "completed"
    assert time.monotonic() - began >= TABLE_READ_SECONDS, "the fault has met nobody"
