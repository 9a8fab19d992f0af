"""Runs as a test of faults sees them: asked for over HTTP, then looked at from every side."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import requests

from local.postgres import binaries
from stowage.aws import table
from stowage.aws.table import decode, encode
from stowage.runs.counters import counting
from stowage.runs.kinds import KINDS
from stowage.runs.record import NO_DATABASE, ONE_FILE, Run
from tests.conftest import ROOT, Api, RunningStack, Signed
from tests.stack.office import in_process

type Json = Any
FINAL = ("completed", "failed", "cancelled")
LONG = 90.0
"""Seconds for a run with its retries, on a machine that does other things too."""


def eventually[T](look: Callable[[], T], what: str, seconds: float = LONG) -> T:
    """What `look` gives once it is true, or an AssertionError. It looks often at first, then less:
    who waits for long should not keep the stack busy with answers.
    """
    began = time.monotonic()
    while not (found := look()):
        waited = time.monotonic() - began
        assert waited < seconds, f"not within {seconds} s: {what}"
        time.sleep(min(max(0.06, waited / 3), 0.4))
    return found


class Runs:
    """The runs of one stack."""

    def __init__(self, stack: RunningStack, admin: Api, dynamodb: Any, s3: Any, stepfunctions: Any) -> None:
        self.stack, self.admin = stack, admin
        self.dynamodb, self.s3, self.stepfunctions = dynamodb, s3, stepfunctions
        self.table = stack.resources["Table"]
        self.machine = stack.resources["RunStateMachine"]
        self._tenants: dict[str, str] = {}

    # Asking

    def backup(self, tenant: str = "globex", **request: Any) -> str:
        """Ask for a backup; the run's id."""
        answer = self.admin.post("/api/backup/export", json={"project_id": tenant, **request})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["data"]["job_id"])

    def logs(self, tenant: str = "globex") -> str:
        """Ask for the audit log as a backup; the run's id."""
        answer = self.admin.post("/api/backup/export-logs", json={"project_id": tenant, "storage_path": "backups"})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["data"]["id"])

    def export(self, tenant: str = "globex", data_type: str = "accounts", format: str = "csv") -> str:
        """Ask for an export; the run's id."""
        request = {"format": format, "mode": "all", "dataType": data_type}
        answer = self.admin.post(f"/api/guilds/{tenant}/exports", json=request)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def verify(self, backup_id: str, level: int = 2) -> str:
        """Ask for a verification of a backup; the run's id."""
        answer = self.admin.post(f"/api/backup/{backup_id}/verify", json={"level": level})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["data"]["id"])

    def job(self, run_id: str) -> Json:
        """The run as the API shows it."""
        return self.admin.get(f"/api/jobs/{run_id}").json()["data"]

    def cancel(self, run_id: str) -> requests.Response:
        """Ask it to stop."""
        return self.admin.post(f"/api/jobs/{run_id}/cancel")

    def retry(self, run_id: str) -> None:
        """Start it anew."""
        answer = self.admin.post(f"/api/jobs/{run_id}/retry")
        assert answer.status_code == 202, answer.text

    # Looking

    def item(self, pk: str, sk: str) -> Json:
        """An item of the table, {} where there is none."""
        answer = self.dynamodb.get_item(
            TableName=self.table, Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=True
        )
        return {name: decode(value) for name, value in answer.get("Item", {}).items()}

    def progress(self, run_id: str) -> Json:
        """What a poll reads."""
        return self.item(f"RUN#{run_id}", "PROGRESS")

    def record(self, run_id: str) -> Json:
        """The run's record."""
        if run_id not in self._tenants:
            self._tenants[run_id] = self.progress(run_id)["tenant"]
        return self.item(f"T#{self._tenants[run_id]}", f"RUN#{run_id}")

    def change(self, run_id: str, **changes: Any) -> None:
        """Write attributes of the record, as time or a disaster would; None removes one. The counts follow."""
        record = self.record(run_id)
        kept = {name: value for name, value in (record | changes).items() if value is not None}
        with in_process(self.stack):
            counted = counting(Run.model_validate(record), Run.model_validate(kept)) if "status" in changes else []
            table.transact([table.Put(kept), *counted])

    def change_progress(self, run_id: str, **changes: Any) -> None:
        """Write attributes of the progress."""
        item = {name: encode(value) for name, value in (self.progress(run_id) | changes).items()}
        self.dynamodb.put_item(TableName=self.table, Item=item)

    def leases(self, pool: str = "main") -> Json:
        """Who holds a place of a pool."""
        return self.item(f"DB#{pool}", "LEASES").get("held", {})

    def reaches(self, run_id: str, *statuses: str, seconds: float = LONG) -> Json:
        """The record once its status is one of these; an end that is none of them fails at once."""

        def look() -> Json:
            record = self.record(run_id)
            if record["status"] in statuses:
                return record
            assert record["status"] not in FINAL, f"{record['status']}: {record.get('error')} {record['attempts']}"
            return None

        return eventually(look, f"run {run_id} reaches {statuses}", seconds)

    def ends(self, run_id: str, status: str, seconds: float = LONG) -> Json:
        """The record once the run has ended so, with nothing left over."""
        record = self.reaches(run_id, status, seconds=seconds)
        self.leaves_nothing(run_id)
        return record

    def completes_when_retried(self, run_id: str) -> Json:
        """The record after a retry by hand."""
        self.retry(run_id)
        return self.ends(run_id, "completed")

    def stage(self, run_id: str, *stages: str, seconds: float = LONG) -> None:
        """Wait until its progress is at one of these stages."""
        eventually(lambda: self.progress(run_id)["stage"] in stages, f"run {run_id} is at {stages}", seconds)

    def worker(self, run_id: str, seconds: float = LONG) -> int:
        """The process of its worker, once there is one."""
        return eventually(lambda: self.workers(run_id), f"a worker of {run_id}", seconds)[0]

    def workers(self, run_id: str) -> list[int]:
        """The processes that carry out this run."""
        return self.stack.workers(run_id)

    def dump(self, tenant: str) -> int:
        """The process of pg_dump on a tenant, once there is one."""
        return eventually(lambda: self.dumps(tenant), f"a pg_dump of {tenant}")[0]

    def dumps(self, tenant: str) -> list[int]:
        """The processes of pg_dump on a tenant's schema in this stack's database."""
        server = f"PGPORT={urlsplit(self.stack.database_url).port}"
        return processes_with(server, f'--schema="tenant_{tenant}"')

    def bucket(self, run: Json) -> str:
        """The bucket of its files."""
        return self.stack.resources[f"{str(KINDS[run['kind']].bucket).capitalize()}Bucket"]

    def objects(self, run: Json) -> list[str]:
        """Keys of all objects of a run, in all of its attempts."""
        if KINDS[run["kind"]].bucket is None:
            return []
        found = self.s3.list_objects_v2(Bucket=self.bucket(run), Prefix=prefix_of(run)).get("Contents", [])
        return [each["Key"] for each in found]

    def uploads(self, run: Json) -> list[str]:
        """Keys of its unfinished uploads."""
        if KINDS[run["kind"]].bucket is None:
            return []
        found = self.s3.list_multipart_uploads(Bucket=self.bucket(run), Prefix=prefix_of(run)).get("Uploads", [])
        return [each["Key"] for each in found]

    def body(self, run: Json) -> bytes:
        """The bytes of its file."""
        return self._read(run, file_of(run)["key"])

    def manifest(self, run: Json) -> Json:
        """The manifest of its last attempt; None where there is none."""
        if KINDS[run["kind"]].bucket is None:
            item = self.item(f"RUN#{run['id']}", f"MANIFEST#{run['attempt']}")
            return json.loads(item["document"]) if item else None
        key = manifest_key(run)
        return json.loads(self._read(run, key)) if key in self.objects(run) else None

    def _read(self, run: Json, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.bucket(run), Key=key)["Body"].read())

    def executions(self, run_id: str, *statuses: str) -> list[str]:
        """Names of its executions in these states, or all."""
        pages = self.stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=self.machine)
        return [
            each["name"]
            for page in pages
            for each in page["executions"]
            if each["name"].startswith(run_id) and (not statuses or each["status"] in statuses)
        ]

    def execution_arn(self, name: str) -> str:
        """The ARN of an execution of that name."""
        return f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}"

    def stop_execution(self, run_id: str, attempt: int = 1) -> None:
        """Stop an attempt's execution, as an operator in AWS's console does."""
        self.stepfunctions.stop_execution(executionArn=self.execution_arn(f"{run_id}-{attempt}"))

    def journal(self, run_id: str) -> list[str]:
        """The types of the journal's entries about a run."""
        with self.connect("stowage_app") as connection:
            rows = connection.execute(
                "SELECT type FROM stowage.changes WHERE entity = 'runs' AND id = %s ORDER BY seq", (run_id,)
            )
            return [row[0] for row in rows]

    def connect(self, role: str) -> psycopg.Connection:
        """A connection as one of Stowage's own roles, in autocommit."""
        return psycopg.connect(self.stack.database_url, user=role, autocommit=True)

    def leaves_nothing(self, run_id: str) -> None:
        """Assert that only what belongs to the run's state is there: a verified artifact, or nothing at all."""
        record = self.record(run_id)
        schema_name = record["tenant"]
        eventually(lambda: not self.workers(run_id), "its worker is gone", 5)
        eventually(lambda: not self.dumps(schema_name), "its pg_dump is gone", 5)
        eventually(lambda: run_id not in self.leases() | self.leases(NO_DATABASE), "its lease is free", 5)
        eventually(lambda: not self.executions(run_id, "RUNNING"), "its execution has ended", 5)
        eventually(lambda: not self.uploads(record), "its upload is gone", 5)
        ending = f"{record['kind']}.{record['status']}"
        eventually(lambda: ending in self.journal(run_id), f"the journal has {ending}", 10)
        assert self.journal(run_id).count(ending) == 1
        if record["status"] != "completed":
            eventually(lambda: not self.objects(record), "its objects are gone", 5)
            return
        keys = [file["key"] for file in record["outcome"]["files"].values()]
        manifest = [manifest_key(record)] if KINDS[record["kind"]].bucket else []
        assert sorted(self.objects(record)) == sorted(keys + manifest)
        self._verify(record)

    def _verify(self, record: Json) -> None:
        manifest = self.manifest(record)
        assert manifest["attempt"] == record["attempt"]
        for name, file in record["outcome"]["files"].items():
            body, entry = self._read(record, file["key"]), manifest.get("files", {ONE_FILE: manifest})[name]
            assert hashlib.sha256(body).hexdigest() == entry["sha256"] == file["sha256"]
            assert len(body) == entry["size_bytes"] == file["size_bytes"]

    # Interfering

    def hold(self, service: str, operation: str, contains: str = "", **fault: Any) -> "Hold":
        """Let the next such call meet a fault; see local/faults.py."""
        return Hold(self.stack, {"service": service, "operation": operation, "contains": contains, "times": 1, **fault})

    def release(self) -> None:
        """Let the calls go on that a fault's delay holds, and forget the faults to come."""
        url = f"{self.stack.aws_url}/_local/faults"
        requests.delete(url, auth=Signed("local"), timeout=5).raise_for_status()

    def invoke(self, function: str, event: Json) -> Json:
        """Call a function by its name in the template; its answer. AssertionError where it fails."""
        return self.stack.invoke(function, event)

    def tick(self) -> None:
        """Let the clock tick now."""
        self.invoke("OnTickFunction", {})

    def second_worker(self, run_id: str, attempt: int = 1, **more: str) -> subprocess.Popen[bytes]:
        """Start a worker by hand, beside the one of the state machine; `more` are further settings of its own."""
        settings = {
            "TABLE": self.table,
            "EXPORTS_BUCKET": self.stack.resources["ExportsBucket"],
            "BACKUPS_BUCKET": self.stack.resources["BackupsBucket"],
            "DATABASE_URL": self.stack.product_url,
            "RUN_ID": run_id,
            "ATTEMPT": str(attempt),
            **more,
        }
        environment = {f"STOWAGE_{name}": value for name, value in settings.items()} | {
            "AWS_ENDPOINT_URL": self.stack.aws_url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'layers' / 'stowage'}",
            "PATH": f"{binaries()}{os.pathsep}{os.environ['PATH']}",
        }
        return subprocess.Popen([sys.executable, "-m", "worker"], env=environment, stderr=subprocess.DEVNULL)


class Hold:
    """A fault that was set, and whether its call has come."""

    def __init__(self, stack: RunningStack, fault: Json) -> None:
        self._url = f"{stack.aws_url}/_local/faults"
        self._fault = fault | {"id": str(uuid.uuid4())}
        faults = [*self._left(), self._fault]
        requests.put(self._url, json=faults, auth=Signed("local"), timeout=5).raise_for_status()

    def _left(self) -> Json:
        return requests.get(self._url, auth=Signed("local"), timeout=5).json()

    def reached(self, seconds: float = LONG) -> None:
        """Wait until the (first) call has come; it is held by the fault's delay from then on."""
        still = ("id", "times")
        to_come = [self._fault[name] for name in still]
        eventually(
            lambda: to_come not in [[each.get(name) for name in still] for each in self._left()],
            f"the call of {self._fault}",
            seconds,
        )


def prefix_of(run: Json) -> str:
    """Where all attempts of a run keep their objects."""
    return f"{run['tenant']}/{KINDS[run['kind']].history}/{run['id']}/"


def file_of(run: Json) -> Json:
    """The file of a run that leaves one, as its record tells it."""
    return run["outcome"]["files"][ONE_FILE]


def manifest_key(run: Json) -> str:
    """Where the manifest of its last attempt lies."""
    return f"{prefix_of(run)}{run['attempt']}/manifest.json"


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def processes_with(variable: str, argument: str) -> list[int]:
    """The living processes that have this `NAME=value` in their environment, and this argument."""
    return [
        pid
        for pid in (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal())
        if argument in _words_of(pid, "cmdline") and variable in _words_of(pid, "environ")
    ]


def _words_of(pid: int, name: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
