"""A dump of several schemas, cut into one of each, is line by line what each schema's own dump is."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stowage.basics.errors import RunError
from stowage.postgres.dumps.contents import read_all_contents, read_contents
from stowage.postgres.dumps.cutting import Cutter
from stowage.postgres.dumps.pg_dump import Dump
from stowage.postgres.restores.archives import plain
from tests.stack.dump_surface import Database, whole
from tests.stack.servers import NEWEST, OLDER, Servers

SCHEMAS = [
    "tenant_acme", "tenant_acme2", "tenant_acmeX", "tenant_acme*", "tenant_acme|x", 'tenant "quoted"', '"tenant_acme"',
    "select", "tenant acme", "x; TABLE DATA y; Schema: tenant_acme", "line\nfeed", "Größe", "TENANT_ACME",
    "tenant_empty",
]  # fmt: skip
EMPTY = "tenant_empty"
BESIDE = "tenant_other"
OWNERS = 'CREATE ROLE cut_owner; CREATE ROLE "cut reader"'
ODD_ROWS = [
    r"\\.",
    r"\N",
    "-- Name: x; Type: TABLE; Schema: tenant_acme2; Owner: -",
    r"\x01\x02\r\n\t",
    "''$$ ; é",
    "PGDMP",
]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def filled(schema: str, place: int) -> str:
    """SQL that fills a schema with what could be mistaken for another one's."""
    name, rows = quoted(schema), ", ".join(f"(E'{row.replace(chr(39), chr(39) * 2)}')" for row in ODD_ROWS)
    return f"""
        SET search_path = {name};
        CREATE TABLE notes (id serial PRIMARY KEY, body text NOT NULL, raw bytea, tags text[]);
        INSERT INTO notes (body) VALUES {rows};
        INSERT INTO notes (body, raw, tags)
            SELECT repeat('row ' || i, {place}), decode(md5(i::text), 'hex'), ARRAY['a,b', NULL, '{{"']
            FROM generate_series(1, 40) i;
        CREATE TABLE children (id bigint GENERATED ALWAYS AS IDENTITY, note integer REFERENCES notes, at date)
            PARTITION BY RANGE (at);
        CREATE TABLE children_old PARTITION OF children FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
        INSERT INTO children (note, at) SELECT 1, '2020-05-05' FROM generate_series(1, 5);
        CREATE TABLE nothing ();
        CREATE SEQUENCE "seq; Type: TABLE" START {place};
        SELECT nextval('"seq; Type: TABLE"');
        CREATE VIEW shown AS SELECT id, body FROM notes WHERE body <> '';
        CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM notes;
        CREATE FUNCTION looks() RETURNS text LANGUAGE sql AS $body$ SELECT $$
--
-- Data for Name: notes; Type: TABLE DATA; Schema: tenant_acme2; Owner: -
--

COPY tenant_acme2.notes (id) FROM stdin;
1
\\.
$$ $body$;
        CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER touched BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION touched();
        CREATE INDEX "odd ""index" ON notes (lower(body));
        ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON notes USING (id > 0);
        CREATE TYPE mood AS ENUM ('calm', 'it''s loud');
        CREATE DOMAIN price AS numeric CHECK (VALUE >= 0);
        COMMENT ON SCHEMA {name} IS 'SCHEMA tenant_acme2';
        COMMENT ON TABLE notes IS E'two\\nlines; Type: SCHEMA';
        COMMENT ON COLUMN notes.body IS '--';
        GRANT USAGE ON SCHEMA {name} TO "cut reader";
        GRANT SELECT (id), UPDATE (body) ON notes TO "cut reader";
        ALTER DEFAULT PRIVILEGES IN SCHEMA {name} GRANT SELECT ON TABLES TO "cut reader";
        ALTER TABLE notes OWNER TO cut_owner;
        RESET search_path;
    """


@pytest.fixture(scope="module", params=[OLDER, NEWEST])
def database(request: pytest.FixtureRequest, servers: Servers) -> Database:
    """A database with all these schemas and one more, which no dump may hold; and with large objects."""
    made = servers(request.param).make_database()
    connection = made.connect()
    if not connection.execute("SELECT FROM pg_roles WHERE rolname = 'cut_owner'").fetchone():
        connection.execute(OWNERS)
    for place, schema in enumerate([*SCHEMAS, BESIDE], 1):
        connection.execute(f"CREATE SCHEMA {quoted(schema)}")
        if schema != EMPTY:
            connection.execute(filled(schema, place))
    connection.execute(
        "ALTER TABLE tenant_acme2.notes ADD FOREIGN KEY (id) REFERENCES tenant_acme.notes NOT VALID;"
        "CREATE VIEW tenant_acme.borrowed AS SELECT * FROM tenant_acme2.notes;"
        "SELECT lo_from_bytea(0, 'large')"
    )
    return made


def dump(database: Database, programs: Path, schemas: list[str], dump_format: str) -> bytes:
    first, *others = schemas
    source = Dump(
        first, dump_format, database.environment, binary=str(programs / "pg_dump"), beside=others  # type: ignore[arg-type]
    )  # fmt: skip
    return whole(source)


def cut(archive: bytes, schemas: list[str], size: int) -> dict[str, bytes]:
    """Every schema's archive; each must come in one go."""
    cutter, found = Cutter(schemas), dict[str, bytes]()

    def cuts() -> Iterator[tuple[str, bytes]]:
        for start in range(0, len(archive), size):
            yield from cutter.feed(archive[start : start + size])
        yield from cutter.finish()

    last = None
    for schema, piece in cuts():
        assert schema == last or schema not in found
        found[schema] = found.get(schema, b"") + piece
        last = schema
    return found


def lines(text: bytes) -> list[bytes]:
    """A plain dump but for what differs from run to run, and which program wrote it."""
    differing = (
        b"\\restrict ",
        b"\\unrestrict ",
        b"-- Dumped by pg_dump version ",
        b"-- Dumped from database version ",
    )
    return [line for line in text.split(b"\n") if not line.startswith(differing)]


@pytest.mark.long(but="18")
def test_what_is_cut_is_what_each_would_have_been(database: Database, servers: Servers) -> None:
    archive = dump(database, servers(NEWEST).programs, SCHEMAS, "custom")

    by_size = [cut(archive, SCHEMAS, size) for size in (1_000_003, 4096, 997)]
    assert by_size[0] == by_size[1] == by_size[2]
    assert by_size[0].keys() == set(SCHEMAS)
    for schema in SCHEMAS:
        must_be_alike(database, servers(NEWEST).programs, schema, by_size[0][schema])


@pytest.mark.long(but="15")
def test_clients_as_old_as_the_server_are_cut_too(database: Database) -> None:
    schemas = ["tenant_acme*", EMPTY, "tenant_acme2"]
    for schema, archive in cut(dump(database, database.programs, schemas, "custom"), schemas, 4096).items():
        must_be_alike(database, database.programs, schema, archive)


def must_be_alike(database: Database, programs: Path, schema: str, archive: bytes) -> None:
    """What pg_restore makes of a schema's archive is what these programs' pg_dump makes of the schema."""
    made = b"".join(plain(iter([archive]), str(programs / "pg_restore"), lambda: None))
    alone = subprocess.run(
        [programs / "pg_dump", f"--schema={quoted(schema)}"], env={**database.environment, "PGTZ": "UTC"},
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert lines(made) == lines(alone)
    assert len(lines(alone)) > (20 if schema == EMPTY else 200)


@pytest.mark.long(but="18")
def test_what_is_told_of_several_at_once_is_what_is_told_of_each(database: Database) -> None:
    connection = database.connect()
    odd = Path(__file__).with_name("odd_tenant.sql").read_text()
    for name in ("owner", "reader", "granted"):
        odd = odd.replace(f"{{{name}}}", "cut_owner")
    connection.execute(odd.encode())
    schemas = [*SCHEMAS, "tenant_odd"]
    with connection.transaction():
        groups, rows = {each: [each] for each in schemas}, {each: dict[str, int | None]() for each in schemas}
        together = read_all_contents(connection, groups, "18.4", rows)
        assert together == {each: read_contents(connection, each, "18.4", {}) for each in schemas}
    odd_one, borrowing = together["tenant_odd"], together["tenant_acme"]
    assert odd_one.casts
    assert odd_one.search_path_traps
    assert odd_one.warnings
    assert "tenant_acme2.notes" in {reference.target.split(" ")[-1] for reference in borrowing.references}
    assert all(contents.row_count == 51 for name, contents in together.items() if name not in (EMPTY, "tenant_odd"))


def test_an_archive_with_more_than_was_asked_for_is_refused(database: Database) -> None:
    archive = dump(database, database.programs, [*SCHEMAS, BESIDE], "custom")
    with pytest.raises(RunError) as caught:
        cut(archive, SCHEMAS, 4096)
    assert caught.value.code == "foreign_schema"
    with pytest.raises(RunError) as caught:
        cut(dump(database, database.programs, SCHEMAS[:3], "custom"), SCHEMAS, 4096)
    assert caught.value.code == "schema_missing"


@pytest.mark.long(but="18")
def test_large_objects_are_refused(database: Database) -> None:
    archive = database.run("pg_dump", "-Fc", "-Z0", "-b", '--schema="tenant_acme"')
    with pytest.raises(RunError) as caught:
        cut(archive, ["tenant_acme"], 4096)
    assert caught.value.code == "foreign_schema"


@pytest.mark.long(but="15")
def test_an_archive_that_breaks_off_anywhere_is_not_whole(database: Database) -> None:
    schemas = SCHEMAS[:2]
    archive = dump(database, database.programs, schemas, "custom")
    whole_of = cut(archive, schemas, 4096)
    steps = range(0, len(archive), len(archive) // 20)
    for end in [*steps, len(archive) - 1, len(archive) - 5]:
        with pytest.raises(RunError) as caught:
            cut(archive[:end], schemas, 4096)
        assert caught.value.code == "dump_interrupted"
    assert cut(archive, schemas, len(archive)) == whole_of
