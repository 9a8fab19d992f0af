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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from psycopg import sql

from local import deployment, parameters
from local.configuration import Configuration, from_environment
from local.console import StartError
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


def server_of(stack: RunningStack) -> int:
    return int((stack.home / "postgres" / "postmaster.pid").read_text().split()[0])


def entries(stack: RunningStack, slug: str, table: str) -> int:
    with psycopg.connect(stack.database_url) as connection:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(f"tenant_{slug}", table))
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def open_to_others(home: Path) -> list[str]:
    """What of a home others could read, write or enter."""
    return [str(path) for path in (home, *home.rglob("*")) if path.lstat().st_mode & 0o077 and not path.is_symlink()]


ROLES = ("stowage_master", "stowage_owner", "stowage_app", "stowage_dump", "stowage_restore", "stowage_purge")


def test_one_home_lives_through_stops_kills_and_an_earlier_version(own_stack: MakeStack) -> None:
    """One stack for all of it, because a start is what costs."""
    stack = own_stack(SCALE="2")
    leave_folders_to_everybody(stack)
    first = stack.start()
    assert_sample_has_twice_its_size(first)
    make_runs(first)
    assert_closed_to_others(stack)
    stored = store(first, "before a stop")
    secret = json.loads((stack.home / "secrets.json").read_text())
    assert_stops_cleanly(stack, signal.SIGTERM)
    assert_closed_to_others(stack)

    forget_what_an_earlier_version_did_not_know(stack)
    stack.environment["SCALE"] = "3"  # which changes nothing that is there
    second = stack.start()
    assert_sample_has_twice_its_size(second)
    assert_closed_to_others(stack)
    assert_has_another_password(second, first)
    assert_stored(second, stored)
    assert_a_killed_database_server_comes_back_by_itself(second)
    stored_again = store(second, "before a kill")
    assert_a_kill_leaves_no_process(stack, second)

    third = stack.start()
    assert_stored(third, stored)
    assert_stored(third, stored_again)
    assert json.loads((stack.home / "secrets.json").read_text()) == secret
    assert requests.get(f"{third.api_url}/api/v1/health", timeout=5).status_code == 200
    assert_stops_cleanly(stack, signal.SIGINT)


def leave_folders_to_everybody(stack: LocalStack) -> None:
    """The folders of an earlier version, made with a umask that lets everybody read; so is the next start's."""
    for folder in (stack.home, stack.home / "objects", stack.home / "logs"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    for file in ("logs/functions.log", "objects/old", "lock"):
        (stack.home / file).write_text("old")
        (stack.home / file).chmod(0o666)
    stack.umask = 0o000


def assert_closed_to_others(stack: LocalStack) -> None:
    (stack.home / "terminal.log").chmod(0o600)  # the test's own
    assert open_to_others(stack.home) == []


def assert_sample_has_twice_its_size(stack: RunningStack) -> None:
    for tenant in SAMPLE_TENANTS:
        if not tenant.extra:
            twice = {name: 2 * count for name, count in asdict(tenant.sizes).items()}
            assert {name: entries(stack, tenant.slug, name) for name in twice} == twice


def make_runs(stack: RunningStack) -> None:
    """An export and a backup, whose files and logs are in the home."""
    with Api(stack.api_url, stack.tokens["admin"]) as admin:
        completed_export(admin)
        start_backup(admin)
        ended = [job for job in admin.get("/api/jobs").json()["data"] if job["type"] == "export_backup"]
        ended_job(admin, ended[0]["id"])


def assert_stops_cleanly(stack: LocalStack, number: signal.Signals) -> None:
    assert stack.stop(number) == 0
    assert wait_for_no_process(stack.home, 2) == []
    assert not (stack.home / "stack.json").exists()
    assert "Traceback" not in stack.terminal()


def assert_a_kill_leaves_no_process(stack: LocalStack, running: RunningStack) -> None:
    """Although somebody is connected to the database."""
    assert stack.process is not None
    backend = psycopg.connect(running.database_url)
    stack.process.kill()
    stack.process.wait()
    assert wait_for_no_process(stack.home, 8) == []
    with contextlib.suppress(psycopg.Error):
        backend.close()


def forget_what_an_earlier_version_did_not_know(stack: LocalStack) -> None:
    """It knew less of an object, and let everybody into its database."""
    file = stack.home / "state" / "s3.json"
    kept = json.loads(file.read_text())
    for described in itertools.chain.from_iterable(kept["state"].values()):
        described.pop("checksum_parts", None)
    file.write_text(json.dumps(kept))
    (stack.home / "postgres-password").unlink()
    (stack.home / "postgres" / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")


def assert_has_another_password(after: RunningStack, before: RunningStack) -> None:
    assert after.database_url != before.database_url
    place = after.database_url.rpartition("@")[2]
    for role in ROLES:
        psycopg.connect(after.url_as(role)).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"{before.url_as(role).rpartition('@')[0]}@{place}")


def assert_a_killed_database_server_comes_back_by_itself(stack: RunningStack) -> None:
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


@dataclass(frozen=True)
class Stored:
    """An item of the table, and the versions of an object; all under a name of their own."""

    name: str
    item: dict[str, Any]
    versions: list[str]


def store(stack: RunningStack, name: str) -> Stored:
    """Put an item, objects with versions, and others that are replaced, deleted, tagged and copied."""
    table, bucket = stack.resources["Table"], stack.resources["BackupsBucket"]
    item = {"pk": {"S": "TEST"}, "sk": {"S": name}, "n": {"N": "1.5"}, "m": {"M": {"l": {"L": [{"BOOL": True}]}}}}
    stack.aws("dynamodb").put_item(TableName=table, Item=item)
    s3, key = stack.aws("s3"), f"{name}/k"
    versions = [
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="text/plain", Metadata={"run": "r"})["VersionId"]
        for body in (b"one", b"two")
    ]
    s3.put_object(Bucket=bucket, Key=f"{name}/gone", Body=b"x")
    s3.delete_object(Bucket=bucket, Key=f"{name}/gone")
    others = stack.resources["ExportsBucket"]  # which keeps no versions
    for body in (b"one", b"two"):
        s3.put_object(Bucket=others, Key=f"{name}/replaced", Body=body)
        for each in ("first", "second", "third"):
            s3.put_object(Bucket=others, Key=f"{name}/deleted/{each}", Body=body)
    tags = {"TagSet": [{"Key": "k", "Value": "v"}]}
    s3.put_object_tagging(Bucket=others, Key=f"{name}/replaced", Tagging=tags)
    s3.copy_object(Bucket=others, Key=f"{name}/copied", CopySource={"Bucket": others, "Key": f"{name}/deleted/first"})
    gone = [{"Key": f"{name}/deleted/{each}"} for each in ("first", "second")]
    s3.delete_objects(Bucket=others, Delete={"Objects": gone})
    return Stored(name, item, versions)


def assert_stored(stack: RunningStack, stored: Stored) -> None:
    table, bucket, others = (stack.resources[name] for name in ("Table", "BackupsBucket", "ExportsBucket"))
    s3, name = stack.aws("s3"), stored.name
    key = {part: stored.item[part] for part in ("pk", "sk")}
    assert stack.aws("dynamodb").get_item(TableName=table, Key=key)["Item"] == stored.item
    for version, body in zip(stored.versions, (b"one", b"two"), strict=True):
        kept = s3.get_object(Bucket=bucket, Key=f"{name}/k", VersionId=version)
        assert (kept["Body"].read(), kept["ContentType"], kept["Metadata"]) == (body, "text/plain", {"run": "r"})
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix=name)["Contents"]] == [f"{name}/k"]
    left = {
        each["Key"].removeprefix(f"{name}/"): s3.get_object(Bucket=others, Key=each["Key"])["Body"].read()
        for each in s3.list_objects_v2(Bucket=others, Prefix=name)["Contents"]
    }
    assert left == {"replaced": b"two", "copied": b"two", "deleted/third": b"two"}
    assert s3.get_object_tagging(Bucket=others, Key=f"{name}/replaced")["TagSet"] == [{"Key": "k", "Value": "v"}]


def test_a_taken_port_is_named_with_its_holder_and_its_variable(stack: RunningStack, own_stack: MakeStack) -> None:
    taken = stack.api_url.rpartition(":")[2]
    second = own_stack(STOWAGE_PORT=taken)
    assert second.launch("up").wait(90) == 1
    said = second.terminal()
    assert f"Port {taken} is taken by process {stack.description['pid']}" in said
    assert "STOWAGE_PORT=" in said
    assert "Traceback" not in said


def test_two_stacks_do_not_share_a_home(stack: RunningStack, own_stack: MakeStack) -> None:
    second = own_stack()
    second.environment["STOWAGE_HOME"] = str(stack.home)
    assert second.launch("up").wait(90) == 1
    assert f"process {stack.description['pid']}" in second.terminal()
    assert (stack.home / "stack.json").exists()


@pytest.mark.parametrize("variable", ["SCALE", "STOWAGE_PORT"])
def test_a_number_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    for given in ("0", "-1", "abc", "1.5", "²"):
        monkeypatch.setenv(variable, given)
        with pytest.raises(StartError, match=re.escape(f"{variable}={given} is not a whole number from 1 up.")):
            from_environment(port=None, aws_port=None, home=None, sample=True)


def test_a_start_that_is_impossible_says_why_in_one_line(own_stack: MakeStack) -> None:
    stack = own_stack(STOWAGE_PORT="²")
    assert stack.launch("up").wait(90) == 1
    assert stack.terminal() == "STOWAGE_PORT=² is not a whole number from 1 up.\n"


def test_an_unknown_parameter_is_named(tmp_path: Path) -> None:
    configuration = Configuration(1, 2, tmp_path, None, 1)
    overrides = parameters.overrides({"STOWAGE_PARAMETER_NoSuchThing": "1"})
    given = parameters.parameters(configuration, "postgresql://127.0.0.1/none", overrides)
    with pytest.raises(StartError, match="NoSuchThing"):
        deployment.resolve(configuration, given, {})


def test_what_holds_secrets_is_closed_to_others(stack: RunningStack) -> None:
    for name in ("stack.json", "secrets.json"):
        assert stat.S_IMODE((stack.home / name).stat().st_mode) == 0o600


def test_a_folder_of_everybodys_is_no_home(own_stack: MakeStack) -> None:
    stack = own_stack()
    shared = stack.home / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    stack.environment["STOWAGE_HOME"] = str(shared)
    assert stack.launch("up").wait(90) == 1
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
    assert stack.launch("up").wait(40) == 1
    assert "Keys: " in stack.terminal()
    assert wait_for_no_process(stack.home, 2) == []


@pytest.mark.long
def test_the_memory_of_the_process_does_not_grow_with_its_runs(stack: RunningStack) -> None:
    """A run takes 0.1 MB while AWS would remember it, and took 0.6 MB for ever."""

    def run(_: int) -> None:
        with Api(stack.api_url, stack.tokens["admin"]) as admin:
            completed_export(admin)

    def megabytes() -> float:
        pages = Path(f"/proc/{stack.description['pid']}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(run, range(8)))
        before = megabytes()
        list(callers.map(run, range(16)))
    assert (megabytes() - before) / 16 < 0.3
