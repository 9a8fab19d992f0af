"""The counts of runs stay those of the records: through retries, deletions, doubled steps, and an update."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from stowage.aws.table import decode, encode
from stowage.runs.summary import SHARDS
from tests.faults.run_surface import Json, Runs, eventually

LONG_AGO = "2026-01-01T00:00:00.000Z"
TENANT = "acme_x"


def query(runs: Runs, pk: str, prefix: str) -> Iterator[Json]:
    pages = runs.dynamodb.get_paginator("query").paginate(
        TableName=runs.table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={":pk": encode(pk), ":sk": encode(prefix)},
    )
    for page in pages:
        for item in page["Items"]:
            yield {name: decode(value) for name, value in item.items()}


def counts(runs: Runs, *partitions: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for pk in partitions:
        for item in query(runs, pk, "COUNT#"):
            found.update({name: int(n) for name, n in item.items() if name not in ("pk", "sk", "ttl")})
    return found


def of_tenant(runs: Runs) -> Counter[str]:
    return counts(runs, f"T#{TENANT}")


def over_all(runs: Runs) -> Counter[str]:
    return counts(runs, *(f"FLEET#{n}" for n in range(SHARDS)))


def changed(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    """The differences of all but bytes and durations."""
    after = Counter(after)
    after.subtract(before)
    return {name: n for name, n in after.items() if n and not name.endswith("bytes") and not name.startswith("ms_")}


@pytest.fixture
def before(runs: Runs) -> Counter[str]:
    return of_tenant(runs)


def test_a_run_is_counted_once_whatever_happens_to_it(runs: Runs, before: Counter[str]) -> None:
    url = f"/api/guilds/{TENANT}/exports"
    run_id = runs.export(TENANT)
    runs.ends(run_id, "completed")
    assert changed(before, of_tenant(runs)) == {"completed": 1}
    runs.change(run_id, expires_at=LONG_AGO, due_at=LONG_AGO)
    with ThreadPoolExecutor(3) as pool:
        for ticking in [pool.submit(runs.tick) for _ in range(3)]:
            ticking.result()
    assert changed(before, of_tenant(runs)) == {"expired": 1}
    assert runs.admin.delete(f"{url}/{run_id}").status_code == 200
    assert changed(before, of_tenant(runs)) == {}
    now = of_tenant(runs)
    assert (before["bytes"], before["expired_bytes"]) == (now["bytes"], now["expired_bytes"])


def test_a_step_that_is_delivered_twice_counts_once(runs: Runs, before: Counter[str]) -> None:
    held = runs.hold("ecs", "RunTask", delay=4)
    run_id = runs.backup(TENANT)
    held.reached()
    step = {"tenant": TENANT, "run_id": run_id, "attempt": 1, "execution": f"{run_id}-1"}
    with ThreadPoolExecutor(3) as pool:
        for planning in [pool.submit(runs.invoke, "PlanRunFunction", step) for _ in range(3)]:
            planning.result()
    assert changed(before, of_tenant(runs)) == {"running": 1}
    runs.ends(run_id, "completed")
    assert changed(before, of_tenant(runs)) == {"completed": 1}


def test_a_failure_that_is_made_good_counts_as_completed(runs: Runs, before: Counter[str]) -> None:
    body = "<Error><Code>AccessDenied</Code><Message>A fault.</Message></Error>"
    runs.hold("s3", "UploadPart", f"/{TENANT}/", status=403, body=body)
    run_id = runs.backup(TENANT)
    runs.ends(run_id, "failed")
    assert changed(before, of_tenant(runs)) == {"failed": 1}
    runs.completes_when_retried(run_id)
    assert changed(before, of_tenant(runs)) == {"completed": 1}


def every_item(runs: Runs, prefix: str) -> list[Json]:
    """Every item of the table whose sort key begins so."""
    found = [
        {name: decode(value) for name, value in item.items()}
        for page in runs.dynamodb.get_paginator("scan").paginate(TableName=runs.table, ConsistentRead=True)
        for item in page["Items"]
    ]
    return [item for item in found if item["sk"].startswith(prefix)]


def test_runs_of_the_version_before_are_counted_by_the_clock_once(runs: Runs) -> None:
    for each in (runs.export(TENANT), runs.backup(TENANT)):
        runs.ends(each, "completed")
    for item in every_item(runs, "COUNT#"):
        key = {name: encode(item[name]) for name in ("pk", "sk")}
        runs.dynamodb.delete_item(TableName=runs.table, Key=key)
    records = [record for record in every_item(runs, "RUN#") if "created_at" in record]
    for record in records:
        kept = {name: encode(value) for name, value in record.items() if name != "counted"}
        runs.dynamodb.put_item(TableName=runs.table, Item=kept)
    state = {"pk": "RECOUNT", "sk": "STATE", "day": f"{datetime.now(UTC):%Y-%m-%d}", "begins_at": LONG_AGO}
    runs.dynamodb.put_item(TableName=runs.table, Item={name: encode(value) for name, value in state.items()})

    def is_done() -> bool:
        runs.tick()
        return bool(runs.item("RECOUNT", "STATE").get("is_done"))

    eventually(is_done, "all are counted")
    # By the day that the table files it under: other tests make runs older than that.
    recent = [record for record in records if record["day"] > "2026-06-01"]
    told = Counter("expired" if record.get("expired_at") else record["status"] for record in recent)
    assert {name: n for name, n in of_tenant(runs).items() if name in told} == dict(
        Counter(
            "expired" if record.get("expired_at") else record["status"]
            for record in recent
            if record["tenant"] == TENANT
        )
    )
    whole = over_all(runs)
    unfinished = told.pop("pending", 0) + told.pop("running", 0)
    assert ({name: whole[name] for name in told}, whole["unfinished"]) == (dict(told), unfinished)
    again = [of_tenant(runs), over_all(runs)]
    runs.tick()
    assert [of_tenant(runs), over_all(runs)] == again
