"""An export's life: made quickly, fetched by its link, cancelled, deleted, expired; each step stands in the journal."""

import io
import json
import threading
import time
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import requests

from tests.conftest import Api, RunningStack
from tests.stack.route_surface import (
    audited,
    caller,
    change_run,
    completed_export,
    database_full,
    ended_export,
    let_expire,
    locked,
    objects_of,
    read_export,
    refusal,
    start_export,
    tick,
    wait_until,
)


def follow(url: str, **options: Any) -> requests.Response:
    """Ask for a link without any credentials, not going where it leads."""
    return requests.get(url, allow_redirects=False, timeout=20, **options)


def test_a_hundred_rows_can_be_downloaded_within_two_seconds(admin: Api) -> None:
    completed_export(admin)
    began = time.monotonic()
    record = start_export(admin)
    while (record := read_export(admin, record["id"]))["status"] != "completed":
        assert record["status"] in ("pending", "processing")
        time.sleep(0.02)
    file = requests.get(record["downloadUrl"], timeout=20).content
    took = time.monotonic() - began
    assert file.count(b"\r\n") >= record["recordCount"] == 97
    assert took < 2, f"{took:.2f} s"


def test_a_completed_export_tells_all_about_its_file(admin: Api) -> None:
    record = completed_export(admin)
    assert (record["recordCount"], record["progress"], record["errorMessage"]) == (97, 100, None)
    completed, expires = (datetime.fromisoformat(record[name]) for name in ("completedAt", "expiresAt"))
    assert expires - completed == timedelta(hours=24)
    assert record["completedAt"] >= record["createdAt"]


def test_a_link_is_absolute_and_needs_no_credentials(stack: RunningStack, admin: Api) -> None:
    record = completed_export(admin)
    assert record["downloadUrl"].startswith(f"{stack.api_url}/api/downloads/")
    answer = follow(record["downloadUrl"])
    assert (answer.status_code, answer.headers["cache-control"], answer.content) == (302, "no-store", b"")
    file = requests.get(answer.headers["location"], timeout=20)
    assert file.status_code == 200
    assert file.content.startswith(b"id,")
    # Storage's own link is signed at that moment: the next one is another, and the first still works.
    assert requests.get(answer.headers["location"], timeout=20).content == file.content


def test_head_follows_a_link_as_get_does_and_fetches_nothing(admin: Api, stack: RunningStack) -> None:
    record = completed_export(admin, "initech", filename="Übersicht")
    redirect = requests.head(record["downloadUrl"], timeout=20)
    assert (redirect.status_code, redirect.content) == (302, b"")
    file = requests.get(record["downloadUrl"], timeout=20)
    for answer in (
        requests.head(record["downloadUrl"], allow_redirects=True, timeout=20),
        requests.head(redirect.headers["location"], timeout=20),
    ):
        assert (answer.status_code, answer.content) == (200, b"")
        for name in ("content-length", "content-type", "etag"):
            assert answer.headers[name] == file.headers[name]
    entries = audited(stack, "initech", record["id"], "export.downloaded")
    assert sum(entry["type"] == "export.downloaded" for entry in entries) == 1, "the one GET"
    assert requests.get(redirect.headers["location"], timeout=20).status_code == 403
    assert requests.head(record["downloadUrl"] + "A", timeout=20).status_code == 404


@pytest.mark.parametrize("bom", [True, False])
def test_a_csv_begins_with_a_mark_where_it_is_asked_for(admin: Api, bom: bool) -> None:
    record = completed_export(admin, "initech", bom=bom)
    data = requests.get(record["downloadUrl"], timeout=20).content
    assert data.startswith(b"\xef\xbb\xbfid," if bom else b"id,")


def test_every_csv_of_a_gdpr_export_begins_with_a_mark(admin: Api) -> None:
    record = completed_export(admin, "initech", dataType="gdpr", bom=True)
    with zipfile.ZipFile(io.BytesIO(requests.get(record["downloadUrl"], timeout=20).content)) as archive:
        assert all(archive.read(name).startswith(b"\xef\xbb\xbf") for name in archive.namelist())


@pytest.mark.parametrize(("format", "bom"), [("xlsx", True), ("json", True), ("csv", "yes"), ("csv", None)])
def test_only_a_csv_has_a_mark(admin: Api, format: str, bom: Any) -> None:
    body = {"format": format, "mode": "all", "dataType": "users", "bom": bom}
    for path in ("exports", "exports/estimate"):
        answer = admin.post(f"/api/guilds/initech/{path}", json=body)
        assert (answer.status_code, [detail["field"] for detail in answer.json()["details"]]) == (400, ["bom"])


@pytest.mark.parametrize(
    ("filename", "disposition"),
    [
        ("report", 'attachment; filename="report.csv"'),
        ("Übersicht 💾", f"attachment; filename=\"_bersicht _.csv\"; filename*=UTF-8''{quote('Übersicht 💾.csv')}"),
        ('say "hi"', f"attachment; filename=\"say _hi_.csv\"; filename*=UTF-8''{quote('say "hi".csv')}"),
        ("100%; a=b", 'attachment; filename="100%; a=b.csv"'),
    ],
)
def test_a_download_carries_the_files_name(filename: str, disposition: str, admin: Api) -> None:
    record = completed_export(admin, "initech", filename=filename)
    assert requests.get(record["downloadUrl"], timeout=20).headers["content-disposition"] == disposition


def test_viewers_see_an_export_but_no_link(admin: Api, viewer: Api) -> None:
    record = completed_export(admin)
    seen = read_export(viewer, record["id"])
    assert seen == record | {"downloadUrl": None}
    listed = viewer.get("/api/guilds/acme2/exports?limit=100").json()["exports"]
    assert {entry["downloadUrl"] for entry in listed} == {None}


def test_a_link_that_was_tampered_with_is_none(stack: RunningStack, admin: Api) -> None:
    record, sibling = completed_export(admin, "initech"), completed_export(admin, "initech")
    token = record["downloadUrl"].rpartition("/")[2]
    other = sibling["downloadUrl"].rpartition("/")[2]
    half = len(token) // 2
    for forged in (
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        ("A" if token[0] != "A" else "B") + token[1:],
        token[:43] + other[43:],
        token[:half] + token[half + 4 :],
        token + "A",
        token + "=",
        token + ".",
        token[:half] + "." + token[half:],
        token[::-1],
        "A",
        "~" + token,
        "nonsense",
    ):
        answer = follow(f"{stack.api_url}/api/downloads/{forged}")
        refusal(answer, 404, "link_not_found")
        assert "location" not in answer.headers
    assert follow(record["downloadUrl"]).status_code == 302


def test_a_deleted_export_is_gone_with_record_file_and_links(stack: RunningStack, admin: Api, s3: Any) -> None:
    record = completed_export(admin)
    url = f"/api/guilds/acme2/exports/{record['id']}"
    storage = follow(record["downloadUrl"]).headers["location"]
    assert len(objects_of(s3, stack, "ExportsBucket", record["id"])) == 2
    answer = admin.delete(url)
    assert (answer.status_code, answer.json()) == (200, {"success": True, "id": record["id"]})
    refusal(admin.get(url), 404, "not_found")
    refusal(admin.get(f"{url}/progress"), 404, "not_found")
    refusal(admin.get(f"/api/jobs/{record['id']}"), 404, "not_found")
    refusal(admin.delete(url), 404, "not_found")
    refusal(follow(record["downloadUrl"]), 404, "link_not_found")
    assert requests.get(storage, timeout=20).status_code in (403, 404)
    assert objects_of(s3, stack, "ExportsBucket", record["id"]) == []
    listed = admin.get("/api/guilds/acme2/exports?limit=100").json()["exports"]
    assert record["id"] not in [entry["id"] for entry in listed]


def test_an_operator_deletes_and_cancels_his_own_exports_only(
    stack: RunningStack, operator: Api, dynamodb: Any
) -> None:
    with database_full(stack, dynamodb), caller(stack, role="operator") as owner:
        record = start_export(owner)
        url = f"/api/guilds/acme2/exports/{record['id']}"
        refusal(operator.post(f"{url}/cancel"), 403, "not_your_run")
        refusal(operator.post(f"/api/jobs/{record['id']}/cancel"), 403, "not_your_run")
        assert read_export(owner, record["id"])["status"] == "pending"
        assert owner.post(f"{url}/cancel").status_code == 202
        refusal(operator.delete(url), 403, "not_your_run")
        refusal(operator.post(f"/api/jobs/{record['id']}/retry"), 403, "not_your_run")
        assert read_export(owner, record["id"])["status"] == "cancelled"
        assert owner.delete(url).status_code == 200


def test_an_admin_deletes_anybodys_export(stack: RunningStack, admin: Api, operator: Api) -> None:
    record = completed_export(operator, "initech")
    assert admin.delete(f"/api/guilds/initech/exports/{record['id']}").status_code == 200


def test_a_waiting_export_is_cancelled_at_once(stack: RunningStack, admin: Api, dynamodb: Any, s3: Any) -> None:
    with database_full(stack, dynamodb):
        record = start_export(admin)
        url = f"/api/guilds/acme2/exports/{record['id']}"
        refusal(admin.delete(url), 409, "still_running")
        answer = admin.post(f"{url}/cancel")
        assert answer.status_code == 202
        cancelled = answer.json()
        assert (cancelled["id"], cancelled["status"]) == (record["id"], "cancelled")
        assert cancelled["completedAt"] is not None
        progress = admin.get(f"{url}/progress").json()
        assert (progress["status"], progress["pollAfterMs"]) == ("cancelled", None)
        refusal(admin.post(f"{url}/cancel"), 409, "already_finished")
    assert read_export(admin, record["id"]) == cancelled
    assert objects_of(s3, stack, "ExportsBucket", record["id"]) == []
    audited(stack, "acme2", record["id"], "export.requested", "export.cancelled")


def test_a_running_export_is_not_deleted_but_can_be_cancelled(
    stack: RunningStack, admin: Api, database: psycopg.Connection, s3: Any
) -> None:
    with locked(database, "acme_x", "tasks"):
        record = start_export(admin, "acme_x", dataType="tasks")
        url = f"/api/guilds/acme_x/exports/{record['id']}"
        wait_until(lambda: admin.get(url).json()["status"] == "processing")
        refusal(admin.delete(url), 409, "still_running")
        answer = admin.post(f"{url}/cancel")
        assert answer.status_code == 202
        assert answer.json()["status"] in ("processing", "cancelled")
        began = time.monotonic()
        cancelled = ended_export(admin, record["id"], "acme_x")
        assert cancelled["status"] == "cancelled"
        assert time.monotonic() - began < 5
    refusal(admin.post(f"{url}/cancel"), 409, "already_finished")
    assert (cancelled["downloadUrl"], cancelled["recordCount"], cancelled["expiresAt"]) == (None, None, None)
    assert objects_of(s3, stack, "ExportsBucket", record["id"]) == []
    entries = audited(stack, "acme_x", record["id"], "export.requested", "export.cancel_requested", "export.cancelled")
    assert [entry["actor"] for entry in entries if entry["type"] == "export.cancel_requested"] == ["admin@example.com"]
    assert admin.delete(url).status_code == 200


def test_a_completed_export_cannot_be_cancelled(admin: Api) -> None:
    record = completed_export(admin)
    refusal(admin.post(f"/api/guilds/acme2/exports/{record['id']}/cancel"), 409, "already_finished")
    assert read_export(admin, record["id"]) == record


def test_an_expired_file_is_gone_and_the_record_says_so(
    stack: RunningStack, admin: Api, dynamodb: Any, s3: Any
) -> None:
    record = completed_export(admin)
    soon = moment(datetime.now(UTC) + timedelta(seconds=1))
    change_run(stack, dynamodb, "acme2", record["id"], expires_at=soon, due_at=soon)
    record = read_export(admin, record["id"])
    assert (record["expiresAt"], follow(record["downloadUrl"]).status_code) == (soon, 302)
    time.sleep(1)
    # The link ends with its time, whether or not the clock has come by.
    refusal(follow(record["downloadUrl"]), 410, "expired")
    tick(stack)
    expired = read_export(admin, record["id"])
    assert expired["status"] == "expired"
    assert (expired["downloadUrl"], expired["recordCount"], expired["progress"]) == (None, 97, 100)
    refusal(follow(record["downloadUrl"]), 410, "expired")
    assert objects_of(s3, stack, "ExportsBucket", record["id"]) == []
    progress = admin.get(f"/api/guilds/acme2/exports/{record['id']}/progress").json()
    assert (progress["status"], progress["pollAfterMs"]) == ("expired", None)
    job = admin.get(f"/api/jobs/{record['id']}").json()["data"]
    assert (job["status"], job["result"]["expired"]) == ("completed", True)
    assert admin.get(f"/api/jobs/{record['id']}/timeline").json()["data"]["stages"][-1]["stage"] == "expired"
    audited(stack, "acme2", record["id"], "export.expired")
    refusal(admin.post(f"/api/guilds/acme2/exports/{record['id']}/cancel"), 409, "already_finished")
    assert admin.delete(f"/api/guilds/acme2/exports/{record['id']}").status_code == 200
    refusal(follow(record["downloadUrl"]), 404, "link_not_found")


def test_every_view_calls_a_file_expired_before_the_clock_has_come_by(
    stack: RunningStack, admin: Api, dynamodb: Any
) -> None:
    record = completed_export(admin)
    url = f"/api/guilds/acme2/exports/{record['id']}"
    known = admin.get(f"{url}/progress").headers["etag"]
    expired_at = let_expire(stack, dynamodb, "acme2", record["id"])

    shown = read_export(admin, record["id"])
    assert (shown["status"], shown["downloadUrl"], shown["expiresAt"]) == ("expired", None, expired_at)
    listed = admin.get("/api/guilds/acme2/exports?limit=100").json()["exports"]
    assert [entry for entry in listed if entry["id"] == record["id"]] == [shown]
    polled = admin.get(f"{url}/progress", headers={"if-none-match": known})
    assert (polled.status_code, polled.json()["status"], polled.json()["pollAfterMs"]) == (200, "expired", None)
    again = admin.get(f"{url}/progress", headers={"if-none-match": polled.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    stream = admin.get(f"{url}/progress", headers={"accept": "text/event-stream"}).text
    [event] = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]
    assert (event["status"], event["downloadUrl"]) == ("expired", None)
    job = admin.get(f"/api/jobs/{record['id']}").json()["data"]
    assert (job["status"], job["result"]["expired"]) == ("completed", True)
    [of_list] = [each for each in admin.get("/api/jobs?project_id=acme2").json()["data"] if each["id"] == job["id"]]
    assert of_list == job
    timeline = admin.get(f"/api/jobs/{record['id']}/timeline").json()["data"]
    assert {"stage": "expired", "at": expired_at, "attempt": None} in timeline["stages"]
    assert timeline["manifest"] is None


def moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def test_every_step_of_an_export_stands_in_the_journal(stack: RunningStack, operator: Api) -> None:
    record = completed_export(operator, filters={"platform": "tiktok"}, filename="audit me")
    assert follow(record["downloadUrl"]).status_code == 302
    assert operator.delete(f"/api/guilds/acme2/exports/{record['id']}").status_code == 200
    steps = ("export.requested", "export.completed", "export.downloaded", "export.deleted")
    entries = audited(stack, "acme2", record["id"], *steps)
    assert sorted(entry["type"] for entry in entries) == sorted(steps)
    by_type = {entry["type"]: entry for entry in entries}
    assert by_type["export.requested"]["actor"] == "operator@example.com"
    assert by_type["export.requested"]["after"]["filters"] == {"platform": "tiktok"}
    assert by_type["export.completed"]["actor"] == "stowage"
    assert len(by_type["export.completed"]["after"]["sha256"]) == 64
    assert by_type["export.downloaded"]["actor"] == "link from 127.0.0.1"
    assert by_type["export.deleted"]["actor"] == "operator@example.com"


def test_what_waits_starts_when_a_place_is_free(stack: RunningStack, admin: Api, dynamodb: Any) -> None:
    with database_full(stack, dynamodb):
        records = [start_export(admin, "initech") for _ in range(6)]
        time.sleep(0.5)
        assert {read_export(admin, record["id"], "initech")["status"] for record in records} == {"pending"}
    for record in records:
        assert ended_export(admin, record["id"], "initech")["status"] == "completed"


def test_many_exports_at_once_all_complete(stack: RunningStack, admin: Api) -> None:
    made: list[str] = []

    def start() -> None:
        with caller(stack, tenants=["acme2"]) as one:
            made.append(start_export(one)["id"])

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8
    assert {ended_export(admin, export_id)["recordCount"] for export_id in made} == {97}
