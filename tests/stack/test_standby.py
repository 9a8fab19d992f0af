"""A tenant whose database's URL names a hot standby: backups and exports come from it, changes are refused."""

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest

from local.postgres import binaries
from stowage.postgres.schema.migrations import create_tenant
from tests.conftest import LocalStack, RunningStack
from tests.faults.run_surface import eventually
from tests.stack.file_import_surface import csv_file, ended, started
from tests.stack.route_surface import caller
from tests.stack.servers import Server, Standby
from tests.stack.test_databases import download

ROLES = """
CREATE ROLE stowage_master LOGIN CREATEROLE CREATEDB;
GRANT pg_monitor, pg_signal_backend TO stowage_master WITH ADMIN OPTION;
"""
READ_ONLY = "The database is read-only at the moment; nothing was changed."


@pytest.fixture
def far(own_stack: Callable[..., LocalStack]) -> Iterator[RunningStack]:
    """A stack with the tenant `far`, whose database is the standby of the stack's own server."""
    with Server(binaries()) as primary:
        with psycopg.connect(primary.url(), autocommit=True) as superuser:
            superuser.execute(ROLES)
            superuser.execute("CREATE DATABASE stowage OWNER stowage_master")
        with Standby(primary) as standby:
            url = primary.url("stowage_master", "stowage")
            place = f"postgresql://127.0.0.1:{standby.port}/stowage"
            own = own_stack(STOWAGE_DATABASE_URL=url, STOWAGE_PARAMETER_Databases=json.dumps({"standby": place}))
            running = own.start("up", "--no-sample")
            with psycopg.connect(url, autocommit=True) as master:
                create_tenant(master, "far", "far", "Far")
                master.execute("INSERT INTO tenant_far.brands (id, label) VALUES ('b-1', 'One'), ('b-2', 'Two')")
                master.execute("SET ROLE stowage_owner")
                master.execute("UPDATE control_plane.projects SET database = 'standby' WHERE id = 'far'")
            running.invoke("CopyRegistryFunction")
            eventually(lambda: has_rows(standby), "the standby has followed")
            yield running
            own.stop()


def has_rows(standby: Server) -> bool:
    with psycopg.connect(standby.url(database="stowage")) as copy:
        if copy.execute("SELECT to_regclass('tenant_far.brands')").fetchone() == (None,):
            return False
        return copy.execute("SELECT count(*), pg_is_in_recovery() FROM tenant_far.brands").fetchone() == (2, True)


def test_a_standby_is_read_exported_and_backed_up_and_takes_no_change(far: RunningStack) -> None:
    with caller(far, tenants=["far"]) as api:
        api.headers["X-Tenant-Id"] = "far"
        assert api.get("/api/v1/brands").json()["pagination"]["total"] == 2
        assert download(api, dataType="brands") == [["b-1", "One"], ["b-2", "Two"]]
        for kind, begin in (("sql", b"--"), ("custom", b"PGDMP")):
            asked = api.post("/api/backup/export", json={"project_id": "far", "format": kind})
            job = ended(api, asked.json()["data"]["job_id"], 90)
            assert (job["status"], job["last_error"]) == ("completed", None)
            backup = api.get(f"/api/backup/{job['id']}").json()["data"]
            assert backup["manifest"]["contents"]["rows"]["brands"] == 2
            assert gzip.decompress(api.get(f"/api/backup/{job['id']}/download").content).startswith(begin)
        for answer in (
            api.delete("/api/v1/brands/b-2"),
            api.post("/api/v1/brands", json={"label": "Three"}),
            api.post("/api/guilds/far/bulk/delete", json={"ids": ["a"], "dataType": "accounts"}),
        ):
            assert (answer.status_code, answer.json()["error"]) == (503, READ_ONLY), answer.text
            assert answer.headers["retry-after"] == "5"
        job = ended(api, started(api, "tasks", "csv", csv_file("title", "x"), tenant="far"), 90)
        assert (job["status"], job["last_error"]) == ("failed", "The database is read-only; nothing can be imported.")
    # The journal stands in that database too: its entries wait in the table until somebody promotes it.
    with closing(far.aws("dynamodb")) as dynamodb:
        notes = dynamodb.query(
            TableName=far.resources["Table"],
            KeyConditionExpression="pk = :notes",
            ExpressionAttributeValues={":notes": {"S": "NOTE#audit"}},
        )["Items"]
    waiting = {note["type"]["S"] for note in notes if note["tenant"]["S"] == "far"}
    assert {"export.completed", "export_backup.completed", "import.failed"} <= waiting
