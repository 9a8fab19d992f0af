"""What stands beside a dump, counting, describing, estimating, never fails what pg_dump itself can do; and what pg_dump
says of its end reaches whoever asked for the backup, without any row.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local.postgres import binaries
from stowage.basics.errors import RunError
from stowage.postgres.dumps.contents import DumpContents, SnapshotContents
from stowage.postgres.dumps.estimates import estimate
from stowage.postgres.dumps.failures import database_error, dump_error, last_words, without_values
from stowage.postgres.dumps.pg_dump import Dump
from tests.stack.dump_surface import Database, whole
from tests.stack.restoring import Backups, back_up, commands
from tests.stack.servers import NEWEST, OLDER, Server, Servers

TABLE = """
    CREATE SCHEMA tenant_acme;
    SET search_path = tenant_acme;
    CREATE TABLE notes (id int PRIMARY KEY, body text);
    INSERT INTO notes VALUES (1, 'one'), (2, 'two');
"""
RAISING = """
    CREATE OR REPLACE FUNCTION ready(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN RAISE EXCEPTION 'the card is 4111 1111'; END $$
"""
# What a function of an index needs, and whether the rows can be counted.
INDEXES = {
    "names another of its schema": (
        "CREATE FUNCTION folded(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';"
        "SET check_function_bodies = off;"
        "CREATE FUNCTION slug(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT folded($1)';"
        "CREATE INDEX ON notes (slug(body))",
        2,
    ),
    "names one that only its product's path finds": (
        "CREATE SCHEMA lib; SET search_path = tenant_acme, lib;"
        "CREATE FUNCTION lib.folded(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';"
        "CREATE FUNCTION slug(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT folded($1)';"
        "CREATE INDEX ON notes (slug(body))",
        None,
    ),
    "raises an error": (
        "CREATE FUNCTION ready(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';"
        "CREATE INDEX ON notes (id) WHERE ready('x');" + RAISING,
        None,
    ),
    "divides by nothing": (
        "CREATE FUNCTION one(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';"
        "CREATE INDEX ON notes (id) WHERE one(1) > 0;"
        "CREATE OR REPLACE FUNCTION one(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 / 0; END'",
        None,
    ),
    "may not be called": (
        "CREATE FUNCTION ready(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';"
        "CREATE INDEX ON notes (id) WHERE ready('x');"
        "REVOKE EXECUTE ON FUNCTION ready(text) FROM public",
        None,
    ),
}
NOT_ON_NEWEST = ("names another of its schema", "names one that only its product's path finds")
"""From Postgres 17 on such an index cannot be made: it sees no search path."""


def contents_of(database: Database, **changes: str) -> tuple[DumpContents, bytes]:
    """The manifest's contents and the dump, both of one snapshot, as that role sees them."""
    with SnapshotContents(database.connect(**changes), "tenant_acme", "18.4") as contents:
        environment = database.environment | {"PGUSER": changes.get("user", "postgres")}
        program = str(binaries() / "pg_dump")
        dump = whole(Dump("tenant_acme", "sql", environment, snapshot=contents.snapshot, binary=program))
        return contents.result(20), dump


@pytest.mark.long(
    but=[
        "names another of its schema-15",
        "names another of its schema-18",
        "raises an error-18",
        "may not be called-15",
    ]
)
@pytest.mark.parametrize("version", [OLDER, NEWEST])
@pytest.mark.parametrize("what", INDEXES)
def test_rows_that_cannot_be_counted_are_unknown_and_the_dump_is_whole(
    servers: Servers, version: int, what: str
) -> None:
    if version == NEWEST and what in NOT_ON_NEWEST:
        return
    statements, count = INDEXES[what]
    database = servers(version).make_database()
    owner = database.connect()
    owner.execute((TABLE + "CREATE TABLE others (id int); INSERT INTO others VALUES (7);" + statements).encode())
    owner.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN")
    owner.execute(
        "GRANT USAGE ON SCHEMA tenant_acme TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA tenant_acme TO reader"
    )
    try:
        contents, dump = contents_of(database, user="reader")
    finally:
        owner.execute("DROP OWNED BY reader; DROP ROLE reader")

    assert contents.rows == {"notes": count, "others": 1}
    assert contents.row_count == (None if count is None else 3)
    unknown = [warning for warning in contents.warnings if warning.startswith("Unknown")]
    assert len(unknown) == (count is None)
    assert all("notes" in warning and "4111" not in warning for warning in unknown)
    assert b"1\tone\n2\ttwo\n" in dump


@pytest.mark.parametrize("version", [OLDER, NEWEST])
def test_what_a_restore_needs_is_told_on_both_servers(servers: Servers, version: int) -> None:
    database = servers(version).make_database()
    database.connect().execute(
        TABLE.encode()
        + b"""
        CREATE SCHEMA shared; CREATE TABLE shared.country (code text PRIMARY KEY);
        ALTER TABLE notes ADD country text REFERENCES shared.country;
        CREATE TEXT SEARCH CONFIGURATION shared.words (COPY = german);
        CREATE INDEX ON notes USING gin (to_tsvector('shared.words', body));
        CREATE INDEX ON notes USING gin (to_tsvector('pg_catalog.english', body));
        CREATE COLLATION shared.bytewise (locale = 'C');
        ALTER TABLE notes ADD sorted text COLLATE shared.bytewise;
        CREATE PUBLICATION all_notes FOR TABLE notes;
        CREATE PUBLICATION all_tables FOR TABLES IN SCHEMA tenant_acme;
        """
    )
    name = database.environment["PGDATABASE"]
    database.connect().execute(f"ALTER DATABASE {name} SET search_path = shared, public".encode())
    database.connect().execute(f"ALTER DATABASE {name} SET app.jwt_secret = 'hunter2'".encode())

    contents, _ = contents_of(database)

    assert {"pg_catalog.english", "shared.words"} <= set(contents.text_search)
    assert contents.collations == ["shared.bytewise (libc, C)"]
    assert {reference.target for reference in contents.references} >= {
        "shared.country",
        "shared.words",
        "shared.bytewise",
    }
    assert contents.publications == ["all_notes", "all_tables"]
    assert contents.settings["search_path"] == "shared, public"
    assert contents.settings["app.jwt_secret"] is None
    assert contents.settings["check_function_bodies"] == "off"
    assert "hunter2" not in contents.model_dump_json()
    assert (contents.locale.collate, contents.encoding) == ("C", "UTF8")


# Functions of tenant_acme, what calls them, and the names by which they find others.
TRAPS: dict[str, tuple[str, dict[str, list[str]]]] = {
    "a check": ("ALTER TABLE notes ADD CHECK (slug(body) <> '')", {"slug": ["folded"]}),
    "a generated column": (
        "ALTER TABLE notes ADD g text GENERATED ALWAYS AS (slug(body)) STORED", {"slug": ["folded"]},
    ),
    "a domain's check": ("CREATE DOMAIN slugs AS text CHECK (slug(VALUE) = VALUE)", {"slug": ["folded"]}),
    "a materialized view": (
        "CREATE MATERIALIZED VIEW mv AS SELECT slug(body) FROM notes WITH NO DATA", {"slug": ["folded"]},
    ),
    "a partition key": (
        "CREATE TABLE parts (body text) PARTITION BY RANGE (slug(body))", {"slug": ["folded"]},
    ),
    "through another function": (
        "ALTER TABLE notes ADD CHECK (outer_one(body) <> '')", {"slug": ["folded"]},
    ),
    "through one that brings a path": ("ALTER TABLE notes ADD CHECK (with_path(body) <> '')", {}),
    "one of public": ("ALTER TABLE notes ADD CHECK (plain(body) <> '')", {"plain": ["shaved"]}),
    "a table that it reads": ("ALTER TABLE notes ADD CHECK (counted(id) > 0)", {"counted": ["notes"]}),
    "a type that it casts to": ("ALTER TABLE notes ADD CHECK (cast_to(body) IS NOT NULL)", {"cast_to": ["mood"]}),
    "one that says the schema": ("ALTER TABLE notes ADD CHECK (careful(body) <> '')", {}),
    "a view alone, which a restore does not run": ("CREATE VIEW v AS SELECT slug(body) FROM notes", {}),
    "a default alone": ("ALTER TABLE notes ALTER body SET DEFAULT slug('x')", {}),
    "a trigger alone": ("CREATE TRIGGER t BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION touch()", {}),
    "nothing": ("SELECT 1", {}),
}  # fmt: skip
TRAPPED = """
    SET check_function_bodies = off;
    SET search_path = tenant_acme, public;
    CREATE TYPE mood AS ENUM ('one', 'two');
    CREATE FUNCTION public.shaved(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
    CREATE FUNCTION folded(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
    CREATE FUNCTION slug(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN folded($1); END';
    CREATE FUNCTION outer_one(text) RETURNS text LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN RETURN tenant_acme.slug($1); END';
    CREATE FUNCTION with_path(text) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = tenant_acme
        AS 'BEGIN RETURN slug($1); END';
    CREATE FUNCTION plain(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN shaved($1); END';
    CREATE FUNCTION counted(int) RETURNS bigint LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN RETURN (SELECT count(*) FROM notes); END';
    CREATE FUNCTION cast_to(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1::mood; END';
    CREATE FUNCTION careful(text) RETURNS text LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN RETURN tenant_acme.folded(pg_catalog.lower($1)); END';
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM folded(NULL); RETURN NEW; END';
    DELETE FROM notes WHERE id = 1;
    UPDATE notes SET body = 'two';
"""


@pytest.mark.long(
    but=[
        "a check-15",
        "a check-18",
        "a generated column-18",
        "a materialized view-18",
        "a partition key-15",
        "through another function-18",
        "one of public-18",
        "a table that it reads-15",
        "a view alone, which a restore does not run-18",
        "nothing-18",
    ]
)
@pytest.mark.parametrize("version", [OLDER, NEWEST])
@pytest.mark.parametrize("what", TRAPS)
def test_functions_that_count_on_a_search_path_are_told(servers: Servers, version: int, what: str) -> None:
    statement, expected = TRAPS[what]
    database = servers(version).make_database()
    owner = database.connect()
    owner.execute((TABLE + TRAPPED).encode())
    owner.execute(statement.encode())

    contents, _ = contents_of(database)

    found = {trap.function.split("(")[0].partition(".")[2]: trap.names for trap in contents.search_path_traps}
    assert found == expected
    for trap in contents.search_path_traps:
        assert trap.schemas == (["public"] if trap.names == ["shaved"] else ["tenant_acme"])
        [warning] = [warning for warning in contents.warnings if trap.function in warning]
        [remedy] = re.findall(r"ALTER FUNCTION .* SET search_path = [^ ]*", warning)
        owner.execute(remedy.encode())
    assert contents_of(database)[0].search_path_traps == []


EXTENSIONS = """
    CREATE SCHEMA shared;
    CREATE EXTENSION hstore SCHEMA tenant_acme;
    CREATE EXTENSION citext SCHEMA shared;
    CREATE EXTENSION pg_trgm SCHEMA public;
    CREATE EXTENSION earthdistance SCHEMA public CASCADE;
    ALTER TABLE notes ADD facts tenant_acme.hstore, ADD name shared.citext UNIQUE;
    CREATE INDEX ON notes USING gin (body public.gin_trgm_ops);
    ALTER TABLE notes ADD place public.earth;
    UPDATE notes SET facts = 'a=>1', name = 'One' WHERE id = 1;
"""


def test_extensions_in_the_schema_and_beside_it_are_named_in_order_and_made_by_a_restore(
    servers: Servers, tmp_path: Path
) -> None:
    database = servers(OLDER).make_database()
    database.connect().execute((TABLE + EXTENSIONS).encode())
    contents = back_up(database, "tenant_acme", tmp_path)

    named = [(extension["name"], extension["schema_name"]) for extension in contents["extensions"]]
    assert set(named) == {
        ("hstore", "tenant_acme"), ("citext", "shared"), ("pg_trgm", "public"), ("earthdistance", "public"),
        ("cube", "public"),
    }  # fmt: skip
    assert named.index(("cube", "public")) < named.index(("earthdistance", "public"))
    assert contents["rows"] == {"notes": 2}
    assert any("hstore" in warning for warning in contents["warnings"])

    server = servers(OLDER)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS extender; CREATE ROLE extender LOGIN")
    copy = server.make_database(owner="extender")
    # Not a trusted one: the document says that a superuser makes it.
    with psycopg.connect(server.url(database=copy.environment["PGDATABASE"]), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION earthdistance CASCADE")
    url = server.url("extender", copy.environment["PGDATABASE"])
    Backups(tmp_path, database, contents).run(commands("README.md", "## Restore a backup")[1], server, url)
    connection = copy.connect()
    connection.execute("SET search_path = tenant_acme, shared")
    found = connection.execute("SELECT facts -> 'a', name = 'ONE' FROM notes ORDER BY id").fetchall()
    assert found == [("1", True), (None, None)]


# Estimates


def test_tables_whose_rows_no_dump_holds_are_named(servers: Servers) -> None:
    database = servers(OLDER).make_database()
    database.connect().execute(
        (
            TABLE
            + """
            CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
            CREATE FOREIGN TABLE tenant_acme.far (a integer) SERVER files OPTIONS (filename '/dev/null');
            CREATE EXTENSION hstore SCHEMA public;
            CREATE TABLE tenant_acme.settings (a integer); INSERT INTO tenant_acme.settings VALUES (1);
            ALTER EXTENSION hstore ADD TABLE tenant_acme.settings;
            """
        ).encode()
    )
    contents, _ = contents_of(database)
    assert contents.rows == {"notes": 2}
    told = " ".join(contents.warnings)
    assert "without their rows: far." in told
    assert "nor are their rows: settings (of hstore)." in told


FOR_SUPERUSERS = """
CREATE OPERATOR CLASS reversed FOR TYPE integer USING btree AS OPERATOR 1 >, OPERATOR 3 =, OPERATOR 5 <,
    FUNCTION 1 btint4cmp(integer, integer);
CREATE OPERATOR FAMILY family USING hash;
CREATE FUNCTION inside(float8) RETURNS float8 LANGUAGE internal IMMUTABLE AS 'dsqrt';
CREATE FUNCTION tight(integer) RETURNS integer LANGUAGE sql LEAKPROOF AS 'SELECT $1';
CREATE FUNCTION silent() RETURNS integer LANGUAGE sql SET log_statement = 'none' AS 'SELECT 1';
CREATE TYPE pence;
CREATE FUNCTION pence_in(cstring) RETURNS pence LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION pence_out(pence) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE pence (INPUT = pence_in, OUTPUT = pence_out, LIKE = integer);
CREATE CAST (pence AS integer) WITHOUT FUNCTION;
CREATE TEXT SEARCH TEMPLATE simply (INIT = dsimple_init, LEXIZE = dsimple_lexize);
"""
FOR_ANYBODY = """
CREATE TYPE mood AS ENUM ('calm'); CREATE TYPE steps AS RANGE (subtype = float8); CREATE TYPE pair AS (a mood, b mood);
CREATE FUNCTION plain(integer, integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET work_mem = '4MB' AS
    'BEGIN RETURN $1; END';
CREATE FUNCTION notes_touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION notes_touched();
ALTER TABLE notes ENABLE ALWAYS TRIGGER touched;
CREATE CAST (pair AS text) WITH INOUT;
CREATE OPERATOR ## (LEFTARG = integer, RIGHTARG = integer, FUNCTION = plain);
CREATE AGGREGATE total(integer) (SFUNC = plain, STYPE = integer);
CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple);
CREATE DEFAULT CONVERSION told FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE STATISTICS both_ones ON id, body FROM notes;
"""


@pytest.mark.parametrize("version", [OLDER, NEWEST])
def test_what_only_a_superuser_restores_is_named_and_nothing_else(servers: Servers, version: int) -> None:
    database = servers(version).make_database()
    owner = database.connect()
    owner.execute((TABLE + FOR_ANYBODY).encode())
    contents, dump = contents_of(database)
    assert contents.superuser_only == []
    owner.execute("DROP SCHEMA tenant_acme CASCADE; DROP ROLE IF EXISTS somebody; CREATE ROLE somebody")
    try:
        owner.execute(f"GRANT CREATE ON DATABASE {database.environment['PGDATABASE']} TO somebody".encode())
        script = b"SET ROLE somebody;\n" + re.sub(rb"ALTER .* OWNER TO .*|SET transaction_timeout = 0", b"", dump)
        database.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", data=script)
        owner.execute("DROP SCHEMA tenant_acme CASCADE")
    finally:
        owner.execute("DROP OWNED BY somebody; DROP ROLE somebody")

    owner.execute((TABLE + FOR_SUPERUSERS).encode())
    contents, _ = contents_of(database)
    assert contents.superuser_only == [
        "cast (tenant_acme.pence AS integer)",
        "function tenant_acme.inside(double precision)",
        "function tenant_acme.pence_in(pg_catalog.cstring)",
        "function tenant_acme.pence_out(tenant_acme.pence)",
        "function tenant_acme.silent()",
        "function tenant_acme.tight(integer)",
        "operator class tenant_acme.reversed USING btree",
        "operator family tenant_acme.family USING hash",
        "operator family tenant_acme.reversed USING btree",
        "text search template tenant_acme.simply",
        "type tenant_acme.pence",
    ]
    assert f"Only a superuser restores: {', '.join(contents.superuser_only)}." in contents.warnings


def test_an_estimate_without_measuring_waits_for_no_lock(servers: Servers) -> None:
    database = servers(NEWEST).make_database()
    database.connect().execute(
        (TABLE + "INSERT INTO notes SELECT i, repeat('x', 100) FROM generate_series(3, 5000) i").encode()
    )
    database.connect().execute("ANALYZE tenant_acme.notes")
    looking = database.connect()
    measured = estimate(looking, "tenant_acme")
    database.connect().execute("BEGIN; LOCK TABLE tenant_acme.notes IN ACCESS EXCLUSIVE MODE")
    looking.execute("SET lock_timeout = '100ms'")

    with pytest.raises(psycopg.errors.LockNotAvailable):
        estimate(looking, "tenant_acme")
    unmeasured = estimate(looking, "tenant_acme", measured=False)

    assert unmeasured.rows == measured.rows == 5000
    assert 0.8 < unmeasured.source_bytes / measured.source_bytes < 1.2


# pg_dump's own last words


@pytest.fixture
def damaged() -> Iterator[tuple[Server, Database]]:
    """A server of the test's own whose disk has lost a part of a table."""
    server = Server(binaries())
    database = server.make_database()
    connection = database.connect()
    connection.execute(TABLE.encode())
    connection.execute("ALTER TABLE tenant_acme.notes ALTER body SET STORAGE EXTERNAL")
    connection.execute(
        "INSERT INTO tenant_acme.notes SELECT 3, string_agg(md5(i::text), '') FROM generate_series(1, 9000) i"
    )
    found = connection.execute(
        "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'tenant_acme.notes'::regclass"
    ).fetchone()
    assert found is not None
    connection.execute("CHECKPOINT")
    server.stop()
    os.truncate(server.folder / "data" / str(found[0]), 0)
    server.start()
    yield server, database
    server.remove()


def test_what_no_retry_changes_is_told_in_pg_dumps_words_and_not_tried_again(damaged: tuple[Server, Database]) -> None:
    _, database = damaged
    source = Dump("tenant_acme", "custom", database.environment, binary=database.pg_dump)

    with pytest.raises(RunError) as caught:
        whole(source)

    assert (caught.value.code, caught.value.retryable) == ("data_corrupt", False)
    assert 'Dumping the contents of table "notes" failed' in caught.value.message
    assert "two" not in caught.value.message
    with SnapshotContents(database.connect(), "tenant_acme", "18.4") as contents:
        assert contents.result(20).rows == {"notes": 3}
    assert estimate(database.connect(), "tenant_acme").tables == 1


COPY_FAILED = """\
pg_dump: error: Dumping the contents of table "cells" failed: PQgetResult() failed.
pg_dump: detail: Error message from server: ERROR:  {server}
pg_dump: detail: Command was: COPY tenant_acme.cells (id, secret) TO stdout;
"""
QUERY_FAILED = """\
pg_dump: error: query failed: ERROR:  {server}
pg_dump: detail: Query was: SELECT a.attnum, 'secret' FROM pg_catalog.pg_attribute a
"""
SAID: dict[str, tuple[str, str, bool, str]] = {
    "a cell of 600 MB": (
        COPY_FAILED.format(server="invalid memory alloc request size 1258291203"),
        "value_too_large", False, 'table "cells" failed: invalid memory alloc request size 1258291203',
    ),
    "a row of 1 GB": (
        COPY_FAILED.format(
            server="out of memory\nDETAIL:  Cannot enlarge string buffer containing 1073741822 bytes by 1 more bytes."
        ),
        "value_too_large", False, 'table "cells"',
    ),
    "no memory": (
        COPY_FAILED.format(server="out of memory\nDETAIL:  Failed on request of size 8192."),
        "out_of_memory", True, "out of memory",
    ),
    "a lost part": (
        COPY_FAILED.format(server="missing chunk number 0 for toast value 16394 in pg_toast_16386"),
        "data_corrupt", False, "missing chunk number 0",
    ),
    "a lost page": (
        COPY_FAILED.format(server='could not read blocks 0..0 in file "base/5/16386": read only 0 of 8192 bytes'),
        "data_corrupt", False, "could not read blocks",
    ),
    "something unknown": (
        COPY_FAILED.format(server="the moon is in the wrong place"),
        "dump_refused", False, "the moon is in the wrong place",
    ),
    "a value in the message": (
        COPY_FAILED.format(server='invalid input syntax for type integer: "4111 1111 1111"'),
        "dump_refused", False, "invalid input syntax for type integer",
    ),
    "a key in the message": (
        COPY_FAILED.format(server='wrong\nDETAIL:  Key (email)=(secret@example.com) is there.\nCONTEXT:  row 4111'),
        "dump_refused", False, "wrong",
    ),
    "a character that has no place": (
        COPY_FAILED.format(
            server='character with byte sequence 0xe2 0x82 0xac in encoding "UTF8" has no equivalent '
            'in encoding "LATIN1"'
        ),
        "dump_refused", False, 'has no equivalent in encoding "LATIN1"',
    ),
    "a table that has gone": (
        QUERY_FAILED.format(server='relation "tenant_acme.cells" does not exist'),
        "schema_changed", True, 'relation "tenant_acme.cells" does not exist',
    ),
    "a schema that changes": (
        QUERY_FAILED.format(server="cache lookup failed for function 16390"), "schema_changed", True, "cache lookup",
    ),
    "a standby that goes on": (
        COPY_FAILED.format(server="canceling statement due to conflict with recovery"),
        "database_stopped", True, "conflict with recovery",
    ),
    "a lock": (
        QUERY_FAILED.format(server="canceling statement due to statement timeout"),
        "lock_timeout", True, "stayed locked",
    ),
    "the worker's disk": (
        "pg_dump: error: could not write to output file: No space left on device\n", "disk_full", False, "disk is full",
    ),
    "the server's disk": (
        QUERY_FAILED.format(server='could not write to file "base/pgsql_tmp/1": No space left on device'),
        "database_stopped", True, "could not write to file",
    ),
    "nothing but its code": ("", "dump_failed", True, "exit code 1"),
    "words of its own": ("pg_dump: error: aborting for a reason\n", "dump_failed", True, "aborting for a reason"),
}  # fmt: skip


@pytest.mark.parametrize(("stderr", "code", "retryable", "told"), SAID.values(), ids=SAID.keys())
def test_pg_dumps_last_words_are_told_without_any_row(stderr: str, code: str, retryable: bool, told: str) -> None:
    error = dump_error(1, stderr, "tenant_acme")

    assert (error.code, error.retryable) == (code, retryable)
    assert told in error.message
    for secret in ("4111", "secret", "example.com", "0xe2"):
        assert secret not in error.message


def test_the_last_words_are_one_sentence() -> None:
    assert last_words(SAID["a cell of 600 MB"][0]) == (
        'pg_dump: Dumping the contents of table "cells" failed: invalid memory alloc request size 1258291203.'
    )
    assert last_words("") == ""


VALUES = {
    'relation "posts" does not exist': 'relation "posts" does not exist',
    'invalid input syntax for type date: "1.2.3"': "invalid input syntax for type date: …",
    'value "99999999999" is out of range for type integer': "value …",
    "function shop.f(integer) does not exist": "function shop.f(integer) does not exist",
    'malformed array literal: "{secret"': "malformed array literal: …",
    "Key (a)=(b) already exists.": "Key (a)= …",
    'invalid byte sequence for encoding "UTF8": 0xe9 0x20': 'invalid byte sequence for encoding "UTF8"',
}


@pytest.mark.parametrize(("message", "told"), VALUES.items())
def test_values_are_taken_out_of_messages(message: str, told: str) -> None:
    assert without_values(message) == told


@pytest.mark.parametrize(
    ("statement", "code", "retryable"),
    [
        ("SELECT 1 / 0", "dump_refused", False),
        ("SELECT pg_catalog.missing()", "dump_refused", False),
        ("SELECT FROM tenant_acme.missing", "schema_changed", True),
        ("SELECT 'secret'::int", "dump_refused", False),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "connection_lost", True),
        ("SET statement_timeout = 1; SELECT pg_sleep(9)", "database_stopped", True),
    ],
)
def test_an_unknown_error_of_the_database_is_told_as_what_it_is(
    servers: Servers, statement: str, code: str, retryable: bool
) -> None:
    with psycopg.connect(servers(NEWEST).url(), autocommit=True) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    error = database_error(caught.value)
    assert (error.code, error.retryable) == (code, retryable)
    assert "secret" not in error.message
    if code != "connection_lost":
        assert "connection" not in error.message


def test_a_statement_that_was_never_sent_is_no_lost_connection(servers: Servers) -> None:
    with psycopg.connect(servers(NEWEST).url()) as connection, pytest.raises(psycopg.ProgrammingError) as caught:
        connection.execute("SELECT %(missing)s", {})
    with pytest.raises(psycopg.ProgrammingError):
        database_error(caught.value)
