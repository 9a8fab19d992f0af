"""The journal: numbers without gaps, in the order of the commits, whoever writes at the same time."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from stowage.postgres.journal.changes import Change, append_changes
from stowage.postgres.schema.migrations import create_tenant
from tests.stack.scratch_databases import connect, migrated_database, server_url

AT = datetime(2025, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    with migrated_database(server_url(request)) as url:
        with connect(url) as connection:
            create_tenant(connection, "acme", "acme", "Acme")
        yield url


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    """A tenant whose journal is empty: the journal knows tenants by name only."""
    return str(request.node.name)[:100]


def change(id: str, **given: Any) -> Change:
    values: dict[str, Any] = {
        "operation": "op_1",
        "entity": "brands",
        "type": "updated",
        "before": None,
        "after": None,
        "actor": "ada",
        "at": AT,
    }
    return Change(id=id, **(values | given))


def test_changes_come_back_as_they_were_given(database: str, tenant: str) -> None:
    image = {"label": 'quo"te \\ 🦓 \u2028', "n": 12345678901234567890, "none": None, "list": [1.5, True]}
    given = [
        change("https://x.example/p/1?a=b#c", before=image, after={}),
        change("brd_2", type="deleted", before={}, actor="Ünï"),
        change("op_1", type="operation", after={"kind": "delete", "total": 2}),
    ]
    with connect(database, "stowage_app") as connection:
        connection.execute("SET timezone = 'UTC'")
        assert append_changes(connection, tenant, given) == range(1, 4)
        rows = connection.execute(
            "SELECT operation, entity, id, type, before, after, actor, at FROM stowage.changes "
            "WHERE tenant = %s ORDER BY seq",
            (tenant,),
        ).fetchall()
    assert [Change(*row) for row in rows] == given


def test_no_changes_take_no_number(database: str, tenant: str) -> None:
    with connect(database, "stowage_app") as connection:
        assert append_changes(connection, tenant, []) == range(0)
        assert append_changes(connection, tenant, [change("a")]) == range(1, 2)


def test_each_tenant_counts_alone(database: str, tenant: str) -> None:
    with connect(database, "stowage_app") as connection:
        append_changes(connection, f"{tenant}_1", [change("a"), change("b")])
        assert append_changes(connection, f"{tenant}_2", [change("a")]) == range(1, 2)
        assert append_changes(connection, f"{tenant}_1", [change("c")]) == range(3, 4)


def test_a_rollback_leaves_no_gap(database: str, tenant: str) -> None:
    with connect(database, "stowage_app") as connection:
        with connection.transaction(force_rollback=True):
            assert append_changes(connection, tenant, [change("lost")] * 5) == range(1, 6)
        assert append_changes(connection, tenant, [change("kept")]) == range(1, 2)


def test_writers_at_once_leave_no_gap_and_no_reader_sees_one(database: str, tenant: str) -> None:
    writers, rounds = 4, 30
    failures: list[BaseException] = []
    done = threading.Event()

    def write(writer: int) -> None:
        try:
            with connect(database, "stowage_app") as connection:
                for n in range(rounds):
                    # Every third is rolled back; sizes differ, so that blocks of numbers would show if they overlapped.
                    with connection.transaction(force_rollback=n % 3 == 2):
                        connection.execute("SELECT pg_sleep(0.001 * %s)", ((writer * 7 + n) % 4,))
                        append_changes(connection, tenant, [change(f"{writer}-{n}")] * (1 + (writer + n) % 5))
        except BaseException as error:
            failures.append(error)

    def read() -> int:
        looks = 0
        with connect(database, "stowage_app") as connection:
            while not done.is_set():
                seen = connection.execute(
                    "SELECT count(*), coalesce(max(seq), 0) FROM stowage.changes WHERE tenant = %s", (tenant,)
                ).fetchone()
                assert seen is not None
                assert seen[0] == seen[1], "a number was seen before one below it"
                looks += 1
        return looks

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    reader_looks: list[int] = []

    def reading() -> None:
        try:
            reader_looks.append(read())
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=reading)
    reader.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    done.set()
    reader.join(60)
    assert failures == []
    assert reader_looks[0] > 0
    expected = sum(1 + (w + n) % 5 for w in range(writers) for n in range(rounds) if n % 3 != 2)
    with connect(database, "stowage_app") as connection:
        found = connection.execute(
            "SELECT count(*), min(seq), max(seq) FROM stowage.changes WHERE tenant = %s", (tenant,)
        ).fetchone()
    assert found == (expected, 1, expected)


BULK_DELETE = """
WITH changed AS (
    UPDATE tenant_acme.brands AS row
    SET deleted_at = now(), updated_at = now()
    FROM (SELECT * FROM tenant_acme.brands WHERE id = ANY(%(ids)s) AND deleted_at IS NULL ORDER BY id FOR UPDATE) AS old
    WHERE row.id = old.id
    RETURNING row.id, to_jsonb(old) AS before, to_jsonb(row) AS after
),
taken AS MATERIALIZED (
    SELECT stowage.take_seqs(%(tenant)s, (SELECT count(*) FROM changed)) AS base
),
written AS (
    INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
    SELECT %(tenant)s, taken.base + row_number() OVER (ORDER BY changed.id),
           'op_bulk', 'brands', changed.id, 'deleted', before, after, 'ada', now()
    FROM changed, taken
)
SELECT id FROM changed ORDER BY id
"""


def test_ten_thousand_rows_are_changed_and_journalled_by_one_statement(database: str, tenant: str) -> None:
    ids = [f"brd_{n:05}" for n in range(10_000)]
    with connect(database, "stowage_app") as connection:
        connection.execute(
            "INSERT INTO tenant_acme.brands (id, label) SELECT id, 'Brand ' || id FROM unnest(%s::text[]) AS id", (ids,)
        )
        asked = [*ids, "brd_unknown"]
        changed = connection.execute(BULK_DELETE, {"ids": asked, "tenant": tenant}).fetchall()
        assert [row[0] for row in changed] == ids
        numbered = connection.execute(
            "SELECT seq, id, actor FROM stowage.changes WHERE tenant = %s ORDER BY seq", (tenant,)
        ).fetchall()
        assert numbered == [(n, row_id, "ada") for n, row_id in enumerate(ids, 1)]
        assert connection.execute(BULK_DELETE, {"ids": asked, "tenant": tenant}).fetchall() == []
        assert append_changes(connection, tenant, [change("next")]) == range(10_001, 10_002)


def test_an_image_that_is_no_json_is_refused_before_the_server_sees_it(database: str, tenant: str) -> None:
    with connect(database, "stowage_app") as connection, pytest.raises(ValueError, match="not JSON compliant"):
        append_changes(connection, tenant, [change("a", after={"n": float("nan")})])


def test_an_answer_to_replay_lives_in_the_transaction_of_its_change(database: str, tenant: str) -> None:
    answer = json.dumps({"success": True, "text": "x" * 1_000_000})
    keep = """
        INSERT INTO stowage.idempotency_answers (tenant, caller, method, route, key, body_sha256, status, body)
        VALUES (%s, 'ada', 'POST', 'bulk/delete', 'key-1', sha256('{}'), 200, %s)
    """
    with connect(database, "stowage_app") as connection:
        with connection.transaction(force_rollback=True):
            connection.execute(keep, (tenant, answer))
        connection.execute(keep, (tenant, answer))
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(keep, (tenant, answer))
        kept = connection.execute(
            "SELECT body, expires_at - created_at = interval '24 hours' FROM stowage.idempotency_answers "
            "WHERE tenant = %s",
            (tenant,),
        ).fetchone()
    assert kept == (answer, True)
