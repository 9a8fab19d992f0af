"""Backups that verify themselves, and again by hand: the job, what it proves, to whom it is shown, who may ask."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import Api, RunningStack
from tests.stack.route_surface import (
    UNKNOWN_RUN,
    audited,
    caller,
    change_run,
    completed_export,
    database_full,
    ended_job,
    fields,
    read_job,
    refusal,
    start_backup,
)

TENANT = "acme_x"
CHECKS = ["file", "checksum", "compression", "end", "schema", "rows"]


@pytest.fixture(scope="module")
def backups(stack: RunningStack) -> Iterator[dict[str, str]]:
    """A completed backup of each format."""
    with Api(stack.api_url, stack.tokens["admin"]) as api:
        ids = {format_: start_backup(api, TENANT, format=format_) for format_ in ("sql", "tar", "custom")}
        for each in ids.values():
            assert ended_job(api, each, 120)["status"] == "completed"
        yield ids


def url(backup_id: str) -> str:
    return f"/api/backup/{backup_id}/verify"


def read_backup(api: Api, backup_id: str) -> Any:
    return api.get(f"/api/backup/{backup_id}").json()["data"]


@pytest.mark.long(but=["sql", "custom"])
@pytest.mark.parametrize("dump_format", ["sql", "tar", "custom"])
def test_a_backup_is_verified_and_shows_it(
    dump_format: str, backups: dict[str, str], stack: RunningStack, admin: Api, viewer: Api
) -> None:
    backup_id = backups[dump_format]
    before = read_backup(admin, backup_id)
    first, found = before["verification"], before["manifest"]["facts"]
    assert (first["level"], first["ok"], found["verification"]) == (2, True, first), "it has verified itself"
    assert found["checks"] == [{"name": name, "ok": True, "message": None} for name in CHECKS]
    answer = admin.post(url(backup_id), json={"level": 2})
    assert answer.status_code == 202
    asked = answer.json()["data"]
    assert answer.headers["location"] == f"/api/jobs/{asked['id']}"
    assert (asked["type"], asked["status"], asked["project_id"], asked["result"]) == ("verify", "pending", TENANT, None)

    job = ended_job(viewer, asked["id"], 60)
    assert (job["status"], job["last_error"], job["attempts"]) == ("completed", None, 1)
    result = job["result"]
    assert set(result) == {"backup_id", "level", "at", "ok", "checks"}
    assert (result["backup_id"], result["level"], result["ok"]) == (backup_id, 2, True)
    assert result["checks"] == [{"name": name, "ok": True, "message": None} for name in CHECKS]
    assert job["progress"]["rows"] == before["rows"]
    proof = {"level": 2, "at": result["at"], "ok": True}
    assert read_backup(viewer, backup_id) == before | {"verification": proof}
    listed = viewer.get(f"/api/backup?project_id={TENANT}&limit=100").json()["data"]
    assert [each["verification"] for each in listed if each["id"] == backup_id] == [proof]
    assert asked["id"] not in [each["id"] for each in listed]

    entries = {entry["type"]: entry for entry in audited(stack, TENANT, asked["id"], "verify.completed")}
    assert entries["verify.requested"]["actor"] == "admin@example.com"
    assert entries["verify.completed"]["after"]["verification"] == proof
    timeline = viewer.get(f"/api/jobs/{asked['id']}/timeline").json()["data"]
    assert timeline["manifest"]["facts"]["checks"] == result["checks"]
    assert [stage["stage"] for stage in timeline["stages"]][-2:] == ["recording", "completed"]


@pytest.mark.parametrize("body", [None, "", "{}"])
def test_level_2_is_what_is_done_where_none_is_named(body: str | None, backups: dict[str, str], admin: Api) -> None:
    answer = admin.post(url(backups["sql"]), data=body, headers={"content-type": "application/json"})
    assert answer.status_code == 202, answer.text
    assert ended_job(admin, answer.json()["data"]["id"], 60)["result"]["level"] == 2


def runs_of(api: Api) -> int:
    return len(api.get(f"/api/jobs?type=verify&project_id={TENANT}&limit=100").json()["data"])


BAD: list[tuple[Any, str, str]] = [
    ({"level": 1}, "level", "invalid_request"),
    ({"level": 4}, "level", "invalid_request"),
    ({"level": "2"}, "level", "invalid_request"),
    ({"level": True}, "level", "invalid_request"),
    ({"level": None}, "level", "invalid_request"),
    ({"levels": 2}, "levels", "invalid_request"),
    ({"level": 2, "project_id": "globex"}, "project_id", "invalid_request"),
]


@pytest.mark.parametrize(("body", "field", "code"), BAD, ids=str)
def test_another_level_is_refused_in_words(
    body: Any, field: str, code: str, backups: dict[str, str], admin: Api
) -> None:
    before = runs_of(admin)
    assert fields(refusal(admin.post(url(backups["sql"]), json=body), 400, code)) == [field]
    assert runs_of(admin) == before


def test_only_admins_of_the_tenant_have_a_backup_verified(
    backups: dict[str, str], viewer: Api, operator: Api, other: Api, anonymous: Api, admin: Api
) -> None:
    before = runs_of(admin)
    for api, status, code in (
        (viewer, 403, "role_too_low"),
        (operator, 403, "role_too_low"),
        (other, 404, "not_found"),
        (anonymous, 401, "unauthenticated"),
    ):
        refusal(api.post(url(backups["sql"])), status, code)
    assert runs_of(admin) == before


def test_what_is_no_backup_is_not_verified(backups: dict[str, str], admin: Api) -> None:
    export = completed_export(admin, TENANT, dataType="brands")["id"]
    verification = admin.post(url(backups["sql"])).json()["data"]["id"]
    for each in (export, verification, UNKNOWN_RUN, "x"):
        refusal(admin.post(url(each)), 404, "not_found")
    refusal(admin.get(f"/api/backup/{verification}"), 404, "not_found")
    refusal(admin.get(f"/api/backup/{verification}/download", allow_redirects=False), 404, "not_found")
    assert ended_job(admin, verification, 60)["status"] == "completed"


def test_a_backup_without_a_file_is_not_verified(stack: RunningStack, admin: Api, dynamodb: Any) -> None:
    with database_full(stack, dynamodb):
        waiting = start_backup(admin, "initech")
        refusal(admin.post(url(waiting)), 409, "not_completed")
        assert admin.post(f"/api/jobs/{waiting}/cancel").status_code == 202
        refusal(admin.post(url(waiting)), 409, "not_completed")
    job = ended_job(admin, start_backup(admin, "initech"))
    change_run(stack, dynamodb, "initech", job["id"], expired_at=job["completed_at"])
    refusal(admin.post(url(job["id"])), 410, "expired")


def test_the_same_request_again_makes_no_second_job(backups: dict[str, str], admin: Api) -> None:
    headers = {"idempotency-key": str(uuid4())}
    first, again = (admin.post(url(backups["sql"]), headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    refusal(admin.post(url(backups["tar"]), headers=headers), 409, "idempotency_mismatch")
    assert ended_job(admin, first.json()["data"]["id"], 60)["status"] == "completed"


def test_an_answer_tells_how_many_are_left_in_the_minute(backups: dict[str, str], stack: RunningStack) -> None:
    with caller(stack, tenants=[TENANT]) as api:
        answer = api.post(url(backups["sql"]))
        assert answer.status_code == 202
        limit, remaining = (int(answer.headers[f"ratelimit-{name}"]) for name in ("limit", "remaining"))
        assert 0 <= remaining < limit
        refused = api.post(url(backups["sql"]), json={"level": 7})
        assert int(refused.headers["ratelimit-remaining"]) <= remaining
        assert ended_job(api, answer.json()["data"]["id"], 60)["status"] == "completed"


def test_a_verification_is_listed_and_followed_as_any_job(backups: dict[str, str], admin: Api) -> None:
    job_id = admin.post(url(backups["sql"])).json()["data"]["id"]
    listed = admin.get(f"/api/jobs?type=verify&project_id={TENANT}").json()["data"]
    assert listed[0]["id"] == job_id
    assert ended_job(admin, job_id, 60)["progress"]["percent"] == 100
    refusal(admin.post(f"/api/jobs/{job_id}/cancel"), 409, "already_finished")
    refusal(admin.post(f"/api/jobs/{job_id}/retry"), 409, "not_retryable")
    assert read_job(admin, job_id)["status"] == "completed"
