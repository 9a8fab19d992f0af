"""`python -m stowage.entities inspect` on products as Rails, Django and Prisma make them, on Postgres 15 and 18."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from stowage.entities.catalogue import Column, ForeignKey, Table
from stowage.entities.declared import Entities
from stowage.entities.inspecting import write_declarations
from stowage.entities.language import Literals, read_declarations
from stowage.postgres.schema.catalogue import read_tables
from tests.conftest import ROOT
from tests.stack.servers import NEWEST, OLDER, Servers

PRODUCTS = ("rails", "django", "prisma", "rental", "kitchen", "workspace")


@pytest.fixture(params=[OLDER, NEWEST])
def database(servers: Servers, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    with psycopg.connect(servers(request.param).make_database().url, autocommit=True) as connection:
        yield connection


def installed(database: psycopg.Connection, product: str, schema: str | None = None) -> str:
    """The schema of a new tenant of that product."""
    schema = schema or f"tenant_{product}"
    database.execute(sql.SQL("CREATE SCHEMA {0}; SET search_path = {0}").format(sql.Identifier(schema)))
    database.execute((ROOT / "tests/stack/products" / f"{product}.sql").read_bytes())
    database.execute("RESET search_path")
    return schema


def inspected(database: psycopg.Connection, schema: str) -> str:
    tables = read_tables(database, schema)
    assert tables is not None
    return write_declarations(schema, tables)


def read(text: str) -> Literals:
    return read_declarations({"inspected.toml": text})


@pytest.fixture(scope="module")
def texts(servers: Servers) -> dict[str, str]:
    """What it prints of each product."""
    with psycopg.connect(servers(NEWEST).make_database().url, autocommit=True) as connection:
        return {product: inspected(connection, installed(connection, product)) for product in PRODUCTS}


@pytest.mark.long(but=["15-rails", "15-prisma", "15-kitchen", "18-django", "18-rental", "18-workspace"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_what_it_prints_declares_every_table_and_has_no_mistakes(database: psycopg.Connection, product: str) -> None:
    text = inspected(database, installed(database, product))
    literals = read(text)
    tables = read_tables(database, f"tenant_{product}") or []
    declared = {literal["table"] for literal in literals.values()}
    left_out = {table.name for table in tables} - declared
    assert len(declared) >= 10
    assert all(f"\n# {name}: " in text for name in left_out), left_out
    for table in tables:
        if table.name not in declared:
            continue
        [literal] = [each for each in literals.values() if each["table"] == table.name]
        said = {field["column"] for field in literal["fields"].values()} | {column for column, _ in literal["key"]}
        said |= {literal[time][0] for time in ("created", "updated") if literal[time]}
        said |= {literal["trash"][0]} if literal["trash"] else set()
        assert said == {column.name for column in table.columns}, table.name
    for entity in Entities(literals).values():
        assert entity.fields


def test_it_says_the_same_again_and_of_every_tenant_and_on_every_server(servers: Servers) -> None:
    said = set()
    for version in (OLDER, NEWEST):
        with psycopg.connect(servers(version).make_database().url, autocommit=True) as database:
            for schema in ("tenant_a", 'the "tenant" %s'):
                installed(database, "prisma", schema)
                said |= {inspected(database, schema).split("\n", 1)[1] for _ in range(2)}
    assert len(said) == 1


@pytest.mark.parametrize(
    ("product", "line"),
    [
        ("rails", "[app_webhooks]"),
        ("rails", 'trash = "discarded_at"  # guessed; a partial index agrees: (discarded_at IS NULL)'),
        ("rails", 'unique = [["number"]]'),
        ("rails", "# unique in the database only: index_organizations_on_subdomain (lower(subdomain::text))"),
        ("rails", 'values = ["open", "pending", "it\'s done"], default = "open"'),
        ("rails", 'resetPasswordToken = { type = "character varying", hidden = true }  # guessed: a secret'),
        ("rails", 'requesterId = { type = "bigint", references = "users", onDelete = "keep" }  # ON DELETE SET NULL'),
        ("rails", "# commentable_id: with its type beside it, so that it refers to several"),
        ("rails", "# team_id: no foreign key; it may refer to teams"),
        ("rails", "# archived_at: taken for a plain column and not for the trash"),
        ("rails", "# triggers: touch_invoices"),
        ("rails", 'limitValue = { column = "limit", type = "integer" }'),
        ("rails", "# open_tickets: a view; below, as a comment, because its key is a guess"),
        ("rails", '# key = "id bigint client"'),
        ("rental", 'key = "boat_id integer database"'),
        ("rental", 'key = "customerId bigint database"'),
        ("rental", 'updated = "last_update"  # guessed'),
        ("rental", 'created = "inserted_at timestamp(0) without time zone"  # guessed'),
        ("rental", 'key = ["sailor_id integer client", "boat_id integer client"]'),
        ("rental", 'boatId = { type = "integer not null", references = "boats", onDelete = "restrict" }'),
        ("rental", 'idValue = { column = "id", type = "text" }'),
        ("rental", '# key = "bid integer client"'),
        ("rental", '# key = "store_id integer client"'),
        ("rental", "# readOnly = true"),
        ("rental", 'password = { type = "text", hidden = true }  # guessed: a secret'),
        ("django", 'key = "id bigint database"'),
        ("django", 'created = "date_created"  # guessed'),
        ("django", 'trash = { flag = "is_deleted" }  # guessed; a partial index agrees: (NOT is_deleted)'),
        ("django", 'depth = { type = "integer not null", minimum = 0 }'),
        ("django", 'onDelete = "restrict" }  # no ON DELETE; an ORM may delete along: confirm'),
        ("prisma", 'table = "Document"'),
        ("prisma", 'created = "createdAt timestamp(3) without time zone"'),
        ("prisma", 'key = ["teamId integer client", "userId text client"]'),
        ("prisma", r'status = { type = "\"DocumentStatus\" not null", values = ["DRAFT", "SENT", "COMPLETED"],'),
        ("prisma", 'total = { type = "integer", readOnly = true }  # generated'),
        ("prisma", 'pageCount = { column = "page count", type = "integer not null", default = 1 }'),
        ("prisma", "hidden = true }  # bytes: left out unless you show them"),
        ("kitchen", 'references = "shelves", onDelete = "cascade", agrees = ["hallId"] }  # ON DELETE CASCADE'),
        ("kitchen", '# ON DELETE CASCADE; both have hallId: add agrees = ["hallId"] where it must be the same'),
        ("workspace", 'references = "projects", onDelete = "cascade", agrees = ["organizationId"] }'),
        ("workspace", 'trash = "discarded_at"  # guessed; a partial index agrees: (discarded_at IS NULL)'),
        ("prisma", "# row-level security: `check` says whether Stowage's roles see every row"),
    ],
)  # fmt: skip
def test_it_tells_what_it_knows_and_what_it_guesses(texts: dict[str, str], product: str, line: str) -> None:
    assert line in texts[product]


ODD = """
CREATE TABLE "a%b ""c"" ü" (id text PRIMARY KEY, "a b" text, "A_B" text, "2nd" text, "%s" text, "ü" text, "__" text,
                            created_at date, "createdAt" timestamptz, page text, "search" text UNIQUE, "id_" int);
CREATE TABLE health (id int PRIMARY KEY, "deletedAt" text);
CREATE TABLE import (id int PRIMARY KEY, webhook text);
CREATE TABLE box (id int PRIMARY KEY, "the id" int REFERENCES box);
CREATE TABLE boxes (id smallint PRIMARY KEY, parent_id int REFERENCES box, self smallint REFERENCES boxes);
CREATE TABLE empty ();
CREATE TABLE by_day (day date PRIMARY KEY, deleted_at timestamptz);
CREATE TABLE only_a_key (key uuid PRIMARY KEY DEFAULT gen_random_uuid());
CREATE TABLE spaced ("the key" text PRIMARY KEY, t text DEFAULT 'a' || 'b', UNIQUE (t, u),
                     u text DEFAULT E'x\\n\\\\"''y');
CREATE TABLE parted (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE DOMAIN short AS text CHECK (length(value) < 9);
CREATE TABLE typed (id int PRIMARY KEY, s short NOT NULL, m money, b bit varying(3), c "char", i interval day to second,
                    z timetz, ts timestamptz(3)[], x xml, big numeric, n name, v varchar DEFAULT NULL,
                    arr text[] DEFAULT '{a}',
                    CHECK (big > 3.5), CHECK (v IN ('a', 'b')), CHECK (v <> ''));
"""


def test_odd_names_and_types_are_declared_without_a_mistake(database: psycopg.Connection) -> None:
    database.execute("CREATE SCHEMA odd; SET search_path = odd")
    database.execute(ODD.encode())
    text = inspected(database, "odd")
    literals = read(text)
    tables = {literal["table"]: literal for literal in literals.values()}
    assert tables.keys() == {
        'a%b "c" ü', "health", "import", "box", "boxes", "only_a_key", "spaced", "parted", "typed", "by_day"
    }  # fmt: skip
    odd = {field["column"] for field in tables['a%b "c" ü']["fields"].values()}
    assert odd == {"a b", "A_B", "2nd", "%s", "ü", "__", "created_at", "page", "search", "id_"}
    assert tables["spaced"]["key"] == (("the key", "text"),)
    assert tables["spaced"]["fields"]["u"]["default"] == "x\n\\\"'y"
    assert tables["spaced"]["fields"]["t"]["filled"]
    assert tables["typed"]["fields"]["v"]["values"] == ("a", "b")
    assert (tables["by_day"]["read_only"], tables["by_day"]["lacks"], tables["by_day"]["trash"]) == (True, (), None)


def test_names_that_are_alike_are_told_apart() -> None:
    table = Table(
        "box", False, False, (), (Column("id", "integer", False, None, "plain", ()),), ("id",), (), (), (), ()
    )
    named = [replace(table, name=name) for name in ("Box", "_box", "box", "boxes", "import", "imports", "app_import")]
    literals = read(write_declarations("odd", named))
    assert [literal["table"] for literal in literals.values()] == [each.name for each in named]
    assert list(literals) == ["boxes", "boxes2", "boxes3", "boxes4", "app_imports", "app_imports2", "app_imports3"]


def test_what_names_another_record_is_no_secret_and_a_secret_that_must_be_given_says_so() -> None:
    """The other record's key is shown as its id anyway."""

    def column(name: str, default: str | None = None) -> Column:
        return Column(name, "text", False, default, "plain", ())

    key = ForeignKey(("payment_session_id",), "shop", "payment_session", ("id",), "c")
    payment = Table(
        "payment", False, False, (),
        (column("id"), column("payment_session_id"), column("capture_token"), column("salt", "'x'::text")),
        ("id",), (key,), (), (), (),
    )  # fmt: skip
    refund = Table("refund", False, False, (), (column("id"), column("paymentSessionId")), ("id",), (), (), (), ())
    session = Table("payment_session", False, False, (), (column("id"), column("session_id")), ("id",), (), (), (), ())
    text = write_declarations("shop", [payment, refund, session])
    literal = read(text)["payments"]
    assert [(name, target) for name, target, *_ in literal["references"]] == [("paymentSessionId", "payment_sessions")]
    assert '[refunds.fields]\npaymentSessionId = { column = "paymentSessionId", type = "text not null" }' in text
    told = "guessed: a secret; must be given, so no record can be created: confirm"
    assert f'captureToken = {{ type = "text not null", hidden = true }}  # {told}' in text
    assert 'salt = { type = "text not null", hidden = true, default = "x" }  # guessed: a secret\n' in text
    assert '\nsessionId = { type = "text not null", hidden = true }' in text


def test_a_table_whose_key_looks_like_a_secret_is_left_to_whoever_reads_it_over() -> None:
    """Ids are shown everywhere."""

    def table(name: str, *columns: Column) -> Table:
        return Table(name, False, False, (), columns, (columns[0].name,), (), (), (), ())

    def column(name: str, kind: str = "character varying(40)", default: str | None = None) -> Column:
        return Column(name, kind, False, default, "plain", ())

    tables = [
        table("django_session", column("session_key"), column("session_data", "text")),
        table("grants", column("accessToken", "text")),
        table("sessions", column("sessionid", default="''::character varying")),
        table("talks", column("session_id", "bigint"), column("title")),
        table("tokens", column("id", default="'x'::text")),
    ]
    text = write_declarations("shop", tables)
    assert read(text).keys() == {"talks", "tokens"}
    for name in ("django_session", "grants", "sessions"):
        assert f"# {name}: below, as a comment, because its key looks like a secret" in text
    assert '# [django_sessions]\n# table = "django_session"' in text
    told = "its default is one constant: whoever makes a record gives its key"
    assert f'key = "id character varying(40) client"  # {told}' in text


def test_a_schema_of_150_tables_takes_less_than_a_second(servers: Servers) -> None:
    with psycopg.connect(servers(NEWEST).make_database().url, autocommit=True) as database:
        database.execute("CREATE SCHEMA large")
        fields = ", ".join(f"field_{n} varchar({n + 1}) NOT NULL DEFAULT 'x'" for n in range(12))
        for n in range(150):
            refers = f", parent_id bigint REFERENCES large.things_{n - 1}" if n else ""
            database.execute(f"CREATE TABLE large.things_{n} (id bigserial PRIMARY KEY, {fields}{refers})".encode())
        seconds = []
        for _ in range(4):
            began = time.monotonic()
            text = inspected(database, "large")
            seconds.append(time.monotonic() - began)
        assert len(read(text)) == 150
        assert min(seconds) < 1


def test_the_command_prints_it_or_says_why_not(servers: Servers) -> None:
    def command(schema: str) -> "subprocess.CompletedProcess[str]":
        run = [sys.executable, "-m", "stowage.entities", "inspect", "--url", url, "--schema", schema]
        return subprocess.run(run, check=False, capture_output=True, text=True, cwd=ROOT / "layers" / "stowage")

    url = servers(NEWEST).make_database().url
    with psycopg.connect(url, autocommit=True) as database:
        installed(database, "django")
        answer = command("tenant_django")
        assert (answer.returncode, answer.stdout) == (0, inspected(database, "tenant_django"))
        answer = command("tenant_none")
        assert (answer.returncode, answer.stderr) == (1, "error: There is no schema 'tenant_none'.\n")
