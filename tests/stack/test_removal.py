"""`python -m stowage.postgres remove`: the catalogue afterwards is that of before the installation."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from stowage.postgres.__main__ import main
from stowage.postgres.schema.migrations import apply_roles, grant_tenant, migrate, register_tenant
from stowage.postgres.schema.removal import RemovalError, read_held, remove
from tests.stack.servers import NEWEST, OLDER, Server, Servers, start_servers

PRODUCT = """
CREATE SCHEMA tenant_acme;
SET search_path = tenant_acme;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE notes (
    id bigserial PRIMARY KEY, title text NOT NULL CHECK (title <> ''), mood mood, deleted_at timestamptz
);
CREATE TABLE lines (id uuid PRIMARY KEY, note_id bigint NOT NULL REFERENCES notes ON DELETE CASCADE);
CREATE INDEX ON notes (title) WHERE deleted_at IS NULL;
CREATE VIEW recent AS SELECT * FROM notes;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touching BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION touch();
GRANT SELECT ON notes TO reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA tenant_acme GRANT SELECT ON TABLES TO reader;
INSERT INTO notes (title) VALUES ('One');
RESET search_path;
"""

# Rights as they are in effect: what was granted and revoked again is written out where nothing was before.
CATALOGUE = """
SELECT 'schema', nspname, pg_get_userbyid(nspowner), rights(coalesce(nspacl, acldefault('n', nspowner)))
FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
UNION ALL
SELECT 'relation', format('%s.%s %s', relnamespace::regnamespace, relname, relkind), pg_get_userbyid(relowner),
       rights(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)))
FROM pg_class WHERE relnamespace::regnamespace::text !~ '^pg_'
UNION ALL
SELECT 'column', format('%s.%s', attrelid::regclass, attname), format_type(atttypid, atttypmod), attnotnull::text
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace::regnamespace::text !~ '^pg_' AND NOT attisdropped
UNION ALL
SELECT 'constraint', format('%s.%s', conrelid::regclass, conname), pg_get_constraintdef(oid), '' FROM pg_constraint
UNION ALL
SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid), '' FROM pg_index
UNION ALL
SELECT 'trigger', format('%s.%s', tgrelid::regclass, tgname), pg_get_triggerdef(oid), '' FROM pg_trigger
UNION ALL
SELECT 'function', oid::regprocedure::text, pg_get_userbyid(proowner),
       rights(coalesce(proacl, acldefault('f', proowner)))
FROM pg_proc WHERE pronamespace::regnamespace::text !~ '^pg_'
UNION ALL
SELECT 'default', format('%s %s', defaclnamespace::regnamespace, defaclobjtype), pg_get_userbyid(defaclrole),
       rights(defaclacl)
FROM pg_default_acl
UNION ALL
SELECT 'role', rolname, rolcanlogin::text, rolconfig::text FROM pg_roles
UNION ALL
SELECT 'member', roleid::regrole::text, member::regrole::text, admin_option::text FROM pg_auth_members
UNION ALL
SELECT 'database', datname, pg_get_userbyid(datdba), rights(coalesce(datacl, acldefault('d', datdba)))
FROM pg_database WHERE datname = current_database()
ORDER BY 1, 2, 3, 4
"""
RIGHTS = """
CREATE FUNCTION pg_temp.rights(aclitem[]) RETURNS text LANGUAGE sql AS
'SELECT string_agg(each::text, '','' ORDER BY each::text) FROM unnest($1) AS each'
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Servers]:
    """Servers of this file alone: roles belong to a whole server."""
    with start_servers() as servers:
        yield servers


@pytest.fixture(params=[OLDER, NEWEST])
def server(own: Servers, request: pytest.FixtureRequest) -> Server:
    return own(request.param)


@contextmanager
def product(server: Server, master: str) -> Iterator[psycopg.Connection]:
    """The master's connection to a database of his with a tenant's schema in it."""
    with psycopg.connect(server.url(), autocommit=True) as admin:
        for role, rights in ((master, "CREATEROLE LOGIN"), ("reader", "")):
            if admin.execute("SELECT to_regrole(%s)", (role,)).fetchone() == (None,):
                admin.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(role), sql.SQL(rights)))
        if master == "root":
            admin.execute("ALTER ROLE root SUPERUSER")
    database = server.make_database(owner=master)
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(PRODUCT)
        try:
            yield connection
        finally:
            remove(connection)


def catalogue(connection: psycopg.Connection) -> list[tuple[str, ...]]:
    with connection.transaction(force_rollback=True):
        connection.execute(RIGHTS)
        return connection.execute(CATALOGUE.replace("rights(", "pg_temp.rights(")).fetchall()


def install(connection: psycopg.Connection) -> None:
    apply_roles(connection)
    migrate(connection)
    register_tenant(connection, "acme", "acme", "Acme")
    grant_tenant(connection, "tenant_acme")


@pytest.mark.long(but=["15-master", "18-root"])
@pytest.mark.parametrize("master", ["root", "master"])
def test_what_was_installed_is_removed_and_nothing_else(server: Server, master: str) -> None:
    with product(server, master) as connection:
        before = catalogue(connection)
        install(connection)
        connection.execute("CREATE TABLE tenant_acme.later (id int)")
        connection.execute("DROP TABLE tenant_acme.later")
        assert catalogue(connection) != before
        remove(connection)
        assert catalogue(connection) == before
        assert connection.execute("SELECT title FROM tenant_acme.notes").fetchall() == [("One",)]
        assert remove(connection).roles == [], "a second time there is nothing"
        install(connection)
        remove(connection)
        assert catalogue(connection) == before


@pytest.mark.long(but=["15-True", "18-False"])
@pytest.mark.parametrize("may_join", [True, False])
def test_rights_that_another_role_gave_are_taken_back_by_who_may_act_for_it(server: Server, may_join: bool) -> None:
    with product(server, "master") as connection, psycopg.connect(server.url(), autocommit=True) as admin:
        connection.execute("DROP SCHEMA tenant_acme CASCADE")
        maker = connection if may_join else admin
        maker.execute("CREATE ROLE maker")
        database = psycopg.connect(server.url(database=connection.info.dbname), autocommit=True)
        database.execute("CREATE SCHEMA tenant_acme AUTHORIZATION maker; SET ROLE maker")
        database.execute("CREATE TABLE tenant_acme.notes (id bigserial PRIMARY KEY)")
        before = catalogue(connection)
        apply_roles(connection)
        migrate(connection)
        register_tenant(connection, "acme", "acme", "Acme")
        grant_tenant(database, "tenant_acme")
        try:
            if may_join or connection.info.server_version < 160000:
                remove(connection)
                assert catalogue(connection) == before
            else:
                with pytest.raises(RemovalError, match="maker gave Stowage's roles their rights, and master is not a"):
                    remove(connection)
        finally:
            database.execute("RESET ROLE; DROP SCHEMA tenant_acme CASCADE")
            database.close()
            admin.execute("DROP ROLE maker")


@pytest.mark.long(but="18")
def test_without_yes_it_is_only_told(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with product(server, "master") as connection:
        install(connection)
        before = catalogue(connection)
        url = f"{server.url('master', connection.info.dbname)}"
        assert main(["remove", "--url", url]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "Stowage has added to this database:"
        assert "  schema stowage, with everything in it" in lines
        assert "  role stowage_app" in lines
        assert lines[-1] == "Nothing was removed; --yes removes it."
        assert catalogue(connection) == before
        assert main(["remove", "--url", url, "--yes"]) == 0
        assert capsys.readouterr().out.startswith("Removed:\n")
        assert main(["remove", "--url", url]) == 0
        assert capsys.readouterr().out == "There is nothing of Stowage's in this database.\n"


@pytest.mark.long(but="15")
def test_columns_of_an_earlier_trash_go_and_what_is_deleted_stays_so(server: Server) -> None:
    with product(server, "master") as connection:
        before = catalogue(connection)
        install(connection)
        connection.execute(
            "ALTER TABLE tenant_acme.notes ADD deleted_by text, ADD purge_at timestamptz, ADD deleted_operation text, "
            "ADD deleted_with text, ADD CHECK (num_nulls(deleted_at, purge_at) <> 1);"
            "CREATE INDEX ON tenant_acme.notes (deleted_operation, deleted_with)"
        )
        assert read_held(connection).tables == ["tenant_acme.notes"]
        remove(connection)
        assert catalogue(connection) == before


@pytest.mark.long(but="18")
def test_roles_with_rights_in_another_database_stay(server: Server) -> None:
    with product(server, "root") as connection, product(server, "root") as other:
        install(connection)
        install(other)
        held = remove(connection)
        assert held.elsewhere == [other.info.dbname]
        assert read_held(connection).schemas == []
        assert {role for (role,) in other.execute("SELECT rolname FROM pg_roles")} >= {"stowage_app", "stowage_owner"}
        grant_tenant(other, "tenant_acme")


REFUSED = {
    "a session at work": (None, "stowage_app work in this database"),
    "an import of a file": (
        "INSERT INTO stowage.file_imports (id, tenant, entity, actor, operation, attempt) "
        "VALUES ('i', 'acme', 'notes', 'me', 'op', 1)",
        "1 imports of files have not ended",
    ),
    "a view on the journal": (
        "CREATE VIEW tenant_acme.seen AS SELECT * FROM stowage.changes",
        "something of yours depends on Stowage's schemas. view tenant_acme.seen depends on table stowage.changes",
    ),
    "a table of our role's": (
        "CREATE TABLE tenant_acme.restored (); ALTER TABLE tenant_acme.restored OWNER TO stowage_restore",
        "these belong to Stowage's roles; give them to an owner of yours first (ALTER … OWNER TO): "
        "table tenant_acme.restored (of stowage_restore)",
    ),
}


@pytest.mark.long(
    but=["15-a session at work", "18-an import of a file", "18-a view on the journal", "18-a table of our role's"]
)
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_nothing_is_removed_while_something_of_it_is_in_use(server: Server, case: tuple[str | None, str]) -> None:
    statement, told = case
    with product(server, "root") as connection:
        install(connection)
        url = server.url("stowage_app", connection.info.dbname)
        if statement:
            connection.execute(statement)
        with psycopg.connect(url) as working:
            if statement is None:
                working.execute("SELECT 1")
            else:
                working.close()
            before = catalogue(connection)
            with pytest.raises(RemovalError) as refused:
                remove(connection)
        assert told in refused.value.message
        assert catalogue(connection) == before
        connection.execute("DROP VIEW IF EXISTS tenant_acme.seen; DROP TABLE IF EXISTS tenant_acme.restored")
        connection.execute("DELETE FROM stowage.file_imports")
