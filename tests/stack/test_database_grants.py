"""What each role may do: the journal is append-only, the dump's role only reads, a grant reaches one schema."""

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from stowage.postgres.schema.migrations import MigrationError, create_tenant, grant_tenant
from tests.stack.scratch_databases import connect, migrated_database, server_url

REFUSED = psycopg.errors.InsufficientPrivilege


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with one tenant and one row in its journal."""
    with migrated_database(server_url(request)) as url:
        with connect(url) as connection:
            create_tenant(connection, "acme", "acme", "Acme")
        with connect(url, "stowage_app") as connection:
            connection.execute("INSERT INTO tenant_acme.brands (id, label) VALUES ('brd_1', 'One')")
            connection.execute("""
                INSERT INTO stowage.changes
                SELECT 'acme', 1 + stowage.take_seqs('acme', 1), 'op_1', 'brands', 'brd_1', 'created',
                       NULL, '{}', 'me', now()
            """)
        yield url


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stowage.changes SET actor = 'nobody'",
        "UPDATE stowage.changes SET before = NULL",
        "DELETE FROM stowage.changes",
        "SELECT stowage.forget_changes('acme', now(), 1)",
        "TRUNCATE stowage.changes",
        "DROP TABLE stowage.changes",
        "UPDATE stowage.positions SET seq = 0",
        "INSERT INTO stowage.positions VALUES ('acme3', 5)",
        "DELETE FROM stowage.positions",
        "INSERT INTO control_plane.projects (id, slug, name) VALUES ('x', 'x', 'X')",
        "UPDATE stowage.idempotency_answers SET body = ''",
        "INSERT INTO stowage.migrations VALUES ('stowage', 99, 'x', 'x')",
        "CREATE TABLE tenant_acme.mine ()",
        "CREATE SCHEMA tenant_mine",
        "SET ROLE stowage_owner",
    ],
)
def test_the_application_cannot_rewrite_what_it_wrote(database: str, statement: LiteralString) -> None:
    with connect(database, "stowage_app") as connection, pytest.raises(REFUSED):
        connection.execute(statement)


def test_the_application_reads_and_appends(database: str) -> None:
    with connect(database, "stowage_app") as connection:
        assert connection.execute("SELECT seq, operation FROM stowage.changes WHERE seq = 1").fetchall() == [
            (1, "op_1")
        ]


def test_the_application_cannot_append_a_number_again(database: str) -> None:
    with connect(database, "stowage_app") as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("INSERT INTO stowage.changes SELECT * FROM stowage.changes WHERE seq = 1")


@pytest.mark.parametrize("wanted", [-1, None])
def test_numbers_cannot_be_given_back(database: str, wanted: int | None) -> None:
    with connect(database, "stowage_app") as connection, pytest.raises(psycopg.errors.InvalidParameterValue):
        connection.execute("SELECT stowage.take_seqs('acme', %s)", (wanted,))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tenant_acme.brands (id, label) VALUES ('brd_2', 'Two')",
        "UPDATE tenant_acme.brands SET label = ''",
        "DELETE FROM tenant_acme.brands",
        "TRUNCATE tenant_acme.brands CASCADE",
        "INSERT INTO stowage.changes SELECT * FROM stowage.changes",
        "SELECT stowage.take_seqs('acme', 1)",
        "SELECT stowage.forget_changes('acme', now(), 1)",
    ],
)
def test_the_role_of_dumps_only_reads(database: str, statement: LiteralString) -> None:
    with connect(database, "stowage_dump") as connection:
        assert connection.execute("SELECT label FROM tenant_acme.brands").fetchall() == [("One",)]
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(REFUSED):
            connection.execute(statement)


def test_the_role_of_dumps_is_read_only_to_begin_with(database: str) -> None:
    with connect(database, "stowage_dump") as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TEMPORARY TABLE mine ()")


def test_the_purge_blanks_images_and_changes_and_deletes_records_and_makes_none(database: str) -> None:
    with connect(database, "stowage_purge") as connection:
        with connection.transaction(force_rollback=True):
            connection.execute("UPDATE stowage.changes SET before = NULL, after = NULL WHERE tenant = 'acme'")
        for statement in (
            "UPDATE stowage.changes SET actor = 'nobody'",
            "DELETE FROM stowage.changes",
            "DELETE FROM stowage.trash_counts",
            "DELETE FROM stowage.trash_spans",
            "INSERT INTO tenant_acme.brands (id, label) VALUES ('x', 'x')",
            "TRUNCATE tenant_acme.brands CASCADE",
        ):
            with pytest.raises(REFUSED):
                connection.execute(statement)


_AGED: LiteralString = """
INSERT INTO stowage.changes
SELECT 'aged', 1 + stowage.take_seqs('aged', 1), 'op_' || %(days)s, 'brands', 'x', 'created', NULL, '{}', 'me',
       now() - %(days)s * interval '1 day' + interval '1 minute'
"""


def test_nobody_makes_the_journal_forget_what_is_younger_than_thirty_days(database: str) -> None:
    with connect(database, "stowage_app") as connection:
        for days in (400, 31, 30, 1):
            connection.execute(_AGED, {"days": days})
    with connect(database, "stowage_purge") as connection:
        kept = connection.execute("SELECT count(*) FROM stowage.changes WHERE tenant = 'acme'").fetchone()
        for older_than in ("infinity", "2999-01-01"):
            connection.execute("SELECT stowage.forget_changes('aged', %s, 1000)", (older_than,))
            connection.execute("SELECT stowage.forget_changes('acme', %s, 1000)", (older_than,))
        left = connection.execute("SELECT seq FROM stowage.changes WHERE tenant = 'aged' ORDER BY seq").fetchall()
        assert left == [(3,), (4,)]
        assert connection.execute("SELECT count(*) FROM stowage.changes WHERE tenant = 'acme'").fetchone() == kept
        for given in ("NULL, 1", "now(), NULL", "now(), 0"):
            with pytest.raises(psycopg.errors.InvalidParameterValue):
                connection.execute(f"SELECT stowage.forget_changes('aged', {given})".encode())


def test_a_grant_covers_tables_and_sequences_made_later(database: str) -> None:
    with connect(database) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS tenant_acme.later (n serial, note text)")
    with connect(database, "stowage_app") as connection:
        connection.execute("INSERT INTO tenant_acme.later (note) VALUES ('x')")
        connection.execute("UPDATE tenant_acme.later SET note = 'y'")
    with connect(database, "stowage_dump") as connection:
        connection.execute("SELECT note FROM tenant_acme.later")
        connection.execute("SELECT last_value FROM tenant_acme.later_n_seq")


def test_a_grant_reaches_no_look_alike(database: str) -> None:
    names = ("tenant_a_b", "tenant_axb", "tenant_a", "tenant_a_b2", "TENANT_A_B")
    with connect(database) as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("CREATE TABLE {} ()").format(sql.Identifier(name, "orders")))
        grant_tenant(connection, "tenant_a_b")
        for name in names:
            connection.execute(sql.SQL("CREATE TABLE {} ()").format(sql.Identifier(name, "later")))
        readable = connection.execute(
            """
            SELECT DISTINCT schemaname FROM pg_tables, unnest(ARRAY['stowage_app', 'stowage_dump']) AS role
            WHERE schemaname = ANY(%s)
              AND (has_schema_privilege(role, schemaname, 'USAGE')
                   OR has_table_privilege(role, quote_ident(schemaname) || '.' || quote_ident(tablename), 'SELECT'))
            """,
            (list(names),),
        ).fetchall()
    assert readable == [("tenant_a_b",)]


def test_a_grant_in_a_schema_of_somebody_else_is_refused(database: str) -> None:
    somebody = connect(database, "stowage_app")
    with somebody as connection, pytest.raises(MigrationError, match="control_plane belongs to stowage_owner"):
        grant_tenant(connection, "control_plane")
    with connect(database) as connection, pytest.raises(MigrationError, match="there is no schema tenant_nobody"):
        grant_tenant(connection, "tenant_nobody")


@pytest.mark.parametrize("schema", ["stowage", "control_plane", "information_schema", "pg_catalog", "pg_toast"])
def test_only_a_schema_that_can_be_a_tenants_is_granted(database: str, schema: str) -> None:
    """In the schema `stowage` the grant would let requests change the journal."""
    with connect(database) as connection:
        with pytest.raises(MigrationError, match="Nothing was granted"):
            grant_tenant(connection, schema)
        allowed = "SELECT has_table_privilege('stowage_app', 'stowage.changes', 'DELETE')"
        assert connection.execute(allowed).fetchone() == (False,)


def test_no_statement_limit_ends_a_dump_and_none_lets_a_request_run_forever(database: str) -> None:
    def limits(role: str) -> dict[str, str]:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")
        with connect(database, role) as connection:
            shown = [connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in names]
        return dict(zip(names, [row[0] for row in shown if row], strict=True))

    assert limits("stowage_dump")["statement_timeout"] == "0"
    assert limits("stowage_restore")["statement_timeout"] == "0"
    assert limits("stowage_app")["statement_timeout"] == "28s"
    for role in ("stowage_owner", "stowage_app", "stowage_dump", "stowage_restore", "stowage_purge"):
        assert "0" not in [limit for name, limit in limits(role).items() if name != "statement_timeout"], role


def test_no_role_of_ours_is_more_than_it_needs(database: str) -> None:
    with connect(database) as connection:
        powerful = connection.execute("""
            SELECT rolname FROM pg_roles
            WHERE rolname LIKE 'stowage\\_%' AND rolname <> current_user
              AND (rolsuper OR rolcreaterole OR rolcreatedb AND rolname <> 'stowage_restore'
                   OR rolreplication OR rolbypassrls)
        """).fetchall()
    assert powerful == []
