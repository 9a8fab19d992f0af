"""The sample tenants: believable, complete, the same each time; and the rules of the entities' tables."""

import time
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from local.sample import load, load_bench_posts, load_bench_tenant
from local.sample.tenants import SAMPLE_TENANTS
from stowage.entities.declared import ENTITIES
from stowage.postgres.schema.migrations import create_tenant
from stowage.postgres.schema.registry import read_tenants
from tests.stack.scratch_databases import connect, migrated_database, server_url

MOMENTS_OF_LOADING = ("deleted_at",)

FINGERPRINT = sql.SQL("""
SELECT md5(string_agg(line, E'\\n' ORDER BY line))
FROM (SELECT (to_jsonb(t) - %s::text[])::text FROM {} AS t) AS rows (line)
""")


@pytest.fixture(scope="module")
def sample(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with the sample tenants at full size."""
    with migrated_database(server_url(request)) as url:
        load(url)
        yield url


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database with the empty tenant `acme`."""
    with migrated_database(server_url(request)) as url:
        with connect(url) as connection:
            create_tenant(connection, "acme", "acme", "Acme")
        yield url


def count(connection: psycopg.Connection, slug: str, table: str) -> int:
    row = connection.execute(
        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(f"tenant_{slug}", table))
    ).fetchone()
    assert row is not None
    return int(row[0])


def fingerprints(connection: psycopg.Connection, slug: str) -> dict[str, str]:
    """A hash of every row of each table, whatever their order, without the moments that depend on the day."""
    tables = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (f"tenant_{slug}",)
    ).fetchall()
    found = {}
    for (table,) in tables:
        row = connection.execute(
            FINGERPRINT.format(sql.Identifier(f"tenant_{slug}", table)), (list(MOMENTS_OF_LOADING),)
        ).fetchone()
        assert row is not None
        found[table] = row[0]
    return found


def test_each_tenant_has_the_rows_that_it_declares(sample: str) -> None:
    with connect(sample) as connection:
        found = {
            tenant.slug: [
                count(connection, tenant.slug, name)
                for name in ("brands", "groups", "accounts", "posts", "tasks", "users")
            ]
            for tenant in SAMPLE_TENANTS
        }
    with connect(sample, "stowage_app") as connection:
        assert {row.slug for row in read_tenants(connection)} == set(found)
    assert found["acme"] == [5, 20, 20_000, 100_000, 500, 50]
    assert found["initech"] == [0, 0, 0, 0, 0, 0]
    assert all(rows > 0 for slug in ("globex", "acme2", "acme_x", "zoo") for rows in found[slug])


def test_nothing_of_acme_is_in_the_trash_and_something_of_others_is(sample: str) -> None:
    def trashed(slug: str) -> int:
        total = 0
        for name in ENTITIES:
            statement = sql.SQL("""
                SELECT count(*) FROM {} AS record JOIN stowage.trash_entries AS entry USING (id)
                WHERE tenant = {} AND entity = {} AND mark = record.deleted_at AND purge_at > now()
            """).format(sql.Identifier(f"tenant_{slug}", name), sql.Literal(slug), sql.Literal(name))
            row = connection.execute(statement).fetchone()
            total += int(row[0]) if row else 0
        return total

    with connect(sample) as connection:
        assert trashed("acme") == 0
        in_trash = {slug: trashed(slug) for slug in ("globex", "acme2", "acme_x", "zoo")}
    with connect(sample, "stowage_app") as connection:
        journalled: dict[str, int] = dict(
            connection.execute(
                "SELECT tenant, count(*) FROM stowage.changes WHERE type = 'deleted' GROUP BY 1"
            ).fetchall()
        )
    assert journalled == in_trash
    assert all(rows > 20 for rows in in_trash.values())


@pytest.mark.parametrize("slug", ["acme2", "acme_x"])
def test_a_look_alike_has_acmes_ids_and_says_whose_each_row_is(sample: str, slug: str) -> None:
    statement = sql.SQL("""
        SELECT count(*) FILTER (WHERE NOT starts_with(theirs.username, {mark}) OR theirs.username = acme.username),
               count(*)
        FROM {theirs} AS theirs JOIN tenant_acme.accounts AS acme USING (id)
    """).format(mark=sql.Literal(slug), theirs=sql.Identifier(f"tenant_{slug}", "accounts"))
    with connect(sample) as connection:
        assert connection.execute(statement).fetchone() == (0, 100)


def test_accounts_are_in_groups_of_their_own_brand(sample: str) -> None:
    with connect(sample) as connection:
        wrong = connection.execute("""
            SELECT count(*) FILTER (WHERE groups.brand_id <> accounts.brand_id), count(*)
            FROM tenant_acme.accounts JOIN tenant_acme.groups ON groups.id = accounts.group_id
        """).fetchone()
    assert wrong is not None
    assert wrong[0] == 0
    assert wrong[1] > 15_000


def test_some_posts_of_acme_have_their_url_as_id(sample: str) -> None:
    with connect(sample) as connection:
        assert connection.execute("SELECT count(*) FROM tenant_acme.posts WHERE id = url").fetchone() == (2_000,)


def test_the_zoo_keeps_every_nasty_string_in_every_entity(sample: str) -> None:
    with connect(sample) as connection:
        nasty: dict[int, str | None] = dict(connection.execute("SELECT n, value FROM tenant_zoo.nasty").fetchall())
        for table, column, prefix in (
            ("accounts", "display_name", "acc_nasty_"),
            ("tasks", "description", "tsk_nasty_"),
        ):
            statement = sql.SQL(
                "SELECT substr(id, 11)::int, {column} FROM {table} WHERE starts_with(id, {prefix})"
            ).format(
                prefix=sql.Literal(prefix), column=sql.Identifier(column), table=sql.Identifier("tenant_zoo", table)
            )
            assert dict(connection.execute(statement).fetchall()) == nasty
        captions = connection.execute(
            "SELECT replace(account_id, 'acc_nasty_', '')::int, caption FROM tenant_zoo.posts "
            "WHERE account_id LIKE 'acc_nasty_%'"
        ).fetchall()
        assert dict(captions) == nasty
    assert {"", None, "\\.", "\\N", "=1+1", "-1", "@SUM(A1:A9)", "'=1+1", "a]]>b", "_x0041_", "a,b,,c"} <= set(
        nasty.values()
    )
    for character in "\x01\x02\x0b\x1f\r\n\t\u202e\u2028":
        assert any(character in (value or "") for value in nasty.values()), hex(ord(character))
    assert max(len(value or "") for value in nasty.values()) > 10_000


def test_the_zoo_has_every_kind_of_object_that_a_dump_must_carry(sample: str) -> None:
    with connect(sample) as connection:
        kinds = connection.execute("""
            SELECT DISTINCT 'relation ' || relkind::text FROM pg_class
                  WHERE relnamespace = 'tenant_zoo'::regnamespace
            UNION SELECT DISTINCT 'function ' || prokind::text FROM pg_proc
                  WHERE pronamespace = 'tenant_zoo'::regnamespace
            UNION SELECT DISTINCT 'type ' || typtype::text FROM pg_type
                  WHERE typnamespace = 'tenant_zoo'::regnamespace
            UNION SELECT 'trigger' FROM pg_trigger
                  WHERE tgrelid = 'tenant_zoo.animals'::regclass AND NOT tgisinternal
            UNION SELECT 'generated' FROM pg_attribute
                  WHERE attrelid = 'tenant_zoo.animals'::regclass AND attgenerated = 's'
            UNION SELECT 'identity' FROM pg_attribute
                  WHERE attrelid = 'tenant_zoo.animals'::regclass AND attidentity = 'a'
        """).fetchall()
    assert {kind for (kind,) in kinds} >= {
        *("relation r", "relation p", "relation v", "relation m", "relation S", "relation i", "relation I"),
        *("function f", "function p", "function a", "type e", "type d", "type c", "trigger", "generated", "identity"),
    }


def test_loading_again_changes_nothing(sample: str, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(sample) as connection:
        before = fingerprints(connection, "zoo")
        load(sample)
        assert fingerprints(connection, "zoo") == before
    assert capsys.readouterr().out == ""


def test_a_tenant_made_again_is_the_same(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for _ in range(2):
        with migrated_database(server_url(request)) as url:
            load(url, 0.01)
            with connect(url) as connection:
                found.append({tenant.slug: fingerprints(connection, tenant.slug) for tenant in SAMPLE_TENANTS})
    assert found[0] == found[1]
    assert "  acme     1 brands, 1 groups, 200 accounts, 1,000 posts, 5 tasks, 1 users" in capsys.readouterr().out


def test_loading_at_full_size_is_quick(request: pytest.FixtureRequest) -> None:
    with migrated_database(server_url(request)) as url:
        began = time.monotonic()
        load(url)
        assert time.monotonic() - began < 6


def test_the_schemas_belong_to_the_login_of_the_url(sample: str) -> None:
    with connect(sample) as connection:
        owners = connection.execute(
            "SELECT DISTINCT tableowner = current_user FROM pg_tables WHERE schemaname LIKE 'tenant\\_%'"
        ).fetchall()
    assert owners == [(True,)]


def test_the_role_of_dumps_reads_every_table_of_every_tenant(sample: str) -> None:
    with connect(sample) as connection:
        unreadable = connection.execute("""
            SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname LIKE 'tenant\\_%' AND relkind IN ('r', 'p', 'm', 'v', 'S')
              AND NOT CASE relkind WHEN 'S' THEN has_sequence_privilege('stowage_dump', pg_class.oid, 'SELECT')
                                   ELSE has_table_privilege('stowage_dump', pg_class.oid, 'SELECT') END
        """).fetchall()
    assert unreadable == []


def test_bench_tenants_come_in_the_size_that_was_asked_for(database: str) -> None:
    load_bench_tenant(database, "bench_dump", 5)
    load_bench_posts(database, "bench_posts", 2_000)
    load_bench_posts(database, "bench_posts", 5_000)
    with connect(database) as connection:
        with connection.cursor().copy("COPY tenant_bench_dump.posts TO STDOUT") as rows:
            copied = sum(len(data) for data in rows)
        assert count(connection, "bench_posts", "posts") == 2_000
    assert 4_700_000 < copied < 5_500_000


ONE_OF_EACH: LiteralString = """
SET search_path = tenant_acme;
INSERT INTO brands (id, label) VALUES ('brd_1', 'One'), ('brd_2', 'Two');
INSERT INTO groups (id, brand_id, label) VALUES ('grp_1', 'brd_1', 'Team');
INSERT INTO accounts (id, username, platform, brand_id) VALUES ('acc_1', 'ada', 'x', 'brd_1');
INSERT INTO posts (id, account_id, url) VALUES ('pst_1', 'acc_1', 'https://x.example/1');
INSERT INTO users (id, name, email) VALUES ('usr_1', 'Ada', 'ada@acme.example');
INSERT INTO tasks (id, title, assignee) VALUES ('tsk_1', 'Do', 'usr_1');
"""


@pytest.mark.parametrize(
    ("table", "again"),
    [
        ("brands", "INSERT INTO brands (id, label) VALUES (%s, 'One')"),
        ("groups", "INSERT INTO groups (id, brand_id, label) VALUES (%s, 'brd_1', 'Team')"),
        ("accounts", "INSERT INTO accounts (id, username, platform, brand_id) VALUES (%s, 'ada', 'x', 'brd_1')"),
        ("posts", "INSERT INTO posts (id, account_id, url) VALUES (%s, 'acc_1', 'https://x.example/1')"),
    ],
)
def test_what_is_in_the_trash_does_not_block_its_replacement(database: str, table: str, again: LiteralString) -> None:
    trash = sql.SQL("UPDATE {} SET deleted_at = now() WHERE deleted_at IS NULL")
    untrash = sql.SQL("UPDATE {} SET deleted_at = NULL")
    with connect(database, "stowage_app") as connection:
        connection.execute(ONE_OF_EACH)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(again, ("again",))
        for other in ("again", "and again"):
            connection.execute(trash.format(sql.Identifier(table)))
            connection.execute(again, (other,))
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(untrash.format(sql.Identifier(table)))


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO tasks (id, title, status) VALUES ('t', 'x', 'done')", psycopg.errors.CheckViolation),
        ("INSERT INTO tasks (id, title, priority) VALUES ('t', 'x', 'top')", psycopg.errors.CheckViolation),
        ("INSERT INTO tasks (id, title, assignee) VALUES ('t', 'x', 'usr_9')", psycopg.errors.ForeignKeyViolation),
        ("INSERT INTO posts (id, account_id, url) VALUES ('p', 'acc_9', 'u')", psycopg.errors.ForeignKeyViolation),
        ("INSERT INTO posts (id, account_id, url) VALUES ('', 'acc_1', 'u')", psycopg.errors.CheckViolation),
        ("INSERT INTO brands (id, label) VALUES ('b', '')", psycopg.errors.CheckViolation),
        ("DELETE FROM brands WHERE id = 'brd_1'", psycopg.errors.ForeignKeyViolation),
        ("DELETE FROM accounts", psycopg.errors.ForeignKeyViolation),
    ],
)
def test_the_tables_refuse_what_makes_no_sense(
    database: str, statement: LiteralString, error: type[psycopg.Error]
) -> None:
    with connect(database, "stowage_app") as connection:
        connection.execute(ONE_OF_EACH)
        with pytest.raises(error):
            connection.execute(statement)


def test_an_id_may_be_a_url_of_a_thousand_bytes(database: str) -> None:
    url = ("https://x.example/" + "0123456789abcdef" * 63)[:1000]
    with connect(database, "stowage_app") as connection:
        connection.execute(ONE_OF_EACH)
        connection.execute("INSERT INTO posts (id, account_id, url) VALUES (%s, 'acc_1', %s)", (url, url))
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO posts (id, account_id, url) VALUES (%s, 'acc_1', 'u')", (url + "x",))
