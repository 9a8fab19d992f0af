"""What an import and a bulk update of 10,000 records cost beside hand-written SQL with the same journal.

    python -m benchmarks.imports [--rounds 7]

The SQL by hand gives the records back as JSON too, as every answer does, but in no order and with plain ids.

Needs a running stack (its Postgres and its table). The handlers run in this process, from the event to the answer with
all its items. Rounds are interleaved; medians, both sides printed. Exits with 1 where a goal is missed.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import boto3
import jwt
import psycopg

from benchmarks.bench_tenant import read_stack
from benchmarks.dumps import told, use_storage
from local.database_urls import as_role, for_product
from local.sample.rows import Sizes
from local.sample.tenants import SampleTenant, is_registered, make

IMPORT_GOAL, UPDATE_GOAL = 1.35, 1.2
RECORDS = 10_000
TENANT = SampleTenant("benchrecords", "Bench records", Sizes(5, 20, 20_000, 100, 0, 5))
SCHEMA = "tenant_benchrecords"

type Json = Any


def main() -> int:
    """Run everything; 0 where all goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    stack = read_stack()
    use_product(stack)
    with (
        psycopg.connect(stack["database_url"], autocommit=True) as owner,
        psycopg.connect(as_application(stack), autocommit=True, prepare_threshold=None) as connection,
    ):
        if not is_registered(owner, TENANT.slug):
            make(owner, TENANT, TENANT.sizes)
        token = sign_in(stack)
        goals = [bench_import(token, owner, connection, rounds), bench_update(token, connection, rounds)]
    return 0 if all(goals) else 1


def use_product(stack: Json) -> None:
    """Let the handlers run in this process as they do in the stack's."""
    use_storage(None)
    sys.path.insert(0, "functions")
    resources = stack["resources"]
    os.environ |= {
        "STOWAGE_TABLE": resources["Table"],
        "STOWAGE_EXPORTS_BUCKET": resources["ExportsBucket"],
        "STOWAGE_BACKUPS_BUCKET": resources["BackupsBucket"],
        "STOWAGE_DATABASE_URL": for_product(stack["database_url"]),
        "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    }


def as_application(stack: Json) -> str:
    """The database's URL for the role that the handlers log in as."""
    return as_role(stack["database_url"], "stowage_app")


def sign_in(stack: Json) -> str:
    """Let the handlers know of the tenant now, and give the token of an operator of it."""
    client = boto3.client("lambda")
    client.invoke(FunctionName=stack["resources"]["CopyRegistryFunction"], Payload=b"{}")
    client.close()
    secrets = boto3.client("secretsmanager")
    key = secrets.get_secret_value(SecretId=stack["resources"]["JwtSecret"])["SecretString"]
    secrets.close()
    claims = {"sub": "bench", "role": "operator", "tenants": [TENANT.slug], "exp": int(time.time()) + 3600}
    return jwt.encode(claims, key, algorithm="HS256")


def answered(token: str, app: Any, name: str, entity: str, body: Json) -> tuple[float, Json]:
    """Seconds that a handler takes for a request, and its answer; `name` is that of its sample event."""
    with open(f"events/{name}.json", encoding="utf-8") as file:
        event = json.load(file)
    event["headers"] |= {"authorization": f"Bearer {token}", "x-tenant-id": TENANT.slug}
    event["headers"].pop("idempotency-key", None)
    event["pathParameters"] = {"entity": entity}
    event["body"] = json.dumps(body, ensure_ascii=False)
    began = time.perf_counter()
    answer = app.resolve(event, None)
    return time.perf_counter() - began, answer


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


_JOURNAL = """
taken AS MATERIALIZED (
    SELECT stowage.take_seqs('benchrecords', (SELECT count(*) FROM written) + 1) AS base
),
journal AS (
    INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
    SELECT 'benchrecords', base + row_number() OVER (), 'op_floor', 'accounts', id, {type}, {before}, {after},
           'bench', now()
    FROM taken, written
    UNION ALL
    SELECT 'benchrecords', base + (SELECT count(*) FROM written) + 1, 'op_floor', 'accounts', 'op_floor', 'operation',
           NULL, '{{"kind": "import"}}', 'bench', now()
    FROM taken
)
SELECT string_agg(record, ',') FROM written
"""

_STAGED = """
CREATE TEMPORARY TABLE staged (
    id text, username text, display_name text, platform text, brand_id text, group_id text, followers bigint,
    status text
) ON COMMIT DROP
"""
_IMAGE = """
jsonb_build_object('id', id, 'username', username, 'display_name', display_name, 'platform', platform,
                   'brand_id', brand_id, 'group_id', group_id, 'followers', followers, 'status', status,
                   'created_at', created_at, 'updated_at', updated_at)
"""
_UPSERT = f"""
WITH written AS (
    INSERT INTO {SCHEMA}.accounts (id, username, display_name, platform, brand_id, group_id, followers, status)
    SELECT * FROM staged ON CONFLICT DO NOTHING RETURNING *, row_to_json(accounts)::text AS record
), {_JOURNAL.format(type="'created'", before="NULL::jsonb", after=_IMAGE)}
"""
_LOOP = f"""
INSERT INTO {SCHEMA}.accounts (id, username, display_name, platform, brand_id, group_id, followers, status)
VALUES (%(id)s, %(username)s, %(displayName)s, %(platform)s, %(brandId)s, %(groupId)s, %(followers)s, 'active')
"""


def bench_import(token: str, owner: psycopg.Connection, connection: psycopg.Connection, rounds: int) -> bool:
    """Compare an import with COPY into a temporary table, INSERT … ON CONFLICT and the journal."""
    from imports.import_records import app

    brand, group = owner.execute(f"SELECT brand_id, id FROM {SCHEMA}.groups LIMIT 1").fetchone() or ("", "")
    items = [
        {
            "id": f"acc_bench{n:06}",
            "username": f"bench{n:06}",
            "displayName": f"Zoë Nº {n}",
            "platform": "bench",
            "brandId": brand,
            "groupId": group,
            "followers": n,
        }
        for n in range(RECORDS)
    ]

    def floor() -> None:
        with connection.transaction():
            connection.execute(_STAGED)
            with connection.cursor().copy("COPY staged FROM STDIN") as copy:
                for item in items:
                    copy.write_row((*item.values(), "active"))
            connection.execute(_UPSERT).fetchone()

    def loop() -> None:
        with connection.transaction():
            for item in items:
                connection.execute(_LOOP, item)

    def clear() -> None:
        owner.execute(f"DELETE FROM {SCHEMA}.accounts WHERE platform = 'bench'")

    ours, floors, loops = [], [], []
    clear()
    for round_number in range(rounds + 1):
        floors.append(timed(floor))
        clear()
        seconds, answer = answered(token, app, "import_records", "accounts", {"items": items})
        assert answer["statusCode"] == 201, answer["body"][:500]
        ours.append(seconds)
        clear()
        if round_number < 2:
            loops.append(timed(loop))
            clear()
    print(
        f"a row at a time, without journal: {median(loops) * 1000:.0f} ms; the answer has {len(answer['body']):,} bytes"
    )
    return told(f"import of {RECORDS:,}", median(ours[1:]), median(floors[1:]), IMPORT_GOAL, unit="ms")


_PATCH = f"""
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%s) AS given (id text, followers bigint, status text, "displayName" text)
),
old AS MATERIALIZED (
    SELECT id, followers, status, display_name, updated_at FROM {SCHEMA}.accounts
    WHERE id IN (SELECT id FROM given) AND deleted_at IS NULL ORDER BY id FOR UPDATE
),
written AS (
    UPDATE {SCHEMA}.accounts AS account
    SET followers = coalesce(given.followers, account.followers), status = given.status,
        display_name = coalesce(given."displayName", account.display_name), updated_at = now()
    FROM given, old WHERE given.id = account.id AND old.id = account.id
    RETURNING account.id,
        CASE WHEN given.followers IS NULL THEN
            jsonb_build_object('status', old.status, 'display_name', old.display_name, 'updated_at', old.updated_at)
        ELSE
            jsonb_build_object('status', old.status, 'followers', old.followers, 'updated_at', old.updated_at)
        END AS before,
        (SELECT to_jsonb(image) FROM (
            SELECT account.id, account.username, account.display_name, account.platform, account.brand_id,
                   account.group_id, account.followers, account.status, account.created_at, account.updated_at
        ) AS image) AS after,
        row_to_json(account)::text AS record
), {_JOURNAL.format(type="'updated'", before="before", after="after")}
"""
_PATCH_ONE = f"""
UPDATE {SCHEMA}.accounts SET followers = %(followers)s, status = %(status)s, updated_at = now() WHERE id = %(id)s
"""


def bench_update(token: str, connection: psycopg.Connection, rounds: int) -> bool:
    """Compare a bulk update, half of it of other fields than the other half, with one UPDATE and the journal."""
    from records.update_records import app

    rows = connection.execute(
        f"SELECT id FROM {SCHEMA}.accounts WHERE deleted_at IS NULL ORDER BY md5(id) LIMIT {RECORDS}"
    ).fetchall()
    turn = 0

    def updates() -> list[dict[str, Json]]:
        nonlocal turn
        turn += 1
        stamp = f"{turn}-{time.time()}"
        return [
            {"id": row[0], "status": stamp, "followers": 10_000_000 * (time.time_ns() % 1_000_000) + n}
            if n % 2
            else {"id": row[0], "status": stamp, "displayName": f"Zoë {stamp} {n}"}
            for n, row in enumerate(rows)
        ]

    def floor(given: list[dict[str, Json]]) -> None:
        with connection.transaction():
            connection.execute(_PATCH, (json.dumps(given),)).fetchone()

    def loop(given: list[dict[str, Json]]) -> None:
        with connection.transaction():
            for update in given:
                connection.execute(_PATCH_ONE, {"followers": 1} | update)

    ours, floors, loops = [], [], []
    for round_number in range(rounds + 1):
        given = updates()
        floors.append(timed(lambda given=given: floor(given)))  # type: ignore[misc]
        seconds, answer = answered(token, app, "update_records", "accounts", {"updates": updates()})
        assert answer["statusCode"] == 200, answer["body"][:500]
        ours.append(seconds)
        if round_number < 2:
            given = updates()
            loops.append(timed(lambda given=given: loop(given)))  # type: ignore[misc]
    print(
        f"a row at a time, without journal: {median(loops) * 1000:.0f} ms; the answer has {len(answer['body']):,} bytes"
    )
    return told(f"update of {RECORDS:,}", median(ours[1:]), median(floors[1:]), UPDATE_GOAL, unit="ms")


if __name__ == "__main__":
    sys.exit(main())
