"""Row-level security never makes an answer, a file or a backup smaller: it is refused, with a way out that works."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from stowage.basics.errors import StowageError
from stowage.entities.declared import ENTITIES
from stowage.entities.filters import Filters
from stowage.exports.formats import estimate, open_export
from stowage.postgres.dumps.preflight import preflight
from stowage.postgres.session.connection import APP, DUMP, connect
from stowage.postgres.session.transactions import look, transact
from stowage.records import list_records
from stowage.settings import settings
from stowage.tenants import Tenant
from stowage.trash.listing import read_trash
from tests.stack.dump_surface import Database
from tests.stack.servers import NEWEST, OLDER, Servers

TENANT = Tenant("acme", "acme", "Acme")
SCHEMA = "tenant_acme"
NOW = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture(params=[OLDER, NEWEST])
def database(servers: Servers, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A tenant of three accounts whose tables belong to a role of the product's own; we are deployed on it."""
    made = servers(request.param).make_database()
    made.make_tenant(SCHEMA)
    connection = made.connect()
    owner = sql.Identifier(f"Shop's owner {uuid4().hex[:8]}")
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(owner))
    connection.execute("INSERT INTO tenant_acme.brands (id, label) VALUES ('b', 'B')")
    connection.execute("""
        INSERT INTO tenant_acme.accounts (id, username, display_name, platform, brand_id)
        SELECT 'a' || i, 'user' || i, 'User', 'x', 'b' FROM generate_series(1, 3) AS i
    """)
    connection.execute(sql.SQL("ALTER SCHEMA tenant_acme OWNER TO {}").format(owner))
    for (table,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'tenant_acme'").fetchall():
        connection.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier("tenant_acme", table), owner))
    connection.execute("SELECT stowage.grant_tenant('tenant_acme')")
    values = made.environment
    for name, value in {"TABLE": "t", "EXPORTS_BUCKET": "e", "BACKUPS_BUCKET": "b"}.items():
        monkeypatch.setenv(f"STOWAGE_{name}", value)
    monkeypatch.setenv("STOWAGE_DATABASE_URL", f"postgresql://127.0.0.1:{values['PGPORT']}/{values['PGDATABASE']}")
    settings.cache_clear()
    kept: dict[tuple[str, str], psycopg.Connection] = {}
    monkeypatch.setattr("stowage.postgres.session.connection._kept", kept)
    yield made
    for each in kept.values():
        each.close()
    settings.cache_clear()
    connection.execute("ALTER ROLE stowage_app NOBYPASSRLS; ALTER ROLE stowage_dump NOBYPASSRLS")


def listed() -> int:
    return list_records(TENANT, ENTITIES["accounts"], {}).count('"id":')


def exported() -> int:
    source = open_export(connect("main", APP), SCHEMA, "acme", data_type="accounts", format="csv", filters=Filters())
    try:
        return len(b"".join(source.chunks()).splitlines()) - 1
    finally:
        source.close()


def everything_exported() -> int:
    source = open_export(connect("main", APP), SCHEMA, "acme", data_type="gdpr", format="ndjson", filters=None)
    try:
        assert b"".join(source.chunks())
        return source.rows - 1  # the brand
    finally:
        source.close()


def estimated() -> int:
    look("main", lambda connection: estimate(connection, SCHEMA, "acme", "accounts", Filters(), "csv"), lock_seconds=9)
    return 3


def trash_listed() -> int:
    return read_trash(TENANT, NOW, "account", 1, 10).pagination.total + 3


def changed() -> int:
    def work(connection: psycopg.Connection) -> int:
        return connection.execute("UPDATE tenant_acme.accounts SET display_name = 'Changed'").rowcount

    return transact("main", work)


def backed_up() -> int:
    with connect("main", DUMP) as connection:
        preflight(connection, SCHEMA, "18.4")
        found = connection.execute("SELECT count(*) FROM tenant_acme.accounts").fetchone()
    assert found is not None
    return int(found[0])


READS: dict[str, tuple[str, Callable[[], int]]] = {
    "a list": (APP, listed),
    "the trash": (APP, trash_listed),
    "an export": (APP, exported),
    "an export of everything": (APP, everything_exported),
    "an estimate": (APP, estimated),
    "a change": (APP, changed),
    "a backup": (DUMP, backed_up),
}
POLICIES = {
    "no policy": "ALTER TABLE tenant_acme.accounts ENABLE ROW LEVEL SECURITY",
    "a policy for some rows": "ALTER TABLE tenant_acme.accounts ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY most ON tenant_acme.accounts USING (id <> 'a2')",
    "a policy for all rows": "ALTER TABLE tenant_acme.accounts ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY every ON tenant_acme.accounts USING (true)",
    "a restrictive policy": "ALTER TABLE tenant_acme.accounts ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY every ON tenant_acme.accounts USING (true);"
    "CREATE POLICY cut ON tenant_acme.accounts AS RESTRICTIVE USING (id <> 'a2')",
    "forced on the owner": "ALTER TABLE tenant_acme.accounts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "as Supabase has it": "CREATE SCHEMA auth; CREATE TABLE auth.users (id uuid PRIMARY KEY DEFAULT gen_random_uuid());"
    "CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE"
    " AS $$ SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;"
    "ALTER TABLE tenant_acme.accounts ADD COLUMN user_id uuid REFERENCES auth.users ON DELETE CASCADE,"
    " ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
    "CREATE POLICY own ON tenant_acme.accounts USING (user_id = auth.uid())",
    "owned by a superuser": "ALTER TABLE tenant_acme.accounts ENABLE ROW LEVEL SECURITY, OWNER TO postgres",
}


@pytest.mark.long(but=["15-no policy", "15-as Supabase has it", "18-*"])
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_hidden_rows_are_refused_by_name_and_the_remedy_that_is_told_works(database: Database, policy: str) -> None:
    owner = database.connect()
    owner.execute(policy.encode())
    remedies: set[str] = set()
    for what, (role, read) in READS.items():
        with pytest.raises(StowageError) as caught:
            read()
        told = caught.value
        assert (told.code, told.retryable, told.status) == ("row_level_security", False, 503), what
        assert "accounts" in told.message, what
        assert role in told.message, what
        remedies.add(re.findall(r"(?:GRANT|ALTER ROLE) [^;]*;", told.message)[0])

    assert len(remedies) == 2
    for remedy in remedies:
        owner.execute(remedy.encode())

    for what, (_, read) in READS.items():
        assert read() == 3, what


@pytest.mark.long(but="15")
def test_membership_without_set_role_shows_every_row_and_for_backups_alone_one_role_needs_it(
    database: Database,
) -> None:
    """`SET FALSE` is of Postgres 16 and later; before, a membership has no options."""
    admin = database.connect()
    admin.execute("ALTER TABLE tenant_acme.accounts ENABLE ROW LEVEL SECURITY")
    find = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s"
    [(owner,)] = admin.execute(find, (SCHEMA,)).fetchall()
    options = " WITH INHERIT TRUE, SET FALSE" if admin.info.server_version >= 160000 else ""
    granted = sql.SQL("GRANT {} TO stowage_dump" + options).format(sql.Identifier(owner))
    admin.execute(granted)
    for what, (role, read) in READS.items():
        if role == DUMP:
            assert read() == 3, what
        else:
            with pytest.raises(StowageError, match=f"hide rows of accounts from {role}"):
                read()
    admin.execute(sql.SQL("REVOKE {} FROM stowage_dump").format(sql.Identifier(owner)))


@pytest.mark.long(but="18")
def test_a_table_without_row_level_security_needs_nothing(database: Database) -> None:
    for what, (_, read) in READS.items():
        assert read() == 3, what


@pytest.mark.long(but="18")
def test_only_the_tables_of_the_question_are_named(database: Database) -> None:
    owner = database.connect()
    owner.execute("CREATE SCHEMA tenant_other; CREATE TABLE tenant_other.accounts_old (id text)")
    owner.execute("ALTER TABLE tenant_other.accounts_old ENABLE ROW LEVEL SECURITY")
    owner.execute("GRANT USAGE ON SCHEMA tenant_other TO stowage_app, stowage_dump")
    owner.execute("ALTER TABLE tenant_acme.posts ENABLE ROW LEVEL SECURITY")

    assert listed() == 3
    with pytest.raises(StowageError) as caught:
        list_records(TENANT, ENTITIES["posts"], {})
    assert re.findall(r"rows of (.*) from", caught.value.message) == ["posts"]
    with pytest.raises(StowageError) as backup:
        backed_up()
    assert re.findall(r"rows of (.*) from", backup.value.message) == ["posts"]


@pytest.mark.long(but="18")
def test_a_missing_privilege_is_told_from_hidden_rows(database: Database) -> None:
    database.connect().execute("REVOKE SELECT ON tenant_acme.accounts FROM stowage_app")

    with pytest.raises(StowageError) as caught:
        listed()

    assert (caught.value.code, caught.value.status) == ("permission_denied", 503)
    assert "grant" in caught.value.message


@pytest.mark.long(but="18")
def test_the_servers_language_does_not_matter(database: Database) -> None:
    """The tests' servers speak English only; what is looked at instead of the message is the same in all languages."""
    database.connect().execute("ALTER TABLE tenant_acme.accounts ENABLE ROW LEVEL SECURITY")
    with connect("main", APP) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
        connection.execute("SELECT FROM tenant_acme.accounts")
    assert caught.value.diag.source_function == "check_enable_rls"
