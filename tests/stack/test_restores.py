"""Restores over HTTP: what comes back and where, what is refused, and that the live schema serves all the time."""

import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from local.postgres import binaries
from local.sample.rows import Sizes, fill
from stowage.postgres.dumps.sameness import compare_dumps
from stowage.postgres.schema.migrations import create_tenant
from tests.conftest import RunningStack
from tests.stack.dump_surface import ZOO
from tests.stack.office import Office
from tests.stack.route_surface import ended_job, fields, refusal, start_backup

FORMATS = ("sql", "tar", "custom")
URL = "/api/backup/restore"


@pytest.fixture(scope="module")
def zoo(stack: RunningStack) -> Iterator[Office]:
    """A tenant with one of everything that a schema can hold."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        name = f"zoo_{uuid4().hex[:10]}"

        def fill_tables() -> None:
            fill(database, name, Sizes(2, 4, 60, 240, 20, 5))
            database.execute(ZOO.read_bytes())
            # Postgres writes this rule in other words once it has read what it wrote.
            database.execute("CREATE TABLE moods (mood varchar(9) CHECK (mood IN ('calm', 'wild')))")

        create_tenant(database, name, name, "A zoo", fill=fill_tables)
        stack.invoke("CopyRegistryFunction")
        office = Office(stack, database, name)
        yield office
        office.close()


@pytest.fixture(scope="module")
def backups(zoo: Office) -> dict[str, str]:
    """A completed backup of each format."""
    api = zoo.caller("admin")
    ids = {each: start_backup(api, zoo.id, format=each) for each in FORMATS}
    for each in ids.values():
        assert ended_job(api, each, 120)["status"] == "completed"
    return ids


def given(zoo: Office, backup: str, **more: Any) -> dict[str, Any]:
    return {"project_id": zoo.id, "backup_id": backup, **more}


def asked(zoo: Office, backup: str, **more: Any) -> Any:
    answer = zoo.caller("admin").post(URL, json=given(zoo, backup, **more))
    assert answer.status_code == 202, answer.text
    job = answer.json()["data"]
    assert answer.headers["location"] == f"/api/jobs/{job['id']}"
    return job


def ended(zoo: Office, job: Any, status: str = "completed") -> Any:
    found = ended_job(zoo.caller("admin"), job["id"], 120)
    assert found["status"] == status, found["last_error"]
    return found


def tables(zoo: Office, schema: str) -> dict[str, tuple[Any, ...]]:
    """The rows of every table, by a hash that leaves out what names the schema."""
    names = zoo.run("SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", schema)
    count = "SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM {} t"
    return {
        name: zoo.run(sql.SQL(count).format(sql.Identifier(schema, name)).as_string(zoo.database))[0]
        for (name,) in names
    }


def schemas(zoo: Office) -> set[str]:
    return {name for (name,) in zoo.run("SELECT nspname FROM pg_namespace WHERE nspname ~ '^stowage_(copy|kept)_'")}


@pytest.mark.long(but="sql")
@pytest.mark.parametrize("dump_format", FORMATS)
def test_a_backup_becomes_a_schema_beside_the_live_one(zoo: Office, backups: dict[str, str], dump_format: str) -> None:
    before = tables(zoo, zoo.schema)
    job = asked(zoo, backups[dump_format], mode="new_schema")
    assert (job["type"], job["status"]) == ("restore", "pending")
    assert "not touched" in job["warning"]

    result = ended(zoo, job)["result"]
    assert result["schema"] == "stowage_copy_" + job["id"].replace("-", "")
    assert tables(zoo, result["schema"]) == before == tables(zoo, zoo.schema)
    assert result["tables"] >= len(before)
    assert result["rows"] == zoo.caller("admin").get(f"/api/backup/{backups[dump_format]}").json()["data"]["rows"]
    assert {"stowage_app", "stowage_dump", "stowage_purge"} <= set(result["closed_to"])
    with psycopg.connect(zoo.app_url) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(result["schema"], "accounts")))
    [(owners,)] = zoo.run(
        "SELECT count(DISTINCT nspowner) FROM pg_namespace WHERE nspname IN (%s, %s)", zoo.schema, result["schema"]
    )
    assert owners == 1
    zoo.run(f"DROP SCHEMA {result['schema']} CASCADE")


def proved(zoo: Office, backup: str, status: str) -> Any:
    """A trial restore of a backup; the job at its end, which leaves no database."""
    answer = zoo.caller("admin").post(f"/api/backup/{backup}/verify", json={"level": 3})
    assert answer.status_code == 202, answer.text
    job = ended(zoo, answer.json()["data"], status)
    assert zoo.run("SELECT datname FROM pg_database WHERE datname ~ %s", job["id"].replace("-", "")) == []
    return job


@pytest.mark.long(but="tar")
@pytest.mark.parametrize("dump_format", FORMATS)
def test_a_backup_is_proved_by_a_trial(zoo: Office, backups: dict[str, str], dump_format: str) -> None:
    before, of_others = dumped(zoo), schemas(zoo)
    job = proved(zoo, backups[dump_format], "completed")
    names = ("file", "restored", "same")
    assert job["result"]["checks"] == [{"name": name, "ok": True, "message": None} for name in names]
    backup = zoo.caller("admin").get(f"/api/backup/{backups[dump_format]}").json()["data"]
    assert backup["verification"] == {"level": 3, "at": job["result"]["at"], "ok": True}
    assert job["progress"]["rows"] == backup["rows"]
    assert (dumped(zoo), schemas(zoo)) == (before, of_others)


# A rule whose function reads another table does not hold as long as a restore has not filled that one.
SLY = """
CREATE FUNCTION has_brand(b text) RETURNS boolean LANGUAGE sql AS
    $$ SELECT EXISTS (SELECT FROM {0}.brands WHERE id = b) $$;
CREATE TABLE a_wish (brand text CHECK (has_brand(brand)));
INSERT INTO a_wish SELECT id FROM brands;
"""


def test_a_backup_that_cannot_be_restored_is_found_by_a_trial_and_by_nothing_else(office: Office) -> None:
    office.run(SLY.format(office.schema))
    admin = office.caller("admin")
    backup = start_backup(admin, office.id)
    assert ended_job(admin, backup, 120)["status"] == "completed"
    assert admin.get(f"/api/backup/{backup}").json()["data"]["verification"]["ok"] is True

    job = proved(office, backup, "failed")
    assert job["error_code"] == "restore_refused"
    assert [(each["name"], each["ok"]) for each in job["result"]["checks"]] == [("file", True), ("restored", False)]
    assert "a_wish" in job["last_error"]
    assert admin.get(f"/api/backup/{backup}").json()["data"]["verification"]["ok"] is False


def test_what_an_empty_database_cannot_have_is_named_and_says_nothing_of_the_backup(office: Office) -> None:
    other = f"{office.schema}_rates"
    office.run(f"CREATE SCHEMA {other}; CREATE TABLE {other}.rates (id int PRIMARY KEY)")
    office.run(f"CREATE TABLE {office.schema}.fees (rate int REFERENCES {other}.rates)")
    admin = office.caller("admin")
    backup = start_backup(admin, office.id)
    assert ended_job(admin, backup, 120)["status"] == "completed"
    before = admin.get(f"/api/backup/{backup}").json()["data"]["verification"]
    job = proved(office, backup, "failed")
    assert (job["error_code"], job["result"]) == ("trial_impossible", None)
    assert f"{other}.rates" in job["last_error"]
    assert admin.get(f"/api/backup/{backup}").json()["data"]["verification"] == before
    office.run(f"DROP TABLE {office.schema}.fees; DROP SCHEMA {other} CASCADE")


def dumped(zoo: Office) -> list[str]:
    """The live schema as pg_dump writes it, but for its tokens."""
    url = zoo.stack.database_url
    command = [binaries() / "pg_dump", "--schema", zoo.schema, "-d", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def says_the_same(one: list[str], other: list[str]) -> bool:
    """But for the words in which Postgres writes a rule, which it changes once it has read them."""
    return compare_dumps(*(iter(["\n".join(each).encode()]) for each in (one, other))).differs_at is None


@pytest.mark.long(but="custom")
@pytest.mark.parametrize("dump_format", FORMATS)
def test_in_place_the_schema_is_as_it_was_backed_up_and_one_call_takes_that_back(
    zoo: Office, backups: dict[str, str], dump_format: str
) -> None:
    before, of_others = dumped(zoo), schemas(zoo)
    zoo.run("DELETE FROM posts; UPDATE accounts SET username = 'changed ' || id")
    zoo.run("CREATE TABLE since (n int)")
    changed = dumped(zoo)
    assert changed != before

    refused = zoo.caller("admin").post(URL, json=given(zoo, backups[dump_format], mode="in_place"))
    assert fields(refusal(refused, 400, "confirm_required")) == ["confirm"]
    job = asked(zoo, backups[dump_format], mode="in_place", confirm=zoo.id)
    assert "replaced" in job["warning"]
    result = ended(zoo, job)["result"]
    assert says_the_same(dumped(zoo), before)
    assert (result["schema"], result["kept_schema"]) == (zoo.schema, "stowage_kept_" + job["id"].replace("-", ""))
    assert schemas(zoo) - of_others == {result["kept_schema"]}
    with psycopg.connect(zoo.app_url) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(result["kept_schema"], "accounts")))
    assert [each["type"] for each in zoo.journal(job["id"])] == ["schema.restored"]

    answer = zoo.caller("admin").post(f"{URL}/{job['id']}/revert")
    assert answer.status_code == 202, answer.text
    reverted = ended(zoo, answer.json()["data"])
    assert says_the_same(dumped(zoo), changed)
    assert schemas(zoo) - of_others == {reverted["result"]["kept_schema"]}
    refusal(zoo.caller("admin").post(f"{URL}/{job['id']}/revert"), 409, "not_revertible")
    assert "revert" not in zoo.caller("admin").get(f"/api/jobs/{job['id']}").json()["data"]["actions"]

    answer = zoo.caller("admin").post(f"{URL}/{reverted['id']}/revert")
    ended(zoo, answer.json()["data"])
    assert says_the_same(dumped(zoo), before)
    for name in schemas(zoo) - of_others:
        zoo.run(f"DROP SCHEMA {name} CASCADE")


def test_journal_and_trash_follow_what_was_restored(office: Office) -> None:
    """Deleted before the backup, restored since: in the trash again, with all that is known. Purged since: again."""
    admin = office.caller("admin")
    office.accounts("binned", "purged", "in_trash_purged", "edited")
    office.posts("binned", "pst_1", "pst_2")
    known = office.delete("binned")["operationId"]
    office.delete("in_trash_purged")
    entry = office.kept("accounts")["binned"], office.kept("posts")
    backup = start_backup(admin, office.id)
    ended(office, {"id": backup})

    office.undo(known)
    assert office.kept("posts") == {}
    office.delete("purged")
    for each in ("purged", "in_trash_purged"):
        assert admin.delete(office.path(f"trash/{each}?dataType=accounts")).status_code == 200
    office.delete("edited")
    office.accounts("new")

    job = ended(office, asked(office, backup, mode="in_place", confirm=office.id))
    assert office.live("accounts") == {"edited"}
    assert (office.kept("accounts")["binned"], office.kept("posts")) == entry
    assert office.trash()["pagination"]["total"] == 1
    office.stack.invoke("PurgeTrashFunction")
    assert set(office.rows("accounts")) == {"binned", "edited"}
    assert set(office.kept("accounts")) == {"binned"}
    assert office.is_gapless()
    assert [each["type"] for each in office.journal(job["id"])][-1] == "schema.restored"
    assert admin.post(office.path("trash/binned"), json={"dataType": "accounts"}).status_code == 200
    assert office.live("accounts") == {"binned", "edited"}
    assert office.live("posts") == {"pst_1", "pst_2"}
