"""A backup never leaves rows of its schema's tables out: where they lie in other schemas, it is refused by name."""

from collections.abc import Callable

import pytest

from stowage.basics.errors import RunError
from stowage.postgres.dumps.contents import SnapshotContents
from stowage.postgres.dumps.preflight import preflight
from tests.stack.dump_surface import Database

pytest_plugins = ("tests.stack.dump_fixtures",)

PARENTS = """
    CREATE SCHEMA tenant_acme;
    CREATE SCHEMA archive;
    CREATE SCHEMA "Old Rows";
    CREATE SCHEMA tenant_acme2;
    CREATE TABLE tenant_acme.days (day date, note text) PARTITION BY RANGE (day);
    CREATE TABLE tenant_acme.days_2024 PARTITION OF tenant_acme.days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE TABLE tenant_acme.places (name text);
    INSERT INTO tenant_acme.days VALUES ('2024-05-01', 'kept');
"""
LOST = {
    "a partition": (
        "CREATE TABLE archive.days_2023 PARTITION OF tenant_acme.days FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')",
        ["archive.days_2023 (of days)"],
    ),
    "a default partition": (
        "CREATE TABLE archive.rest PARTITION OF tenant_acme.days DEFAULT",
        ["archive.rest (of days)"],
    ),
    "a partition that was moved": (
        "ALTER TABLE tenant_acme.days_2024 SET SCHEMA archive",
        ["archive.days_2024 (of days)"],
    ),
    "a partition of a partition": (
        "CREATE TABLE tenant_acme.rest PARTITION OF tenant_acme.days DEFAULT PARTITION BY LIST (note);"
        "CREATE TABLE archive.rest_a PARTITION OF tenant_acme.rest FOR VALUES IN ('a')",
        ["archive.rest_a (of rest)"],
    ),
    "a partition through another schema and back": (
        "CREATE TABLE archive.rest PARTITION OF tenant_acme.days DEFAULT PARTITION BY LIST (note);"
        "CREATE TABLE tenant_acme.rest_a PARTITION OF archive.rest FOR VALUES IN ('a')",
        ["archive.rest (of days)"],
    ),
    "an inheritance child": (
        "CREATE TABLE archive.islands (sea text) INHERITS (tenant_acme.places)",
        ["archive.islands (of places)"],
    ),
    "names that need quotes": (
        'CREATE TABLE "Old Rows"."The Islands" (sea text) INHERITS (tenant_acme.places)',
        ['"Old Rows"."The Islands" (of places)'],
    ),
    "a schema of a like name": (
        "CREATE TABLE tenant_acme2.islands () INHERITS (tenant_acme.places)",
        ["tenant_acme2.islands (of places)"],
    ),
    "several": (
        "CREATE TABLE archive.islands () INHERITS (tenant_acme.places);"
        "CREATE TABLE archive.rest PARTITION OF tenant_acme.days DEFAULT",
        ["archive.islands (of places)", "archive.rest (of days)"],
    ),
}


@pytest.mark.parametrize(("statement", "names"), LOST.values(), ids=LOST.keys())
def test_rows_outside_of_the_schema_are_refused_by_name(scratch: Database, statement: str, names: list[str]) -> None:
    scratch.connect().execute((PARENTS + statement).encode())

    with pytest.raises(RunError) as caught:
        preflight(scratch.connect(), "tenant_acme", "18.4")

    assert (caught.value.code, caught.value.retryable) == ("outside_children", False)
    for name in names:
        assert name in caught.value.message
    remedy = caught.value.message.partition("for example ")[2].rstrip(".")
    scratch.connect().execute(remedy.encode())
    if len(names) == 1:
        assert preflight(scratch.connect(), "tenant_acme", "18.4").relations


@pytest.mark.parametrize(("statement", "names"), list(LOST.values())[:1], ids=["a partition"])
def test_what_came_after_the_first_look_is_seen_in_the_dumps_snapshot(
    scratch: Database, statement: str, names: list[str]
) -> None:
    scratch.connect().execute(PARENTS.encode())
    preflight(scratch.connect(), "tenant_acme", "18.4")
    scratch.connect().execute(statement.encode())

    with SnapshotContents(scratch.connect(), "tenant_acme", "18.4") as reading, pytest.raises(RunError) as caught:
        reading.result(10)

    assert caught.value.code == "outside_children"
    assert names[0] in caught.value.message


WHOLE = {
    "a parent outside": "CREATE TABLE archive.all_places (name text);"
    "CREATE TABLE tenant_acme.lakes () INHERITS (archive.all_places)",
    "children beside their parents": "CREATE TABLE tenant_acme.islands () INHERITS (tenant_acme.places)",
    "somebody's temporary child": "CREATE TEMPORARY TABLE mine () INHERITS (tenant_acme.places)",
    "a detached partition": "CREATE TABLE archive.rest PARTITION OF tenant_acme.days DEFAULT;"
    "ALTER TABLE tenant_acme.days DETACH PARTITION archive.rest",
    "an index that the schema's own partitions share": "CREATE INDEX ON tenant_acme.days (day)",
}


@pytest.mark.parametrize("statement", WHOLE.values(), ids=WHOLE.keys())
def test_a_schema_that_holds_all_of_its_rows_is_dumped(make_database: Callable[[], Database], statement: str) -> None:
    origin, copy = make_database(), make_database()
    origin.connect().execute((PARENTS + statement).encode())

    preflight(origin.connect(), "tenant_acme", "18.4")
    with SnapshotContents(origin.connect(), "tenant_acme", "18.4") as reading:
        contents = reading.result(10)

    assert contents.row_count == 1
    copy.connect().execute("CREATE SCHEMA archive; CREATE TABLE archive.all_places (name text)")
    copy.restore("sql", origin.run("pg_dump", "-n", "tenant_acme"))
    assert copy.connect().execute("SELECT note FROM tenant_acme.days").fetchall() == [("kept",)]


def test_a_parent_outside_of_the_schema_is_named_as_needed(scratch: Database) -> None:
    scratch.connect().execute((PARENTS + WHOLE["a parent outside"]).encode())

    with SnapshotContents(scratch.connect(), "tenant_acme", "18.4") as reading:
        references = reading.result(10).references

    assert ("table", "archive.all_places") in {(reference.target_type, reference.target) for reference in references}
