"""`grant` and `register`: what belongs to others is named or left out, backups need less, a new
tenant is waited for.
"""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from stowage.basics.errors import RunError
from stowage.postgres.__main__ import main
from stowage.postgres.dumps.preflight import preflight
from stowage.postgres.schema import known_tenants
from stowage.postgres.schema.migrations import apply_roles
from tests.conftest import Api, RunningStack
from tests.stack.dump_surface import TENANT_TABLES, Database
from tests.stack.route_surface import sign
from tests.stack.servers import NEWEST, OLDER, Servers

SCHEMA = "tenant_shop"


@pytest.fixture(params=[OLDER, NEWEST])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A schema of the role `shop` in which another role, `reports`, has made a table, a view and a sequence."""
    database = servers(request.param).make_migrated()
    owner = database.connect()
    owner.execute("""
        DROP ROLE IF EXISTS shop; DROP ROLE IF EXISTS reports; DROP ROLE IF EXISTS both_of_them;
        CREATE ROLE shop LOGIN; CREATE ROLE reports LOGIN;
        CREATE ROLE both_of_them LOGIN IN ROLE shop, reports;
        CREATE SCHEMA tenant_shop AUTHORIZATION shop;
        GRANT ALL ON SCHEMA tenant_shop TO reports;
        SET ROLE shop;
        CREATE TABLE tenant_shop.orders (id serial PRIMARY KEY);
        SET ROLE reports;
        CREATE TABLE tenant_shop."Daily report" (id serial);
        CREATE VIEW tenant_shop.monthly AS SELECT 1 AS n;
        RESET ROLE;
    """)
    yield database
    owner.execute("DROP OWNED BY shop, reports CASCADE; DROP ROLE shop, reports, both_of_them")


def grant(database: Database, role: str, *options: str) -> int:
    return main(["grant", SCHEMA, *options, "--url", make_conninfo(database.url, user=role)])


def may(database: Database, role: str, table: str, privilege: str) -> bool:
    query = "SELECT has_schema_privilege(%s, 'tenant_shop', 'USAGE') AND has_table_privilege(%s, %s, %s)"
    found = database.connect().execute(query, (role, role, f"tenant_shop.{table}", privilege))
    return found.fetchone() == (True,)


@pytest.mark.long(but="18")
def test_tables_of_others_are_named_and_nothing_is_granted(shop: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert grant(shop, "shop") == 1

    told = capsys.readouterr().err
    for named in (
        '"Daily report" (of reports)',
        "monthly (of reports)",
        '"Daily report_id_seq" (of reports)',
        "shop is not",
    ):
        assert named in told
    assert "--skip-others grants the rest" in told
    assert not may(shop, "stowage_app", "orders", "SELECT")


@pytest.mark.long(but="18")
def test_the_rest_is_granted_on_request(shop: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert grant(shop, "shop", "--skip-others") == 0

    told = capsys.readouterr().out
    assert "Left out" in told
    assert '"Daily report" (of reports)' in told
    assert may(shop, "stowage_app", "orders", "INSERT")
    assert may(shop, "stowage_dump", "orders", "SELECT")
    assert not may(shop, "stowage_app", '"Daily report"', "SELECT")


@pytest.mark.long(but="18")
def test_a_member_of_all_owners_grants_everything(shop: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert grant(shop, "both_of_them") == 0

    assert "Left out" not in capsys.readouterr().out
    assert may(shop, "stowage_app", '"Daily report"', "UPDATE")
    assert may(shop, "stowage_dump", "monthly", "SELECT")


@pytest.mark.long(but="18")
def test_what_the_others_have_granted_themselves_stands_in_nobodys_way(shop: Database) -> None:
    with psycopg.connect(make_conninfo(shop.url, user="reports"), autocommit=True) as reports:
        reports.execute("""
            GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_shop."Daily report", tenant_shop.monthly TO stowage_app;
            GRANT SELECT, UPDATE, DELETE ON tenant_shop."Daily report", tenant_shop.monthly TO stowage_purge;
            GRANT SELECT ON tenant_shop."Daily report", tenant_shop.monthly TO stowage_dump;
            GRANT USAGE, SELECT ON SEQUENCE tenant_shop."Daily report_id_seq" TO stowage_app;
            GRANT SELECT ON SEQUENCE tenant_shop."Daily report_id_seq" TO stowage_dump;
        """)

    assert grant(shop, "shop") == 0
    assert may(shop, "stowage_app", "orders", "DELETE")


@pytest.mark.long(but="15")
def test_a_grant_for_backups_alone_lets_nobody_else_in(shop: Database) -> None:
    assert grant(shop, "both_of_them", "--read-only") == 0

    with psycopg.connect(make_conninfo(shop.url, user="stowage_dump"), autocommit=True) as dumping:
        assert preflight(dumping, SCHEMA, "18.4").relations == 4
    assert not may(shop, "stowage_app", "orders", "SELECT")
    assert not may(shop, "stowage_purge", "orders", "SELECT")
    with psycopg.connect(make_conninfo(shop.url, user="shop"), autocommit=True) as owner:
        owner.execute("CREATE TABLE tenant_shop.later (id int)")
    assert may(shop, "stowage_dump", "later", "SELECT")
    assert not may(shop, "stowage_app", "later", "SELECT")

    assert grant(shop, "both_of_them") == 0
    assert may(shop, "stowage_app", "later", "INSERT")


@pytest.mark.long(but="15")
def test_a_table_that_is_left_out_ends_a_backup_by_name(shop: Database) -> None:
    assert grant(shop, "shop", "--read-only", "--skip-others") == 0
    with (
        psycopg.connect(make_conninfo(shop.url, user="stowage_dump"), autocommit=True) as dumping,
        pytest.raises(RunError, match="Daily report") as caught,
    ):
        preflight(dumping, SCHEMA, "18.4")
    assert caught.value.code == "permission_denied"


# Registering


@pytest.fixture
def new_tenant(stack: RunningStack, database: psycopg.Connection) -> Iterator[str]:
    """The id and slug of a tenant that the test registers; its schema is there."""
    name = f"new_{uuid4().hex[:8]}"
    database.execute(f"CREATE SCHEMA tenant_{name}")
    yield name
    database.execute(f"DROP SCHEMA IF EXISTS tenant_{name}")
    database.execute("SET ROLE stowage_owner")
    database.execute("DELETE FROM control_plane.projects WHERE id = %s", (name,))
    database.execute("RESET ROLE")


def registered(database: psycopg.Connection, tenant: str) -> bool:
    found = database.execute("SELECT EXISTS (SELECT FROM control_plane.projects WHERE id = %s)", (tenant,))
    return found.fetchone() == (True,)


def test_whoever_registers_is_told_that_the_api_does_not_know_at_once(
    stack: RunningStack, new_tenant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["register", new_tenant, new_tenant, "New", "--url", stack.database_url]) == 0
    told = capsys.readouterr().out
    assert "404 for a new tenant for up to a minute" in told
    assert "--wait" in told


def test_a_database_that_was_never_migrated_is_told(servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    database = servers(NEWEST).make_database()
    apply_roles(database.connect())
    database.connect().execute("CREATE SCHEMA tenant_shop")
    assert main(["register", "shop", "shop", "Shop", "--url", database.url]) == 1
    assert "run `migrate` first" in capsys.readouterr().err


def test_a_tenant_may_have_a_schema_of_any_name(
    stack: RunningStack, new_tenant: str, database: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    schema, arguments = f'The shop\'s "{new_tenant}"', ["register", new_tenant, new_tenant, "New", "--schema"]
    url = ["--url", stack.database_url]
    assert main([*arguments, schema, *url]) == 1
    database.execute(
        sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(*map(sql.Identifier, (f"tenant_{new_tenant}", schema)))
    )
    try:
        for file in TENANT_TABLES:
            database.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
            database.execute(file.read_bytes())
        database.execute("RESET search_path")
        assert main([*arguments, schema, *url]) == 0
        assert "Next: `grant 'The shop" in capsys.readouterr().out
        assert main(["grant", schema, *url]) == 0
        stack.invoke("CopyRegistryFunction")
        api = Api(stack.api_url, sign(stack, tenants=[new_tenant], role="admin"))
        made = api.post("/api/v1/brands", json={"label": "One"})
        assert made.status_code == 201, made.text
        listed = api.get("/api/v1/brands").json()["data"]
        assert listed == [made.json()["data"]]
        api.close()
        assert database.execute(
            sql.SQL("SELECT label FROM {}").format(sql.Identifier(schema, "brands"))
        ).fetchall() == [("One",)]
        assert main(["register", f"{new_tenant}x", f"{new_tenant}x", "New", "--schema", schema, *url]) == 1
        assert "is registered already" in capsys.readouterr().err
    finally:
        database.execute("RESET search_path")
        database.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


@pytest.mark.parametrize("schema", ["stowage", "control_plane", "pg_catalog", "information_schema"])
def test_a_schema_of_ours_or_of_postgres_is_no_tenants(
    stack: RunningStack, new_tenant: str, database: psycopg.Connection, schema: str
) -> None:
    arguments = ["register", new_tenant, new_tenant, "New", "--schema", schema, "--url", stack.database_url]
    assert main(arguments) == 1
    assert not registered(database, new_tenant)
    assert main(["grant", schema, "--url", stack.database_url]) == 1


def test_a_new_tenant_is_waited_for(
    stack: RunningStack, new_tenant: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOWAGE_TOKEN", sign(stack, tenants=[new_tenant], role="viewer"))
    arguments = ["register", new_tenant, new_tenant, "New", "--url", stack.database_url, "--wait", stack.api_url]

    assert main(arguments) == 0

    assert f"The API knows {new_tenant} since" in capsys.readouterr().out


def test_waiting_without_a_token_registers_nothing(
    stack: RunningStack, new_tenant: str, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STOWAGE_TOKEN", raising=False)
    arguments = ["register", new_tenant, new_tenant, "New", "--url", stack.database_url, "--wait", stack.api_url]

    assert main(arguments) == 1

    assert not registered(database, new_tenant)


WITHOUT_SCHEMA = {
    "in the main database": ([], False),
    "in the main database by name": (["--database", "main"], False),
    "that comes later": (["--schema-later"], True),
    "on another server, which is not looked at": (["--database", "far"], True),
}


@pytest.mark.parametrize(("options", "is_registered"), WITHOUT_SCHEMA.values(), ids=WITHOUT_SCHEMA.keys())
def test_a_tenant_without_a_schema_is_registered_on_request_alone(
    stack: RunningStack,
    new_tenant: str,
    database: psycopg.Connection,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    is_registered: bool,
) -> None:
    database.execute(f"DROP SCHEMA tenant_{new_tenant}")

    ended = main(["register", new_tenant, new_tenant, "New", "--url", stack.database_url, *options])

    assert (ended == 0, registered(database, new_tenant)) == (is_registered, is_registered)
    if not is_registered:
        told = capsys.readouterr().err
        assert f"no schema tenant_{new_tenant}" in told
        assert "--schema-later" in told


def test_a_schema_of_almost_that_name_is_not_the_tenants(
    stack: RunningStack, new_tenant: str, database: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["register", new_tenant, f"{new_tenant}x", "New", "--url", stack.database_url]) == 1
    assert not registered(database, new_tenant)
    assert main(["register", new_tenant, new_tenant.upper(), "New", "--url", stack.database_url]) == 1
    assert "slugs [a-z]" in capsys.readouterr().err


@pytest.fixture
def answering() -> Iterator[tuple[str, list[int]]]:
    """An API at this URL that gives these statuses in turn, the last one again and again."""
    statuses = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.end_headers()
            self.wfile.write(json.dumps({}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", statuses
        server.shutdown()
        thread.join()


ANSWERS = {
    "at once": ([200], None),
    "after some": ([404, 404, 200], None),
    "never": ([404], "still says 404"),
    "a token that is refused": ([401], "answers 401"),
    "a server that is broken": ([404, 500], "answers 500"),
}


@pytest.mark.parametrize(("given", "told"), ANSWERS.values(), ids=ANSWERS.keys())
def test_waiting_ends_with_what_the_api_says(
    answering: tuple[str, list[int]], monkeypatch: pytest.MonkeyPatch, given: list[int], told: str | None
) -> None:
    url, statuses = answering
    statuses[:] = given
    monkeypatch.setattr(known_tenants, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(known_tenants, "MOST_SECONDS", 1.0)
    if told is None:
        assert known_tenants.wait_until_known(url, "acme", "token") < 1
        return
    with pytest.raises(known_tenants.StowageError, match=told):
        known_tenants.wait_until_known(url, "acme", "token")


def test_an_api_that_is_not_there_is_told() -> None:
    with pytest.raises(known_tenants.StowageError, match="does not answer"):
        known_tenants.wait_until_known("http://127.0.0.1:1", "acme", "token")
    with pytest.raises(known_tenants.StowageError, match="does not answer"):
        known_tenants.wait_until_known("ftp://nowhere.invalid", "acme", "token")
