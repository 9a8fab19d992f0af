"""A backup's life: made, found in the history, shown with its manifest, fetched whole, expired."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.conftest import Api, RunningStack
from tests.stack.route_surface import (
    audited,
    caller,
    change_run,
    completed_export,
    database_full,
    ended_job,
    fields,
    objects_of,
    read_job,
    refusal,
    start_backup,
    start_export,
    tick,
)

TENANT = "acme_x"
KINDS = [(kind, compress) for kind in ("sql", "tar", "custom") for compress in (True, False)]


@pytest.fixture(scope="module")
def made(stack: RunningStack) -> Iterator[dict[tuple[str, bool], dict[str, Any]]]:
    """The jobs of one completed backup of each format, compressed and not, in the order of their requests."""
    with Api(stack.api_url, stack.tokens["admin"]) as api:
        ids = {
            kind: start_backup(api, TENANT, format=kind[0], compress=kind[1], storage_path="/nightly/")
            for kind in KINDS
        }
        yield {kind: ended_job(api, job_id, 120) for kind, job_id in ids.items()}


@pytest.mark.long(but=["('sql', True)", "('tar', False)", "('custom', True)"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_file_that_is_downloaded_is_the_one_that_was_made(
    kind: tuple[str, bool], made: dict[tuple[str, bool], dict[str, Any]], admin: Api
) -> None:
    dump_format, compress = kind
    job = made[kind]
    assert (job["status"], job["last_error"]) == ("completed", None)
    result = job["result"]
    assert set(result) == {"backup_id", "file_name", "size_bytes", "sha256", "download_path"}
    answer = admin.get(result["download_path"], allow_redirects=False)
    assert (answer.status_code, answer.headers["cache-control"], answer.content) == (302, "no-store", b"")
    file = requests.get(answer.headers["location"], timeout=60)
    assert "x-amz-expires=900" in answer.headers["location"].lower()
    assert file.headers["content-disposition"] == f'attachment; filename="{result["file_name"]}"'
    assert hashlib.sha256(file.content).hexdigest() == result["sha256"]
    assert len(file.content) == result["size_bytes"]
    extension = {"sql": "sql", "tar": "tar", "custom": "dump"}[dump_format]
    assert result["file_name"].endswith(f".{extension}.gz" if compress else f".{extension}")
    dump = gzip.decompress(file.content) if compress else file.content
    match dump_format:
        case "sql":
            assert b"CREATE SCHEMA tenant_acme_x" in dump
            assert b"PostgreSQL database dump complete" in dump
        case "tar":
            with tarfile.open(fileobj=io.BytesIO(dump)) as archive:
                assert "toc.dat" in archive.getnames()
        case "custom":
            assert dump.startswith(b"PGDMP")


@pytest.mark.long(but=["('sql', True)", "('tar', False)", "('custom', True)"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_backup_is_shown_with_the_manifest_that_proves_it(
    kind: tuple[str, bool], made: dict[tuple[str, bool], dict[str, Any]], viewer: Api
) -> None:
    job = made[kind]
    response = viewer.get(f"/api/backup/{job['id']}")
    assert response.status_code == 200
    backup = response.json()["data"]
    assert set(backup) >= {
        "id", "job_id", "project_id", "type", "format", "compressed", "status", "trigger", "size_bytes", "sha256",
        "file_name", "storage_key", "tables", "rows", "duration_ms", "created_at", "completed_at", "expires_at",
        "verification", "destinations", "manifest",
    }  # fmt: skip
    assert (backup["id"], backup["job_id"], backup["project_id"]) == (job["id"], job["id"], TENANT)
    assert (backup["type"], backup["status"], backup["trigger"]) == ("database", "completed", "manual")
    assert (backup["format"], backup["compressed"]) == kind
    assert backup["storage_key"].startswith(f"{TENANT}/nightly/{job['id']}/1/")
    assert backup["destinations"] == [{"type": "s3", "status": "stored", "ref": backup["storage_key"]}]
    kept = datetime.fromisoformat(backup["expires_at"]) - datetime.fromisoformat(backup["completed_at"])
    assert kept == timedelta(days=30)
    assert backup["duration_ms"] > 0
    manifest = backup["manifest"]
    for name in ("sha256", "size_bytes", "rows", "file_name"):
        assert manifest[name] == backup[name], name
    assert (manifest["run"], manifest["tenant"], manifest["key"]) == (job["id"], TENANT, backup["storage_key"])
    assert manifest["contents"]["table_count"] == backup["tables"] >= 6
    assert backup["rows"] > 500


def test_a_history_is_in_pages_newest_first(made: dict[tuple[str, bool], dict[str, Any]], admin: Api) -> None:
    url = f"/api/backup?project_id={TENANT}"
    whole = admin.get(f"{url}&limit=100").json()
    ids = [backup["id"] for backup in whole["data"]]
    assert ids[: len(made)] == [job["id"] for job in made.values()][::-1]
    assert (whole["total"], whole["limit"], whole["offset"], whole["has_more"]) == (len(ids), 100, 0, False)
    paged: list[str] = []
    while True:
        page = admin.get(f"{url}&limit=4&offset={len(paged)}").json()
        assert (page["total"], page["limit"], page["offset"]) == (len(ids), 4, len(paged))
        paged += [backup["id"] for backup in page["data"]]
        if not page["has_more"]:
            break
    assert paged == ids
    beyond = admin.get(f"{url}&offset={len(ids)}").json()
    assert (beyond["data"], beyond["has_more"]) == ([], False)
    [shown] = [backup for backup in whole["data"] if backup["id"] == ids[0]]
    detail = admin.get(f"/api/backup/{ids[0]}").json()["data"]
    assert shown == {name: detail[name] for name in shown}


def test_a_history_can_be_asked_for_one_status(
    stack: RunningStack, made: dict[tuple[str, bool], dict[str, Any]], admin: Api, dynamodb: Any
) -> None:
    url = f"/api/backup?project_id={TENANT}&limit=100"
    with database_full(stack, dynamodb):
        job_id = start_backup(admin, TENANT)
        pending = admin.get(f"{url}&status=pending").json()
        assert [backup["id"] for backup in pending["data"]] == [job_id]
        assert pending["data"][0]["size_bytes"] is None
        assert admin.post(f"/api/jobs/{job_id}/cancel").status_code == 202
    assert admin.get(f"{url}&status=pending").json()["total"] == 0
    assert job_id in [backup["id"] for backup in admin.get(f"{url}&status=cancelled").json()["data"]]
    completed = admin.get(f"{url}&status=completed").json()
    assert {backup["status"] for backup in completed["data"]} == {"completed"}
    assert completed["total"] == len(completed["data"]) >= len(made)
    by_status = [admin.get(f"{url}&status={status}").json()["total"] for status in
                 ("pending", "running", "completed", "failed", "cancelled", "expired")]  # fmt: skip
    assert sum(by_status) == admin.get(url).json()["total"]


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("offset=-1", "offset"), (f"offset={10**30}", "offset"),
     ("status=done", "status"), ("page=1", "page"), ("limit=x", "limit")],
)  # fmt: skip
def test_a_page_out_of_bounds_is_refused(query: str, field: str, admin: Api) -> None:
    body = refusal(admin.get(f"/api/backup?project_id={TENANT}&{query}"), 400, "invalid_request")
    assert fields(body) == [field]


def test_only_admins_fetch_a_backup(
    made: dict[tuple[str, bool], dict[str, Any]], viewer: Api, operator: Api, anonymous: Api
) -> None:
    url = made["sql", True]["result"]["download_path"]
    for api, status, code in (
        (viewer, 403, "role_too_low"),
        (operator, 403, "role_too_low"),
        (anonymous, 401, "unauthenticated"),
    ):
        answer = api.get(url, allow_redirects=False)
        refusal(answer, status, code)
        assert "location" not in answer.headers


def test_every_download_is_audited(
    stack: RunningStack, made: dict[tuple[str, bool], dict[str, Any]], admin: Api
) -> None:
    job = made["tar", False]
    assert admin.get(job["result"]["download_path"], allow_redirects=False).status_code == 302
    steps = ("export_backup.requested", "export_backup.completed", "export_backup.downloaded")
    entries = {entry["type"]: entry for entry in audited(stack, TENANT, job["id"], *steps)}
    assert entries["export_backup.requested"]["actor"] == "admin@example.com"
    assert entries["export_backup.completed"]["after"]["sha256"] == job["result"]["sha256"]
    assert entries["export_backup.downloaded"]["actor"] == "admin@example.com"
    assert entries["export_backup.downloaded"]["after"] == {"source_ip": "127.0.0.1"}


def test_an_unfinished_backup_has_no_file_and_no_manifest(stack: RunningStack, admin: Api, dynamodb: Any) -> None:
    with database_full(stack, dynamodb):
        job_id = start_backup(admin, TENANT)
        refusal(admin.get(f"/api/backup/{job_id}/download", allow_redirects=False), 409, "not_completed")
        backup = admin.get(f"/api/backup/{job_id}").json()["data"]
        assert (backup["status"], backup["manifest"], backup["destinations"]) == ("pending", None, [])
        assert read_job(admin, job_id)["result"] is None
        assert admin.post(f"/api/jobs/{job_id}/cancel").status_code == 202
        refusal(admin.get(f"/api/backup/{job_id}/download", allow_redirects=False), 409, "not_completed")


def test_an_expired_backup_is_shown_without_its_file(stack: RunningStack, admin: Api, dynamodb: Any, s3: Any) -> None:
    """Retention lets it go, because it is old and a newer one is verified."""
    job = ended_job(admin, start_backup(admin, "initech"))
    newer = ended_job(admin, start_backup(admin, "initech"))
    ended = (datetime.now(UTC) - timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    change_run(stack, dynamodb, "initech", job["id"], completed_at=ended)
    url = "/api/backup/settings?project_id=initech"
    wanted = {"retention": {"days": 1, "min_keep": 1}}
    try:
        plan = admin.post("/api/backup/settings/preview?project_id=initech", json=wanted).json()["data"]["retention"]
        assert [each["id"] for each in plan["kept"]][:1] == [newer["id"]]
        gone = {each["id"]: each["reason"] for each in plan["deleted"]}
        assert gone[job["id"]] == "older than 1 day"
        assert admin.put(url, json=wanted).json()["data"]["retention"]["days"] == 1
        for _ in range(2):
            tick(stack)
    finally:
        assert admin.put(url, json={}).json()["data"]["retention"] == {
            "days": 30, "min_keep": 3, "daily": 0, "weekly": 0, "monthly": 0
        }  # fmt: skip
    refusal(admin.get(job["result"]["download_path"], allow_redirects=False), 410, "expired")
    backup = admin.get(f"/api/backup/{job['id']}").json()["data"]
    assert (backup["status"], backup["manifest"], backup["destinations"]) == ("expired", None, [])
    assert backup["sha256"] == job["result"]["sha256"]
    assert objects_of(s3, stack, "BackupsBucket", job["id"]) == []
    listed = admin.get("/api/backup?project_id=initech&status=expired").json()["data"]
    assert [entry["status"] for entry in listed if entry["id"] == job["id"]] == ["expired"]
    completed = admin.get("/api/backup?project_id=initech&status=completed&limit=100").json()["data"]
    assert job["id"] not in [entry["id"] for entry in completed]
    audited(stack, "initech", job["id"], "export_backup.expired")


def test_a_pinned_backup_stays_until_it_is_unpinned(stack: RunningStack, admin: Api, operator: Api, other: Api) -> None:
    job_id = ended_job(admin, start_backup(admin, "initech"))["id"]
    url = f"/api/backup/{job_id}"
    for verb in ("pin", "unpin"):
        refusal(operator.post(f"{url}/{verb}"), 403, "role_too_low")
        refusal(other.post(f"{url}/{verb}"), 404, "not_found")
    refusal(admin.post(f"{url}/unpin"), 409, "not_pinned")
    pinned = admin.post(f"{url}/pin").json()["data"]
    assert (pinned["pinned"], pinned["expires_at"]) == (True, None)
    refusal(admin.post(f"{url}/pin"), 409, "pinned")
    for forced in ("", "?force=true"):
        refusal(admin.delete(url + forced), 409, "pinned")
    assert admin.get(url).json()["data"]["status"] == "completed"
    shown = admin.post(f"{url}/unpin").json()["data"]
    assert shown["pinned"] is False
    assert shown["expires_at"] is not None
    assert admin.delete(f"{url}?force=true").status_code == 204
    audited(stack, "initech", job_id, "export_backup.pinned", "export_backup.unpinned", "export_backup.deleted")


def test_an_export_is_no_backup(admin: Api) -> None:
    export = start_export(admin, "initech")
    refusal(admin.get(f"/api/backup/{export['id']}"), 404, "not_found")
    refusal(admin.get(f"/api/backup/{export['id']}/download", allow_redirects=False), 404, "not_found")


def test_a_backup_is_deleted_for_good_by_admins_of_its_tenant(
    stack: RunningStack, admin: Api, operator: Api, viewer: Api, other: Api, s3: Any
) -> None:
    job_id = ended_job(admin, start_backup(admin, "initech"))["id"]
    url = f"/api/backup/{job_id}"
    before = admin.get("/api/backup?project_id=initech").json()["total"]
    for api, status, code in (
        (viewer, 403, "role_too_low"),
        (operator, 403, "role_too_low"),
        (other, 404, "not_found"),
    ):
        refusal(api.delete(url), status, code)
    assert fields(refusal(admin.delete(f"{url}?force=perhaps"), 400, "invalid_request")) == ["force"]
    assert objects_of(s3, stack, "BackupsBucket", job_id)
    refusal(admin.delete(url), 409, "last_verified")
    answer = admin.delete(f"{url}?force=true")
    assert (answer.status_code, answer.content) == (204, b"")
    refusal(admin.delete(url), 404, "not_found")
    refusal(admin.get(url), 404, "not_found")
    refusal(admin.get(f"/api/jobs/{job_id}"), 404, "not_found")
    page = admin.get("/api/backup?project_id=initech&limit=100").json()
    assert page["total"] == before - 1
    assert job_id not in [backup["id"] for backup in page["data"]]
    versions = s3.list_object_versions(Bucket=stack.resources["BackupsBucket"], Prefix=f"initech/backups/{job_id}/")
    assert ("Versions" in versions, "DeleteMarkers" in versions) == (False, False)
    entries = {entry["type"]: entry for entry in audited(stack, "initech", job_id, "export_backup.deleted")}
    assert entries["export_backup.deleted"]["actor"] == "admin@example.com"


def test_a_backup_is_deleted_only_once_it_has_ended(stack: RunningStack, admin: Api, dynamodb: Any) -> None:
    with database_full(stack, dynamodb):
        job_id = start_backup(admin, "initech")
        refusal(admin.delete(f"/api/backup/{job_id}?force=true"), 409, "still_running")
        assert admin.post(f"/api/jobs/{job_id}/cancel").status_code == 202
    assert admin.delete(f"/api/backup/{job_id}").status_code == 204


def test_an_export_is_not_deleted_as_a_backup(admin: Api) -> None:
    export = completed_export(admin, "initech")
    refusal(admin.delete(f"/api/backup/{export['id']}"), 404, "not_found")
    assert admin.get(f"/api/guilds/initech/exports/{export['id']}").json()["status"] == "completed"


def test_the_statistics_of_backups_are_those_of_the_list(
    stack: RunningStack, made: dict[tuple[str, bool], dict[str, Any]], admin: Api, viewer: Api, other: Api
) -> None:
    url = f"/api/backup/stats?project_id={TENANT}"
    answer = viewer.get(url)
    stats = answer.json()["data"]
    kept = admin.get(f"/api/backup?project_id={TENANT}&limit=100&status=completed").json()["data"]
    assert stats["completed"] == len(kept) >= len(made)
    assert stats["bytes"] == sum(backup["size_bytes"] for backup in kept)
    assert stats["total"] == admin.get(f"/api/backup?project_id={TENANT}").json()["total"]
    newest = {"id": kept[0]["id"], "completed_at": kept[0]["completed_at"], "size_bytes": kept[0]["size_bytes"]}
    assert (stats["last_success"], stats["expiring_soon"]) == (newest, 0)
    assert stats["cost_usd_month"] == round(stats["bytes"] / 2**30 * 0.023, 6)
    again = viewer.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])

    proofs = [stats["last_verified"]["verified_at"], kept[0]["verification"]["at"]]
    assert proofs[0] == proofs[1], "a backup verifies itself"
    verification = admin.post(f"/api/backup/{kept[0]['id']}/verify").json()["data"]
    verified_at = ended_job(admin, verification["id"])["result"]["at"]
    answer = viewer.get(url, headers={"If-None-Match": answer.headers["etag"]})
    verified = answer.json()["data"]["last_verified"]
    assert 0 <= verified.pop("age_seconds") < 300
    assert verified == {
        "id": kept[0]["id"], "completed_at": kept[0]["completed_at"], "verified_at": verified_at
    }  # fmt: skip

    refusal(other.get(url), 404, "tenant_not_found")
    with caller(stack, tenants=[TENANT, "initech"], role="viewer") as both:
        each = [both.get(f"/api/backup/stats?project_id={tenant}").json()["data"] for tenant in (TENANT, "initech")]
        all_of_them = both.get("/api/backup/stats").json()["data"]
        assert all_of_them["total"] == sum(one["total"] for one in each)
        assert all_of_them["bytes"] == sum(one["bytes"] for one in each)
    everywhere = admin.get("/api/backup/stats").json()["data"]
    assert everywhere["completed"] >= all_of_them["completed"]
    assert everywhere["last_verified"]["completed_at"] >= kept[0]["completed_at"]
