"""A dump holds everything of its schema and nothing else: restored into a scratch database it is the same, table by
table."""

import gzip
from collections.abc import Callable
from itertools import cycle

import pytest
from psycopg import sql

from stowage.aws.uploads import MultipartUpload
from stowage.basics.errors import RunError
from stowage.pipeline.compress import gzip_compressor
from stowage.pipeline.transfer import Stored, transfer
from stowage.postgres.dumps import pg_dump
from stowage.postgres.dumps.contents import SnapshotContents
from stowage.postgres.dumps.estimates import estimate
from stowage.postgres.dumps.pg_dump import Dump, DumpFormat, dump_command, pg_dump_version
from tests.stack.dump_surface import Bucket, Database, Watch, whole

pytest_plugins = ("tests.stack.dump_fixtures",)

FORMATS: tuple[DumpFormat, ...] = ("sql", "tar", "custom")
LOOK_ALIKES = (
    "tenant_acme2",
    "tenant_acme_x",
    "tenantXacme",
    "tenant_ACME",
    "Tenant_acme",
    "tenant_acme*",
    "acme|tenant_acme",
)


def dump(
    database: Database, schema: str, dump_format: DumpFormat, bucket: Bucket, watch: Watch, snapshot: str | None = None
) -> Stored:
    source = Dump(schema, dump_format, database.environment, snapshot=snapshot, binary=database.pg_dump)
    upload = MultipartUpload(
        bucket.name,
        f"{schema}/{dump_format}",
        "run",
        attempt=1,
        content_type="application/gzip",
        on_created=lambda _: None,
    )
    return transfer(source, upload, compress=gzip_compressor(), watch=watch)


@pytest.mark.parametrize("dump_format", FORMATS)
def test_a_restored_dump_is_the_same_table_by_table(
    make_database: Callable[[], Database], bucket: Bucket, watch: Watch, dump_format: DumpFormat
) -> None:
    origin, copy = make_database(), make_database()
    origin.make_tenant("tenant_zoo", zoo=True)
    stored = dump(origin, "tenant_zoo", dump_format, bucket, watch)

    copy.restore(dump_format, gzip.decompress(bucket.read(stored.key)))

    assert copy.state("tenant_zoo") == origin.state("tenant_zoo")


@pytest.mark.long(but=["tenant_acme-sql", "tenant_acme*-tar", "acme|tenant_acme-custom"])
@pytest.mark.parametrize(
    ("schema", "dump_format"),
    [
        *(("tenant_acme", dump_format) for dump_format in FORMATS),
        ("tenant_ACME", "sql"),
        ("tenant_acme*", "tar"),
        ("acme|tenant_acme", "custom"),
    ],
)
def test_look_alikes_are_left_alone(
    make_database: Callable[[], Database], bucket: Bucket, watch: Watch, dump_format: DumpFormat, schema: str
) -> None:
    origin, copy = make_database(), make_database()
    for number, name in enumerate(("tenant_acme", *LOOK_ALIKES)):
        make_schema(origin, name, f"only in {name}", number + 1)
    stored = dump(origin, schema, dump_format, bucket, watch)

    data = gzip.decompress(bucket.read(stored.key))
    copy.restore(dump_format, data)

    restored = copy.connect().execute(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema')"
    )
    assert restored.fetchall() == [(schema,)]
    assert copy.state(schema) == origin.state(schema)
    for other in {"tenant_acme", *LOOK_ALIKES} - {schema}:
        assert f"only in {other}\n".encode() not in data


def make_schema(database: Database, name: str, text: str, rows: int) -> None:
    database.connect().execute(
        sql.SQL("""
            CREATE SCHEMA {0};
            CREATE TABLE {0}.posts (id int PRIMARY KEY, body text);
            CREATE INDEX ON {0}.posts (body);
            INSERT INTO {0}.posts SELECT i, {1} FROM generate_series(1, {2}) i
        """).format(sql.Identifier(name), sql.Literal(text), sql.Literal(rows))
    )


@pytest.mark.long(but="sql")
@pytest.mark.parametrize("dump_format", FORMATS)
def test_counts_and_dump_are_of_the_same_moment(
    make_database: Callable[[], Database], bucket: Bucket, watch: Watch, dump_format: DumpFormat
) -> None:
    origin, copy = make_database(), make_database()
    make_schema(origin, "tenant_acme", "x", 10)
    writer = origin.connect()

    with SnapshotContents(origin.connect(), "tenant_acme", pg_dump_version(origin.pg_dump)) as contents:
        writer.execute("INSERT INTO tenant_acme.posts SELECT i, 'later' FROM generate_series(100, 120) i")
        stored = dump(origin, "tenant_acme", dump_format, bucket, watch, contents.snapshot)
        found = contents.result()

    copy.restore(dump_format, gzip.decompress(bucket.read(stored.key)))
    assert found.rows == {"posts": 10}
    assert copy.connect().execute("SELECT count(*) FROM tenant_acme.posts").fetchone() == (10,)


def test_no_large_object_of_the_database_is_in_a_dump(scratch: Database, bucket: Bucket, watch: Watch) -> None:
    make_schema(scratch, "tenant_acme", "x", 1)
    scratch.connect().execute("SELECT lo_from_bytea(0, 'another tenant''s secret')")

    stored = dump(scratch, "tenant_acme", "sql", bucket, watch)

    assert b"lo_create" not in gzip.decompress(bucket.read(stored.key))
    assert not {"-b", "--large-objects", "--blobs"} & set(dump_command("tenant_acme", "sql"))


def test_no_password_is_on_the_command_line(scratch: Database) -> None:
    source = Dump("tenant_acme", "sql", {**scratch.environment, "PGPASSWORD": "hunter2"}, binary=scratch.pg_dump)
    chunks = source.chunks()
    next(chunks, b"")
    try:
        assert source.process is not None
        assert all("hunter2" not in str(argument) for argument in source.process.args)  # type: ignore[union-attr]
    finally:
        source.close()


def test_the_manifest_tells_what_a_restore_needs(scratch: Database) -> None:
    scratch.connect().execute("""
        CREATE SCHEMA shared;
        CREATE TABLE shared.country (code text PRIMARY KEY);
        CREATE TYPE shared.mood AS ENUM ('calm');
        CREATE FUNCTION shared.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
        CREATE SEQUENCE shared.numbers;
        CREATE SCHEMA tenant_acme;
        CREATE TABLE tenant_acme.posts (
            id int PRIMARY KEY DEFAULT nextval('shared.numbers'), country text REFERENCES shared.country,
            mood shared.mood, picture oid
        );
        CREATE TRIGGER touch BEFORE INSERT ON tenant_acme.posts FOR EACH ROW EXECUTE FUNCTION shared.touch();
        CREATE TABLE tenant_acme.days (day date) PARTITION BY RANGE (day);
        CREATE TABLE tenant_acme.days_2024 PARTITION OF tenant_acme.days DEFAULT;
        CREATE FUNCTION tenant_acme.noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
        INSERT INTO tenant_acme.days SELECT '2024-03-01' FROM generate_series(1, 7);
        INSERT INTO tenant_acme.posts (picture) VALUES (lo_create(0)), (NULL);
    """)

    with SnapshotContents(scratch.connect(), "tenant_acme", "18.4") as contents:
        found = contents.result()

    assert found.rows == {"posts": 2, "days_2024": 7}
    assert (found.table_count, found.row_count) == (3, 9)
    assert found.server_version.startswith("18")
    assert [extension.name for extension in found.extensions] == ["plpgsql"]
    assert {(reference.target_type, reference.target) for reference in found.references} == {
        ("table", "shared.country"),
        ("type", "shared.mood"),
        ("function", "shared.touch()"),
        ("sequence", "shared.numbers"),
    }
    assert found.large_object_columns == ["posts.picture"]
    assert len(found.warnings) == 2


def test_a_schema_that_stands_alone_has_nothing_to_warn_of(scratch: Database) -> None:
    scratch.make_tenant("tenant_acme")

    with SnapshotContents(scratch.connect(), "tenant_acme", "18.4") as contents:
        found = contents.result()

    assert (found.extensions, found.references, found.large_object_columns, found.warnings) == ([], [], [], [])


def test_the_estimate_is_near_the_dump(scratch: Database, bucket: Bucket, watch: Watch) -> None:
    make_schema(scratch, "tenant_acme", "a caption of some length, as people write them " * 3, 20_000)
    connection = scratch.connect()
    connection.execute("ANALYZE tenant_acme.posts")

    guessed = estimate(connection, "tenant_acme")
    stored = dump(scratch, "tenant_acme", "sql", bucket, watch)

    assert guessed.tables == 1
    assert guessed.rows == 20_000
    assert 0.6 < guessed.source_bytes / stored.source_bytes < 1.7


ODD_NAMES = ("tenant_acme", "tenant ACME", 'tenant "acme"', "select", "tenant_acme; Owner: x")


@pytest.mark.long(but=["tenant_acme-sql", 'tenant "acme"-sql', "tenant ACME-custom", "select-sql", "tenant_acme-tar"])
@pytest.mark.parametrize(
    ("schema", "dump_format"),
    # Both archives have one list of contents, so each name is looked for in one of them.
    [(name, "sql") for name in ODD_NAMES] + [*zip(ODD_NAMES, cycle(("tar", "custom")), strict=False)],
)
def test_a_dump_with_another_schema_in_it_is_refused_by_the_second_look(
    scratch: Database, monkeypatch: pytest.MonkeyPatch, dump_format: DumpFormat, schema: str
) -> None:
    make_schema(scratch, schema, "x", 1)
    make_schema(scratch, "tenant_zzz", "x", 1)
    for statement in ("COMMENT ON SCHEMA {} IS 'it''s; one'", "GRANT USAGE ON SCHEMA {} TO public"):
        scratch.connect().execute(sql.SQL(statement).format(sql.Identifier(schema)))

    def dumped() -> None:
        assert whole(Dump(schema, dump_format, scratch.environment, binary=scratch.pg_dump))

    dumped()
    command = pg_dump.dump_command
    both = "--schema=tenant_zzz"
    monkeypatch.setattr(pg_dump, "dump_command", lambda *given, **named: [*command(*given, **named), both])
    with pytest.raises(RunError) as caught:
        dumped()
    assert (caught.value.code, caught.value.retryable) == ("foreign_schema", False)
