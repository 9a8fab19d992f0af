"""Storage and the table fail in each way they know: the artifact is there once and whole, or not at all."""

import pytest

from tests.faults.run_surface import Json, Runs

WRITES = [
    ("CreateMultipartUpload", "/globex/"),
    ("UploadPart", "/globex/"),
    ("CompleteMultipartUpload", "/globex/"),
    ("PutObject", "manifest.json"),
]


def error(code: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>A fault.</Message></Error>'


@pytest.mark.long(but=["503", "lost_answer"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 503, "body": error("SlowDown")}, id="503"),
        pytest.param({"drop": "before"}, id="cut"),
        pytest.param({"drop": "after"}, id="lost_answer"),
        pytest.param({"delay": 1}, id="slow"),
    ],
)
def test_what_storage_gets_over_on_each_write_costs_no_attempt(runs: Runs, fault: Json) -> None:
    held = [runs.hold("s3", operation, contains, **fault) for operation, contains in WRITES]
    run = runs.ends(runs.backup(), "completed")

    for each in held:
        each.reached(0)
    assert run["attempt"] == 1


def test_an_error_in_the_body_of_a_200_is_an_error(runs: Runs) -> None:
    held = [
        runs.hold("s3", operation, contains, status=200, body=error("InternalError")) for operation, contains in WRITES
    ]
    runs.ends(runs.backup(), "completed")

    for each in held:
        each.reached(0)


@pytest.mark.long(but="create_and_manifest")
@pytest.mark.parametrize("writes", [(WRITES[0], WRITES[3]), (WRITES[1],)], ids=["create_and_manifest", "part"])
def test_a_conflict_in_storage_costs_an_attempt_and_leaves_nothing(runs: Runs, writes: list[tuple[str, str]]) -> None:
    """Each write in an attempt of its own."""
    for operation, contains in writes:
        runs.hold("s3", operation, contains, status=409, body=error("ConditionalRequestConflict"))
    run = runs.ends(runs.backup(), "completed")

    refused = "Storage did not take the artifact (ConditionalRequestConflict)."
    assert [attempt.get("error") for attempt in run["attempts"]] == [refused for _ in writes] + [None]


@pytest.mark.long(but=["CreateMultipartUpload-/globex/", "PutObject-manifest.json"])
@pytest.mark.parametrize(("operation", "contains"), WRITES)
def test_storage_that_refuses_ends_the_run_at_once(runs: Runs, operation: str, contains: str) -> None:
    runs.hold("s3", operation, contains, status=403, body=error("AccessDenied"))
    run_id = runs.backup()
    run = runs.ends(run_id, "failed")

    assert run["attempt"] == 1
    assert runs.job(run_id)["last_error"] == "Storage refused the artifact (AccessDenied)."


def test_storage_that_fails_while_a_run_is_settled_does_not_lose_the_run(runs: Runs) -> None:
    runs.hold("s3", "GetObject", "manifest.json", status=403, body=error("AccessDenied"), times=2)
    run = runs.ends(runs.backup(), "completed")

    assert run["attempt"] == 1


def dynamodb_error(name: str, **more: Json) -> Json:
    return {"__type": f"com.amazonaws.dynamodb.v20120810#{name}", "message": "A fault.", **more}


THROTTLED = dynamodb_error("ProvisionedThroughputExceededException")
CONFLICT = dynamodb_error("TransactionConflictException")
CANCELED = dynamodb_error(
    "TransactionCanceledException",
    CancellationReasons=[{"Code": "None"}, {"Code": "None"}, {"Code": "TransactionConflict"}],
)


REPORT = ("UpdateItem", '"Storing."')


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(
            {
                ("TransactWriteItems", '"planning"'): {"status": 400, "body": CANCELED, "times": 2},
                ("UpdateItem", '"claimed"'): {"status": 400, "body": THROTTLED, "times": 2},
                REPORT: {"status": 400, "body": CONFLICT, "times": 2},
                ("TransactWriteItems", '"Done."'): {"status": 400, "body": CANCELED, "times": 2},
            },
            id="refused_twice",
        ),
        pytest.param({REPORT: {"drop": "after"}}, id="lost_report"),
    ],
)
def test_what_the_table_gets_over_costs_no_attempt(runs: Runs, faults: dict[tuple[str, str], Json]) -> None:
    held = [runs.hold("dynamodb", *call, **fault) for call, fault in faults.items()]
    run = runs.ends(runs.backup(), "completed")

    for each in held:
        each.reached(0)
    assert run["attempt"] == 1
