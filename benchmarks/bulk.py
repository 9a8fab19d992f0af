"""Bulk edits of 10,000 ids through their handlers, against hand-written SQL that changes and journals the same rows.

    python -m benchmarks.bulk [--rounds 5]

Needs a running stack. The handler runs in this process, from the event to the answer with a result for each id; the
floor is one transaction on a connection that is open already. Each has rows of its own that nobody has touched, rounds
are interleaved, medians are printed. The loop does what is done without sets: one update and one journal row each.
Both write the whole record as it became, and both replace what the trash still keeps of a record that the product has
taken out itself. Exits with 1 where a goal is missed.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, LiteralString
from uuid import uuid4

import boto3
import jwt
import psycopg
from psycopg import sql

from benchmarks.bench_tenant import read_stack
from benchmarks.dumps import told
from local.database_urls import as_role, for_product
from local.sample.rows import Sizes, fill
from stowage.postgres.schema.migrations import create_tenant

GOAL = 1.2
IDS = 10_000
SLUG = "benchbulk"
POSTS_EACH = 4

DELETE_FLOOR: LiteralString = """
WITH changed AS (
    UPDATE {table} SET deleted_at = now()
    WHERE id = ANY(%(ids)s) AND deleted_at IS NULL RETURNING id, {image} AS image
),
{cascade}
kept AS (
    INSERT INTO stowage.trash_entries
        (tenant, entity, id, mark, deleted_at, deleted_by, purge_at, deleted_operation, deleted_with)
    SELECT %(tenant)s, entity, id, now(), now(), 'bench', now() + interval '30 days', %(operation)s, parent
    FROM (SELECT {entity} AS entity, id, NULL::text AS parent FROM changed {kept}) AS gone
    ON CONFLICT (tenant, entity, id) DO UPDATE
    SET mark = excluded.mark, deleted_at = excluded.deleted_at, deleted_by = excluded.deleted_by,
        purge_at = excluded.purge_at, deleted_operation = excluded.deleted_operation,
        deleted_with = excluded.deleted_with
),
taken AS MATERIALIZED (
    SELECT stowage.take_seqs(%(tenant)s, (SELECT count(*) FROM changed) + {cascaded} + 1) AS base
)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT %(tenant)s, base + row_number() OVER (), %(operation)s, entity, id, 'deleted',
       '{{"deleted_at": null}}'::jsonb,
       image, 'bench', now()
FROM taken, (SELECT {entity} AS entity, id, image FROM changed {union}) AS lines
UNION ALL
SELECT %(tenant)s, base + (SELECT count(*) FROM changed) + {cascaded} + 1, %(operation)s, {entity}, %(operation)s,
       'operation', NULL, '{{"kind": "delete"}}', 'bench', now() FROM taken
"""

CASCADE: LiteralString = """
along AS (
    UPDATE {posts} SET deleted_at = now()
    WHERE account_id = ANY(%(ids)s) AND deleted_at IS NULL RETURNING id, account_id, {image} AS image
),
"""

IMAGE: LiteralString = "(SELECT to_jsonb(image) FROM (SELECT {columns}) AS image)"
TRASH = ("deleted_at",)
COLUMNS = {
    "accounts": [
        "id",
        "username",
        "display_name",
        "platform",
        "brand_id",
        "group_id",
        "followers",
        "status",
        "created_at",
        "updated_at",
    ],
    "posts": ["id", "account_id", "url", "caption", "likes", "posted_at", "created_at", "updated_at"],
}


def image(row: str, table: str, *more: str) -> sql.Composed:
    """The whole record, as a statement by hand would write it."""
    columns = [sql.Identifier(row, column) for column in (*COLUMNS[table], *more)]
    return sql.SQL(IMAGE).format(columns=sql.SQL(", ").join(columns))


REASSIGN_FLOOR: LiteralString = """
WITH old AS MATERIALIZED (SELECT id, brand_id, group_id, updated_at FROM {table} WHERE id = ANY(%(ids)s)),
changed AS (
    UPDATE {table} AS record SET brand_id = 'brd_0001', group_id = 'grp_0001', updated_at = now()
    FROM old WHERE record.id = old.id
    RETURNING record.id, jsonb_build_object('brand_id', old.brand_id, 'group_id', old.group_id,
                                            'updated_at', old.updated_at) AS before, {image} AS image
),
taken AS MATERIALIZED (SELECT stowage.take_seqs(%(tenant)s, (SELECT count(*) FROM changed) + 1) AS base)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT %(tenant)s, base + row_number() OVER (), %(operation)s, 'accounts', id, 'updated', before,
       image, 'bench', now()
FROM taken, changed
UNION ALL
SELECT %(tenant)s, base + (SELECT count(*) FROM changed) + 1, %(operation)s, 'accounts', %(operation)s, 'operation',
       NULL, '{{"kind": "reassign"}}', 'bench', now() FROM taken
"""


def connect_functions() -> tuple[dict[str, Any], dict[str, str], str]:
    """Let handlers run in this process on the running stack: what it says of itself, its AWS, an admin's token."""
    stack = read_stack()
    aws = {
        "endpoint_url": stack["aws_endpoint_url"],
        "region_name": "us-east-1",
        "aws_access_key_id": "local",
        "aws_secret_access_key": "local",
    }
    secret = boto3.client("secretsmanager", **aws).get_secret_value(SecretId=stack["resources"]["JwtSecret"])
    claims = {"sub": "bench", "role": "admin", "tenants": ["*"], "exp": int(time.time()) + 3600}
    os.environ.update(
        AWS_ENDPOINT_URL=aws["endpoint_url"],
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",
        AWS_DEFAULT_REGION="us-east-1",
        STOWAGE_TABLE=stack["resources"]["Table"],
        STOWAGE_EXPORTS_BUCKET=stack["resources"]["ExportsBucket"],
        STOWAGE_BACKUPS_BUCKET=stack["resources"]["BackupsBucket"],
        STOWAGE_DATABASE_URL=for_product(stack["database_url"]),
        POWERTOOLS_LOG_LEVEL="CRITICAL",
        POWERTOOLS_SERVICE_NAME="bench",
    )
    return stack, aws, jwt.encode(claims, secret["SecretString"], "HS256")


class Bench:
    """A tenant of the running stack, the handlers in this process, and ids that nothing was done to yet."""

    def __init__(self, rounds: int) -> None:
        stack, aws, self.token = connect_functions()
        self.owner = psycopg.connect(stack["database_url"], autocommit=True)
        application = as_role(stack["database_url"], "stowage_app")
        self.app = psycopg.connect(application, autocommit=True, prepare_threshold=None)
        # Each call has an account of its own: three kinds of call, each by handler and by floor, and warming up.
        accounts = IDS * (4 * (rounds + 1))
        posts = IDS * (2 * (rounds + 1)) + 2 * IDS
        self.tenant = f"{SLUG}{uuid4().hex[:8]}"
        sizes = Sizes(brands=5, groups=20)
        create_tenant(
            self.owner, self.tenant, self.tenant, "Bulk edits", fill=lambda: self._fill(sizes, accounts, posts)
        )
        self.schema = f"tenant_{self.tenant}"
        for table in ("accounts", "posts"):
            self.owner.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(self.schema, table)))
        self.owner.execute("CHECKPOINT") if self._may_checkpoint() else None
        client = boto3.client("lambda", **aws)
        client.invoke(FunctionName=stack["resources"]["CopyRegistryFunction"], Payload=b"{}")
        self._accounts, self._posts = self._fresh("acc_", IDS), self._fresh("pst_", IDS)

    def _may_checkpoint(self) -> bool:
        row = self.owner.execute("SELECT pg_has_role('pg_checkpoint', 'MEMBER')").fetchone()
        return row == (True,)

    def _fill(self, sizes: Sizes, accounts: int, posts: int) -> None:
        fill(self.owner, self.tenant, sizes)
        self.owner.execute(
            "INSERT INTO accounts (id, username, display_name, platform, brand_id, group_id) "
            "SELECT 'acc_' || i, 'user.' || i, 'User ' || i, 'instagram', 'brd_0002', 'grp_0002' "
            "FROM generate_series(0, %s - 1) AS i",
            (accounts,),
        )
        # The first posts belong to no account that is deleted here; then each account has some of its own.
        self.owner.execute(
            "INSERT INTO accounts (id, username, platform, brand_id) "
            "VALUES ('acc_of_posts', 'of.posts', 'x', 'brd_0003')"
        )
        self.owner.execute(
            "INSERT INTO posts (id, account_id, url, caption) "
            "SELECT 'pst_' || i, 'acc_of_posts', 'https://x.example/p/' || i, 'A caption of some words #' || i "
            "FROM generate_series(0, %s - 1) AS i",
            (posts,),
        )
        self.owner.execute(
            "INSERT INTO posts (id, account_id, url, caption) "
            "SELECT 'own_' || i || '_' || k, 'acc_' || i, 'https://x.example/q/' || i || '/' || k, 'A caption' "
            "FROM generate_series(0, %s / 2 - 1) AS i, generate_series(1, %s) AS k",
            (accounts, POSTS_EACH),
        )

    def _fresh(self, prefix: str, count: int) -> Iterator[list[str]]:
        start = 0
        while True:
            yield [f"{prefix}{n}" for n in range(start, start + count)]
            start += count

    def accounts(self) -> list[str]:
        """Ten thousand accounts not used before."""
        return next(self._accounts)

    def posts(self) -> list[str]:
        """Ten thousand posts not used before."""
        return next(self._posts)

    def handle(self, app: Callable[[dict[str, Any], object], dict[str, Any]], event: str, body: object) -> float:
        """Seconds of one call of a handler."""
        given = json.loads((Path("events") / f"{event}.json").read_text())
        given["headers"]["authorization"] = f"Bearer {self.token}"
        given["pathParameters"]["guildId"] = self.tenant
        given["body"] = json.dumps(body)
        began = time.perf_counter()
        answer = app(given, SimpleNamespace(aws_request_id="bench"))
        seconds = time.perf_counter() - began
        result = json.loads(answer["body"])
        assert answer["statusCode"] == 200, answer["body"][:500]
        assert len(result["results"]) == result["succeeded"] == IDS
        self.operation = result["operationId"]
        return seconds

    def floor(self, statement: sql.Composed, ids: list[str]) -> float:
        """Seconds of the same by one statement."""
        given = {"ids": ids, "tenant": self.tenant, "operation": f"op_{uuid4().hex}"}
        began = time.perf_counter()
        with self.app.transaction():
            self.app.execute(statement, given)
        return time.perf_counter() - began

    def loop(self, table: str, ids: list[str]) -> float:
        """Seconds of the same row by row, in one transaction."""
        update = sql.SQL("UPDATE {} SET deleted_at = now() WHERE id = %s AND deleted_at IS NULL").format(
            sql.Identifier(self.schema, table)
        )
        began = time.perf_counter()
        with self.app.transaction():
            for record_id in ids:
                self.app.execute(update, (record_id,))
                self.app.execute(
                    "INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, after, actor, at) "
                    "VALUES (%s, stowage.take_seqs(%s, 1) + 1, 'op_loop', %s, %s, 'deleted', '{}', 'bench', now())",
                    (self.tenant, self.tenant, table, record_id),
                )
        return time.perf_counter() - began

    def close(self) -> None:
        """Take the tenant away."""
        self.owner.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(self.schema)))
        with self.owner.transaction():
            self.owner.execute("SET LOCAL ROLE stowage_owner")
            self.owner.execute("DELETE FROM control_plane.projects WHERE id = %s", (self.tenant,))
            self.owner.execute("DELETE FROM stowage.changes WHERE tenant = %s", (self.tenant,))


def main() -> int:
    """Run everything; 0 where all goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    sys.path.insert(0, "functions")
    bench = Bench(rounds)
    try:
        return 0 if all(measure(bench, rounds)) else 1
    finally:
        bench.close()


def measure(bench: Bench, rounds: int) -> list[bool]:
    """Each kind of edit by handler and by floor in turn; the first turn warms both up and is not counted."""
    from bulk.bulk_delete import app as bulk_delete
    from bulk.bulk_reassign import app as bulk_reassign
    from bulk.bulk_undo import app as bulk_undo

    accounts, posts = sql.Identifier(bench.schema, "accounts"), sql.Identifier(bench.schema, "posts")
    nothing = sql.SQL("")
    delete_posts = sql.SQL(DELETE_FLOOR).format(
        table=posts,
        image=image("posts", "posts", *TRASH),
        cascade=nothing,
        kept=nothing,
        cascaded=sql.SQL("0"),
        union=nothing,
        entity=sql.Literal("posts"),
    )
    delete_accounts = sql.SQL(DELETE_FLOOR).format(
        table=accounts,
        image=image("accounts", "accounts", *TRASH),
        cascade=sql.SQL(CASCADE).format(posts=posts, image=image("posts", "posts", *TRASH)),
        kept=sql.SQL("UNION ALL SELECT 'posts', id, account_id FROM along"),
        cascaded=sql.SQL("(SELECT count(*) FROM along)"),
        union=sql.SQL("UNION ALL SELECT 'posts', id, image FROM along"),
        entity=sql.Literal("accounts"),
    )
    reassign = sql.SQL(REASSIGN_FLOOR).format(table=accounts, image=image("record", "accounts"))
    target = {"targetBrandId": "brd_0001", "targetGroupId": "grp_0001"}
    seconds: dict[str, list[float]] = {}

    def note(name: str, took: float) -> None:
        seconds.setdefault(name, []).append(took)

    for turn in range(rounds + 1):
        if turn == 1:
            seconds.clear()
        note("posts", bench.handle(bulk_delete, "bulk_delete", {"ids": bench.posts(), "dataType": "posts"}))
        note("posts undone", bench.handle(bulk_undo, "bulk_undo", {"operationId": bench.operation}))
        note("posts floor", bench.floor(delete_posts, bench.posts()))
        note("accounts", bench.handle(bulk_delete, "bulk_delete", {"ids": bench.accounts(), "dataType": "accounts"}))
        note("accounts undone", bench.handle(bulk_undo, "bulk_undo", {"operationId": bench.operation}))
        note("accounts floor", bench.floor(delete_accounts, bench.accounts()))
    for turn in range(rounds + 1):
        if turn == 1:
            seconds.pop("moved"), seconds.pop("moved undone"), seconds.pop("moved floor")
        note("moved", bench.handle(bulk_reassign, "bulk_reassign", {"ids": bench.accounts(), **target}))
        note("moved undone", bench.handle(bulk_undo, "bulk_undo", {"operationId": bench.operation}))
        note("moved floor", bench.floor(reassign, bench.accounts()))
    loop = bench.loop("posts", bench.posts())
    took = {name: median(values) for name, values in seconds.items()}
    print(f"{IDS:,} ids, {rounds} rounds, medians; the tenant's accounts have {POSTS_EACH} posts each\n")
    met = [
        told("delete posts, by one statement", took["posts"], took["posts floor"], GOAL, unit="ms"),
        told(
            "delete accounts with their posts, by one statement",
            took["accounts"],
            took["accounts floor"],
            GOAL,
            unit="ms",
        ),
        told("reassign accounts, by one statement", took["moved"], took["moved floor"], GOAL, unit="ms"),
    ]
    for name in ("posts", "accounts", "moved"):
        print(f"undo of {name}: {1000 * took[f'{name} undone']:.0f} ms")
    print(f"delete posts row by row: {1000 * loop:.0f} ms, {loop / took['posts']:.1f} times the handler")
    return met


if __name__ == "__main__":
    sys.exit(main())
