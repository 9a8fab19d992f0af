"""The local stack starts, stops, dies and starts again without losing data or leaving processes."""

import contextlib
import json
import os
import signal
import stat
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from psycopg import sql

from local.sample.tenants import SAMPLE_TENANTS
from tests.conftest import ROOT, LocalStack, RunningStack

type MakeStack = Callable[..., LocalStack]


def processes_of(home: Path) -> list[str]:
    """Command lines of living processes that have a file of this home open, or its name in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            files = [str(each.readlink()) for each in (process / "fd").iterdir()]
            if str(home).encode() in words or any(file.startswith(str(home)) for file in files):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return [command for command in found if "pytest" not in command]


def wait_for_no_process(home: Path, seconds: float) -> list[str]:
    deadline = time.monotonic() + seconds
    while (left := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(own_stack: MakeStack, number: int) -> None:
    stack = own_stack()
    stack.start("up", "--no-sample")
    assert stack.stop(number) == 0
    assert wait_for_no_process(stack.home, 2) == []
    assert not (stack.home / "stack.json").exists()
    assert "Traceback" not in stack.terminal()


def test_nothing_is_left_after_a_kill_and_the_next_start_works(own_stack: MakeStack) -> None:
    stack = own_stack()
    running = stack.start("up", "--no-sample")
    backend = psycopg.connect(running.database_url)
    assert stack.process is not None
    stack.process.kill()
    stack.process.wait()
    assert wait_for_no_process(stack.home, 8) == []
    with contextlib.suppress(psycopg.Error):
        backend.close()
    again = stack.start("up", "--no-sample")
    assert requests.get(f"{again.api_url}/api/v1/health", timeout=5).status_code == 200


def test_a_taken_port_is_named_with_its_holder_and_its_variable(stack: RunningStack, own_stack: MakeStack) -> None:
    taken = stack.api_url.rpartition(":")[2]
    second = own_stack(STOWAGE_PORT=taken)
    assert second.launch("up").wait(20) == 1
    said = second.terminal()
    assert f"Port {taken} is taken by process {stack.description['pid']}" in said
    assert "STOWAGE_PORT=" in said
    assert "Traceback" not in said


def test_two_stacks_do_not_share_a_home(stack: RunningStack, own_stack: MakeStack) -> None:
    second = own_stack()
    second.environment["STOWAGE_HOME"] = str(stack.home)
    assert second.launch("up").wait(20) == 1
    assert f"process {stack.description['pid']}" in second.terminal()
    assert (stack.home / "stack.json").exists()


def test_scale_multiplies_the_sample_and_leaves_what_is_there(own_stack: MakeStack) -> None:
    stack = own_stack(SCALE="2")
    sizes = {tenant.slug: asdict(tenant.sizes) for tenant in SAMPLE_TENANTS if not tenant.extra}
    for scale in (2, 3):
        stack.environment["SCALE"] = str(scale)
        running = stack.start()
        for slug, size in sizes.items():
            twice = {name: 2 * count for name, count in size.items()}
            assert {name: entries(running, slug, name) for name in twice} == twice
        stack.stop()


def entries(stack: RunningStack, slug: str, table: str) -> int:
    with psycopg.connect(stack.database_url) as connection:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(f"tenant_{slug}", table))
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("variable", ["SCALE", "STOWAGE_PORT"])
@pytest.mark.parametrize("given", ["0", "-1", "abc", "1.5", "²"])
def test_a_number_that_is_none_is_named(own_stack: MakeStack, variable: str, given: str) -> None:
    stack = own_stack(**{variable: given})
    assert stack.launch("up").wait(20) == 1
    assert stack.terminal() == f"{variable}={given} is not a whole number from 1 up.\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_keeps_items_objects_and_secrets(own_stack: MakeStack, number: int) -> None:
    stack = own_stack()
    running = stack.start("up", "--no-sample")
    table, bucket = running.resources["Table"], running.resources["BackupsBucket"]
    item = {"pk": {"S": "TEST"}, "sk": {"S": "1"}, "n": {"N": "1.5"}, "m": {"M": {"l": {"L": [{"BOOL": True}]}}}}
    running.aws("dynamodb").put_item(TableName=table, Item=item)
    s3 = running.aws("s3")
    versions = [
        s3.put_object(Bucket=bucket, Key="k", Body=body, ContentType="text/plain", Metadata={"run": "r"})["VersionId"]
        for body in (b"one", b"two")
    ]
    s3.put_object(Bucket=bucket, Key="gone", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="gone")
    secret = json.loads((stack.home / "secrets.json").read_text())
    time.sleep(0 if number == signal.SIGTERM else 3)
    stack.stop(number)
    running = stack.start("up", "--no-sample")
    s3 = running.aws("s3")
    assert running.aws("dynamodb").get_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})["Item"] == item
    for version, body in zip(versions, (b"one", b"two"), strict=True):
        kept = s3.get_object(Bucket=bucket, Key="k", VersionId=version)
        assert (kept["Body"].read(), kept["ContentType"], kept["Metadata"]) == (body, "text/plain", {"run": "r"})
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]
    assert json.loads((stack.home / "secrets.json").read_text()) == secret


def test_what_holds_secrets_is_closed_to_others(stack: RunningStack) -> None:
    for name in ("stack.json", "secrets.json"):
        assert stat.S_IMODE((stack.home / name).stat().st_mode) == 0o600


def test_the_stack_file_says_what_others_need(stack: RunningStack) -> None:
    assert stack.description.keys() == {
        "pid",
        "api_url",
        "console_url",
        "aws_endpoint_url",
        "database_url",
        "tokens",
        "tenants",
        "resources",
    }
    assert stack.tokens.keys() == {"admin", "operator", "viewer", "other"}
    assert {"acme", "globex", "initech", "acme2", "acme_x", "zoo"} <= {
        each["slug"] for each in stack.description["tenants"]
    }


def test_nobody_logs_in_to_the_database_as_its_superuser(stack: RunningStack) -> None:
    with psycopg.connect(stack.database_url) as connection:
        [superuser] = connection.execute("SELECT usesuper FROM pg_user WHERE usename = current_user").fetchone() or [
            None
        ]
    assert superuser is False
    with pytest.raises(psycopg.OperationalError, match="rejects"):
        psycopg.connect(stack.database_url.replace("stowage_master", "postgres"))


def test_an_edited_function_runs_at_its_next_request(stack: RunningStack) -> None:
    handler = ROOT / "functions" / "service" / "get_health.py"
    source, times = handler.read_text(), handler.stat()
    assert requests.get(f"{stack.api_url}/api/v1/health", timeout=5).status_code == 200
    try:
        handler.write_text("def app(event, context):\n    return {'statusCode': 200, 'body': 'edited'}\n")
        time.sleep(0.3)
        assert requests.get(f"{stack.api_url}/api/v1/health", timeout=5).text == "edited"
    finally:
        handler.write_text(source)
        os.utime(handler, ns=(times.st_atime_ns, times.st_mtime_ns))
    time.sleep(0.3)
    assert requests.get(f"{stack.api_url}/api/v1/health", timeout=5).text != "edited"


def test_a_failing_custom_resource_fails_the_start_with_its_reason(own_stack: MakeStack) -> None:
    stack = own_stack(STOWAGE_PARAMETER_JwtSecretArn="arn:aws:secretsmanager:us-east-1:123456789012:secret:none-abcdef")
    assert stack.launch("up", "--no-sample").wait(40) == 1
    assert "Keys: " in stack.terminal()
    assert wait_for_no_process(stack.home, 2) == []


def test_an_unknown_parameter_is_named(own_stack: MakeStack) -> None:
    stack: Any = own_stack(STOWAGE_PARAMETER_NoSuchThing="1")
    assert stack.launch("up", "--no-sample").wait(40) == 1
    assert "NoSuchThing" in stack.terminal()
