"""`grant SCHEMA --restore`: a master that is no superuser lets the restore's role act as a tenant's owners."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from stowage.postgres.__main__ import main
from stowage.postgres.restores.rights import may_create_databases, missing_memberships, owners_of
from stowage.postgres.schema.migrations import apply_roles, migrate
from tests.stack.dump_surface import Database
from tests.stack.servers import NEWEST, OLDER, Server, Servers, start_servers


@pytest.fixture(scope="module")
def own() -> Iterator[Servers]:
    """Servers of this file alone: roles belong to a whole server."""
    with start_servers() as servers:
        yield servers


def made(server: Server) -> Database:
    """A database of a master as RDS's, in which `product` and `Odd "owner"` own what is in tenant_acme, and the master
    itself tenant_own.
    """
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("CREATE ROLE master LOGIN CREATEROLE CREATEDB")
    database = server.make_database(owner="master")
    master = database.connect()
    apply_roles(master)
    migrate(master)
    options = " WITH INHERIT TRUE, SET TRUE" if master.info.server_version >= 160000 else ""
    master.execute(
        f"""
        CREATE ROLE product; CREATE ROLE "Odd ""owner";
        GRANT product, "Odd ""owner" TO master{options};
        CREATE SCHEMA tenant_acme AUTHORIZATION product;
        GRANT ALL ON SCHEMA tenant_acme TO "Odd ""owner";
        SET ROLE product; CREATE TABLE tenant_acme.notes (id int);
        SET ROLE "Odd ""owner"; CREATE TABLE tenant_acme.more (id int);
        RESET ROLE;
        CREATE SCHEMA tenant_own; CREATE TABLE tenant_own.notes (id int)
        """.encode()
    )
    return database


@pytest.mark.parametrize("version", [OLDER, NEWEST])
def test_the_restores_role_becomes_a_member_of_the_owners(
    own: Servers, version: int, capsys: pytest.CaptureFixture[str]
) -> None:
    database = made(own(version))
    connection = database.connect()
    owners = owners_of(connection, "tenant_acme")
    assert owners == ['Odd "owner', "product"]
    assert missing_memberships(connection, owners) == owners

    assert (
        main(["grant", "tenant_acme", "--restore", "--url", make_conninfo(database.url, user="product_of_none")]) == 1
    )
    assert main(["grant", "tenant_nobody", "--restore", "--url", database.url]) == 1
    assert "there is no schema tenant_nobody" in capsys.readouterr().err
    assert main(["grant", "tenant_acme", "--restore", "--url", database.url]) == 0
    assert 'GRANT "Odd ""owner" TO "stowage_restore"' in capsys.readouterr().out
    assert main(["grant", "tenant_acme", "--restore", "--url", database.url]) == 0
    assert capsys.readouterr().out == "Nothing to grant.\n"

    assert missing_memberships(connection, owners) == []
    assert may_create_databases(connection)
    with psycopg.connect(make_conninfo(database.url, user="stowage_restore"), autocommit=True) as restore:
        restore.execute("CREATE SCHEMA stowage_copy_x; ALTER SCHEMA stowage_copy_x OWNER TO product")
        restore.execute("ALTER SCHEMA tenant_acme RENAME TO aside; ALTER SCHEMA stowage_copy_x RENAME TO tenant_acme")
    apply_roles(connection)  # again after an upgrade, with the memberships there

    schema = main(["grant", "tenant_own", "--restore", "--url", database.url])
    told = capsys.readouterr().err
    if version == OLDER:  # whoever makes a role is no member of it there
        assert schema == 0, told
    else:
        assert schema == 1
        assert "master is a member of stowage_restore" in told
        assert "a role of their own" in told
