"""Own tables: keys of other types beside text, rows that do not fit, and pages of lists.

    python -m benchmarks.own_tables [--rounds 5]

Needs a running stack (its Postgres and its table). The handlers run in this process, from the event to the answer.
Keys: bulk update, delete and import of 10,000 records, each by handler and by hand-written SQL with the same journal;
what counts is how far a handler is from its floor with bigint and uuid keys, beside how far it is with text keys.
Rounds are interleaved; medians, both sides printed. Exits with 1 where a goal is missed.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, LiteralString
from uuid import uuid4

import boto3
import psycopg
from psycopg import sql

from benchmarks.bulk import connect_functions
from benchmarks.figures import told
from local.database_urls import as_role
from local.sample.rows import Sizes, fill
from stowage.entities.declared import ENTITIES, Entities
from stowage.entities.language import read_declarations
from stowage.postgres.schema.migrations import create_tenant

KEY_GOAL, MISFIT_GOAL, PAGE_GOAL_SECONDS = 1.05, 1.3, 0.030
RECORDS, MISFITS = 10_000, 1_000
LIST_ROWS, LIMIT, FAR = 1_000_000, 50, 1_000
KEYS = {
    "text": ('key = "id text stowage"\nprefix = "nt_"', "text"),
    "bigint": ('key = "id bigint database"', "bigint GENERATED ALWAYS AS IDENTITY"),
    "uuid": ('key = "id uuid database"', "uuid DEFAULT gen_random_uuid()"),
}
DECLARED = """
[{key}_notes]
{declared}
label = "title"
created = "created_at"
updated = "updated_at"
trash = "deleted_at"
[{key}_notes.fields]
title = "text not null"
likes = "bigint not null"
origin = "inet"
"""
TABLE: LiteralString = """
CREATE TABLE {schema}.{table} (
    id {type} PRIMARY KEY, title text NOT NULL, likes bigint NOT NULL CHECK (likes >= 0), origin inet,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), deleted_at timestamptz
);
CREATE INDEX ON {schema}.{table} (deleted_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX ON {schema}.{table} (created_at, id)
"""
IMAGE: LiteralString = """
jsonb_build_object('id', {row}.id, 'title', {row}.title, 'likes', {row}.likes, 'origin', {row}.origin,
                   'created_at', {row}.created_at, 'updated_at', {row}.updated_at, 'deleted_at', {row}.deleted_at)
"""
JOURNAL: LiteralString = """
taken AS MATERIALIZED (SELECT stowage.take_seqs(%(tenant)s, (SELECT count(*) FROM written) + 1) AS base)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT %(tenant)s, base + row_number() OVER (), %(operation)s, {name}, id::text, {kind}, before, after, 'bench', now()
FROM taken, written
UNION ALL
SELECT %(tenant)s, base + (SELECT count(*) FROM written) + 1, %(operation)s, {name}, %(operation)s, 'operation', NULL,
       '{{"kind": "bench"}}', 'bench', now()
FROM taken
"""
IMPORT: LiteralString = """
WITH written AS (
    INSERT INTO {schema}.{table} AS note ({columns})
    SELECT {columns} FROM jsonb_to_recordset(%(items)s::jsonb) AS given (id text, title text, likes bigint, origin inet)
    RETURNING note.id, NULL::jsonb AS before, {image} AS after
), {journal}
"""
UPDATE: LiteralString = """
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(items)s::jsonb) AS given (id {type}, title text, likes bigint)
),
old AS MATERIALIZED (
    SELECT id, title, likes, updated_at FROM {schema}.{table}
    WHERE id IN (SELECT id FROM given) AND deleted_at IS NULL ORDER BY id FOR UPDATE
),
written AS (
    UPDATE {schema}.{table} AS note SET title = given.title, likes = given.likes, updated_at = now()
    FROM given, old WHERE given.id = note.id AND old.id = note.id
    RETURNING note.id,
        jsonb_build_object('title', old.title, 'likes', old.likes, 'updated_at', old.updated_at) AS before,
        {image} AS after
), {journal}
"""
DELETE: LiteralString = """
WITH written AS (
    UPDATE {schema}.{table} AS note SET deleted_at = now()
    WHERE id = ANY(%(ids)s::{type}[]) AND deleted_at IS NULL
    RETURNING note.id, '{{"deleted_at": null}}'::jsonb AS before, {image} AS after
),
kept AS (
    INSERT INTO stowage.trash_entries
        (tenant, entity, id, mark, deleted_at, deleted_by, purge_at, deleted_operation, deleted_with)
    SELECT %(tenant)s, {name}, id::text, now(), now(), 'bench', now() + interval '30 days', %(operation)s, NULL
    FROM written
), {journal}
"""

type Json = Any


class Bench:
    """A tenant of the running stack with a table for each type of key, and the handlers in this process."""

    def __init__(self) -> None:
        stack, aws, self.token = connect_functions()
        self.owner = psycopg.connect(stack["database_url"], autocommit=True)
        self.app = psycopg.connect(
            as_role(stack["database_url"], "stowage_app"), autocommit=True, prepare_threshold=None
        )
        self.tenant = f"benchkeys{uuid4().hex[:8]}"
        self.schema = f"tenant_{self.tenant}"
        create_tenant(
            self.owner, self.tenant, self.tenant, "Keys", fill=lambda: fill(self.owner, self.tenant, Sizes(brands=1))
        )
        files = {f"{key}.toml": DECLARED.format(key=key, declared=declared) for key, (declared, _) in KEYS.items()}
        for name, entity in Entities(read_declarations(files)).items():
            ENTITIES[name] = entity
        for key in KEYS:
            self.owner.execute(self.written(TABLE, key))
        self.owner.execute("SELECT stowage.grant_tenant(%s)", (self.schema,))
        client = boto3.client("lambda", **aws)
        client.invoke(FunctionName=stack["resources"]["CopyRegistryFunction"], Payload=b"{}")
        client.close()

    def close(self) -> None:
        """Take the tenant away."""
        self.owner.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(self.schema)))
        with self.owner.transaction():
            self.owner.execute("SET LOCAL ROLE stowage_owner")
            self.owner.execute("DELETE FROM control_plane.projects WHERE id = %s", (self.tenant,))
            self.owner.execute("DELETE FROM stowage.changes WHERE tenant = %s", (self.tenant,))
            self.owner.execute("DELETE FROM stowage.trash_entries WHERE tenant = %s", (self.tenant,))

    def written(self, statement: LiteralString, key: str, kind: str = "") -> sql.Composed:
        """A statement about the table with that type of key."""
        return sql.SQL(statement).format(
            schema=sql.Identifier(self.schema),
            table=sql.Identifier(f"{key}_notes"),
            name=sql.Literal(f"{key}_notes"),
            type=sql.SQL(KEYS[key][1] if statement is TABLE else key),  # type: ignore[arg-type]
            columns=sql.SQL("id, title, likes, origin" if key == "text" else "title, likes, origin"),
            image=sql.SQL(IMAGE).format(row=sql.Identifier("note")),
            journal=sql.SQL(JOURNAL).format(name=sql.Literal(f"{key}_notes"), kind=sql.Literal(kind)),
        )

    def handle(self, app: Any, name: str, entity: str, body: Json = None, **query: str) -> tuple[float, Json]:
        """Seconds that a handler takes for a request, and its answer; `name` is that of its sample event."""
        event = json.loads((Path("events") / f"{name}.json").read_text())
        event["headers"] |= {"authorization": f"Bearer {self.token}", "x-tenant-id": self.tenant}
        event["headers"].pop("idempotency-key", None)
        event["pathParameters"] = {"entity": entity}
        event["queryStringParameters"] = query
        event["body"] = None if body is None else json.dumps(body)
        began = time.perf_counter()
        answer = app(event, SimpleNamespace(aws_request_id="bench"))
        seconds = time.perf_counter() - began
        assert answer["statusCode"] in (200, 201, 207), answer["body"][:500]
        return seconds, json.loads(answer["body"])

    def floor(self, statement: sql.Composed, given: Callable[[], dict[str, Json]]) -> float:
        """Seconds of the same by one statement, its parameters made of the request too."""
        began = time.perf_counter()
        parameters = given() | {"tenant": self.tenant, "operation": f"op_{uuid4().hex}"}
        with self.app.transaction():
            self.app.execute(statement, parameters)
        return time.perf_counter() - began

    def ids(self, key: str) -> list[str]:
        """Ten thousand records outside the trash."""
        table = sql.Identifier(self.schema, f"{key}_notes")
        # The planner knows what is there, as after autovacuum: without that the floor reads row by row.
        self.owner.execute(sql.SQL("ANALYZE {}").format(table))
        statement = sql.SQL("SELECT id::text FROM {} WHERE deleted_at IS NULL ORDER BY md5(id::text) LIMIT {}")
        return [row[0] for row in self.owner.execute(statement.format(table, sql.Literal(RECORDS)))]

    def clear(self, key: str) -> None:
        """Take all its records away, and what is kept of them."""
        self.owner.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(self.schema, f"{key}_notes")))
        with self.owner.transaction():
            self.owner.execute("SET LOCAL ROLE stowage_owner")
            self.owner.execute("DELETE FROM stowage.trash_entries WHERE tenant = %s", (self.tenant,))


def notes(**fields: Json) -> list[dict[str, Json]]:
    """Ten thousand new records."""
    return [{"title": f"Note {n}", "likes": n, "origin": "192.0.2.1"} | fields for n in range(RECORDS)]


def bench_keys(bench: Bench, rounds: int) -> list[bool]:
    """Import, update and delete with each type of key, by handler and by floor."""
    from imports.import_records import app as import_records
    from records.delete_records import app as delete_records
    from records.update_records import app as update_records

    took: dict[tuple[str, str, str], list[float]] = {}

    def note(kind: str, key: str, side: str, seconds: float) -> None:
        took.setdefault((kind, key, side), []).append(seconds)

    def imported(key: str) -> dict[str, Json]:
        return {
            "items": json.dumps([each | {"id": f"nt_{uuid4().hex}"} if key == "text" else each for each in notes()])
        }

    for turn in range(rounds + 1):
        if turn == 1:
            took.clear()
        for key in KEYS:
            entity = f"{key}_notes"
            bench.clear(key)
            note(
                "import",
                key,
                "floor",
                bench.floor(bench.written(IMPORT, key, "created"), lambda key=key: imported(key)),
            )  # type: ignore[misc]
            bench.clear(key)
            seconds, answer = bench.handle(import_records, "import_records", entity, {"items": notes()})
            assert answer["data"]["created"] == RECORDS
            note("import", key, "ours", seconds)

            ids = bench.ids(key)
            given = [{"id": each, "title": f"Floor {turn}", "likes": n + turn} for n, each in enumerate(ids)]
            items = {"items": given}
            seconds = bench.floor(
                bench.written(UPDATE, key, "updated"),
                lambda items=items: {"items": json.dumps(items["items"])},  # type: ignore[misc]
            )
            note("update", key, "floor", seconds)
            given = [{"id": each, "title": f"Ours {turn}", "likes": n + 2 * turn + 1} for n, each in enumerate(ids)]
            seconds, answer = bench.handle(update_records, "update_records", entity, {"updates": given})
            assert answer["data"]["updated"] == RECORDS
            note("update", key, "ours", seconds)

            seconds, answer = bench.handle(delete_records, "delete_records", entity, {"ids": ids})
            assert answer["data"]["deleted"] == RECORDS
            note("delete", key, "ours", seconds)
            bench.handle(import_records, "import_records", entity, {"items": notes()})
            ids = bench.ids(key)
            note(
                "delete", key, "floor", bench.floor(bench.written(DELETE, key, "deleted"), lambda ids=ids: {"ids": ids})
            )  # type: ignore[misc]
    middle = {name: median(seconds) for name, seconds in took.items()}
    met = []
    for kind in ("import", "update", "delete"):
        beside = {key: middle[kind, key, "ours"] / middle[kind, key, "floor"] for key in KEYS}
        for key in KEYS:
            sides = f"{1000 * middle[kind, key, 'ours']:.0f} ms / {1000 * middle[kind, key, 'floor']:.0f} ms"
            print(f"{kind} of {RECORDS:,} with {key} keys, by one statement: {sides} = {beside[key]:.2f}")
        met += [
            told(f"{kind} with {key} keys, beside text keys", beside[key], beside["text"], KEY_GOAL, unit=None)
            for key in KEYS
            if key != "text"
        ]
    return met


def bench_misfits(bench: Bench, rounds: int) -> list[bool]:
    """An update of 10,000 of which a thousand hold a value that the column does not take, or that breaks a check."""
    from imports.import_records import app as import_records
    from records.update_records import app as update_records

    bench.clear("bigint")
    bench.handle(import_records, "import_records", "bigint_notes", {"items": notes()})
    ids = bench.ids("bigint")
    kinds: dict[str, dict[str, Json]] = {"none": {}, "a misfit": {"origin": "nowhere"}, "a broken check": {"likes": -1}}
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(rounds + 1):
        for kind, wrong in kinds.items():
            updates = [
                {"id": each, "title": f"{kind} {turn}", "likes": n + turn, "origin": f"192.0.2.{turn}"}
                | (wrong if n % 10 == 3 else {})
                for n, each in enumerate(ids)
            ]
            seconds, answer = bench.handle(update_records, "update_records", "bigint_notes", {"updates": updates})
            assert answer["data"]["failed"] == (MISFITS if wrong else 0)
            took[kind] += [seconds] if turn else []
    return [
        told(
            f"update of {RECORDS:,} with {kind} in {MISFITS:,}, by one without",
            median(took[kind]),
            median(took["none"]),
            MISFIT_GOAL,
            unit="ms",
        )
        for kind in kinds
        if kind != "none"
    ]


def bench_pages(bench: Bench, rounds: int) -> bool:
    """The thousandth page of a list in its default order, beside the first."""
    from records.list_records import app as list_records

    bench.owner.execute(
        sql.SQL(
            "INSERT INTO {} (title, likes, created_at) SELECT 'Note ' || n, n, now() - n * interval '1 second' "
            "FROM generate_series(1, %s) AS n"
        ).format(sql.Identifier(bench.schema, "uuid_notes")),
        (LIST_ROWS,),
    )
    bench.owner.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(bench.schema, "uuid_notes")))
    first, far = [], []
    for turn in range(5 * rounds + 1):
        for page, noted in ((1, first), (FAR, far)):
            seconds, answer = bench.handle(list_records, "list_records", "uuid_notes", page=str(page), limit=str(LIMIT))
            assert len(answer["data"]) == LIMIT
            noted.extend([seconds] if turn else [])
    return told(
        f"page {FAR:,} of a list of {LIST_ROWS:,}, longer than page 1",
        median(far) - median(first),
        PAGE_GOAL_SECONDS,
        1.0,
        unit="ms",
    )


def main() -> int:
    """Run everything; 0 where all goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    sys.path.insert(0, "functions")
    bench = Bench()
    try:
        met = [*bench_keys(bench, rounds), *bench_misfits(bench, rounds), bench_pages(bench, rounds)]
    finally:
        bench.close()
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
