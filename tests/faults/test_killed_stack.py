"""SIGKILL of the whole stack, in the midst of work: what was acknowledged is there after the next start."""

import contextlib
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from hypothesis import settings

from tests.conftest import LocalStack, RunningStack
from tests.faults.run_surface import FINAL, eventually
from tests.stack.file_import_surface import csv_file, start, uploaded
from tests.stack.office import Office, open_office

type Json = Any
GONE = (requests.ConnectionError, requests.Timeout, BotoCoreError, psycopg.OperationalError)
"""What a client gets of a stack that is not there any more."""
ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20)
PAUSE = 1.0
"""Seconds between two runs of one kind: all of them are to end in the end."""
BREATH = 0.1
"""Seconds between two of anything else: who asks without a pause keeps the runs from their ends."""
TURN = 3.0
"""The same for backups, of which a tenant has one at a time."""
KILLS = max(1, settings().max_examples // 100)
"""How often everything is killed: once, twice under `make test-long`."""
COUNTER = {"pk": {"S": "TEST#chaos"}, "sk": {"S": "counter"}}


def kill_everything(local: LocalStack) -> int:
    """SIGKILL to every process of a stack, its guardian and all of Postgres among them; how many."""
    assert local.process is not None
    mark = f"STOWAGE_HOME={local.home}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    # The one that answers first: nobody is to be told of the others' deaths.
    for pid in (local.process.pid, *found):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    local.process.wait()
    return len(found)


@dataclass
class Acknowledged:
    """What the stack said it has done."""

    exports: list[str] = field(default_factory=list)
    backups: list[str] = field(default_factory=list)
    verifications: list[str] = field(default_factory=list)
    imports: dict[str, list[str]] = field(default_factory=dict)
    """By id: the titles in its file."""
    uploads: dict[str, list[str]] = field(default_factory=dict)
    """The same, of files that are there and not asked to be imported yet."""
    cancelled: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    deleted: list[tuple[str, list[str]]] = field(default_factory=list)
    followers: dict[str, int] = field(default_factory=dict)
    """By an account's id: what a PATCH set."""
    patched: list[tuple[str, list[str]]] = field(default_factory=list)
    undone: list[tuple[str, list[str]]] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    counted: int = 0
    objects: dict[str, tuple[bytes | None, bytes | None]] = field(default_factory=dict)
    """By key: what was stored last (None: deleted), and what was being stored when nobody answered any more."""

    def enough(self, times: int) -> bool:
        """Whether there is much of every kind."""
        many = (self.exports, self.created, self.deleted, self.patched, self.undone, self.restored)
        few = (self.backups, self.verifications, self.imports, self.uploads, self.cancelled)
        return (
            all(len(kind) >= 3 * times for kind in many)
            and all(len(kind) >= times for kind in few)
            and len(self.objects) == 2
            and self.counted >= 20 * times
        )


def work(office: Office, done: Acknowledged) -> list[Callable[[], None]]:
    """What goes on at the same time, each until the stack is gone."""
    stack = office.stack
    numbers = itertools.count()
    table, bucket = stack.resources["Table"], stack.resources["BackupsBucket"]

    def repeat(step: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            with contextlib.suppress(*GONE):
                while True:
                    step()
                    time.sleep(BREATH)

        return run

    def asking(path: str, body: Json, kept: list[str], name: Callable[[Json], str], pause: float) -> Callable[[], None]:
        api = office.caller("admin")

        def ask() -> None:
            answer = api.post(path, json=body, timeout=20)
            assert answer.status_code == 202, answer.text
            kept.append(name(answer.json()))
            time.sleep(pause)

        return repeat(ask)

    def importing() -> Callable[[], None]:
        """Upload two files, and ask for the import of one."""
        api = office.caller()

        def ask() -> None:
            for ids, started in ((done.uploads, False), (done.imports, True)):
                titles = [f"row_{uuid4().hex}" for _ in range(20)]
                new = uploaded(api, "tasks", "csv", csv_file("title", *titles), office.id)
                if started:
                    answer = start(api, "tasks", new)
                    assert answer.status_code == 202, answer.text
                ids[new] = titles
            time.sleep(PAUSE)

        return repeat(ask)

    def verifying() -> Callable[[], None]:
        """Verify the first backup that has completed."""
        api = office.caller("admin")
        backups: list[str] = []

        def ask() -> None:
            if not backups:
                found = api.get("/api/jobs?type=export_backup&status=completed&limit=1", timeout=20).json()["data"]
                backups.extend(job["id"] for job in found)
                time.sleep(0.2)
                return
            answer = api.post(f"/api/backup/{backups[0]}/verify", timeout=20)
            assert answer.status_code == 202, answer.text
            done.verifications.append(answer.json()["data"]["id"])
            time.sleep(PAUSE)

        return repeat(ask)

    def cancelling() -> Callable[[], None]:
        api = office.caller("admin")

        def cancel() -> None:
            run = api.post(office.path("exports"), json=exports, timeout=20).json()["id"]
            answer = api.post(office.path(f"exports/{run}/cancel"), timeout=20)
            assert answer.status_code in (202, 409), answer.text
            (done.cancelled if answer.status_code == 202 else done.exports).append(run)
            time.sleep(PAUSE)

        return repeat(cancel)

    def creating() -> Callable[[], None]:
        api = office.caller()

        def create() -> None:
            name = f"new_{uuid4().hex}"
            answer = api.post(
                "/api/v1/tasks", json={"id": name, "title": name}, headers={"x-tenant-id": office.id}, timeout=20
            )
            assert answer.status_code == 201, answer.text
            done.created.append(name)

        return repeat(create)

    def deleting() -> Callable[[], None]:
        api = office.caller()
        left = office.accounts(*[f"del_{uuid4().hex}" for _ in range(1000)])

        def delete() -> None:
            ids = [left.pop() for _ in range(5)]
            answer = api.post(office.path("bulk/delete"), json={"dataType": "accounts", "ids": ids}, timeout=20)
            assert answer.status_code == 200, answer.text
            done.deleted.append((answer.json()["operationId"], ids))

        return repeat(delete)

    def editing() -> Callable[[], None]:
        """Change accounts alone and in bulk, then delete them and take that back: by undo, and out of the trash."""
        api = office.caller()
        left = office.accounts(*[f"edit_{uuid4().hex}" for _ in range(1000)])

        def answered(method: str, path: str, body: Json = None) -> Json:
            answer = api.request(method, path, json=body, timeout=20)
            assert answer.status_code == 200, answer.text
            return answer.json()

        def edit() -> None:
            one, *many = [left.pop() for _ in range(4)]
            number = next(numbers) + 1
            answered("PATCH", f"/api/v1/accounts/{one}", {"followers": number})
            done.followers[one] = number
            updates = [{"id": each, "followers": number} for each in many]
            updated = answered("PATCH", "/api/v1/bulk/accounts", {"updates": updates})["data"]
            done.followers |= dict.fromkeys(many, number)
            done.patched.append((updated["operationId"], many))
            deleted = answered("POST", office.path("bulk/delete"), {"dataType": "accounts", "ids": many})
            undone = answered("POST", office.path("bulk/undo"), {"operationId": deleted["operationId"]})
            done.undone.append((undone["operationId"], many))
            answered("DELETE", f"/api/v1/accounts/{one}")
            answered("POST", office.path(f"trash/{one}/restore"), {"dataType": "accounts"})
            done.restored.append(one)

        return repeat(edit)

    def counting() -> Callable[[], None]:
        dynamodb = stack.aws("dynamodb", config=ONCE)
        one = {":one": {"N": "1"}}

        def count() -> None:
            dynamodb.update_item(
                TableName=table, Key=COUNTER, UpdateExpression="ADD n :one", ExpressionAttributeValues=one
            )
            done.counted += 1

        return repeat(count)

    def storing(key: str) -> Callable[[], None]:
        """Store, replace and delete one object again and again."""
        s3 = stack.aws("s3", config=ONCE)

        def store() -> None:
            number = next(numbers)
            body = None if number % 5 == 4 else f"{key} {number} ".encode() * 500
            done.objects[key] = (done.objects.get(key, (None, None))[0], body)
            if body is None:
                s3.delete_object(Bucket=bucket, Key=key)
            else:
                s3.put_object(Bucket=bucket, Key=key, Body=body)
            done.objects[key] = (body, body)

        return repeat(store)

    exports = {"format": "csv", "mode": "all", "dataType": "brands"}
    return [
        asking(office.path("exports"), exports, done.exports, lambda answer: str(answer["id"]), PAUSE),
        asking(
            "/api/backup/export", {"project_id": office.id}, done.backups, lambda answer: answer["data"]["job_id"], TURN
        ),
        importing(),
        verifying(),
        cancelling(),
        creating(),
        deleting(),
        editing(),
        counting(),
        storing("chaos/one"),
        storing("chaos/two"),
    ]


@contextlib.contextmanager
def opened(stack: RunningStack, tenant: str | None = None) -> Iterator[Office]:
    """A new tenant, or that of the run before; its rows stay."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        office = Office(stack, database, tenant) if tenant else open_office(stack, database)
        yield office
        for each in office.callers:
            each.close()


def test_nothing_that_was_acknowledged_is_missing_after_everything_was_killed(
    own_stack: Callable[..., LocalStack],
) -> None:
    local, done, tenant = own_stack(), Acknowledged(), None
    for times in range(1, KILLS + 1):
        with opened(local.start(), tenant) as office:
            if tenant:
                assert_all_there(office, done)
            tenant = office.id
            steps = work(office, done)
            with ThreadPoolExecutor(len(steps)) as pool:
                working = [pool.submit(step) for step in steps]
                wait_for_much(done, times, working)
                assert kill_everything(local) > 8
                for each in working:
                    each.result()
        assert done.enough(times)
    with opened(local.start(), tenant) as office:
        assert_all_there(office, done)
        for left, titles in done.uploads.items():
            answer = start(office.caller(), "tasks", left)
            assert answer.status_code == 202, answer.text
            done.imports[left] = titles
        assert_all_end(office, {*done.exports, *done.backups, *done.verifications, *done.imports}, "completed")
        assert_all_end(office, {*done.cancelled}, "cancelled")
        assert_imported_once(office, [title for titles in done.imports.values() for title in titles])


def wait_for_much(done: Acknowledged, times: int, working: list[Future[None]]) -> None:
    """Return early where somebody has found a fault."""
    eventually(lambda: done.enough(times) or any(each.done() for each in working), "much was done", 150)


def assert_all_there(office: Office, done: Acknowledged) -> None:
    stack, admin = office.stack, office.caller("admin")
    answers = [admin.get(office.path(f"exports/{run}")) for run in done.exports]
    jobs = (*done.backups, *done.verifications, *done.imports, *done.cancelled)
    answers += [admin.get(f"/api/jobs/{run}") for run in jobs]
    assert [answer.text for answer in answers if answer.status_code != 200] == []
    assert set(done.created) <= office.live("tasks")
    live = office.live("accounts")
    assert live >= {*done.restored, *(each for _, ids in done.undone for each in ids)}
    assert not live & {each for _, ids in done.deleted for each in ids}
    for operation, ids in (*done.deleted, *done.patched, *done.undone):
        assert {entry["id"] for entry in office.journal(operation)} >= set(ids)
    accounts = office.rows("accounts")
    assert {each: accounts[each]["followers"] for each in done.followers} == done.followers
    dynamodb, s3 = stack.aws("dynamodb"), stack.aws("s3")
    item = dynamodb.get_item(TableName=stack.resources["Table"], Key=COUNTER)["Item"]
    assert int(item["n"]["N"]) in (done.counted, done.counted + 1)
    done.counted = int(item["n"]["N"])
    for key, acceptable in done.objects.items():
        body = None
        with contextlib.suppress(s3.exceptions.NoSuchKey):
            body = s3.get_object(Bucket=stack.resources["BackupsBucket"], Key=key)["Body"].read()
        assert body in acceptable
        done.objects[key] = (body, body)
    dynamodb.close()
    s3.close()


def assert_imported_once(office: Office, titles: list[str]) -> None:
    """Each row of a file is there once, however often its import had to begin again."""
    found = office.run("SELECT title FROM tasks WHERE title = ANY(%s)", titles)
    assert sorted(title for (title,) in found) == sorted(titles)


def assert_all_end(office: Office, runs: set[str], expected: str) -> None:
    """What ran when everything died is run again: the clock looks after each once a minute."""
    admin, client = office.caller("admin"), office.stack.aws("lambda")
    states: Counter[tuple[str, str]] = Counter()

    def ended() -> bool:
        client.invoke(FunctionName=office.stack.resources["OnTickFunction"], Payload=b"{}")["Payload"].read()
        time.sleep(1)
        jobs = [admin.get(f"/api/jobs/{run}").json()["data"] for run in runs]
        states.clear()
        states.update((job["type"], job["status"]) for job in jobs)
        return all(status in FINAL for _, status in states)

    eventually(ended, "every run has ended", 240)
    client.close()
    assert {status for _, status in states} == {expected}, states
