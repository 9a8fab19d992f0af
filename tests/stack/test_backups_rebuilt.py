"""The table is lost: the history of backups comes back from the manifests alone, and what is not whole does not."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT, Api, RunningStack
from tests.stack.office import Office
from tests.stack.route_surface import ended_job, start_backup

KEPT = ("id", "format", "compressed", "status", "size_bytes", "sha256", "file_name", "storage_key", "tables", "rows")


@pytest.fixture
def backups(office: Office) -> list[str]:
    """Three completed backups of a tenant, newest first."""
    api = office.caller("admin")
    ids = [start_backup(api, office.id, format=format_) for format_ in ("sql", "tar", "custom")]
    for each in ids:
        assert ended_job(api, each, 120)["status"] == "completed"
    return ids[::-1]


def rebuild(stack: RunningStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as an operator gives it."""
    resources = stack.resources
    return subprocess.run(
        [
            sys.executable, "-m", "stowage.backups", "rebuild",
            "--table", resources["Table"], "--bucket", resources["BackupsBucket"], *arguments,
        ],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin",
            "PYTHONPATH": f"{ROOT}/layers/stowage:{ROOT}/layers/entities",
            "AWS_ENDPOINT_URL": stack.aws_url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip


def forget(stack: RunningStack, tenant: str) -> None:
    """Lose whatever the table knows of a tenant's runs."""
    items = stack.aws("dynamodb")
    name = stack.resources["Table"]
    pages = items.get_paginator("scan").paginate(TableName=name)
    found = [item for page in pages for item in page["Items"]]
    runs = {each["id"]["S"] for each in found if each["pk"]["S"] == f"T#{tenant}" and "id" in each}
    mine = {f"T#{tenant}", *(f"RUN#{run}" for run in runs)}
    for item in found:
        if item["pk"]["S"] in mine or item["sk"]["S"] == f"TENANT#{tenant}":
            items.delete_item(TableName=name, Key={"pk": item["pk"], "sk": item["sk"]})


def history(api: Api, tenant: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = api.get(f"/api/backup?project_id={tenant}").json()["data"]
    return listed


def test_the_history_of_backups_comes_back_from_their_manifests(
    backups: list[str], office: Office, stack: RunningStack
) -> None:
    admin = office.caller("admin")
    before = history(admin, office.id)
    assert [each["id"] for each in before] == backups
    forget(stack, office.id)
    assert history(admin, office.id) == []

    tried = rebuild(stack, "--tenant", office.id, "--dry-run")
    assert (tried.returncode, tried.stdout) == (0, "3 would be rebuilt, 0 known already, 0 left.\n"), tried.stderr
    assert history(admin, office.id) == []

    done = rebuild(stack, "--tenant", office.id)
    assert (done.returncode, done.stdout) == (0, "3 rebuilt, 0 known already, 0 left.\n"), done.stderr
    after = history(admin, office.id)
    assert [{name: each[name] for name in KEPT} for each in after] == [
        {name: each[name] for name in KEPT} for each in before
    ]
    assert all(each["created_at"][:19] == old["created_at"][:19] for each, old in zip(after, before, strict=True))
    assert all(each["expires_at"] > old["expires_at"] for each, old in zip(after, before, strict=True))
    totals = admin.get(f"/api/backup/stats?project_id={office.id}").json()["data"]
    assert (totals["completed"], totals["bytes"]) == (3, sum(each["size_bytes"] for each in before))
    assert totals["last_success"]["id"] == backups[0]
    assert admin.get(f"/api/backup/{backups[0]}/download").status_code == 200
    job = admin.post(f"/api/backup/{backups[0]}/verify", json={"level": 2}).json()["data"]
    assert ended_job(admin, job["id"], 60)["status"] == "completed"

    again = rebuild(stack, "--tenant", office.id)
    assert (again.returncode, again.stdout) == (0, "0 rebuilt, 3 known already, 0 left.\n")


def test_what_is_not_whole_or_not_the_tenants_is_left_with_the_reason(
    backups: list[str], office: Office, stack: RunningStack
) -> None:
    admin = office.caller("admin")
    storage, bucket = stack.aws("s3"), stack.resources["BackupsBucket"]
    newest, second, oldest = history(admin, office.id)
    forget(stack, office.id)

    def manifest_of(backup: dict[str, Any]) -> str:
        return str(backup["storage_key"].rpartition("/")[0] + "/manifest.json")

    whole = storage.get_object(Bucket=bucket, Key=newest["storage_key"])["Body"].read()
    storage.put_object(Bucket=bucket, Key=newest["storage_key"], Body=whole[:-1], ChecksumAlgorithm="CRC32")
    storage.put_object(Bucket=bucket, Key=manifest_of(second), Body=b'{"kind": "export_backup"')
    stolen = manifest_of(oldest).replace(f"{office.id}/", "acme_x/", 1)
    manifest = storage.get_object(Bucket=bucket, Key=manifest_of(oldest))["Body"].read()
    storage.put_object(Bucket=bucket, Key=stolen, Body=manifest)
    later = manifest_of(oldest).replace("/1/manifest", "/2/manifest")
    storage.put_object(Bucket=bucket, Key=later, Body=json.dumps(json.loads(manifest) | {"version": 99}).encode())
    try:
        done = rebuild(stack, "--tenant", office.id)
        assert (done.returncode, done.stdout) == (1, "1 rebuilt, 0 known already, 3 left.\n"), done.stderr
        assert sorted(done.stderr.splitlines()) == sorted(
            [
                f"left: {manifest_of(newest)}: its file is not as the manifest says",
                f"left: {manifest_of(second)}: its manifest cannot be read",
                f"left: {later}: its manifest is of another version",
            ]
        )
        assert [each["id"] for each in history(admin, office.id)] == [oldest["id"]]
        other = rebuild(stack, "--tenant", "acme_x")
        assert f"left: {stolen}: its manifest is of another run" in other.stderr.splitlines()
    finally:
        for key in (stolen, later):
            storage.delete_object(Bucket=bucket, Key=key)
