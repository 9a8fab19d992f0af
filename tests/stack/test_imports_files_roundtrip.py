"""What our own exports give comes back as it was: the zoo's nasty strings, out of one tenant and into an empty one."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import requests
from psycopg import sql

from local.sample.tenants import SAMPLE_TENANTS
from stowage.entities.declared import ENTITIES
from tests.conftest import Api, RunningStack
from tests.stack.file_import_surface import fetched, imported, mover_token, records, result_rows
from tests.stack.route_surface import completed_export

EMPTY = "initech"
ORDER = ("brands", "groups", "users", "accounts", "posts", "tasks")
"""Parents first."""
MARKED = ("users", "tasks")
"""Users are in the trash, and tasks name them: how a format writes and reads these marks is the same for each table."""


def exported(api: Api, entity: str, format: str) -> bytes:
    """A whole export of the zoo."""
    body = {"format": format, "mode": "all", "dataType": entity}
    return requests.get(completed_export(api, "zoo", **body)["downloadUrl"], timeout=30).content


@pytest.fixture
def empty(database: psycopg.Connection) -> Iterator[str]:
    """A tenant without records, and without them again afterwards."""
    assert EMPTY in {tenant.slug for tenant in SAMPLE_TENANTS}
    empty_all(database)
    yield EMPTY
    empty_all(database)


def empty_all(database: psycopg.Connection) -> None:
    """Delete every record of the empty tenant."""
    tables = sql.SQL(", ").join(sql.Identifier(f"tenant_{EMPTY}", ENTITIES[name].table) for name in ORDER)
    database.execute(sql.SQL("TRUNCATE {}").format(tables))


@pytest.fixture
def mover(stack: RunningStack) -> Iterator[Api]:
    """An admin, whose day quota of exports these tests use up alone."""
    with Api(stack.api_url, mover_token(stack)) as api:
        yield api


@pytest.mark.long(but="csv")
@pytest.mark.parametrize("format", ["csv", "ndjson", "xlsx"])
def test_an_export_of_everything_comes_back_as_it_was(
    mover: Api, database: psycopg.Connection, empty: str, format: str
) -> None:
    for entity in ORDER:
        before = records(database, entity, tenant="zoo")
        result = imported(mover, entity, format, exported(mover, entity, format), tenant=empty)
        after = records(database, entity, tenant=empty)
        kept = [in_a_workbook(row) for row in before] if format == "xlsx" else before
        missing = [old for old, row in zip(before, kept, strict=True) if row not in after]
        assert [row for row in after if row not in kept] == []
        assert result["created"] == len(after) == len(before) - len(missing)
        assert result["failed"] == len(missing)
        # What cannot come back: tasks of people who are in the trash, and rows that a workbook makes equal or empty.
        trashed = {row["id"] for row in before if row.get("assignee") in ids_in_trash(database, "users")}
        altered = {row["id"] for row in before if format == "xlsx" and in_a_workbook(row) != row}
        assert {row["id"] for row in missing} <= trashed | altered, entity


@pytest.mark.long(but=["ndjson-entities1", "xlsx-entities2"])
@pytest.mark.parametrize(("format", "entities"), [("csv", ORDER), ("ndjson", MARKED), ("xlsx", MARKED)])
def test_the_files_of_a_gdpr_export_come_back_without_the_trash(
    mover: Api, database: psycopg.Connection, empty: str, format: str, entities: tuple[str, ...]
) -> None:
    archive = zipfile.ZipFile(io.BytesIO(exported(mover, "gdpr", format)))
    for entity in entities:
        result = imported(mover, entity, format, archive.read(f"{entity}.{format}"), tenant=empty)

        trashed = ids_in_trash(database, entity)
        live = {_held(row["id"]) if format == "xlsx" else row["id"] for row in records(database, entity, tenant="zoo")}
        after = {row["id"] for row in records(database, entity, tenant=empty)}
        assert after
        assert after <= live, "what was in the trash has not come in"
        if format == "ndjson":
            failed = [json.loads(line) for line in fetched(result, "failed").splitlines()]
        else:
            failed = result_rows(result, "failed")
        assert sum(row["_code"] == "in_trash" for row in failed) == len(trashed)
        if format != "xlsx":  # which alters some ids and loses others
            assert {row["id"] for row in failed if row["_code"] == "in_trash"} == trashed
            lost = {row["id"] for row in failed if row["_code"] == "invalid_reference"}
            assert after == live - lost
            assert entity == "tasks" or not lost, "only tasks name somebody who is in the trash"


def test_the_trash_of_a_gdpr_export_comes_in_as_live_where_its_mark_is_left_out(
    mover: Api, database: psycopg.Connection, empty: str
) -> None:
    archive = zipfile.ZipFile(io.BytesIO(exported(mover, "gdpr", "csv")))
    trashed = ids_in_trash(database, "users")
    assert trashed

    for entity in ("users", "tasks"):
        result = imported(
            mover, entity, "csv", archive.read(f"{entity}.csv"), tenant=empty, mapping={"deletedAt": None}
        )
        assert result["failed"] == 0, fetched(result, "failed")

    assert trashed <= {row["id"] for row in records(database, "users", tenant=empty)}


def ids_in_trash(database: psycopg.Connection, entity: str) -> set[str]:
    """The zoo's records that are in the trash."""
    statement = sql.SQL("SELECT id FROM tenant_zoo.{} WHERE deleted_at IS NOT NULL")
    return {row[0] for row in database.execute(statement.format(sql.Identifier(ENTITIES[entity].table)))}


_LOST = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF))
LONGEST = 32_767


def in_a_workbook(row: dict[str, Any]) -> dict[str, Any]:
    """What a workbook can hold of a row (stowage/exports/formats/xlsx.py)."""
    return {name: _held(value) if isinstance(value, str) else value for name, value in row.items()}


def _held(text: str) -> str:
    return (text if len(text) <= LONGEST else text[: LONGEST - 1] + "…").translate(_LOST)
