"""Ids of integers and uuids are compared in the column's own type: the index is used, however large the table is."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from stowage.entities.declaration import Entity, Key
from stowage.postgres.edits import locks, updates
from stowage.postgres.reads import records
from stowage.postgres.tables.relations import id_of, is_record, key_type, mine, rows_of, table_of, text_array
from tests.conftest import RunningStack
from tests.stack.office import Office, open_office

ROWS = 200_000
ENTITIES = {
    "numbers": Entity("numbers", "number", "numbers", None, label="id", soft_delete=False,
                      key=Key((("id", "bigint"),), "database")),
    "names": Entity("names", "name", "names", None, label="id", soft_delete=False, key=Key((("id", "uuid"),))),
}  # fmt: skip
TABLES = f"""
CREATE TABLE numbers AS SELECT i::bigint AS id, now() AS created_at, now() AS updated_at
FROM generate_series(1, {ROWS}) AS i;
CREATE TABLE names AS SELECT md5(i::text)::uuid AS id, now() AS created_at, now() AS updated_at
FROM generate_series(1, {ROWS}) AS i;
ALTER TABLE numbers ADD PRIMARY KEY (id);
ALTER TABLE names ADD PRIMARY KEY (id);
ANALYZE numbers;
ANALYZE names
"""


@pytest.fixture(scope="module")
def office(stack: RunningStack) -> Iterator[Office]:
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        made = open_office(stack, database)
        made.run(TABLES)
        yield made
        made.close()


@pytest.mark.parametrize("name", ENTITIES)
@pytest.mark.parametrize("what", ["lock many", "look for many", "read one", "lock with codes"])
def test_the_index_finds_them(office: Office, name: str, what: str) -> None:
    entity = ENTITIES[name]
    ids = [str(row_id) for (row_id,) in office.run(f"SELECT id FROM {name} ORDER BY created_at, id LIMIT 10")]
    parts = {
        "table": table_of(office.schema, entity),
        "id": id_of(entity),
        "key": key_type(entity),
        "live": sql.SQL("true"),
        "mine": mine(office.schema, entity, "found"),
    }
    statement, given = {
        "lock many": (updates._LOCK.format(**parts), {"ids": text_array(ids)}),
        "look for many": (updates._THERE.format(**parts), {"ids": text_array(ids)}),
        "read one": (
            records._ONE.format(
                record=sql.SQL("'1'"),
                most=sql.SQL("1"),
                rows=rows_of(office.schema, entity),
                is_it=is_record(entity, "found", sql.Placeholder("id")),
                **parts,
            ),
            {"id": ids[0]},
        ),
        "lock with codes": (locks._LOCK.format(trashed=sql.SQL("false"), **parts), {"ids": text_array([*ids, None])}),
    }[what]
    explained = office.database.execute(sql.SQL("EXPLAIN (COSTS OFF) ") + statement, given).fetchall()
    plan = "\n".join(line for (line,) in explained)
    assert f"{name}_pkey" in plan
    assert "Seq Scan" not in plan
