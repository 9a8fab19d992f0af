"""Tenants on several servers: each has its own journal, and everything goes on there as on the main one."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stowage.postgres.__main__ import main
from stowage.postgres.schema.migrations import apply_roles, create_tenant, register_tenant
from tests.conftest import Api, LocalStack, RunningStack
from tests.faults.run_surface import eventually
from tests.stack.route_surface import caller, export_body
from tests.stack.scratch_databases import bare_database, connect


@pytest.fixture
def far(stack: RunningStack, own_stack: Callable[..., LocalStack]) -> Iterator[tuple[RunningStack, str]]:
    """A stack on a server that was there before it, with the tenant `far` in a second database; that one's URL."""
    server = stack.database_url
    with bare_database(server) as first, bare_database(server) as second:
        for url in (first, second):
            with connect(url) as connection:
                apply_roles(connection)
        own = own_stack(
            STOWAGE_DATABASE_URL=as_url(first, "stowage_master@"),
            STOWAGE_PARAMETER_Databases=json.dumps({"second": as_url(second)}),
        )
        running = own.start("up", "--no-sample")
        with connect(second) as connection:
            create_tenant(connection, "far", "far", "Far")
            connection.execute("INSERT INTO tenant_far.brands (id, label) VALUES ('b-1', 'One'), ('b-2', 'Two')")
        with connect(first) as connection:
            register_tenant(connection, "far", "far", "Far", database="second")
        running.invoke("CopyRegistryFunction")
        yield running, second
        own.stop()


def as_url(conninfo: str, user: str = "") -> str:
    """A connection string as the template's parameters take it."""
    place = conninfo_to_dict(conninfo)
    return f"postgresql://{user}{place['host']}:{place['port']}/{place['dbname']}?password={place['password']}"


def test_a_tenant_of_a_second_server_has_everything(far: tuple[RunningStack, str]) -> None:
    running, second = far
    with caller(running, tenants=["far"]) as api:
        assert download(api, dataType="brands") == [["b-1", "One"], ["b-2", "Two"]]
        job = api.post("/api/backup/export", json={"project_id": "far"}).json()["data"]["job_id"]
        ends(api, f"/api/jobs/{job}", lambda answer: answer["data"]["status"])
        deleted = api.delete("/api/v1/brands/b-2", headers={"X-Tenant-Id": "far"})
        assert deleted.status_code in (200, 204), deleted.text
        trash = api.get("/api/guilds/far/trash?type=brand").json()
        assert [item["id"] for item in trash["items"]] == ["b-2"]

        def audited() -> bool:
            with connect(second, "stowage_app") as connection:
                rows = connection.execute("SELECT DISTINCT type FROM stowage.changes WHERE tenant = 'far'").fetchall()
            return {"deleted", "export.completed", "export_backup.completed"} <= {row[0] for row in rows}

        eventually(audited, "the second server's journal has it")
        assert ["b-2", "deleted"] in [row[:2] for row in download(api, dataType="audit", columns=("id", "type"))]


def download(api: Api, columns: tuple[str, ...] = ("id", "label"), **given: Any) -> list[list[str]]:
    """These columns of a CSV export's rows."""
    response = api.post("/api/guilds/far/exports", json=export_body(**given))
    assert response.status_code == 202, response.text
    path = f"/api/guilds/far/exports/{response.json()['id']}"
    ends(api, path, lambda answer: answer["status"])
    text = api.get(api.get(path).json()["downloadUrl"]).text
    return [[row[name] for name in columns] for row in csv.DictReader(io.StringIO(text, newline=""))]


def ends(api: Api, path: str, status: Callable[[Any], str]) -> None:
    """Wait until a run is completed."""

    def ended() -> bool:
        answer = api.get(path)
        assert status(answer.json()) in ("pending", "processing", "running", "completed"), answer.text
        return status(answer.json()) == "completed"

    eventually(ended, f"{path} is completed")


@pytest.fixture
def product(database: psycopg.Connection) -> Iterator[str]:
    """A role of the adopter's own product, with the password of ours."""
    name = f"product_{uuid4().hex[:12]}"
    password = database.info.password
    database.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), password))
    yield name
    database.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_who_owns_a_schema_need_not_be_who_registers(product: str, stack: RunningStack) -> None:
    with bare_database(stack.database_url) as url, connect(url) as master:
        apply_roles(master)
        with connect(url, product) as owner:
            master.execute(
                sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(*map(sql.Identifier, (master.info.dbname, product)))
            )
            owner.execute("CREATE SCHEMA tenant_shop; CREATE TABLE tenant_shop.orders (id text)")
        assert main(["migrate", "--url", url]) == 0
        assert main(["register", "shop", "shop", "Shop", "--url", url]) == 0
        assert main(["grant", "tenant_shop", "--url", url]) == 1
        assert main(["grant", "tenant_shop", "--url", make_conninfo(url, user=product)]) == 0
        with connect(url, "stowage_app") as app:
            app.execute("INSERT INTO tenant_shop.orders VALUES ('1')")


def test_a_server_that_is_no_url_is_named(own_stack: Callable[..., LocalStack]) -> None:
    own = own_stack(STOWAGE_DATABASE_URL="host=127.0.0.1 dbname=mine")
    assert own.launch("up").wait(90) == 1
    assert "STOWAGE_DATABASE_URL is not of the form postgresql://" in own.terminal()
