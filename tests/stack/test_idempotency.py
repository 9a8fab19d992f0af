"""The same request with the same Idempotency-Key is carried out once, and answered as it was the first time."""

import threading
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.conftest import Api, RunningStack
from tests.stack.route_surface import caller, completed_export, ended_export, export_body, refusal, sign

TENANT = "initech"
EXPORTS = f"/api/guilds/{TENANT}/exports"
BACKUPS = "/api/backup/export"


def key() -> dict[str, str]:
    return {"idempotency-key": str(uuid4())}


def total(api: Api, tenant: str = TENANT) -> int:
    return int(api.get(f"/api/guilds/{tenant}/exports?limit=1").json()["pagination"]["total"])


def backups(api: Api) -> int:
    return int(api.get(f"/api/backup?project_id={TENANT}&limit=1").json()["total"])


def test_a_repeated_export_is_the_first_one(admin: Api) -> None:
    headers, before = key(), total(admin)
    first = admin.post(EXPORTS, json=export_body(), headers=headers)
    again = admin.post(EXPORTS, json=export_body(), headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["retry-after"] == first.headers["retry-after"]
    assert total(admin) == before + 1


def test_a_repetition_costs_no_quota(stack: RunningStack) -> None:
    with caller(stack, tenants=[TENANT], role="operator") as one:
        headers = key()
        remaining = [
            one.post(EXPORTS, json=export_body(), headers=headers).headers["ratelimit-remaining"] for _ in "ab"
        ]
        assert remaining[0] == remaining[1]
        quota = one.get(EXPORTS).json()["quota"]["standard"]
        assert quota["remaining"] == quota["limit"] - 1


def test_a_repetition_is_known_however_its_json_is_written(admin: Api) -> None:
    headers = key() | {"content-type": "application/json"}
    one = admin.post(EXPORTS, data='{"format":"csv","mode":"all","dataType":"brands"}', headers=headers)
    two = admin.post(EXPORTS, data='{ "dataType": "brands",\n"mode": "all", "format": "csv" }', headers=headers)
    assert one.status_code == 202
    assert two.json() == one.json()


def test_a_repetition_after_the_end_gives_the_first_answer(admin: Api) -> None:
    headers = key()
    first = admin.post(EXPORTS, json=export_body(), headers=headers).json()
    completed_export(admin, TENANT)
    again = admin.post(EXPORTS, json=export_body(), headers=headers).json()
    assert again == first
    assert again["status"] == "pending"


def test_either_mount_knows_the_key(admin: Api) -> None:
    headers = key()
    first = admin.post(EXPORTS, json=export_body(), headers=headers)
    again = admin.post(EXPORTS.replace("/api/", "/api/v1/"), json=export_body(), headers=headers)
    assert again.json() == first.json()


@pytest.mark.parametrize("change", [{"format": "json"}, {"filters": {"platform": "x"}}, {"filename": "x"}], ids=str)
def test_another_body_with_the_same_key_is_a_mismatch(change: dict[str, Any], admin: Api) -> None:
    headers = key()
    first = admin.post(EXPORTS, json=export_body(), headers=headers).json()
    before = total(admin)
    refusal(admin.post(EXPORTS, json=export_body(**change), headers=headers), 409, "idempotency_mismatch")
    assert total(admin) == before
    assert admin.post(EXPORTS, json=export_body(), headers=headers).json() == first


@pytest.mark.parametrize("length", [1, 255])
def test_a_key_has_up_to_255_characters(length: int, stack: RunningStack) -> None:
    with caller(stack, tenants=[TENANT]) as one:
        headers = {"idempotency-key": "k" * length}
        answers = [one.post(EXPORTS, json=export_body(), headers=headers).json()["id"] for _ in range(2)]
        assert answers[0] == answers[1]


@pytest.mark.parametrize("value", ["", "k" * 256])
@pytest.mark.parametrize(("route", "body"), [(EXPORTS, export_body()), (BACKUPS, {"project_id": TENANT})])
def test_a_key_of_another_length_is_refused(value: str, route: str, body: dict[str, Any], admin: Api) -> None:
    before = total(admin), backups(admin)
    refusal(admin.post(route, json=body, headers={"idempotency-key": value}), 400, "invalid_idempotency_key")
    assert (total(admin), backups(admin)) == before


def test_a_key_is_the_callers_own(stack: RunningStack, admin: Api, operator: Api) -> None:
    headers = key()
    ids = {api.post(EXPORTS, json=export_body(), headers=headers).json()["id"] for api in (admin, operator)}
    assert len(ids) == 2


def test_a_key_is_the_tenants_own(admin: Api) -> None:
    headers = key()
    ids = {
        admin.post(f"/api/guilds/{tenant}/exports", json=export_body(), headers=headers).json()["id"]
        for tenant in ("initech", "acme2")
    }
    assert len(ids) == 2
    jobs = {
        admin.post(BACKUPS, json={}, headers=headers | {"x-tenant-id": tenant}).json()["data"]["job_id"]
        for tenant in ("initech", "acme_x")
    }
    assert len(jobs) == 2


def test_a_key_is_the_routes_own(admin: Api) -> None:
    headers = key() | {"x-tenant-id": TENANT}
    export = admin.post(EXPORTS, json=export_body(), headers=headers)
    backup = admin.post(BACKUPS, json={}, headers=headers)
    assert (export.status_code, backup.status_code) == (202, 202)
    assert export.json()["id"] != backup.json()["data"]["job_id"]


def test_a_repeated_backup_is_the_first_one(admin: Api) -> None:
    headers, before = key(), backups(admin)
    first = admin.post(BACKUPS, json={"project_id": TENANT}, headers=headers)
    again = admin.post(BACKUPS, json={"project_id": TENANT}, headers=headers)
    assert first.status_code == 202
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    other = admin.post(BACKUPS, json={"project_id": TENANT, "format": "tar"}, headers=headers)
    refusal(other, 409, "idempotency_mismatch")
    assert backups(admin) == before + 1


def test_a_refusal_is_not_kept(stack: RunningStack, admin: Api) -> None:
    headers = key()
    refusal(admin.post(EXPORTS, json=export_body(format="doc"), headers=headers), 400, "invalid_request")
    refusal(admin.post(EXPORTS, json=export_body(dataType="x"), headers=headers), 400, "unknown_data_type")
    accepted = admin.post(EXPORTS, json=export_body(), headers=headers)
    assert accepted.status_code == 202
    refusal(admin.post(BACKUPS, json={"project_id": TENANT, "format": "zip"}, headers=headers), 400, "invalid_request")
    assert admin.post(BACKUPS, json={"project_id": TENANT}, headers=headers).status_code == 202


def test_a_forbidden_request_leaves_the_key_to_whoever_may(stack: RunningStack) -> None:
    headers = key()
    with caller(stack, sub="same@example.com", role="viewer", tenants=[TENANT]) as low:
        refusal(low.post(EXPORTS, json=export_body(), headers=headers), 403, "role_too_low")
    with caller(stack, sub="same@example.com", role="operator", tenants=[TENANT]) as high:
        assert high.post(EXPORTS, json=export_body(), headers=headers).status_code == 202


@pytest.mark.parametrize(
    ("route", "body"), [(EXPORTS, export_body()), (BACKUPS, {"project_id": TENANT})], ids=["export", "backup"]
)
def test_requests_at_the_same_moment_make_one_run(
    route: str, body: dict[str, Any], stack: RunningStack, admin: Api
) -> None:
    counted = total if route == EXPORTS else backups
    before = counted(admin)
    headers = key() | {"authorization": f"Bearer {sign(stack, tenants=[TENANT])}"}
    answers: list[requests.Response] = []
    gate = threading.Barrier(6)

    def send() -> None:
        gate.wait()
        answers.append(requests.post(stack.api_url + route, json=body, headers=headers, timeout=30))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(admin) == before + 1
    # One that met the other half-way may be told to come again; whoever got an answer got the same.
    assert {answer.status_code for answer in answers} <= {202, 409, 503}
    assert len({answer.text for answer in answers if answer.status_code == 202}) == 1
    again = requests.post(stack.api_url + route, json=body, headers=headers, timeout=30)
    assert again.text == next(answer.text for answer in answers if answer.status_code == 202)


def test_a_deleted_export_is_not_made_again(admin: Api) -> None:
    headers = key()
    first = admin.post(EXPORTS, json=export_body(), headers=headers).json()
    admin.post(f"{EXPORTS}/{first['id']}/cancel")
    ended_export(admin, first["id"], TENANT)
    assert admin.delete(f"{EXPORTS}/{first['id']}").status_code == 200
    before = total(admin)
    assert admin.post(EXPORTS, json=export_body(), headers=headers).json() == first
    assert total(admin) == before
