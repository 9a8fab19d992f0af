"""The audit log as a backup: every entry, or those asked for, and nothing of other tenants."""

import json
from typing import Any

import pytest
import requests

from tests.conftest import Api
from tests.stack.route_surface import ended_job, fields, refusal

type Json = Any


def stored(api: Api, tenant: str, **more: Json) -> tuple[Json, bytes]:
    """The job of a log that was asked for, and the file."""
    answer = api.post("/api/backup/export-logs", json={"project_id": tenant, **more})
    assert answer.status_code == 202, answer.text
    job = ended_job(api, answer.json()["data"]["id"])
    assert (job["type"], job["status"]) == ("export_logs", "completed"), job
    link = api.get(job["result"]["download_path"], allow_redirects=False).headers["location"]
    return job, requests.get(link, timeout=30).content


def entries(api: Api, tenant: str) -> list[Json]:
    """Every entry of the audit log, oldest first."""
    found: list[Json] = []
    cursor = ""
    while True:
        page = api.get(f"/api/v1/audit?project_id={tenant}&limit=100{cursor}").json()
        found += page["data"]
        if page["next_cursor"] is None:
            return found[::-1]
        cursor = f"&cursor={page['next_cursor']}"


def test_the_audit_log_is_stored_whole_or_in_part_as_a_backup(admin: Api, other: Api) -> None:
    made = admin.post("/api/v1/tasks", json={"title": "odd \n \u2028 text"}, headers={"X-Tenant-Id": "acme_x"})
    assert made.status_code == 201, made.text
    known = {each["seq"]: each for each in entries(admin, "acme_x")}
    job, file = stored(admin, "acme_x")
    told = {each["seq"]: each for each in json.loads(file)}
    assert known.keys() <= told.keys()
    for seq, entry in known.items():
        assert [told[seq][name] for name in ("actor", "type", "entity")] == [
            entry[name] for name in ("actor", "type", "entity")
        ]
    assert list(told) == sorted(told)

    backup = admin.get(f"/api/backup/{job['id']}").json()["data"]
    assert (backup["type"], backup["rows"], backup["manifest"]["rows"]) == ("logs", len(told), len(told))
    assert backup["size_bytes"] == len(file)
    listed = admin.get("/api/backup?project_id=acme_x&limit=1").json()
    assert listed["data"][0]["type"] == "logs"
    assert job["actions"] == ["download", "delete"]
    refusal(admin.post(f"/api/backup/{job['id']}/verify", json={}), 409, "not_supported")
    refusal(other.get(f"/api/backup/{job['id']}"), 404, "not_found")

    newest = json.loads(stored(admin, "acme_x", max_entries=2)[1])
    assert len(newest) == 2
    assert newest[0]["seq"] >= max(told) - 1
    seq = max(known)
    day = {"from": known[seq]["at"]}
    _, text = stored(admin, "acme_x", format="text", date_range=day)
    lines = text.decode().split("\n")[:-1]
    assert [line for line in lines if line.startswith(f"{seq} ") and f'type="{known[seq]["type"]}"' in line]
    assert all(int(line.split()[0]) >= min(known) for line in lines)
    assert json.loads(stored(admin, "acme_x", date_range={"to": "2001-01-01"})[1]) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"format": "csv"}, "format"),
        ({"max_entries": 0}, "max_entries"),
        ({"date_range": {"from": "x"}}, "date_range.from"),
        ({"date_range": {"from": "2026-02-01", "to": "2026-01-01"}}, "date_range"),
        ({"date_range": {"until": "2026-02-01"}}, "date_range.until"),
        ({"storage_path": "../globex"}, "storage_path"),
        ({"notify": True}, "notify"),
    ],
)
def test_what_is_wrong_with_a_request_is_named(body: Json, field: str, admin: Api) -> None:
    answer = admin.post("/api/backup/export-logs", json={"project_id": "acme_x", **body})
    assert fields(refusal(answer, 400, "invalid_request")) == [field]
