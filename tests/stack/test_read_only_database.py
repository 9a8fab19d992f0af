"""A database that takes no changes (a standby, `default_transaction_read_only`): reads go on, changes say why not."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import RunningStack
from tests.stack.file_import_surface import csv_file, ended, started
from tests.stack.office import Office
from tests.stack.route_surface import completed_export

_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'stowage_app'"


@pytest.fixture
def read_only(office: Office, stack: RunningStack, database: psycopg.Connection) -> Iterator[None]:
    """New sessions of the application's role are read-only; those that there are end before and after."""
    office.accounts("a")
    database.execute("ALTER ROLE stowage_app SET default_transaction_read_only = on")
    database.execute(_END_SESSIONS)
    yield
    database.execute("ALTER ROLE stowage_app RESET default_transaction_read_only")
    database.execute(_END_SESSIONS)


@pytest.mark.usefixtures("read_only")
def test_reads_go_on_and_changes_are_told_why_not(office: Office) -> None:
    api = office.caller("admin")
    given = {"title": "x"}
    for answer in (
        api.post("/api/v1/tasks", json=given),
        api.post("/api/v1/import/tasks", json={"items": [given]}),
        api.post(office.path("bulk/delete"), json={"ids": ["a"], "dataType": "accounts"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable"), answer.text
        assert answer.json()["error"] == "The database is read-only at the moment; nothing was changed."
        assert answer.headers["retry-after"] == "5"
    assert api.get("/api/v1/accounts").json()["pagination"]["total"] == 1
    assert completed_export(api, office.id, dataType="accounts")["recordCount"] == 1


@pytest.mark.usefixtures("read_only")
def test_an_import_fails_with_the_reason(office: Office) -> None:
    api = office.caller()
    job = ended(api, started(api, "tasks", "csv", csv_file("title", "x"), tenant=office.id), seconds=120)
    assert (job["status"], job["last_error"]) == ("failed", "The database is read-only; nothing can be imported.")
