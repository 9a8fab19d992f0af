"""Schemas that a tenant's settings have dumped along: partitions and child tables outside of its own schema."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from stowage.postgres.schema.migrations import create_tenant
from tests.conftest import RunningStack
from tests.stack.office import Office
from tests.stack.route_surface import ended_job, fields, refusal, start_backup

SETTINGS = "/api/backup/settings"
RESTORE = "/api/backup/restore"
TABLES = """
    CREATE TABLE days (day date, note text, n serial) PARTITION BY RANGE (day);
    CREATE TABLE days_2024 PARTITION OF days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE TABLE {parts}.days_2023 PARTITION OF days FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
    CREATE TABLE {parts}.days_rest PARTITION OF days DEFAULT PARTITION BY LIST (note);
    CREATE TABLE {parts}."Days, ""A"" " PARTITION OF {parts}.days_rest DEFAULT;
    CREATE TABLE {parts}.users (sea text, k serial) INHERITS (users);
    INSERT INTO days (day, note) SELECT '2022-12-01'::date + 10 * n, 'day ' || n FROM generate_series(1, 90) n;
    INSERT INTO {parts}.users (id, name, email, sea) VALUES ('usr_9', 'Islander', 'i@x.example', 'North')
"""
ROWS = {"days_2023": 36, 'Days, "A" ': 17, "users": 1}


@pytest.fixture(scope="module")
def shop(stack: RunningStack) -> Iterator[Office]:
    """A tenant whose tables have partitions and a child in another schema."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        name = f"parts_{uuid4().hex[:10]}"
        create_tenant(database, name, name, "A shop")
        stack.invoke("CopyRegistryFunction")
        office = Office(stack, database, name)
        names = {"parts": sql.Identifier(name)}
        office.run(f"CREATE SCHEMA {name}; GRANT USAGE ON SCHEMA {name} TO stowage_app, stowage_dump")
        office.run(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {name} GRANT SELECT ON TABLES TO stowage_app, stowage_dump")
        office.run(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {name} GRANT SELECT ON SEQUENCES TO stowage_dump")
        office.run(sql.SQL(TABLES).format(**names).as_string(database))
        office.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {office.schema} TO stowage_dump")
        yield office
        office.close()
        database.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(names["parts"]))


def include(shop: Office, *names: str) -> None:
    answer = shop.caller("admin").put(f"{SETTINGS}?project_id={shop.id}", json={"include_schemas": list(names)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["include_schemas"] == list(names)


def completed(shop: Office, job: str) -> Any:
    ended = ended_job(shop.caller("admin"), job, 60)
    assert ended["status"] == "completed", ended["last_error"]
    return ended["result"]


def state(shop: Office) -> list[tuple[object, ...]]:
    return shop.run(
        "SELECT tableoid::regclass::text, day::text, note, n FROM days "
        "UNION ALL SELECT tableoid::regclass::text, NULL, name, NULL FROM users ORDER BY 1, 2, 3"
    )


def left(shop: Office) -> list[str]:
    return [name for (name,) in shop.run("SELECT nspname FROM pg_namespace WHERE nspname ~ '^stowage_(copy|kept)_'")]


@pytest.fixture(scope="module")
def backups(shop: Office) -> dict[str, str]:
    """A backup of each kind of format; the first by a run that was refused until the settings named the schema."""
    admin = shop.caller("admin")
    first = start_backup(admin, shop.id, format="sql")
    refused = ended_job(admin, first, 60)
    assert (refused["status"], refused["error_code"]) == ("failed", "outside_children")
    assert "include_schemas" in refused["last_error"]
    include(shop, shop.id)
    assert admin.post(f"/api/jobs/{first}/retry").status_code == 202
    made = {"sql": first, "custom": start_backup(admin, shop.id, format="custom")}
    for job in made.values():
        completed(shop, job)
    return made


def test_included_schemas_are_dumped_verified_compared_and_restored_beside(
    shop: Office, backups: dict[str, str]
) -> None:
    admin, before, backup = shop.caller("admin"), state(shop), backups["sql"]
    contents = admin.get(f"/api/backup/{backup}").json()["data"]["manifest"]["contents"]
    assert contents["included"] == {shop.id: ROWS}
    assert contents["references"] == []
    assert contents["row_count"] == sum(ROWS.values()) + sum(contents["rows"].values())
    verified = admin.post(f"/api/backup/{backup}/verify", json={"level": 3}).json()["data"]
    completed(shop, verified["id"])
    compared = admin.post(f"/api/backup/{backup}/compare", json={"entities": ["users"]}).json()["data"]
    [users] = completed(shop, compared["id"])["entities"]
    assert (users["same"], users["only_live"], users["only_in_backup"]) == (1, 0, 0)

    given = {"project_id": shop.id, "backup_id": backup, "mode": "new_schema"}
    beside = admin.post(RESTORE, json=given).json()["data"]
    result = completed(shop, beside["id"])
    copies = {shop.schema: result["schema"], **result["included"]}
    assert copies[shop.id] == result["schema"] + "_1"
    assert {copy: shop.run(f'SELECT count(*) FROM "{copy}".users') for copy in copies.values()} == {
        copies[shop.schema]: [(1,)],
        copies[shop.id]: [(1,)],
    }
    assert state(shop) == before
    for copy in copies.values():
        shop.run(f'DROP SCHEMA "{copy}" CASCADE')


def test_in_place_included_schemas_are_replaced_too_and_one_call_takes_that_back(
    shop: Office, backups: dict[str, str]
) -> None:
    admin, before, of_others = shop.caller("admin"), state(shop), left(shop)
    shop.run(
        f"DELETE FROM days; UPDATE users SET name = 'other'; CREATE TABLE {shop.id}.days_2030 PARTITION OF days "
        "FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')"
    )
    changed = state(shop)
    given = {"project_id": shop.id, "backup_id": backups["custom"], "mode": "in_place", "confirm": shop.id}
    place = admin.post(RESTORE, json=given).json()["data"]
    completed(shop, place["id"])
    assert state(shop) == before
    assert len(set(left(shop)) - set(of_others)) == 2
    back = admin.post(f"{RESTORE}/{place['id']}/revert").json()["data"]
    completed(shop, back["id"])
    assert state(shop) == changed
    for schema in set(left(shop)) - set(of_others):
        shop.run(f'DROP SCHEMA "{schema}" CASCADE')


FOREIGN = {
    "a table of somebody else": "CREATE TABLE {parts}.others (n int)",
    "a view": "CREATE VIEW {parts}.seen AS SELECT 1",
    "a sequence of nobody": "CREATE SEQUENCE {parts}.counted",
    "a child that has another parent too": (
        "CREATE TABLE public.{parts}_p (id text); CREATE TABLE {parts}.both () INHERITS (users, public.{parts}_p)"
    ),
}


@pytest.mark.parametrize("statement", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_schema_that_holds_anything_else_is_never_dumped_along(
    shop: Office, backups: dict[str, str], statement: str
) -> None:
    admin = shop.caller("admin")
    with shop.database.transaction(force_rollback=False):
        shop.run(statement.format(parts=shop.id))
    try:
        job = ended_job(admin, start_backup(admin, shop.id), 60)
        assert (job["status"], job["error_code"]) == ("failed", "foreign_tables")
        given = {"project_id": shop.id, "backup_id": backups["sql"], "mode": "in_place", "confirm": shop.id}
        refused = ended_job(admin, admin.post(RESTORE, json=given).json()["data"]["id"], 60)
        assert (refused["status"], refused["error_code"]) == ("failed", "foreign_tables")
    finally:
        shop.run(
            f"DROP TABLE IF EXISTS {shop.id}.others, {shop.id}.both, public.{shop.id}_p; "
            f"DROP VIEW IF EXISTS {shop.id}.seen; DROP SEQUENCE IF EXISTS {shop.id}.counted"
        )


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize(
    "wanted",
    [
        ["tenant_globex"], ["tenant_"], ["stowage"], ["stowage_kept_1"], ["control_plane"], ["public"], ["pg_catalog"],
        ["pg_toast"], ["information_schema"], [""], ["a" * 64], ["ä" * 32], ["a\nb"], ["a\x00"], ["a", "a"],
        [f"s{n}" for n in range(21)], "archive", [1], None,
    ],
)  # fmt: skip
def test_a_foreign_schema_is_never_named(shop: Office, wanted: object) -> None:
    answer = shop.caller("admin").put(f"{SETTINGS}?project_id={shop.id}", json={"include_schemas": wanted})
    assert fields(refusal(answer, 400, "invalid_request"))[0].startswith("include_schemas")
