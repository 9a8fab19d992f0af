"""The trash's list among a million trashed records against the same among a thousand.

    python -m benchmarks.trash [--rounds 31]

Needs a running stack. The handler runs in this process, from the event to the answer of 50 items; the floor is the
first page of a trash of 1,000. Rounds are interleaved, medians printed. A tenth of the million came with accounts.
Exits with 1 where a goal is missed.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from uuid import uuid4

import boto3
import psycopg
from psycopg import sql

from benchmarks.bulk import connect_functions
from benchmarks.dumps import told
from local.sample.rows import Sizes, fill
from stowage.postgres.schema.migrations import create_tenant

GOAL = 2.0
LIMIT = 50
SMALL, LARGE = 1_000, 1_000_000

# Half accounts, half posts; every fifth account took a post along, which the list does not show.
FILL = (
    """
    INSERT INTO accounts (id, username, platform, brand_id, deleted_at, deleted_by, purge_at, deleted_operation)
    SELECT 'acc_' || i, 'user.' || i, 'instagram', 'brd_0001', at, 'bench', at + interval '30 days', 'op_' || i / 100
    FROM generate_series(1, %(count)s / 2) AS i,
         LATERAL (SELECT now() - i * interval '2 seconds' AS at) AS moment
    """,
    """
    INSERT INTO posts (id, account_id, url, deleted_at, deleted_by, purge_at, deleted_operation)
    SELECT 'pst_' || i, 'acc_' || i, 'https://x.example/p/' || i, at, 'bench', at + interval '30 days',
           CASE WHEN i %% 5 = 0 THEN 'op_' || i / 100 ELSE 'op_p' || i / 100 END
    FROM generate_series(1, %(count)s / 2) AS i,
         LATERAL (SELECT now() - i * interval '2 seconds' + interval '1 second' AS at) AS moment
    """,
)


def make_tenant(owner: psycopg.Connection, count: int) -> str:
    """A tenant with so many records in its trash, as autovacuum would have left it."""
    tenant = f"benchtrash{uuid4().hex[:8]}"

    def fill_tables() -> None:
        fill(owner, tenant, Sizes(brands=1))
        for statement in FILL:
            owner.execute(statement, {"count": count})

    create_tenant(owner, tenant, tenant, "Trash", fill=fill_tables)
    for table in ("accounts", "posts"):
        owner.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(f"tenant_{tenant}", table)))
    owner.execute("SET ROLE stowage_owner")
    owner.execute("VACUUM ANALYZE stowage.trash_entries")
    owner.execute("RESET ROLE")
    return tenant


def main() -> int:
    """Run everything; 0 where all goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    sys.path.insert(0, "functions")
    stack, aws, token = connect_functions()
    from trash.list_trash import app

    given = json.loads((Path("events") / "list_trash.json").read_text())
    given["headers"]["authorization"] = f"Bearer {token}"

    def page(tenant: str, number: int) -> float:
        given["pathParameters"]["guildId"] = tenant
        given["queryStringParameters"] = {"page": str(number), "limit": str(LIMIT)}
        began = time.perf_counter()
        answer = app(given, SimpleNamespace(aws_request_id="bench"))
        seconds = time.perf_counter() - began
        assert answer["statusCode"] == 200, answer
        assert len(json.loads(answer["body"])["items"]) == LIMIT
        return seconds

    with psycopg.connect(stack["database_url"], autocommit=True) as owner:
        small, large = make_tenant(owner, SMALL), make_tenant(owner, LARGE)
        client = boto3.client("lambda", **aws)
        client.invoke(FunctionName=stack["resources"]["CopyRegistryFunction"], Payload=b"{}")
        try:
            for tenant, number in ((small, 1), (large, 1), (large, 1_000)):
                page(tenant, number)
            floor, first, far = [], [], []
            for _ in range(rounds):
                floor.append(page(small, 1))
                first.append(page(large, 1))
                far.append(page(large, 1_000))
        finally:
            for tenant in (small, large):
                owner.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(f"tenant_{tenant}")))
                with owner.transaction():
                    owner.execute("SET LOCAL ROLE stowage_owner")
                    owner.execute("DELETE FROM control_plane.projects WHERE id = %s", (tenant,))
    print(f"pages of {LIMIT}, {rounds} rounds, medians\n")
    met = [
        told("page 1 of a million, by page 1 of a thousand", median(first), median(floor), GOAL, unit="ms"),
        told("page 1,000 of a million, by page 1 of a thousand", median(far), median(floor), GOAL, unit="ms"),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
