"""`python -m stowage.entities check`: declarations against the tables of every tenant."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from stowage.entities.building import module_of
from stowage.entities.checking import Finding, check, wanted_columns
from stowage.entities.inspecting import write_declarations
from stowage.entities.language import Literals, read_declarations
from stowage.postgres.schema.catalogue import read_tables
from stowage.postgres.schema.migrations import apply_roles
from stowage.postgres.tables.shapes import has_roles, read_shapes
from stowage.postgres.tables.unreadable import check_backups
from tests.conftest import ROOT
from tests.stack.servers import NEWEST, OLDER, Server, Servers

DECLARED = """
[notes]
key = "id text client"
label = "title"
created = "created_at"
updated = "updated_at"
trash = "deleted_at"
[notes.fields]
title = "varchar(80) not null"
size = { type = "int not null", default = 0 }
mood = { type = "mood", readOnly = true, values = ["sad", "ok"] }
parentId = { type = "text", references = "notes", onDelete = "restrict" }
"""
NOTES = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE notes (
    id text PRIMARY KEY, title varchar(80) NOT NULL, size int NOT NULL DEFAULT 0, mood mood, parent_id text,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE INDEX ON notes (created_at);
CREATE INDEX ON notes (deleted_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX ON notes (parent_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO stowage_app;
GRANT SELECT, UPDATE, DELETE ON notes TO stowage_purge;
GRANT SELECT ON notes TO stowage_dump;
"""


@pytest.fixture(scope="module", params=[OLDER, NEWEST])
def server(servers: Servers, request: pytest.FixtureRequest) -> Server:
    return servers(request.param)


@pytest.fixture(scope="module")
def with_roles(server: Server) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.make_database().url, autocommit=True) as connection:
        apply_roles(connection)
        yield connection


@pytest.fixture
def database(with_roles: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A database in which nothing of the tests before is left."""
    yield with_roles
    with_roles.execute("RESET search_path")
    for [name] in with_roles.execute("SELECT nspname FROM pg_namespace WHERE nspname ILIKE 'tenant%'").fetchall():
        with_roles.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


_ROLES = sql.SQL("stowage_app, stowage_dump, stowage_purge")


def tenant(database: psycopg.Connection, schema: str, statements: str = NOTES) -> str:
    named = sql.Identifier(schema)
    database.execute(sql.SQL("CREATE SCHEMA {0}; GRANT USAGE ON SCHEMA {0} TO {1}").format(named, _ROLES))
    database.execute(sql.SQL("SET search_path = {}").format(named))
    database.execute(statements.encode())
    database.execute("RESET search_path")
    return schema


def checked(database: psycopg.Connection, schemas: list[str], text: str = DECLARED) -> list[Finding]:
    literals = read_declarations({"tables.toml": text})
    return check(literals, *read_shapes(database, schemas, wanted_columns(literals)))


def test_what_is_as_declared_has_no_findings(database: psycopg.Connection) -> None:
    schemas = [tenant(database, name) for name in ("tenant_a", 'tenant "b" %s', "Tenant.c")]
    assert checked(database, schemas) == []


@pytest.mark.long(but=["18-*", "15-ALTER TABLE notes DROP title-error-there is no column title"])
@pytest.mark.parametrize(
    ("statement", "severity", "sentence"),
    [
        ("ALTER TABLE notes DROP title", "error", "there is no column title"),
        ("ALTER TABLE notes RENAME size TO \"Size\"", "error", "there is no column size"),
        ("ALTER TABLE notes ALTER size TYPE bigint", "error", "size is bigint, not integer"),
        ("ALTER TABLE notes ALTER title TYPE varchar(40)", "error", "title is character varying(40), not"),
        ("ALTER TABLE notes ALTER mood TYPE text", "error", "mood is text, not mood"),
        ("ALTER TABLE notes ALTER created_at TYPE timestamp", "error", "created_at is timestamp without time zone"),
        ("ALTER TABLE notes DROP size, ADD size int NOT NULL GENERATED ALWAYS AS (3) STORED", "error", "size is gen"),
        ("ALTER TABLE notes ALTER title DROP NOT NULL", "warning", "title may be null, but is `not null`"),
        ("ALTER TABLE notes ALTER parent_id SET NOT NULL", "warning", "parent_id is NOT NULL, but may be null"),
        ("ALTER TABLE notes ADD owner text NOT NULL", "warning", "owner must be given and is no field"),
        ("ALTER TABLE notes DROP deleted_at", "error", "there is no column deleted_at, so nothing says what is in"),
        ("ALTER TABLE notes ALTER deleted_at TYPE bigint USING 1", "error", "deleted_at is bigint, and the trash says"),
        ("ALTER TABLE notes ALTER deleted_at SET NOT NULL", "error", "deleted_at is NOT NULL, so every record is in"),
        ("ALTER TABLE notes ADD deleted_by text, ADD purge_at timestamptz, ADD deleted_operation text, "
         "ADD deleted_with text", "error", "an earlier version's trash lies in these rows; `soft-delete` prints how"),
        ("ALTER TABLE notes ADD stw_n integer", "error", "stw_n must be renamed: names in Stowage's statements begin"),
        ("ALTER TABLE notes DROP CONSTRAINT notes_pkey", "error", "id is not unique by itself"),
        ("DROP INDEX notes_created_at_idx", "warning", "no index begins with created_at: lists are slow"),
        ("DROP INDEX notes_deleted_at_id_idx", "warning", "no index begins with deleted_at: the trash is slow"),
        ("DROP INDEX notes_parent_id_idx", "warning", "no index begins with parent_id: deleting notes is slow"),
        ("REVOKE UPDATE ON notes FROM stowage_app", "error", "stowage_app lacks UPDATE; run `grant`"),
        ("REVOKE ALL ON notes FROM stowage_app", "error", "stowage_app lacks SELECT, INSERT, UPDATE, DELETE;"),
        ("REVOKE USAGE ON SCHEMA tenant_b FROM stowage_app", "error", "stowage_app lacks USAGE;"),
        ("REVOKE DELETE ON notes FROM stowage_purge", "error", "stowage_purge lacks DELETE; run `grant`"),
        ("REVOKE USAGE ON SCHEMA tenant_b FROM stowage_purge", "error", "stowage_purge lacks USAGE;"),
        ("REVOKE SELECT ON notes FROM stowage_dump", "error", "stowage_dump lacks SELECT; run `grant`"),
        ("REVOKE USAGE ON SCHEMA tenant_b FROM stowage_dump", "error", "stowage_dump lacks USAGE;"),
        ("ALTER TABLE notes ENABLE ROW LEVEL SECURITY", "error", "row-level security hides rows from stowage_app"),
        ("DROP TABLE notes", "warning", "there is no table notes: the entity is absent there"),
        ("DROP SCHEMA tenant_b CASCADE", "error", "there is no schema of the tenant"),
    ],
)  # fmt: skip
def test_what_one_tenant_has_otherwise_is_told_with_its_schema(
    database: psycopg.Connection, statement: str, severity: str, sentence: str
) -> None:
    schemas = [tenant(database, f"tenant_{name}") for name in "abc"]
    database.execute("SET search_path = tenant_b")
    database.execute(statement.encode())
    database.execute("RESET search_path")
    [finding] = checked(database, schemas)
    assert (finding.severity, finding.tenants, finding.schemas) == (severity, 1, ("tenant_b",))
    assert finding.sentence.startswith(sentence)


def test_a_role_that_is_a_member_of_the_owner_sees_every_row_unless_security_is_forced(
    database: psycopg.Connection,
) -> None:
    schema = tenant(database, "tenant_a")
    database.execute("CREATE ROLE owner_of_notes; GRANT owner_of_notes TO stowage_app")
    try:
        database.execute("ALTER TABLE tenant_a.notes OWNER TO owner_of_notes")
        database.execute("ALTER TABLE tenant_a.notes ENABLE ROW LEVEL SECURITY")
        assert checked(database, [schema]) == []
        database.execute("ALTER TABLE tenant_a.notes FORCE ROW LEVEL SECURITY")
        [finding] = checked(database, [schema])
        assert finding.sentence.startswith("row-level security hides")
    finally:
        database.execute("DROP SCHEMA tenant_a CASCADE; DROP OWNED BY owner_of_notes; DROP ROLE owner_of_notes")


def test_a_table_that_nobody_declared_and_no_backup_may_read_is_told(database: psycopg.Connection) -> None:
    literals = read_declarations({"tables.toml": DECLARED})
    others = "CREATE TABLE a_b (n int); CREATE VIEW seen AS TABLE a_b; CREATE TABLE read (n int);"
    schemas = [tenant(database, name, NOTES + others) for name in ("tenant_a", "tenant_b")]
    database.execute("REVOKE SELECT ON tenant_a.notes FROM stowage_dump; GRANT SELECT ON tenant_b.a_b TO stowage_dump")
    database.execute("GRANT SELECT ON tenant_a.read, tenant_b.read TO stowage_dump")
    [finding] = check_backups(database, literals, schemas)
    assert finding.sentence.startswith("stowage_dump lacks SELECT on a_b, so that backups fail")
    assert (finding.severity, finding.tenants, finding.schemas) == ("error", 1, ("tenant_a",))


@pytest.mark.long(but=["15-bigserial", "18-bigint GENERATED ALWAYS AS IDENTITY"])
@pytest.mark.parametrize("made", ["bigserial", "bigint GENERATED ALWAYS AS IDENTITY"])
def test_a_sequence_that_makes_keys_or_values_needs_its_own_right(database: psycopg.Connection, made: str) -> None:
    statements = f"{NOTES}; ALTER TABLE notes DROP id, ADD id {made} PRIMARY KEY, DROP size, ADD size serial NOT NULL"
    text = DECLARED.replace("id text client", "id bigint database").replace("default = 0", "databaseDefault = true")
    text = text.replace('type = "text", references = "notes", onDelete = "restrict"', 'type = "text"')
    schema = tenant(database, "tenant_a", statements)

    def told() -> list[str]:
        return [each.sentence for each in checked(database, [schema], text) if each.severity == "error"]

    lacks = "stowage_app lacks USAGE of the sequence of id, USAGE of the sequence of size; run `grant` for the schema"
    assert told() == [lacks]
    database.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA tenant_a TO stowage_app")
    assert told() == []


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('key = "id text client"', 'key = "id text database"', "id has no default and is no identity"),
        ('key = "id text client"', 'key = "id numeric client"', "Stowage cannot serve it yet: a key of type numeric"),
        ("default = 0", "databaseDefault = true", "size has no default, but says databaseDefault"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_by_name(
    database: psycopg.Connection, old: str, new: str, sentence: str
) -> None:
    schema = tenant(database, "tenant_a", NOTES.replace("DEFAULT 0", ""))
    text = DECLARED.replace(', references = "notes", onDelete = "restrict"', "")
    found = checked(database, [schema], text.replace(old, new))
    assert [each.severity for each in found if each.sentence.startswith(sentence)] == ["error"], found


@pytest.mark.long(but=["15-rails", "15-prisma", "18-django", "18-rental"])
@pytest.mark.parametrize("product", ["rails", "django", "prisma", "rental"])
def test_what_inspect_writes_fits_the_schema_that_it_is_of(database: psycopg.Connection, product: str) -> None:
    """What is left are the things that a person decides and that Stowage cannot do yet, rights and indexes."""
    text = (ROOT / "tests/stack/products" / f"{product}.sql").read_text()
    schema = tenant(database, "tenant_a", text)
    rights = sql.SQL(
        "GRANT ALL ON ALL TABLES IN SCHEMA tenant_a TO {0}; GRANT ALL ON ALL SEQUENCES IN SCHEMA tenant_a TO {0}"
    )
    database.execute(rights.format(_ROLES))
    found = checked(database, [schema], write_declarations(schema, read_tables(database, schema) or []))
    known = ("Stowage cannot serve it yet", "no index begins with", "row-level security hides")
    others = [each.sentence for each in found if not each.sentence.startswith(known)]
    others = [each for each in others if "must be given" not in each]
    assert others == []


def worked(database: psycopg.Connection) -> float:
    """The processor's seconds that the server has spent on this connection; others' load does not count."""
    fields = Path(f"/proc/{database.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_ten_thousand_tenants_take_seconds(servers: Servers) -> None:
    """A hundredth of them here; what grows with their number is the server's work, counted in its processor time."""
    names = [f"things_{n}" for n in range(8)]
    fields = [f"field_{n}" for n in range(12)]
    text = "".join(
        f'[{name}]\nkey = "id text client"\ncreated = "created_at"\nupdated = "updated_at"\n[{name}.fields]\n'
        + "".join(f'{field} = {{ type = "text", column = "{field}" }}\n' for field in fields)
        for name in names
    ).replace("field_", "field")  # fmt: skip
    literals: Literals = read_declarations({"tables.toml": text.replace('column = "field', 'column = "field_')})
    columns = ", ".join(f"{field} text" for field in fields)
    times = "created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL"
    tables = "; ".join(f"CREATE TABLE {name} (id text PRIMARY KEY, {columns}, {times})" for name in names)
    with psycopg.connect(servers(NEWEST).make_database().url, autocommit=True) as database:
        apply_roles(database)
        schemas = [tenant(database, f"tenant_{n}", tables) for n in range(100)]
        database.execute("ALTER TABLE tenant_7.things_3 DROP field_5; ANALYZE pg_class; ANALYZE pg_attribute")
        seconds = []
        for _ in range(3):
            began = worked(database)
            absent, shapes = read_shapes(database, schemas, wanted_columns(literals))
            seconds.append(worked(database) - began)
    assert (absent, len(shapes)) == ([], 9)
    missing = [each for each in check(literals, absent, shapes) if each.sentence == "there is no column field_5"]
    assert [(each.entity, each.schemas) for each in missing] == [("things_3", ("tenant_7",))]
    assert min(seconds) * 100 < 15


def test_the_command_tells_it_and_its_exit_status_is_one(server: Server, tmp_path: Path) -> None:
    package = tmp_path / "stowage_entities"
    package.mkdir()
    (package / "__init__.py").write_text(module_of(read_declarations({"tables.toml": DECLARED})))
    url = server.make_database().url

    def command(*schemas: str) -> "subprocess.CompletedProcess[str]":
        named = [part for schema in schemas for part in ("--schema", schema)]
        path = os.pathsep.join((str(tmp_path), str(ROOT / "layers/stowage")))
        return subprocess.run(
            [sys.executable, "-m", "stowage.entities", "check", "--url", url, *named],
            check=False, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip

    with psycopg.connect(url, autocommit=True) as database:
        apply_roles(database)
        assert has_roles(database)
        tenant(database, "tenant_a")
        tenant(database, "tenant_b", NOTES.replace("size int", "size bigint"))
    answer = command("tenant_a")
    assert (answer.returncode, answer.stdout.count("\n")) == (0, 1), answer.stdout + answer.stderr
    answer = command("tenant_a", "tenant_b")
    assert answer.returncode == 1
    assert "error    notes                size is bigint, not integer  (1 of 2 tenants: tenant_b)\n" in answer.stdout
    assert "1 entities, 2 tenants, " in answer.stdout
    answer = command()
    assert (answer.returncode, answer.stderr) == (1, 'error: relation "control_plane.projects" does not exist\n')
