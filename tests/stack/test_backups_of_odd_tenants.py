"""Backups of tenants as they are, over HTTP: what cannot succeed fails at once and by name, what cannot be counted is
unknown, and the rest completes.
"""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from psycopg import sql

from local.postgres import binaries
from tests.conftest import Api
from tests.stack.dump_surface import ROOT, Database
from tests.stack.office import Office
from tests.stack.restoring import ENDINGS, STEM, Backups, commands, of_format
from tests.stack.route_surface import ended_job, export_body, refusal, start_backup
from tests.stack.servers import NEWEST, Servers

type Json = Any


def failed_at_once(api: Api, job_id: str) -> Json:
    """A job that failed in its first attempt."""
    job = ended_job(api, job_id)
    assert (job["status"], job["attempts"]) == ("failed", 1), job
    return job


FAILS: dict[str, tuple[str, list[str]]] = {
    "a partition in another schema": (
        "CREATE TABLE days (day date) PARTITION BY RANGE (day);"
        "CREATE TABLE {archive}.days_2024 PARTITION OF days DEFAULT;",
        ["{archive}.days_2024 (of days)", 'SET SCHEMA "{schema}"'],
    ),
    "a child in another schema": (
        "CREATE TABLE places (name text); CREATE TABLE {archive}.islands () INHERITS (places);",
        ["{archive}.islands (of places)"],
    ),
    "row-level security": (
        "ALTER TABLE posts ENABLE ROW LEVEL SECURITY",
        ["rows of posts from stowage_dump", 'ALTER ROLE "stowage_dump" BYPASSRLS'],
    ),
    "a table that may not be read": ("REVOKE SELECT ON posts FROM stowage_dump", ["posts"]),
}


@pytest.mark.long(but=["a partition in another schema", "row-level security", "a table that may not be read"])
@pytest.mark.parametrize(("statements", "named"), FAILS.values(), ids=FAILS.keys())
def test_what_cannot_succeed_fails_at_once_and_by_name(office: Office, statements: str, named: list[str]) -> None:
    archive = f"archive_{office.id}"
    office.run(f"CREATE SCHEMA {archive};" + statements.format(archive=archive, schema=office.schema))
    admin = office.caller("admin")

    job = failed_at_once(admin, start_backup(admin, office.id))

    for name in named:
        assert name.format(archive=archive, schema=office.schema) in job["last_error"]


def test_rows_that_cannot_be_counted_are_null_and_the_backup_completes(office: Office) -> None:
    office.accounts("a1", "a2")
    office.run("""
        CREATE FUNCTION ready(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
        CREATE INDEX ON accounts (id) WHERE ready('x');
        CREATE OR REPLACE FUNCTION ready(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE
            AS 'BEGIN RAISE EXCEPTION ''the card is 4111''; END';
    """)
    admin = office.caller("admin")

    job = ended_job(admin, start_backup(admin, office.id))

    assert (job["status"], job["attempts"], job["last_error"]) == ("completed", 1, None)
    backup = admin.get(f"/api/backup/{job['id']}").json()["data"]
    contents = backup["manifest"]["contents"]
    assert (backup["rows"], backup["manifest"]["rows"], contents["row_count"]) == (None, None, None)
    assert (contents["rows"]["accounts"], contents["rows"]["brands"]) == (None, 2)
    [warning] = [warning for warning in contents["warnings"] if warning.startswith("Unknown")]
    assert "accounts" in warning
    assert "4111" not in warning
    [listed] = admin.get(f"/api/backup?project_id={office.id}").json()["data"]
    assert listed["rows"] is None
    address = admin.get(job["result"]["download_path"], allow_redirects=False).headers["location"]
    assert b"\na1\t" in gzip.decompress(requests.get(address, timeout=60).content)


def test_a_body_that_looks_like_a_dump_is_backed_up_in_every_format(office: Office) -> None:
    office.run("""
        CREATE FUNCTION looks_like_a_dump() RETURNS text LANGUAGE sql AS $body$ SELECT $$
--
-- Data for Name: posts; Type: TABLE DATA; Schema: tenant_other; Owner: x
--
COPY tenant_other.posts (id) FROM stdin;
$$ $body$
    """)
    admin = office.caller("admin")
    for kind in ("sql", "tar", "custom"):
        job = ended_job(admin, start_backup(admin, office.id, format=kind))
        assert (job["status"], job["attempts"], job["last_error"]) == ("completed", 1, None), kind


NAMES = (
    "100% %s %(x)s", 'quo"te', "apos'trophe", "back\\slash", "\\.", "line\nfeed", "tab\tstop", " lead", "trail ", "a.b",
    "{0}", "select", "user", "COPY", "FROM stdin;", "Upper", "upper", "$$", "$x$", "/* c",
    "-- Name: x; Type: TABLE; Schema: y", "x" * 63, "ü" * 31 + "z", "名前", "😀",
)  # fmt: skip
MADE_OF_A_NAME = """
CREATE TYPE {kind} AS ENUM ({text}, '', 'other');
CREATE TABLE {name} ({columns}, kind {kind} DEFAULT {text}, CONSTRAINT {name} CHECK ({name} IS NOT NULL));
INSERT INTO {name} SELECT {texts} UNION ALL SELECT {texts};
CREATE INDEX ON {name} (({name} || {text})) WHERE {name} <> {text};
CREATE VIEW {view} AS SELECT {name}, kind = {text} AS {text_as_name} FROM {name};
CREATE SEQUENCE {sequence};
CREATE FUNCTION {name}(text DEFAULT {text}) RETURNS text LANGUAGE sql AS {body};
COMMENT ON TABLE {name} IS {text};
COMMENT ON COLUMN {name}.{name} IS {text};
"""


def named(kind: str, name: str) -> sql.Identifier:
    """A name for something else that is made of this name."""
    return sql.Identifier(f"{kind}{name}".encode()[:63].decode(errors="ignore"))


def made_of(name: str) -> sql.Composed:
    """One of everything a schema may hold, called so; in a table of it, columns of all names."""
    return sql.SQL(MADE_OF_A_NAME).format(
        name=sql.Identifier(name),
        text=sql.Literal(name[:20]),
        body=sql.Literal(f"SELECT {sql.Literal(name).as_string()}"),
        text_as_name=named("is ", name),
        columns=sql.SQL(", ").join([sql.SQL("{} text").format(sql.Identifier(each)) for each in NAMES]),
        texts=sql.SQL(", ").join(map(sql.Literal, NAMES)),
        **{kind: named(kind[0], name) for kind in ("kind", "view", "sequence")},
    )


@pytest.mark.long(but="custom")
@pytest.mark.parametrize("kind", ["sql", "custom"])
def test_a_tenant_of_odd_names_is_backed_up_and_restored_as_it_was(
    office: Office, servers: Servers, tmp_path: Path, kind: str
) -> None:
    office.database.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(office.schema)))
    office.database.execute(sql.SQL("").join(map(made_of, NAMES)))
    office.database.execute("RESET search_path")
    admin, server = office.caller("admin"), servers(NEWEST)

    job = ended_job(admin, start_backup(admin, office.id, format=kind))

    assert (job["status"], job["last_error"]) == ("completed", None)
    backup = admin.get(f"/api/backup/{job['id']}")
    assert {name: backup.json()["data"]["manifest"]["contents"]["rows"][name] for name in NAMES} == dict.fromkeys(
        NAMES, 2
    )
    address = admin.get(job["result"]["download_path"], allow_redirects=False).headers["location"]
    (tmp_path / f"{STEM}.{ENDINGS[kind]}").write_bytes(requests.get(address, timeout=60).content)
    (tmp_path / "manifest.json").write_text(backup.text)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    target = server.make_database()
    command = of_format(commands("docs/restore.md", "## 2. Anywhere: owned by whoever restores it"), kind)
    Backups(tmp_path, target, {}).run(command, server, target.url)
    assert dumped(target, office.schema) == dumped(Database(office.stack.database_url, binaries()), office.schema)


def dumped(database: Database, schema: str) -> list[str]:
    """The lines of a dump without what is another one in each."""
    lines = database.run("pg_dump", "-O", "-x", "-n", schema).decode().splitlines()
    return [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict", "-- Dumped"))]


ASKED: dict[str, Callable[[Api, Office], requests.Response]] = {
    "a list": lambda api, office: api.get("/api/v1/posts", headers={"X-Tenant-Id": office.id}),
    "a record": lambda api, office: api.get("/api/v1/posts/p1", headers={"X-Tenant-Id": office.id}),
    "the trash": lambda api, office: api.get(office.path("trash?type=post")),
    "a deletion": lambda api, office: api.post(
        office.path("bulk/delete"), json={"ids": ["p1"], "dataType": "posts"}
    ),
    "an import": lambda api, office: api.post(
        "/api/v1/import/posts", json={"items": [{"accountId": "a1", "url": "https://x.example"}]},
        headers={"X-Tenant-Id": office.id},
    ),
    "an estimate": lambda api, office: api.post(
        office.path("exports/estimate"), json=export_body(dataType="posts")
    ),
}  # fmt: skip


def test_hidden_rows_are_refused_in_every_answer_and_file(office: Office) -> None:
    office.accounts("a1")
    office.posts("a1", "p1")
    office.run("ALTER TABLE posts ENABLE ROW LEVEL SECURITY")
    admin = office.caller("admin")

    for what, ask in ASKED.items():
        told = refusal(ask(admin, office), 503, "row_level_security")["error"]
        assert "rows of posts from stowage_app" in told, what

    for given in ({"dataType": "posts"}, {"dataType": "gdpr", "mode": "all", "format": "ndjson"}):
        response = admin.post(office.path("exports"), json=export_body(**given))
        assert response.status_code == 202, response.text
        job = failed_at_once(admin, response.json()["id"])
        assert "rows of posts from stowage_app" in job["last_error"]
    assert admin.get("/api/v1/accounts", headers={"X-Tenant-Id": office.id}).status_code == 200
