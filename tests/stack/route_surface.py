"""What the tests of the HTTP routes share: runs started and followed, tokens of their own, the journal, the clock."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import psycopg
import requests
from psycopg import sql

from stowage.basics.ids import rfc3339
from tests.conftest import Api, RunningStack
from tests.faults.run_surface import eventually

type Json = Any

FINAL = ("completed", "failed", "cancelled", "expired")
UNKNOWN_RUN = "01a1f7ff-0000-7000-8000-000000000000"
"""A run's id that no run has."""


def wait_until[T](look: Callable[[], T | None], seconds: float = 60) -> T:
    """What `look` gives as soon as it gives something; AssertionError after so many seconds."""
    return eventually(look, "something", seconds)


def refusal(response: requests.Response, status: int, code: str) -> Json:
    """The body of a refusal, which must be of the contract's one shape, without its request id."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["success"] is False
    assert body["code"] == code
    assert len(body.pop("requestId")) == 36
    assert body["error"].endswith(".")
    assert body["error"][0].isupper() or body["error"][0] == "'" or "details" in body
    assert body.pop("message") == body["error"]
    assert set(body) in ({"success", "error", "code"}, {"success", "error", "code", "details", "detailCount"})
    for detail in body.get("details", []):
        assert set(detail) == {"field", "message"}
    return body


def fields(body: Json) -> list[str]:
    """The names of the fields that a refusal complains of."""
    return [detail["field"] for detail in body["details"]]


def sign(stack: RunningStack, **claims: Json) -> str:
    """A token as the identity provider would issue it: an admin of acme2 for an hour, but for what is given.

    A claim that is given as None is left out.
    """
    usual = {"sub": f"{uuid4()}@example.com", "role": "admin", "tenants": ["acme2"], "exp": int(time.time()) + 3600}
    chosen = {name: value for name, value in (usual | claims).items() if value is not None}
    return str(jwt.encode(chosen, stack.signing_key, algorithm="HS256"))


@contextmanager
def caller(stack: RunningStack, **claims: Json) -> Iterator[Api]:
    """The HTTP API for somebody of the test's own."""
    with Api(stack.api_url, sign(stack, **claims)) as api:
        yield api


def export_body(**given: Json) -> Json:
    """A request for an export of 97 rows; a field given as None is left out."""
    body = {"format": "csv", "mode": "all", "dataType": "accounts"} | given
    return {name: value for name, value in body.items() if value is not None}


def start_export(api: Api, tenant: str = "acme2", **given: Json) -> Json:
    """The record of an export that was accepted."""
    response = api.post(f"/api/guilds/{tenant}/exports", json=export_body(**given))
    assert response.status_code == 202, response.text
    return response.json()


def read_export(api: Api, export_id: str, tenant: str = "acme2") -> Json:
    """An export's record."""
    response = api.get(f"/api/guilds/{tenant}/exports/{export_id}")
    assert response.status_code == 200, response.text
    return response.json()


def ended_export(api: Api, export_id: str, tenant: str = "acme2") -> Json:
    """An export's record once the export has ended."""

    def look() -> Json:
        record = read_export(api, export_id, tenant)
        return record if record["status"] in FINAL else None

    return wait_until(look)


def completed_export(api: Api, tenant: str = "acme2", **given: Json) -> Json:
    """The record of a new export that has completed."""
    record = ended_export(api, start_export(api, tenant, **given)["id"], tenant)
    assert record["status"] == "completed", record
    return record


def start_backup(api: Api, tenant: str = "acme2", **given: Json) -> str:
    """The job id of a backup that was accepted."""
    response = api.post("/api/backup/export", json={"project_id": tenant, **given})
    assert response.status_code == 202, response.text
    return str(response.json()["data"]["job_id"])


def read_job(api: Api, job_id: str) -> Json:
    """A job."""
    response = api.get(f"/api/jobs/{job_id}")
    assert response.status_code == 200, response.text
    return response.json()["data"]


def ended_job(api: Api, job_id: str, seconds: float = 40) -> Json:
    """A job once it has ended."""

    def look() -> Json:
        job = read_job(api, job_id)
        return job if job["status"] in FINAL else None

    return wait_until(look, seconds)


def journal_of(stack: RunningStack, tenant: str, subject: str) -> list[Json]:
    """The journal's entries about a run, in their order: `{type, actor, after}`."""
    url = stack.url_as("stowage_app")
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT type, actor, after FROM stowage.changes"
            " WHERE tenant = %s AND id = %s AND entity = 'runs' ORDER BY seq",
            (tenant, subject),
        ).fetchall()
    return [{"type": type_, "actor": actor, "after": after} for type_, actor, after in rows]


def audited(stack: RunningStack, tenant: str, subject: str, *types: str) -> list[Json]:
    """The journal's entries about a run once those of all these types are there."""

    def look() -> list[Json] | None:
        entries = journal_of(stack, tenant, subject)
        return entries if {entry["type"] for entry in entries} >= set(types) else None

    return wait_until(look)


@contextmanager
def locked(database: psycopg.Connection, tenant: str, table: str) -> Iterator[None]:
    """Nobody can read this table meanwhile, so who exports it keeps running; after a minute they give up."""
    with database.transaction():
        name = sql.Identifier(f"tenant_{tenant}", table)
        database.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name))
        yield


@contextmanager
def database_full(stack: RunningStack, dynamodb: Any) -> Iterator[None]:
    """Every place on the database is taken meanwhile, so new runs wait."""
    strangers = [f"stranger-{n}" for n in range(8)]
    for run in strangers:  # a lease without a launched run would be freed by the clock
        launched = {"pk": "T#nobody", "sk": f"RUN#{run}", "status": "running", "due_list": "ACTIVE"}
        item = {name: {"S": value} for name, value in launched.items()}
        dynamodb.put_item(TableName=stack.resources["Table"], Item=item)
    lease = {"M": {"tenant": {"S": "nobody"}, "kind": {"S": "export"}, "lane": {"S": "inline"}}}
    _change_leases(stack, dynamodb, lambda held: held | dict.fromkeys(strangers, lease))
    try:
        yield
    finally:
        _change_leases(
            stack, dynamodb, lambda held: {run: lease for run, lease in held.items() if run not in strangers}
        )
        tick(stack)


def _change_leases(stack: RunningStack, dynamodb: Any, change: Callable[[Json], Json]) -> None:
    """Rewrite the leases under their version number, as the product does."""
    table, key = stack.resources["Table"], {"pk": {"S": "DB#main"}, "sk": {"S": "LEASES"}}
    while True:
        item = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})
        version = int(item.get("version", {"N": "0"})["N"])
        values = {
            ":held": {"M": change(item.get("held", {"M": {}})["M"])},
            ":next": {"N": str(version + 1)},
            ":version": {"N": str(version)},
        }
        try:
            dynamodb.update_item(
                TableName=table,
                Key=key,
                UpdateExpression="SET held = :held, version = :next",
                ConditionExpression="attribute_not_exists(version) OR version = :version",
                ExpressionAttributeValues=values,
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            continue
        return


def tick(stack: RunningStack) -> Json:
    """Let the clock tick now; what it did."""
    return stack.invoke("OnTickFunction")


def change_run(stack: RunningStack, dynamodb: Any, tenant: str, run_id: str, **changes: str) -> None:
    """Write attributes of a run's record, as if time had passed."""
    _change_item(stack, dynamodb, f"T#{tenant}", f"RUN#{run_id}", changes)


def let_expire(stack: RunningStack, dynamodb: Any, tenant: str, run_id: str) -> str:
    """Let a run's file have expired a moment ago, and the clock not come by; when that was."""
    expired_at, later = (rfc3339(datetime.now(UTC) + timedelta(seconds=seconds)) for seconds in (-1, 3600))
    change_run(stack, dynamodb, tenant, run_id, expires_at=expired_at, due_at=later)
    _change_item(stack, dynamodb, f"RUN#{run_id}", "PROGRESS", {"expires_at": expired_at})
    return expired_at


def _change_item(stack: RunningStack, dynamodb: Any, pk: str, sk: str, changes: dict[str, str]) -> None:
    dynamodb.update_item(
        TableName=stack.resources["Table"],
        Key={"pk": {"S": pk}, "sk": {"S": sk}},
        UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in changes),
        ExpressionAttributeValues={f":{name}": {"S": value} for name, value in changes.items()},
        ConditionExpression="attribute_exists(pk)",
    )


def objects_of(s3: Any, stack: RunningStack, bucket: str, run_id: str) -> list[str]:
    """The keys of what lies in a bucket for a run, and of its unfinished uploads."""
    name = stack.resources[bucket]
    found = s3.list_objects_v2(Bucket=name).get("Contents", []) + s3.list_multipart_uploads(Bucket=name).get(
        "Uploads", []
    )
    return [entry["Key"] for entry in found if run_id in entry["Key"]]
