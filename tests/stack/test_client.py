"""The Python client and its command on the real API, also where what lies between them loses answers."""

import csv
import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from stowage_client import CursorGoneError, RunFailedError, Stowage, StowageError, command, files, transport
from stowage_client.transport import Transport, path_id
from tests import documented
from tests.stack.office import Office

type Json = Any
type Connect = Callable[..., Stowage]


@pytest.fixture
def connect(office: Office) -> Iterator[Connect]:
    """`connect("operator")`: the client as somebody of that role; every answer is held against the document."""
    made: list[Stowage] = []

    def make(role: str = "admin", url: str = office.stack.api_url, **options: Json) -> Stowage:
        token = str(office.caller(role).headers["authorization"]).removeprefix("Bearer ")
        made.append(Stowage(url, token, office.id, **options))
        if url == office.stack.api_url:
            hooks = made[-1]._transport._api.hooks["response"]
            hooks.append(lambda answer, **_: documented.check(answer.request, answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


class Between(ThreadingHTTPServer):
    """What lies between a client and the API, and is at fault as `faults` says, request after request:
    `cut` hands the request on and loses the answer, `half` gives half of it, `(status, headers)` is an
    answer of its own; None hands on.
    """

    daemon_threads = True

    def __init__(self, api_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api_url = api_url
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.faults: deque[Json] = deque()
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.file, self.tag = b"", '"1"'
        self.sent: list[bytes] = []


class _Handler(BaseHTTPRequestHandler):
    server: Between
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, headers))
        fault = self.server.faults.popleft() if self.server.faults else None
        if isinstance(fault, tuple):
            return self._send(fault[0], fault[1], b'{"error": "Not now.", "code": "rate_limited"}')
        if self.path == "/form":
            self.server.sent.append(body)
            status, given, content = 204, {}, b""
        elif self.path == "/file":
            status, given, content = self._file(headers)
        else:
            handed = {name: value for name, value in headers.items() if name not in ("host", "content-length")}
            answer = requests.request(
                self.command, self.server.api_url + self.path, data=body, headers=handed, timeout=40
            )
            status, given, content = answer.status_code, {}, answer.content
        if fault == "cut":
            self.close_connection = True
            return None
        return self._send(status, given, content, half=fault == "half")

    def _file(self, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        file, tag = self.server.file, self.server.tag
        if headers.get("if-match", tag) != tag:
            return 412, {}, b""
        if "range" not in headers:
            return 200, {"etag": tag}, file
        first = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
        return 206, {"etag": tag, "content-range": f"bytes {first}-{len(file) - 1}/{len(file)}"}, file[first:]

    def _send(self, status: int, headers: dict[str, str], body: bytes, *, half: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        self.close_connection = half

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def between(office: Office) -> Iterator[Between]:
    with Between(office.stack.api_url) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def shell(office: Office, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Json]:
    """`shell("jobs", "acme")`: the command's exit code, output and errors, as an admin."""
    monkeypatch.setenv("STOWAGE_URL", office.stack.api_url)
    token = str(office.caller("admin").headers["authorization"]).removeprefix("Bearer ")
    monkeypatch.setenv("STOWAGE_TOKEN", token)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = command.main(arguments)
        return code, *capsys.readouterr()

    return run


# On the real API


def test_records_bulk_edits_undo_trash_and_audit(connect: Connect, office: Office) -> None:
    stowage = connect("admin")
    assert stowage.me()["tenants"] == [office.id]
    changes = stowage.changes("tasks", follow=False)
    made = stowage.create_many("tasks", [{"id": f"t{n}", "title": f"{n}"} for n in range(130)])
    assert made["created"] == 130
    assert stowage.create("tasks", id="a/b?c", title="odd")["id"] == path_id("a/b?c")
    assert stowage.update("tasks", "a/b?c", status="completed")["title"] == "odd"
    assert [task["id"] for task in stowage.records("tasks", status=["completed"])] == [path_id("a/b?c")]
    assert len({task["id"] for task in stowage.records("tasks", sort="title")}) == 131

    edited = stowage.update_many("tasks", [{"id": "t1", "title": "changed"}, {"id": "none", "title": "x"}])
    assert (edited["updated"], edited["failures"][0]["code"]) == (1, "not_found")
    deleted = stowage.delete_many("tasks", ["t1", "t2"])
    assert {item["id"] for item in stowage.trash("tasks")} == {"t1", "t2"}
    assert stowage.restore_from_trash("tasks", "t2")["id"] == "t2"
    [undone] = stowage.undo(deleted["operationId"])
    assert {each["id"]: each.get("code") for each in undone["results"]} == {"t1": None, "t2": "changed_since"}
    [undone] = stowage.undo(edited["operationId"])
    assert undone["succeeded"] == 1
    assert stowage.record("tasks", "t1")["title"] == "1"
    assert deleted["operationId"] in {each["id"] for each in stowage.operations()}
    with pytest.raises(ValueError, match="comma"):
        next(stowage.records("tasks", title=["a,b"]))
    office.accounts("acc_1")
    assert stowage.reassign(["acc_1"], targetBrandId="brd_2", targetGroupId="grp_2")["succeeded"] == 1
    assert stowage.record("accounts", "acc_1")["brandId"] == "brd_2"
    stowage.delete("tasks", "a/b?c")
    assert next(stowage.history("tasks", "a/b?c"))["type"] == "deleted"

    assert {entry["id"] for entry in stowage.audit(entity="tasks") if entry["id"].startswith("t")} == {
        f"t{n}" for n in range(130)
    }
    told = [(event["type"], event["data"]["id"]) for event in changes if event["data"]]
    assert len([kind for kind, _ in told if kind == "task.created"]) == 131
    assert told[-1] == ("task.deleted", path_id("a/b?c"))
    assert list(stowage.changes("tasks", changes.cursor, follow=False)) == []

    stowage.purge("tasks", "a/b?c")
    assert list(stowage.trash("tasks")) == []

    first, second = stowage.batch(
        [
            {"id": "a", "method": "POST", "path": "/tasks", "body": {"title": "made"}},
            {"id": "b", "method": "GET", "path": "/tasks/$a.id", "dependsOn": ["a"]},
        ]
    )
    assert first["body"] == second["body"]
    answer = stowage.graphql("query($id: ID!) { task(id: $id) { title } }", id=first["body"]["id"])
    assert answer == {"data": {"task": {"title": "made"}}}


def test_a_refusal_is_one_exception_with_its_facts(connect: Connect) -> None:
    with pytest.raises(StowageError, match=r".+") as caught:
        connect("operator").create("tasks", title="x", colour="red")
    error = caught.value
    assert (error.status, error.code, error.details[0]["field"]) == (400, "invalid_request", "colour")
    assert error.request_id
    with pytest.raises(StowageError) as caught:
        connect("viewer").create("tasks", title="x")
    assert (caught.value.status, caught.value.code) == (403, "role_too_low")


def test_changes_wait_and_a_cursor_that_is_too_old_is_told(connect: Connect, office: Office) -> None:
    stowage, writer = connect("viewer"), connect("operator")
    changes = stowage.changes("tasks")
    old = changes.cursor
    timer = threading.Timer(0.5, lambda: [writer.create("tasks", title=title) for title in "ab"])
    timer.start()
    titles = [event["data"]["title"] for _, event in zip(range(2), changes, strict=False) if event["data"]]
    timer.join()
    assert titles == ["a", "b"]
    assert changes.cursor != old
    office.database.execute(
        "DELETE FROM stowage.changes WHERE tenant = %s AND seq = "
        "(SELECT min(seq) FROM stowage.changes WHERE tenant = %s)",
        (office.id, office.id),
    )
    with pytest.raises(CursorGoneError) as caught:
        next(stowage.changes("tasks", old))
    assert caught.value.status == 410


def test_exports_and_imports_of_files(
    connect: Connect, tmp_path: Path, shell: Callable[..., Json], office: Office
) -> None:
    stowage = connect("operator")
    source, told = tmp_path / "in.csv", []
    source.write_text("id,title\r\n" + "".join(f"t{n},Größe {n}\r\n" for n in range(50)))
    job = stowage.start_import("tasks", source, progress=lambda *state: told.append(state))
    assert (stowage.wait(job["id"])["result"] or {})["created"] == 50
    assert told[-1][0] == 100
    with pytest.raises(RunFailedError) as caught:
        stowage.wait(stowage.start_import("tasks", source, type="xlsx")["id"])
    assert (caught.value.run["status"], caught.value.code) == ("failed", caught.value.run["error_code"])
    code, out, _ = shell("import", office.id, "tasks", str(source))  # the ids are taken
    assert (code, json.loads(out)["failed"]) == (1, 50)

    for refused in (stowage.cancel, stowage.retry):
        with pytest.raises(StowageError) as caught_again:
            refused(job["id"])
        assert caught_again.value.status == 409
    assert [tenant["id"] for tenant in stowage.tenants()] == [office.id]
    assert stowage.estimate_export("tasks", ids=["t1", "t7"])["rows"] > 0

    told.clear()
    target = tmp_path / "out.csv"
    export = stowage.export_to(
        target, "tasks", filters={"ids": ["t1", "t7"]}, progress=lambda *state: told.append(state)
    )
    rows = list(csv.DictReader(target.read_text(encoding="utf-8").splitlines()))
    assert {row["title"] for row in rows} == {"Größe 1", "Größe 7"}
    assert export["recordCount"] == 2
    assert told[-1][0] == 100
    assert export["id"] in {each["id"] for each in stowage.exports()}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.csv", "out.csv"]

    code, out, error = shell("export", office.id, "tasks", "--format", "ndjson", "-o", str(tmp_path / "all.ndjson"))
    assert (code, out.strip(), error) == (0, str(tmp_path / "all.ndjson"), "")
    assert len((tmp_path / "all.ndjson").read_text().splitlines()) == 50
    code, _, error = shell("export", office.id, "tasks", "--filter", "colour=red")
    assert code == 1
    assert "invalid_filter, 400, request " in error


def test_a_backup_is_made_fetched_compared_and_gives_records_back(
    connect: Connect, tmp_path: Path, shell: Callable[..., Json], office: Office
) -> None:
    stowage = connect("admin")
    stowage.create_many("tasks", [{"id": f"t{n}", "title": f"{n}"} for n in range(3)])
    code, out, _ = shell("backup", office.id, "--wait")
    backup, target = out.strip(), tmp_path / "backup.gz"
    assert code == 0
    stowage.download_backup(backup, target)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == stowage.backup(backup)["sha256"]
    assert [each["id"] for each in stowage.backups()] == [backup]
    assert stowage.wait(stowage.verify(backup)["id"])["status"] == "completed"

    stowage.delete_many("tasks", ["t1"])
    stowage.update("tasks", "t2", title="changed")
    compared = stowage.wait(stowage.compare(backup, ["tasks"])["id"])["id"]
    assert [each["changed_fields"] for each in stowage.differences(compared, "tasks", "changed")] == [["title"]]
    [result] = stowage.bring_back(compared, "tasks", kind="changed")
    assert (result["succeeded"], stowage.record("tasks", "t2")["title"]) == (1, "2")
    code, out, error = shell("bring-back", office.id, backup, "tasks", "--ids", "t1", "none")
    assert (code, out.split(":")[1].strip()) == (1, "1 of 2 records")
    assert "none: " in error
    assert stowage.record("tasks", "t1")["title"] == "1"
    assert shell("undo", office.id, out.split(":")[0])[0] == 0
    with pytest.raises(StowageError, match=r".+"):
        stowage.record("tasks", "t1")

    with pytest.raises(StowageError) as caught:
        stowage.start_restore(backup, "in_place")
    assert (caught.value.code, caught.value.status) == ("confirm_required", 400)
    with pytest.raises(StowageError) as caught:
        stowage.revert("../" + compared)
    assert caught.value.status == 404

    lines = shell("jobs", office.id, "--limit", "3")[1].splitlines()
    assert [line.split("\t")[3:] for line in lines] == [["compare", "completed"]] * 2 + [["verify", "completed"]]
    code, out, _ = shell("changes", office.id, "tasks", "--once")
    assert (code, list(json.loads(out))) == (0, ["cursor"])


# On the way


def test_what_is_lost_on_the_way_is_repeated_and_done_once(
    connect: Connect, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(transport.time, "sleep", waits.append)
    stowage = connect("operator", between.url)
    between.faults.extend([(503, {"retry-after": "2"}), "cut", "half", (409, {"retry-after": "1"}), None])
    made = stowage.create("tasks", title="once")
    keys = {headers["idempotency-key"] for _, _, headers in between.seen}
    assert (len(between.seen), len(keys)) == (5, 1)
    assert [task["id"] for task in stowage.records("tasks")] == [made["id"]]
    assert any(2 <= wait < 3 for wait in waits)
    assert any(1 <= wait < 2 for wait in waits)


def test_what_must_not_be_repeated_is_not(connect: Connect, between: Between) -> None:
    stowage = connect("operator", between.url)
    made = stowage.create("tasks", title="x")
    between.seen.clear()
    for fault, code, status in (
        ("cut", "unreachable", None),  # a second DELETE would say that there was nothing
        ((503, {"retry-after": "0"}), "rate_limited", 503),
        ((429, {"retry-after": "3600"}), "rate_limited", 429),  # tomorrow is too late
    ):
        between.faults.append(fault)
        with pytest.raises(StowageError) as caught:
            stowage.delete("tasks", made["id"])
        assert (caught.value.code, caught.value.status) == (code, status)
    assert len(between.seen) == 3
    between.faults.extend([(503, {})] * 2)
    with pytest.raises(StowageError, match=r"Not now\.") as caught:
        connect("operator", between.url, retries=1).me()
    assert caught.value.status == 503


def test_a_download_goes_on_where_it_broke_off_and_never_mixes_files(between: Between, tmp_path: Path) -> None:
    between.file = bytes(range(256)) * 4000
    target = tmp_path / "file[1]"
    fetch = Transport(between.url, "secret", "acme", retries=2, user_agent="test")
    checksum = hashlib.sha256(between.file).hexdigest()

    def link() -> str:
        return between.url + "/file"

    between.faults.extend(["half", None, "half", None, None])
    assert files.download(fetch, link, target, sha256=checksum) == target
    assert target.read_bytes() == between.file
    assert [headers.get("range") for *_, headers in between.seen] == [
        None, None, "bytes=512000-", None, "bytes=768000-",
    ]  # fmt: skip
    assert not any({"authorization", "x-tenant-id"} & set(headers) for *_, headers in between.seen)

    target.unlink()
    between.faults.extend(["half"] * 2)
    impatient = Transport(between.url, "secret", None, retries=0, user_agent="test")
    with pytest.raises(StowageError) as caught:
        files.download(impatient, link, target)
    assert caught.value.code == "unreachable"
    assert not target.exists()
    between.faults.clear()
    between.file, between.tag = between.file[::-1], '"2"'
    files.download(impatient, link, target)
    assert target.read_bytes() == between.file
    with pytest.raises(StowageError) as caught:
        files.download(impatient, link, target, sha256=checksum)
    assert caught.value.code == "damaged"
    fetch.close()
    impatient.close()


def test_an_upload_whose_answer_is_lost_is_sent_again_whole(between: Between, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 3000)
    send = Transport(between.url, "secret", "acme", retries=2, user_agent="test")
    between.faults.append("cut")
    files.upload(send, {"url": between.url + "/form", "fields": {"key": "größe"}}, source)
    first, second = between.sent
    assert first == second
    head = f"content-type: {between.seen[0][2]['content-type']}\r\n\r\n"
    parts = list(BytesParser(policy=HTTP).parsebytes(head.encode() + first).iter_parts())
    assert [(part.get_param("name", header="content-disposition"), part.get_filename()) for part in parts] == [
        ("key", None),
        ("file", "file"),
    ]
    assert [part.get_payload(decode=True) for part in parts] == ["größe".encode(), source.read_bytes()]
    with pytest.raises(StowageError, match=r".+"):
        files.upload(send, {"url": between.url + "/api/v1/me", "fields": {}}, source)
    send.close()


def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with command._bar() as progress:
        assert progress is None
    monkeypatch.setattr(command.sys.stderr, "isatty", lambda: True)
    with command._bar() as progress:
        assert progress
        progress(50, "half")
    assert f"{'█' * 15}{'░' * 15}  50.0 %" in capsys.readouterr().err


def test_without_an_address_or_a_token_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STOWAGE_TOKEN", raising=False)
    with pytest.raises(SystemExit) as caught:
        command.main(["--url", "http://127.0.0.1:1", "jobs"])
    assert caught.value.code == 2
    assert "STOWAGE_TOKEN" in capsys.readouterr().err
