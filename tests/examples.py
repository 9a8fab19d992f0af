"""`make examples`: records answers of the real stack for the API's document, in `docs/examples.json`.

A stack of its own is started, a tenant is made, and a story is told through HTTP in which every route
answers with every status that it declares for a success. The first answer of a route and status is
kept; of a status from 400 on the first of all routes. Whatever differs from run to run (ids, times,
sizes, tokens) is replaced by a value of the same form, so two recordings are equal.
"""

import json
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock
from uuid import UUID

import jwt
import psycopg
import requests

from local.openapi import EXAMPLES
from stowage.entry import upstream
from stowage.postgres.schema.migrations import create_tenant
from stowage.settings import settings
from tests import documented
from tests.conftest import Api, LocalStack, RunningStack, free_ports, make_home
from tests.functions.deployment import handler, sample

type Json = Any

TENANT = "acme"
FINAL = ("completed", "failed", "cancelled", "expired")
REFUSALS = "refusals"
NOBODY = "01a1f7ff-0000-7000-8000-000000000000"

NEW: dict[str, tuple[Json, Json, Json]] = {
    "brands": ({"label": "Northwind Coffee"}, {"label": "Northwind"}, {"label": None}),
    "groups": ({"label": "Creators", "brandId": "brands"}, {"label": "Makers"}, {"label": None}),
    "users": ({"name": "Esther Bauer", "email": "esther@acme.example"}, {"name": "Esther B."}, {"name": None}),
    "accounts": (
        {"username": "leila.notes", "displayName": "Leila Zhang", "platform": "youtube", "brandId": "brands",
         "groupId": "groups", "followers": 1204},
        {"followers": 1250},
        {"platform": "radio"},
    ),
    "posts": (
        {"accountId": "accounts", "url": "https://youtube.example/watch/1", "caption": "Small batch, big plans"},
        {"likes": 42},
        {"likes": "many"},
    ),
    "tasks": (
        {"title": "Call the printer", "priority": "high", "assignee": "users"},
        {"status": "in_progress"},
        {"priority": "soon"},
    ),
}  # fmt: skip
"""Of each entity: a record's fields (a reference names the entity whose first record it means), a change, a mistake."""


class Recorder:
    """Keeps the answers of a story."""

    def __init__(self, stack: RunningStack, tenant: str) -> None:
        self.answers: dict[str, dict[str, Json]] = {REFUSALS: {}}
        self.stack, self.tenant = stack, tenant
        self._callers = {role: Api(stack.api_url, self.token(role)) for role in ("viewer", "operator", "admin")}
        self._callers["nobody"] = Api(stack.api_url, None)

    def token(self, role: str) -> str:
        claims = {"sub": f"{role}@acme.example", "role": role, "tenants": [self.tenant], "exp": int(time.time()) + 3600}
        return str(jwt.encode(claims, self.stack.signing_key, algorithm="HS256"))

    def call(
        self, method: str, path: str, body: Json = None, role: str = "admin", refused: int = 0, **options: Any
    ) -> Json:
        """The body of an answer, which is kept if it is the first of its kind; a refusal only if it is to be one."""
        if body is not None:
            options["json"] = body
        response = self._callers[role].request(method, path, allow_redirects=False, **options)
        status = response.status_code
        assert status == refused or (status < 400 and not refused), response.text
        self.keep(method, path, status, response.text, response.headers.get("content-type", ""))
        return response.json() if response.content else None

    def keep(self, method: str, path: str, status: int, text: str, media_type: str = "application/json") -> None:
        found = documented.find(method.lower(), path.partition("?")[0])
        if media_type != "application/json" or not text or found is None:
            return
        place = REFUSALS if status >= 400 else f"{method} {found.path}"
        self.answers.setdefault(place, {}).setdefault(str(status), json.loads(text))

    def ended(self, path: str) -> Json:
        """A run once it has ended: a job, or an export's record."""
        return self._once(path, lambda run: run["status"] in FINAL)

    def begun(self, path: str) -> Json:
        """The same once it is under way."""
        return self._once(path, lambda run: run["status"] != "pending")

    def _once(self, path: str, reached: Callable[[Json], bool]) -> Json:
        deadline = time.monotonic() + 60
        while True:
            answer = self._callers["admin"].get(path).json()
            run = answer.get("data", answer)
            if reached(run):
                return run
            assert time.monotonic() < deadline, run
            time.sleep(0.05)

    def close(self) -> None:
        for caller in self._callers.values():
            caller.close()


type Part = Callable[[Recorder], None]


def record(stack: RunningStack, tenant: str, parts: Iterable[Part]) -> dict[str, Json]:
    """The answers of these parts of the story, cleaned, by route and status. The tenant exists and is empty."""
    recorder = Recorder(stack, tenant)
    try:
        for part in parts:
            part(recorder)
    finally:
        recorder.close()
    names = {stack.api_url: "https://stowage.example.com", stack.aws_url: "https://s3.us-east-1.amazonaws.com"}
    return {
        route: {status: Cleaner({**names, tenant: TENANT}).clean(answers[status]) for status in sorted(answers)}
        for route, answers in sorted(recorder.answers.items())
    }


def sign_in(told: Recorder) -> None:
    told.call("POST", "/api/session", {"token": told.token("admin")}, role="nobody")
    told.call("GET", "/api/v1/me")
    told.call("GET", "/api/v1/tenants")
    told.call("GET", "/api/v1/health", role="nobody")
    told.call("GET", "/api/v1/entities")
    told.call("GET", "/api/v1/attention")
    told.call("GET", "/api/v1/audit?limit=2")
    made = told.call("POST", "/api/v1/api-keys", {"name": "Nightly import", "role": "operator"})
    told.call("GET", "/api/v1/api-keys")
    told.call("DELETE", f"/api/v1/api-keys/{made['id']}")


def records(told: Recorder) -> None:
    first: dict[str, str] = {}
    for entity, (fields, change, mistake) in NEW.items():
        route = f"/api/v1/{entity}"
        given = {name: first.get(value, value) if name != "label" else value for name, value in fields.items()}
        first[entity] = told.call("POST", route, given)["data"]["id"]
        told.call("GET", f"{route}/{first[entity]}")
        told.call("PATCH", f"{route}/{first[entity]}", change)
        told.call("GET", f"{route}?limit=2")
        told.call("GET", f"{route}/{first[entity]}/history")
        others = [_numbered(given, n) for n in range(2, 6)]
        options = {"skipInvalid": True, "returnFailures": True}
        items = told.call(
            "POST", f"/api/v1/import/{entity}", {"items": [*others, others[0] | mistake], "options": options}
        )
        ids = [item["id"] for item in items["data"]["items"]]
        told.call("PATCH", f"/api/v1/bulk/{entity}", {"updates": [{"id": ids[0], **_numbered(change, 6)}]})
        told.call(
            "PATCH",
            f"/api/v1/bulk/{entity}",
            {"updates": [{"id": i, **_numbered(change, 7)} for i in (ids[0], "none")]},
        )
        told.call("DELETE", f"{route}/{ids[1]}")
        told.call(
            "POST", "/api/v1/batch", {"requests": [{"id": "first", "method": "GET", "path": f"/{entity}/{ids[0]}"}]}
        )
        told.call("GET", f"/api/v1/stream/{entity}")
        told.call("POST", "/api/v1/graphql", {"query": f"{{ {entity}(limit: 1) {{ edges {{ node {{ id }} }} }} }}"})
        told.call("POST", f"/api/v1/bulk/{entity}/delete", {"ids": [ids[2]]})
        told.call("POST", f"/api/v1/bulk/{entity}/delete", {"ids": [ids[3], "none"]})
        _import_a_file(told, entity, _numbered(given, 8))


def _numbered(fields: Json, number: int) -> Json:
    """The same where what must be unique among records has that number."""
    unique = {"label": "{} {}", "email": "{}.{}", "username": "{}{}", "url": "{}{}"}
    return {name: unique[name].format(value, number) if name in unique else value for name, value in fields.items()}


def _import_a_file(told: Recorder, entity: str, fields: Json) -> None:
    data = (json.dumps(fields) + "\n").encode()
    asked = {"filename": f"{entity}.ndjson", "size": len(data), "type": "ndjson"}
    made = told.call("POST", f"/api/v1/import/{entity}/file", asked)["data"]
    form = made["upload"]
    requests.post(form["url"], data=form["fields"], files={"file": data}, timeout=30).raise_for_status()
    told.call("POST", f"/api/v1/import/{entity}/file/{made['id']}/start", {})
    run = told.ended(f"/api/jobs/{made['id']}")
    assert run["status"] == "completed", run


def exports(told: Recorder) -> None:
    route = f"/api/guilds/{told.tenant}/exports"
    asked = sample("create_export")["body"]
    body = json.loads(asked) | {"filters": {"platform": "youtube"}}
    told.call("POST", f"{route}/estimate", body)
    made = told.call("POST", route, body)
    told.ended(f"{route}/{made['id']}")
    told.call("GET", f"{route}/{made['id']}")
    told.call("GET", f"{route}/{made['id']}/progress")
    told.call("GET", f"{route}?page=1&limit=20")
    with _held(told):
        slow = told.call("POST", route, body | {"format": "xlsx"})
        told.begun(f"{route}/{slow['id']}")
        told.call("POST", f"{route}/{slow['id']}/cancel")
        told.ended(f"{route}/{slow['id']}")
    told.call("DELETE", f"{route}/{slow['id']}")


@contextmanager
def _held(told: Recorder) -> Iterator[None]:
    """While this lasts no run comes to its end by itself: what it stores is not taken."""
    delay = {"delay": 5, "times": 20, "service": "s3"}
    told.stack.faults(*({"operation": name} | delay for name in ("PutObject", "CreateMultipartUpload", "UploadPart")))
    try:
        yield
    finally:
        told.stack.faults()


def edits_and_trash(told: Recorder) -> None:
    guild = f"/api/guilds/{told.tenant}"
    first, *_, last = (brand["id"] for brand in told.call("GET", "/api/v1/brands")["data"])
    account = {"displayName": "Noah Kim", "platform": "instagram", "brandId": first}
    made = [told.call("POST", "/api/v1/accounts", account | {"username": f"noah{n}"})["data"]["id"] for n in range(5)]
    told.call("POST", "/api/v1/posts", {"accountId": made[0], "url": "https://instagram.example/1"})
    moved = told.call("POST", f"{guild}/bulk/reassign", {"ids": made[:2], "targetBrandId": last})
    told.call("POST", f"{guild}/bulk/undo", {"operationId": moved["operationId"]})
    moved = told.call("POST", f"{guild}/bulk/reassign", {"ids": made[2:4], "targetBrandId": last})
    told.call("PATCH", f"/api/v1/accounts/{made[3]}", {"brandId": first})
    told.call("POST", f"{guild}/bulk/undo", {"operationId": moved["operationId"]})  # 207: changed since
    told.call("POST", f"{guild}/bulk/reassign", {"ids": [made[2], "none"], "targetBrandId": last})
    told.call("POST", f"{guild}/bulk/delete", {"ids": made[:3], "dataType": "accounts"})
    told.call("POST", f"{guild}/bulk/delete", {"ids": [made[3], "none"], "dataType": "accounts"})
    told.call("GET", f"{guild}/trash?type=accounts&page=1&limit=3")
    told.call("POST", f"{guild}/trash/{made[0]}/restore", {"dataType": "accounts", "onConflict": "rename"})
    told.call("POST", f"{guild}/trash/{made[1]}", {"dataType": "accounts"})
    told.call("DELETE", f"{guild}/trash/{made[2]}?dataType=accounts")
    told.call("DELETE", f"{guild}/trash/{made[2]}?dataType=accounts", refused=410)
    told.call("GET", f"{guild}/bulk/operations?page=1&limit=3")


def backups(told: Recorder) -> None:
    told.call("POST", "/api/backup/estimate", {"project_id": told.tenant})
    job = told.call("POST", "/api/backup/export", {"project_id": told.tenant, "format": "sql"})["data"]["job_id"]
    told.ended(f"/api/jobs/{job}")
    told.call("GET", f"/api/jobs/{job}")
    told.call("GET", f"/api/jobs/{job}/timeline")
    backup = told.call("GET", f"/api/backup?project_id={told.tenant}")["data"][0]["id"]
    told.call("POST", f"/api/backup/{backup}/pin")
    told.call("POST", f"/api/backup/{backup}/unpin")
    verify = told.call("POST", f"/api/backup/{backup}/verify", {"level": 2})["data"]["id"]
    told.ended(f"/api/jobs/{verify}")
    account = told.call("GET", "/api/v1/accounts?limit=1")["data"][0]["id"]
    told.call("PATCH", f"/api/v1/accounts/{account}", {"displayName": "Old, do not use"})
    compared = told.call("POST", f"/api/backup/{backup}/compare", {"entities": ["accounts"]})["data"]["id"]
    told.ended(f"/api/jobs/{compared}")
    told.call("GET", f"/api/backup/compare/{compared}?entity=accounts&kind=changed")
    wanted = {"entity": "accounts", "ids": [account, "none"]}
    told.call("POST", f"/api/backup/compare/{compared}/bring-back", wanted)
    told.call("POST", f"/api/backup/compare/{compared}/bring-back", {"entity": "accounts", "ids": [account]})
    asked = {"project_id": told.tenant, "backup_id": backup, "mode": "in_place", "confirm": told.tenant}
    restore = told.call("POST", "/api/backup/restore", asked)["data"]["id"]
    told.ended(f"/api/jobs/{restore}")
    told.call("GET", f"/api/jobs/{restore}")
    revert = told.call("POST", f"/api/backup/restore/{restore}/revert")["data"]["id"]
    told.ended(f"/api/jobs/{revert}")
    told.call("GET", f"/api/backup/{backup}")
    logs = told.call("POST", "/api/backup/export-logs", {"project_id": told.tenant, "format": "json"})
    told.ended(f"/api/jobs/{logs['data']['id']}")
    told.call("GET", f"/api/jobs?project_id={told.tenant}&limit=2")
    told.call("GET", f"/api/jobs/stats?project_id={told.tenant}&days=1")
    with _held(told):
        slow = told.call("POST", "/api/backup/export", {"project_id": told.tenant})["data"]["job_id"]
        told.begun(f"/api/jobs/{slow}")
        told.call("POST", f"/api/jobs/{slow}/cancel")
        told.ended(f"/api/jobs/{slow}")
    told.call("POST", "/api/jobs/bulk", {"action": "cancel", "ids": [slow]})
    told.call("POST", "/api/jobs/bulk", {"action": "cancel", "filter": {"project_id": told.tenant}})
    told.call("POST", f"/api/jobs/{slow}/retry")
    told.ended(f"/api/jobs/{slow}")
    told.call("GET", f"/api/backup/stats?project_id={told.tenant}")
    told.call("GET", "/api/backup/protection")
    nightly = {"schedule": {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "window_minutes": 120}, "format": "sql"}
    told.call("POST", f"/api/backup/settings/preview?project_id={told.tenant}", nightly)
    told.call("PUT", f"/api/backup/settings?project_id={told.tenant}", nightly)
    told.call("POST", f"/api/backup/settings/test?project_id={told.tenant}", {"notify": {"email": ["ops@example.com"]}})
    told.call("GET", f"/api/backup/settings?project_id={told.tenant}")
    told.call("DELETE", f"/api/backup/{slow}?force=true")


def refusals(told: Recorder) -> None:
    task = {"title": "Order paper"}
    made = told.call("POST", "/api/v1/tasks", task)["data"]["id"]
    told.call("POST", "/api/v1/tasks", {"priority": "soon", "owner": "me"}, refused=400)
    told.call("GET", "/api/v1/me", role="nobody", refused=401)
    told.call("POST", "/api/v1/tasks", task, role="viewer", refused=403)
    told.call("GET", f"/api/jobs/{NOBODY}", refused=404)
    told.call("POST", "/api/v1/graphql", {"query": "{ __typename }"}, headers={"accept": "text/html"}, refused=406)
    told.call("POST", "/api/v1/brands", {"label": "Northwind"}, refused=409)
    told.call("PATCH", f"/api/v1/tasks/{made}", task, headers={"If-Match": '"0"'}, refused=412)
    told.call("POST", "/api/v1/tasks", data=b"title=x", headers={"content-type": "text/plain"}, refused=415)
    told.call("POST", "/api/v1/tasks", {"title": "x" * 4_600_000}, refused=413)


def refusals_of_a_busy_stack(told: Recorder) -> None:
    exports = f"/api/guilds/{told.tenant}/exports"
    for refused in (0, 0, 0, 429):
        told.call("POST", exports, {"format": "csv", "mode": "all", "dataType": "gdpr"}, refused=refused)
    for status, name in ((503, "ThrottlingException"), (500, "ValidationException")):
        body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{name}", "message": "As asked."})
        told.stack.faults({"service": "dynamodb", "operation": "Query", "times": 99, "status": 400, "body": body})
        told.call("GET", exports, refused=status)
    told.stack.faults()


def upstream_refusals(told: Recorder) -> None:
    """What a handler with a backend answers that is not there, and that says nothing."""
    [port] = free_ports(1)
    event = sample("list_trash")
    with (
        mock.patch.dict("os.environ", STOWAGE_BACKEND_API_URL=f"http://127.0.0.1:{port}"),
        mock.patch.object(upstream, "ANSWER_SECONDS", 0.2),
    ):
        settings.cache_clear()
        _keep_answer(told, event)
        with socket.create_server(("127.0.0.1", port)):
            _keep_answer(told, event)
    settings.cache_clear()


def _keep_answer(told: Recorder, event: Json) -> None:
    answer = handler("list_trash")(event, None)
    told.keep("GET", event["rawPath"], answer["statusCode"], answer["body"])


STORY: tuple[Part, ...] = (sign_in, records, exports, edits_and_trash, backups, refusals)
AND_ALONE: tuple[Part, ...] = (refusals_of_a_busy_stack, upstream_refusals)
"""Parts that use up a quota, disturb others, or set variables of this process."""

_DAY = "2026-03-02"
_MOMENTS = {
    "started_at": f"{_DAY}T09:00:01.000Z", "ended_at": f"{_DAY}T09:00:09.000Z", "completed_at": f"{_DAY}T09:00:09.000Z",
    "completedAt": f"{_DAY}T09:00:09.000Z", "updatedAt": f"{_DAY}T09:05:00.000Z", "resetAt": "2026-03-03T00:00:00.000Z",
    "expiresAt": "2026-03-03T09:00:09.000Z", "expires_at": "2026-04-01T09:00:09.000Z",
}  # fmt: skip
_VALUES: Json = {
    "cursor": "WyIxIiwidGFza3MiLDQyLCJvcF8wMTkzNDc2ZTVhMDA3YzNhOWIxZTJmNmQ4YzRiNzAwMCJd",
    "bytes": 18_432, "size_bytes": 4127, "source_bytes": 18_432, "duration_ms": 2150, "median_ms": 2150, "seconds": 2.1,
    "cost_usd": 0.000144, "age_seconds": 28, "sizes": 4127,
    "fingerprint": "bb6793a668e7131914e97041fbfb45ef28de8f5c239ba484b42d9686c44f3115",
    "crc32": "sdkgHg==", "sha256": "72a0fec8146d7a44d835f075a98bfc2df8a9c92ea54417331ab076498e7036eb",
    "client_version": "18.4", "server_version": "18.4",
    "policy": "eyJleHBpcmF0aW9uIjogIjIwMjYtMDMtMDJUMTA6MDA6MDBaIn0=",
    "x-amz-signature": "b559b0a668802f939bd4d4c71b2b098b3e9a4b710559c89b1c2f25c4a3a1d0e7",
}  # fmt: skip
"""By the name of a field: what a run takes, what a file weighs, what is signed."""
_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<=_)[0-9a-f]{32}\b|(?<=_)[0-9a-f]{24}\b"
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_KEY_ID = re.compile(r"[0-9A-Za-z]{9}")
_PARTS_OF_NAMES = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), f"{_DAY}T09:00:00.000Z"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z"), f"{_DAY}T090000Z"),
    (re.compile(r"\d{4}-\d\d-\d\d"), _DAY),
    (re.compile(r"\d{8}T\d{6}Z"), "20260302T090000Z"),
    (re.compile(r"(?<=local/)\d{8}"), "20260302"),
    (re.compile(r"(?<=stw_)[0-9A-Za-z]{48}"), "4fzyo82mVq7TbYx0LkP3sW9dHn2RcJ5aGuE8iZt1oXvB6M"),
    (re.compile(r"(?<=stw_)[0-9A-Za-z]{9}(?![0-9A-Za-z])"), "4fzyo82mV"),
    (re.compile(r"(?<=/api/downloads/).+"), "RtfreRcNAJL5ilJ8hfXhFCPPUPGv9Oh08cbWumOFLjJbImFjbWUiXQ"),
)


class Cleaner:
    """Replaces what differs from run to run; an id is replaced by the same one wherever an answer has it."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._ids: dict[str, str] = {}

    def clean(self, part: Json, name: str = "") -> Json:
        match part:
            case {"remaining": _, "resetAt": _}:
                return {"limit": 10, "remaining": 9, "resetAt": _MOMENTS["resetAt"]}
            case {"progress": float(), "status": "processing"}:
                cleaned = {key: self.clean(value, key) for key, value in part.items()}
                return cleaned | {"recordCount": None, "progress": 40.0}
            case {"stage": _, "message": "Cancelling." | "Connecting." | "Estimating." | "Copying."}:
                return {"stage": "copying", "percent": 40.0, "bytes": 8192, "rows": 17, "message": "Cancelling."}
            case {"lane": _, "rows": _}:  # an estimate, from the database's statistics
                return {key: 43 if key == "rows" else self.clean(value, key) for key, value in part.items()}
            case dict():
                return {key: self.clean(value, key) for key, value in part.items()}
            case [{"seq": int()}, *_]:  # newest first; notes of runs come in between when they come
                return [self.clean(each | {"seq": len(part) - n}) for n, each in enumerate(part)]
            case list():
                return [self.clean(value, name) for value in part]
            case _ if name in _VALUES and (part or (name == "age_seconds" and part is not None)):
                return _VALUES[name]
            case str():
                return self._text(part, name)
        return part

    def _text(self, text: str, name: str) -> str:
        if _MOMENT.fullmatch(text):
            return _MOMENTS.get(name, f"{_DAY}T09:00:00.000Z")
        if name == "id" and _KEY_ID.fullmatch(text):
            return "4fzyo82mV"
        for name_here, public in self._names.items():
            text = text.replace(name_here, public)
        text = _ID.sub(lambda found: self._ids.setdefault(found[0], _numbered_id(len(self._ids), found[0])), text)
        for pattern, stable in _PARTS_OF_NAMES:
            text = pattern.sub(stable, text)
        return text


def _numbered_id(number: int, shape: str) -> str:
    made = UUID(int=UUID("0193476e-5a00-7c3a-9b1e-2f6d8c4b7000").int + number)
    return str(made) if "-" in shape else made.hex[-len(shape) :]


def start() -> LocalStack:
    """A stack as deployments have it by default, without tenants, not started yet."""
    return LocalStack(
        make_home(),
        STOWAGE_PARAMETER_ExportsPerDay="10",
        STOWAGE_PARAMETER_GdprExportsPerDay="3",
        STOWAGE_PARAMETER_RetrySeconds="1",
    )


def text_of(answers: dict[str, Json]) -> str:
    """What is committed."""
    return json.dumps(answers, ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    local = start()
    try:
        stack = local.start("up", "--no-sample")
        with psycopg.connect(stack.database_url, autocommit=True) as database:
            create_tenant(database, TENANT, TENANT, "Acme Social")
        stack.invoke("CopyRegistryFunction")
        answers = record(stack, TENANT, STORY + AND_ALONE)
    finally:
        local.stop()
        shutil.rmtree(local.home, ignore_errors=True)
    EXAMPLES.write_text(text_of(answers))


if __name__ == "__main__":
    main()
