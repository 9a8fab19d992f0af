"""The local stack starts, stops, dies and starts again without losing data or leaving processes."""

import contextlib
import itertools
import json
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from psycopg import sql

from local.demo import where_to_look
from local.postgres import binaries
from local.sample.tenants import SAMPLE_TENANTS
from tests.conftest import Api, LocalStack, RunningStack
from tests.faults.run_surface import eventually
from tests.stack.route_surface import completed_export, ended_job, start_backup

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


def server_of(stack: RunningStack) -> int:
    return int((stack.home / "postgres" / "postmaster.pid").read_text().split()[0])


def test_a_killed_database_server_comes_back_by_itself(own_stack: MakeStack) -> None:
    own = own_stack()
    stack = own.start("up", "--no-sample")
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    for number in range(2):
        before = server_of(stack)
        busy = psycopg.connect(stack.database_url)
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")  # which does not look up
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute("INSERT INTO kept VALUES (%s)", [number])
            os.kill(before, signal.SIGKILL)
        with contextlib.suppress(psycopg.Error):
            busy.close()

        def rows() -> Any:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(stack.database_url) as connection:
                return connection.execute("SELECT n FROM kept ORDER BY n").fetchall()
            return None

        assert eventually(rows, "the server answers", 20) == [(n,) for n in range(number + 1)]
        assert server_of(stack) != before
    with Api(stack.api_url, stack.tokens["admin"]) as admin:
        assert admin.get("/api/jobs").status_code == 200
    assert own.stop() == 0
    assert wait_for_no_process(own.home, 2) == []


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
    others = running.resources["ExportsBucket"]  # which keeps no versions
    for body in (b"one", b"two"):
        s3.put_object(Bucket=others, Key="replaced", Body=body)
        for name in ("first", "second", "third"):
            s3.put_object(Bucket=others, Key=f"deleted/{name}", Body=body)
    s3.put_object_tagging(Bucket=others, Key="replaced", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.copy_object(Bucket=others, Key="copied", CopySource={"Bucket": others, "Key": "deleted/first"})
    s3.delete_objects(Bucket=others, Delete={"Objects": [{"Key": f"deleted/{name}"} for name in ("first", "second")]})
    secret = json.loads((stack.home / "secrets.json").read_text())
    stack.stop(number)
    if number == signal.SIGTERM:  # as an earlier version would have left it, which knew less of an object
        file = stack.home / "state" / "s3.json"
        kept = json.loads(file.read_text())
        for described in itertools.chain.from_iterable(kept["state"].values()):
            described.pop("checksum_parts", None)
        file.write_text(json.dumps(kept))
    running = stack.start("up", "--no-sample")
    s3 = running.aws("s3")
    assert running.aws("dynamodb").get_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})["Item"] == item
    for version, body in zip(versions, (b"one", b"two"), strict=True):
        kept = s3.get_object(Bucket=bucket, Key="k", VersionId=version)
        assert (kept["Body"].read(), kept["ContentType"], kept["Metadata"]) == (body, "text/plain", {"run": "r"})
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]
    left = {
        each["Key"]: s3.get_object(Bucket=others, Key=each["Key"])["Body"].read()
        for each in s3.list_objects_v2(Bucket=others)["Contents"]
    }
    assert left == {"replaced": b"two", "copied": b"two", "deleted/third": b"two"}
    assert s3.get_object_tagging(Bucket=others, Key="replaced")["TagSet"] == [{"Key": "k", "Value": "v"}]
    assert json.loads((stack.home / "secrets.json").read_text()) == secret


def test_what_holds_secrets_is_closed_to_others(stack: RunningStack) -> None:
    for name in ("stack.json", "secrets.json"):
        assert stat.S_IMODE((stack.home / name).stat().st_mode) == 0o600


def open_to_others(home: Path) -> list[str]:
    """What of a home others could read, write or enter."""
    return [str(path) for path in (home, *home.rglob("*")) if path.lstat().st_mode & 0o077 and not path.is_symlink()]


def test_nothing_in_a_home_is_for_others_whoever_made_the_folder(own_stack: MakeStack) -> None:
    """Of an earlier version, perhaps, with a umask that lets everybody read."""
    stack = own_stack()
    for folder in (stack.home, stack.home / "objects", stack.home / "logs"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    for file in ("logs/functions.log", "objects/old", "lock"):
        (stack.home / file).write_text("old")
        (stack.home / file).chmod(0o666)
    stack.umask = 0o000
    running = stack.start()
    (stack.home / "terminal.log").chmod(0o600)  # the test's own
    with Api(running.api_url, running.tokens["admin"]) as admin:
        completed_export(admin)
        start_backup(admin)
        ended = [job for job in admin.get("/api/jobs").json()["data"] if job["type"] == "export_backup"]
        ended_job(admin, ended[0]["id"])
        assert open_to_others(stack.home) == []
    stack.stop()
    assert open_to_others(stack.home) == []
    stack.start("up")
    (stack.home / "terminal.log").chmod(0o600)
    assert open_to_others(stack.home) == []


def test_a_folder_of_everybodys_is_no_home(own_stack: MakeStack) -> None:
    stack = own_stack()
    shared = stack.home / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    stack.environment["STOWAGE_HOME"] = str(shared)
    assert stack.launch("up").wait(20) == 1
    assert f"STOWAGE_HOME={shared}/stowage" in stack.terminal()
    assert list(shared.iterdir()) == []
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777


def test_no_command_line_tells_the_databases_password(stack: RunningStack) -> None:
    [password] = re.findall(r":(\w+)@", stack.database_url)
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert password.encode() not in process.read_bytes()


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


ROLES = ("stowage_master", "stowage_owner", "stowage_app", "stowage_dump", "stowage_restore", "stowage_purge")


@pytest.mark.parametrize("role", ROLES)
def test_the_database_asks_for_a_password(stack: RunningStack, role: str) -> None:
    with psycopg.connect(stack.url_as(role)) as connection:
        assert connection.info.user == role
    place = stack.database_url.rpartition("@")[2]
    for login, refusal in ((role, "no password supplied"), (f"{role}:wrong", "password authentication failed")):
        with pytest.raises(psycopg.OperationalError, match=refusal):
            psycopg.connect(f"postgresql://{login}@{place}")


def test_the_line_for_psql_works_as_it_is_printed(stack: RunningStack) -> None:
    [line] = re.findall(r"Postgres  (psql .+)", where_to_look(stack.description, stack.home / "stack.json"))
    environment = {"PATH": f"{binaries()}:{os.environ['PATH']}", "HOME": str(stack.home)}
    done = subprocess.run(
        ["sh", "-c", f"{line} -XAtc 'SELECT current_user'"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("stowage_master\n", "")


def test_a_cluster_of_an_earlier_version_gets_a_password(own_stack: MakeStack) -> None:
    stack = own_stack()
    before = stack.start("up", "--no-sample")
    stack.stop()
    (stack.home / "postgres-password").unlink()
    hba = stack.home / "postgres" / "pg_hba.conf"
    hba.write_text("host all all 127.0.0.1/32 trust\n")
    after = stack.start("up", "--no-sample")
    assert after.database_url != before.database_url
    place = after.database_url.rpartition("@")[2]
    for role in ROLES:
        psycopg.connect(after.url_as(role)).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"{before.url_as(role).rpartition('@')[0]}@{place}")


SECRET = "s3cret-4711"
FAILING = {
    "unique": f"INSERT INTO noted VALUES ('{SECRET}', 1), ('{SECRET}', 1)",
    "check": f"INSERT INTO noted VALUES ('{SECRET}', -1)",
    "not null": f"INSERT INTO noted VALUES ('{SECRET}', NULL)",
    "foreign key": f"INSERT INTO noted VALUES ('{SECRET}', 1, 'not {SECRET}')",
    "type": f"SELECT '{SECRET}'::int",
    "date": f"SELECT '{SECRET}'::timestamptz",
    "length": f"INSERT INTO short VALUES ('{SECRET}')",
    "json": f"SELECT '{{{SECRET}'::jsonb",
    "syntax": f"SELECT '{SECRET}' FROM FROM",
    "column": f'SELECT "{SECRET}" FROM noted',
    "exception": f"DO $$ BEGIN RAISE EXCEPTION 'no: {SECRET}' USING DETAIL = '{SECRET}', HINT = '{SECRET}'; END $$",
    "warning": f"DO $$ BEGIN RAISE WARNING 'odd: %', '{SECRET}'; END $$",
    "exclusion": f"INSERT INTO excluded VALUES ('{SECRET}'), ('{SECRET}')",
    "timeout": f"SET LOCAL statement_timeout = 50; SELECT pg_sleep(5), '{SECRET}'",
}


@pytest.fixture
def noted(database: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Tables with rules that can be broken."""
    database.execute("""
        CREATE TEMP TABLE noted (name text PRIMARY KEY, n int NOT NULL CHECK (n > 0), other text REFERENCES noted);
        CREATE TEMP TABLE short (name varchar(3));
        CREATE TEMP TABLE excluded (name text, EXCLUDE USING btree (name WITH =));
    """)
    yield database
    database.execute("DROP TABLE noted, short, excluded")


@pytest.mark.parametrize("case", FAILING)
def test_the_databases_log_holds_nothing_that_people_have_written(
    stack: RunningStack, noted: psycopg.Connection, case: str
) -> None:
    with contextlib.nullcontext() if case == "warning" else pytest.raises(psycopg.Error), noted.transaction():
        noted.execute(FAILING[case])
    if case == "type":  # also as a parameter, and by COPY
        with pytest.raises(psycopg.DataError):
            noted.execute("SELECT %s::text::int", [SECRET])
        with pytest.raises(psycopg.DataError), noted.cursor().copy("COPY noted FROM STDIN") as copy:
            copy.write(f"a\t{SECRET}\n".encode())
    for setting in ("log_min_messages = debug5", "log_min_error_statement = error", "log_statement = 'all'"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            noted.execute(f"SET {setting}")
    assert SECRET not in (stack.home / "logs" / "postgres.log").read_text()


def test_a_failing_custom_resource_fails_the_start_with_its_reason(own_stack: MakeStack) -> None:
    stack = own_stack(STOWAGE_PARAMETER_JwtSecretArn="arn:aws:secretsmanager:us-east-1:123456789012:secret:none-abcdef")
    assert stack.launch("up", "--no-sample").wait(40) == 1
    assert "Keys: " in stack.terminal()
    assert wait_for_no_process(stack.home, 2) == []


def test_an_unknown_parameter_is_named(own_stack: MakeStack) -> None:
    stack: Any = own_stack(STOWAGE_PARAMETER_NoSuchThing="1")
    assert stack.launch("up", "--no-sample").wait(40) == 1
    assert "NoSuchThing" in stack.terminal()


def test_the_memory_of_the_process_does_not_grow_with_its_runs(stack: RunningStack) -> None:
    """A run takes 0.1 MB while AWS would remember it, and took 0.6 MB for ever."""

    def run(_: int) -> None:
        with Api(stack.api_url, stack.tokens["admin"]) as admin:
            completed_export(admin)

    def megabytes() -> float:
        pages = Path(f"/proc/{stack.description['pid']}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(run, range(12)))
        before = megabytes()
        list(callers.map(run, range(24)))
    assert (megabytes() - before) / 24 < 0.3
