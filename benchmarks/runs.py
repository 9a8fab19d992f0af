"""Whole runs through the API and the state machine, against what others run; and the cost of a poll.

- a backup of 600 MB, from POST to `completed`, with and without reading it back, against `pg_dump >/dev/null` and
  against `pg_dump -Fc` alone
- an export of 100 rows, from POST to its first byte
- the progress handler against the one GetItem that it makes
"""

import argparse
import json
import os
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import boto3
import jwt
import requests

from benchmarks.bench_tenant import BenchTenant, bench_tenant, read_stack
from benchmarks.compressors import in_pg_dump
from benchmarks.dumps import bare
from benchmarks.figures import told

WHOLE_RUN_GOAL = 2.1
CUSTOM_GOAL = 2.0
POLL_GOAL = 1.25
TENANT = "bench"
POLL_SECONDS = 0.02


class Api:
    """The running stack's API, as an admin of every tenant."""

    def __init__(self, stack: dict[str, Any]) -> None:
        self.url = stack["api_url"]
        self.aws = {
            "endpoint_url": stack["aws_endpoint_url"],
            "region_name": "us-east-1",
            "aws_access_key_id": "local",
            "aws_secret_access_key": "local",
        }
        self.resources = stack["resources"]
        secret = boto3.client("secretsmanager", **self.aws).get_secret_value(SecretId=self.resources["JwtSecret"])
        claims = {"sub": "bench", "role": "admin", "tenants": ["*"], "exp": int(time.time()) + 3600}
        self.token = jwt.encode(claims, secret["SecretString"], "HS256")
        self.session = requests.Session()
        self.session.headers["authorization"] = f"Bearer {self.token}"

    def invoke(self, function: str) -> None:
        """Invoke a function by its logical name, without an event."""
        client = boto3.client("lambda", **self.aws)
        client.invoke(FunctionName=self.resources[function], Payload=b"{}")

    def backup(self, tenant: str) -> tuple[float, float]:
        """Seconds from the POST of a backup to its completion; those of them in which it was read back."""
        started = time.perf_counter()
        answer = self.session.post(f"{self.url}/api/backup/export", json={"project_id": tenant})
        answer.raise_for_status()
        job_id = answer.json()["data"]["job_id"]
        while True:
            job = self.session.get(f"{self.url}/api/jobs/{job_id}").json()["data"]
            if job["status"] == "completed":
                return time.perf_counter() - started, self._read_back(job_id)
            if job["status"] in ("failed", "cancelled"):
                raise SystemExit(f"The backup {job['status']}: {job['last_error']}")
            time.sleep(POLL_SECONDS)

    def _read_back(self, job_id: str) -> float:
        stages = self.session.get(f"{self.url}/api/jobs/{job_id}/timeline").json()["data"]["stages"]
        at = {each["stage"]: datetime.fromisoformat(each["at"]) for each in stages}
        return (at["recording"] - at["verifying"]).total_seconds()

    def export(self, tenant: str, ids: list[str]) -> float:
        """Seconds from the POST of an export to the file's first byte."""
        started = time.perf_counter()
        exports = f"{self.url}/api/guilds/{tenant}/exports"
        body = {"format": "csv", "mode": "all", "dataType": "accounts", "filters": {"ids": ids}}
        answer = self.session.post(exports, json=body)
        answer.raise_for_status()
        export = answer.json()
        while export["status"] in ("pending", "processing"):
            self.session.get(f"{exports}/{export['id']}/progress?wait=20")
            export = self.session.get(f"{exports}/{export['id']}").json()
        with requests.get(export["downloadUrl"], stream=True) as file:
            next(file.iter_content(1))
        return time.perf_counter() - started


def whole_runs(api: Api, tenant: BenchTenant, rounds: int) -> None:
    """Backups through everything, interleaved with bare dumps and with pg_dump's own archive."""
    api.invoke("CopyRegistryFunction")
    api.backup(TENANT)
    floor, whole, unread, custom = [], [], [], []
    for _ in range(rounds):
        floor.append(bare(tenant))
        seconds, read_back = api.backup(TENANT)
        whole.append(seconds)
        unread.append(seconds - read_back)
        custom.append(in_pg_dump(["-Fc"], tenant).seconds)
    told("whole run, POST to completed, by pg_dump >/dev/null", median(whole), median(floor), WHOLE_RUN_GOAL)
    told("the same without reading it back, by pg_dump >/dev/null", median(unread), median(floor), WHOLE_RUN_GOAL)
    told("pg_dump -Fc alone, by the whole run", median(custom), median(whole), CUSTOM_GOAL, at_least=True)


def small_exports(api: Api, rounds: int) -> None:
    """Exports of 100 rows, the first of them on a cold function."""
    ids = [f"acc_{n:07}" for n in range(1, 101)]
    seconds = [api.export("acme", ids) for _ in range(rounds)]
    print(
        f"export of 100 rows, POST to first byte: first {seconds[0]:.2f} s, median {median(seconds):.2f} s (goal ≤ 2 s)"
    )


def polls(api: Api, rounds: int) -> None:
    """The progress handler in this process against the GetItem that it makes, call by call in turn."""
    created = api.session.post(
        f"{api.url}/api/guilds/acme/exports", json={"format": "csv", "mode": "all", "dataType": "users"}
    ).json()
    os.environ.update(
        AWS_ENDPOINT_URL=api.aws["endpoint_url"],
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",
        AWS_DEFAULT_REGION="us-east-1",
        STOWAGE_TABLE=api.resources["Table"],
        STOWAGE_EXPORTS_BUCKET=api.resources["ExportsBucket"],
        STOWAGE_BACKUPS_BUCKET=api.resources["BackupsBucket"],
        POWERTOOLS_LOG_LEVEL="CRITICAL",
        POWERTOOLS_SERVICE_NAME="bench",
    )
    from exports.get_export_progress import app
    from stowage.aws.clients import dynamodb

    event = json.loads(Path("events/get_export_progress.json").read_text())
    event["headers"]["authorization"] = f"Bearer {api.token}"
    del event["headers"]["if-none-match"]
    event["pathParameters"]["exportId"] = created["id"]
    event["queryStringParameters"] = {}
    context = SimpleNamespace(aws_request_id="bench")
    key = {"pk": {"S": f"RUN#{created['id']}"}, "sk": {"S": "PROGRESS"}}
    floor, handler = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        dynamodb().get_item(TableName=api.resources["Table"], Key=key, ConsistentRead=True)
        between = time.perf_counter()
        answer = app(event, context)
        handler.append(time.perf_counter() - between)
        floor.append(between - started)
        assert answer["statusCode"] == 200, answer
    told("progress poll, by one GetItem", median(handler), median(floor), POLL_GOAL, unit="ms")


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    api = Api(read_stack())
    polls(api, rounds * 100)
    small_exports(api, rounds)
    whole_runs(api, bench_tenant(None, f"tenant_{TENANT}"), rounds)


if __name__ == "__main__":
    main()
