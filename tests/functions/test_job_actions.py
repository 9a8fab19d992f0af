"""What a job offers works, and what it does not offer is refused: every action's own route is asked, in each state."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from stowage.access.identity import Identity, Role
from stowage.aws import clients, keys, table
from stowage.basics.errors import BadRequestError
from stowage.basics.ids import new_run_id, rfc3339
from stowage.entry.http import CallerContext
from stowage.jobs.bulk import BulkFilter, BulkRequest, change_jobs
from stowage.runs.actions import ACTIONS
from stowage.runs.dispatch import Lease, Leases
from stowage.runs.kinds import KINDS
from stowage.runs.record import ACTIVE_LIST, Run, new_item
from stowage.runs.store import create_run, read_run
from stowage.runs.summary import SHARDS, summing_up
from stowage.tenants import COPY
from tests.cloud import Cloud, cloud
from tests.functions.deployment import SECRET, handler, sample

type Json = Any
NOW = datetime.now(UTC)
BEGAN, ENDED, SOON, PAST = (rfc3339(NOW + timedelta(seconds=n)) for n in (-90, -60, 9000, -5))
VERIFIED = {"level": 2, "at": ENDED, "ok": True}
DONE = {"status": "completed", "started_at": BEGAN, "completed_at": ENDED, "attempt": 1, "expires_at": SOON}
STATES: dict[str, dict[str, Json]] = {
    "pending": {"status": "pending"},
    "running": {"status": "running", "started_at": BEGAN, "attempt": 1, "due_list": ACTIVE_LIST},
    "completed": DONE,
    "newest verified": {**DONE, "verification": VERIFIED},
    "in use": {**DONE, "users": 1},
    "expired": {**DONE, "expires_at": PAST},
    "taken away": {**DONE, "expires_at": PAST, "expired_at": PAST},
    "pinned": {**DONE, "pinned_at": ENDED},
    "failed": {**DONE, "status": "failed", "expires_at": None},
    "cancelled": {"status": "cancelled", "completed_at": ENDED},
}
SPECS: dict[str, dict[str, Json]] = {
    "export": {"format": "csv", "mode": "all", "dataType": "tasks", "filters": {}, "filename": "f.csv", "bom": False},
    "export_backup": {"format": "sql", "compress": True, "file_name": "f.sql", "storage_path": "backups"},
    "export_logs": {"format": "json", "compress": False, "file_name": "f.json", "storage_path": "logs"},
    "restore": {"backup_id": "b", "mode": "in_place", "size_bytes": 3},
    "verify": {"backup_id": "b", "level": 2, "size_bytes": 3},
    "compare": {"backup_id": "b", "schema": "tenant_acme", "entities": None, "size_bytes": 3},
    "import": {},
}
ADMIN = Identity("me", "admin", frozenset(["acme"]), NOW + timedelta(hours=1))
CALLERS: list[tuple[Role, str]] = [("viewer", "me"), ("operator", "me"), ("operator", "they"), ("admin", "me")]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(monkeypatch) as made:
        for name in ("jwt", "link"):
            keys._known[name] = (time.monotonic(), {"secret": SECRET})
        table.put({"pk": COPY, "sk": "acme", "slug": "acme", "name": "Acme", "database": "main"})
        yield made
        keys._known.clear()


def called(name: str, run: Run, role: Role, sub: str, **parameters: str) -> tuple[int, Json]:
    """What a handler answers this caller about a run."""
    event = sample(name)
    claims = {"sub": sub, "role": role, "tenants": ["acme"], "exp": int(time.time()) + 60}
    event["headers"]["authorization"] = "Bearer " + jwt.encode(claims, SECRET, "HS256")
    event["pathParameters"] = {
        each: "acme" if each == "guildId" else run.id for each in event.get("pathParameters", {})
    }
    event["queryStringParameters"] = parameters
    if "body" in event:  # the samples name this run
        event["body"] = event["body"].replace("0193476e-5a00-7c3a-9b1e-2f6d8c4b7a10", run.id)
    answer = handler(name)(event, None)
    return answer["statusCode"], json.loads(answer["body"]) if answer.get("body") else None


def put(kind: str, state: str, requested_by: str) -> Run:
    """A run of a kind in a state, with its file where it has one; `STATES` says what its record holds."""
    row = KINDS[kind]
    used = put("export_backup", "completed", "they") if kind == "verify" else None
    run = Run.model_validate(
        {
            "id": new_run_id(NOW), "tenant": "acme", "kind": kind, "database": "main", "spec": SPECS[kind],
            "requested_by": requested_by, "created_at": rfc3339(NOW), "counted": True, **STATES[state],
        }
        | ({"uses": used.id} if used else {})
    )  # fmt: skip
    if run.status == "completed":
        key = run.prefix(1) + "f"
        file = {"key": key, "file_name": "f", "content_type": "text/plain", "size_bytes": 3}
        run = Run.model_validate(
            run.model_dump() | {"outcome": {"files": {"file": file}} if row.bucket else {"facts": verify_facts(run)}}
        )
        if row.bucket:
            clients.s3().put_object(Bucket=row.bucket, Key=key, Body=b"abc")
    table.put(new_item(run, int(time.time()) + 9000) | ({"due_list": run.due_list} if run.due_list else {}))
    progress = {"status": run.status, "stage": "x", "message": "", "percent": 0, "bytes": 0, "rows": 0, "sequence": 0}
    table.put({"pk": f"RUN#{run.id}", "sk": "PROGRESS", "tenant": "acme", **progress})
    if run.verification and row.protects:
        for shard in range(SHARDS):
            table.delete(f"FLEET#{shard}", "TENANT#acme")
        table.transact(summing_up(None, run))
    if run.due_list:
        leases = Leases(run.pool)
        table.put({"pk": f"DB#{run.pool}", "sk": "LEASES"} | leases.write([Lease(run.id, "acme", kind, None)]).set)
    return run


def verify_facts(run: Run) -> Json:
    return {"kept_until": SOON, "backup_id": run.uses, "verification": VERIFIED, "checks": []}


def link_of_export(run: Run, role: Role, sub: str) -> int:
    status, record = called("get_export", run, role, sub)
    assert status == 200, record
    return 200 if record["downloadUrl"] else 409


def link_of_import(run: Run, role: Role, sub: str) -> int:
    result = called("get_job", run, role, sub)[1]["data"]["result"]
    return 200 if result and any(result["files"].values()) else 409


def by(name: str) -> Callable[[Run, Role, str], int]:
    return lambda run, role, sub: called(name, run, role, sub)[0]


ROUTES: dict[tuple[str, str], Callable[[Run, Role, str], int]] = {
    ("export", "download"): link_of_export,
    ("export", "delete"): by("delete_export"),
    ("import", "download"): link_of_import,
    **{(kind, "download"): by("download_backup") for kind in ("export_backup", "export_logs")},
    **{(kind, "delete"): by("delete_backup") for kind in ("export_backup", "export_logs")},
    **{(kind, "pin"): by("pin_backup") for kind in ("export_backup", "export_logs")},
    **{(kind, "unpin"): by("unpin_backup") for kind in ("export_backup", "export_logs")},
    **{(kind, "verify"): by("verify_backup") for kind in ("export_backup", "export_logs")},
    **{(kind, "restore"): by("restore_backup") for kind in ("export_backup", "export_logs")},
    ("restore", "revert"): by("revert_restore"),
    **{(kind, "compare"): by("compare_backup") for kind in ("export_backup", "export_logs")},
    **{(kind, "cancel"): by("cancel_job") for kind in KINDS},
    **{(kind, "retry"): by("retry_job") for kind in KINDS},
}


@pytest.mark.long(but=["export", "import", "export_backup", "verify", "compare", "restore"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_job_offers_an_action_if_its_route_does_it(kind: str, here: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOWAGE_BACKUPS_PER_MINUTE", "100000")
    from stowage.settings import settings

    settings.cache_clear()
    offered: set[str] = set()
    for state in STATES:
        for role, sub in CALLERS:
            run = put(kind, state, "me")
            actions = called("get_job", run, role, sub)[1]["data"]["actions"]
            assert actions == [name for name in ACTIONS if name in actions], "in the order of the table"
            offered |= set(actions)
            if role == "viewer":
                assert actions == []
                continue
            for action in ACTIONS:
                if (kind, action) not in ROUTES:
                    assert action not in actions, f"{kind} offers {action}, which no route does"
                    continue
                status = ROUTES[kind, action](run, role, sub)
                assert (status < 400) == (action in actions), (state, role, sub, action, status)
                assert status in (200, 202, 204, 302, 403, 409, 410), (state, role, sub, action, status)
                if status in (202, 204) or action in ("pin", "unpin"):  # it has changed the run
                    run = put(kind, state, "me")
    assert offered == set(KINDS[kind].actions), "each action of the kind is possible in some state"


def test_a_request_is_shown_to_who_may_send_such_a_one(here: Cloud) -> None:
    run = put("export_backup", "failed", "ada")
    table.update(run.pk, run.sk, {"request": json.dumps({"format": "tar", "storage_path": "x"})})
    table.update(run.pk, run.sk, {"error": {"code": "schema_missing", "message": "It is not there."}})
    told = {role: called("get_job", run, role, "me")[1]["data"] for role in ("viewer", "operator", "admin")}  # type: ignore[arg-type]
    assert [told[role]["request"] for role in told] == [None, None, {"format": "tar", "storage_path": "x"}]
    assert {job["error_code"] for job in told.values()} == {"schema_missing"}
    assert {job["trigger"] for job in told.values()} == {"manual"}


def test_a_call_for_several_jobs_retries_no_restore(here: Cloud) -> None:
    """Each replaces what a tenant has, so each is looked at by itself."""
    restore, export = put("restore", "cancelled", "me"), put("export", "failed", "me")
    found = change_jobs(BulkRequest(action="retry", ids=[restore.id, export.id]), ADMIN, None, NOW)
    assert [(each.status, each.code) for each in found.results] == [("error", "confirm_required"), ("success", None)]
    assert read_run("acme", restore.id).status == "cancelled"
    assert called("retry_job", restore, "admin", "me")[0] == 202


def test_what_a_caller_can_not_change_does_not_fill_a_call(here: Cloud) -> None:
    mine, theirs = (
        Run(
            id=new_run_id(NOW), tenant="acme", kind="export", database="main", spec=SPECS["export"],
            requested_by=sub, created_at=rfc3339(NOW),
        )
        for sub in ("me", "they")
    )  # fmt: skip
    for run in (mine, theirs):
        create_run(run, NOW, [])
    operator = replace(ADMIN, role="operator")
    request = BulkRequest(action="cancel", filter=BulkFilter(status="pending"))
    found = change_jobs(request, operator, ["acme"], NOW)
    assert ([each.id for each in found.results], found.remaining) == ([mine.id], 0)
    assert read_run("acme", theirs.id).status == "pending"


def test_an_empty_name_of_a_tenant_means_not_every_tenant(here: Cloud) -> None:
    run = put("export", "completed", "me")
    assert called("list_jobs", run, "admin", "me", project_id="")[0] == 200, "the token's only tenant"
    caller = CallerContext(
        now=NOW,
        source_ip="",
        base_url="",
        method="GET",
        path="",
        headers={},
        identity=replace(ADMIN, tenants=frozenset("*")),
    )
    assert caller.tenant_ids(None) is None
    with pytest.raises(BadRequestError):
        caller.tenant_ids("")
    with pytest.raises(BadRequestError):
        caller.tenants_spanned("")
