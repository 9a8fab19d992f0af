"""Entries of the journal as the version before 0018_whole_images wrote them: migrated, undone, exported as audit."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, LiteralString
from unittest import mock

import psycopg
import pytest
from psycopg import sql

from stowage.bulk import bulk_undo
from stowage.bulk.requests import UndoRequest
from stowage.entities.declared import ENTITIES
from stowage.exports.formats import open_export
from stowage.postgres.schema import migrations
from stowage.postgres.schema.migrations import apply_roles, create_tenant, migrate, migrate_tenants
from stowage.postgres.session.edit import Edit
from stowage.postgres.trash.lists import list_trash
from stowage.settings import settings
from stowage.tenants import Tenant
from tests.conftest import RunningStack
from tests.stack.journal_story import holds_what_it_should
from tests.stack.office import in_process
from tests.stack.scratch_databases import bare_database, connect

type Json = Any

SLUG, BEFORE, BEFORE_OF_TENANTS = "older", 17, 5
NOW = datetime.now(UTC)
MOVED = ["deleted_by", "purge_at", "deleted_operation", "deleted_with"]
"""Columns that lie beside the table by now."""

ROWS = """
INSERT INTO brands (id, label) VALUES ('brd_1', 'One'), ('brd_2', 'Two');
INSERT INTO groups (id, brand_id, label) VALUES ('grp_1', 'brd_1', 'A');
INSERT INTO accounts (id, username, platform, brand_id, group_id, followers)
SELECT id, 'user ' || id, 'x', 'brd_1', 'grp_1', 1 FROM unnest('{deleted,edited,moved,updated,bare}'::text[]) AS id;
INSERT INTO posts (id, account_id, url) VALUES ('along', 'deleted', 'u1');
"""

# What the statements of that version were, for the records that they are about here.
WRITTEN: dict[str, LiteralString] = {
    "delete": """
WITH image AS (
    SELECT jsonb_build_object('deleted_at', NULL, 'deleted_by', NULL, 'purge_at', NULL, 'deleted_operation', NULL)
               AS before,
           jsonb_build_object('deleted_at', %(at)s::timestamptz, 'deleted_by', 'me', 'purge_at',
                              %(purge_at)s::timestamptz, 'deleted_operation', 'op_delete') AS after
),
changed AS (
    UPDATE accounts SET deleted_at = %(at)s, deleted_by = 'me', purge_at = %(purge_at)s, deleted_operation = 'op_delete'
    WHERE id = 'deleted' RETURNING id
),
along AS (
    UPDATE posts SET deleted_at = %(at)s, deleted_by = 'me', purge_at = %(purge_at)s, deleted_operation = 'op_delete',
        deleted_with = account_id
    WHERE account_id = 'deleted' RETURNING id, account_id AS parent
),
lines AS (
    SELECT 0 AS part, 'accounts' AS entity, id, before, after FROM changed, image
    UNION ALL
    SELECT 1, 'posts', id, before || jsonb_build_object('deleted_with', NULL),
           after || jsonb_build_object('deleted_with', parent)
    FROM along, image
),
taken AS MATERIALIZED (SELECT stowage.take_seqs('older', (SELECT count(*) FROM lines) + 1) AS base)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT 'older', base + row_number() OVER (ORDER BY part), 'op_delete', entity, id, 'deleted', before, after, 'me',
       %(at)s
FROM taken, lines
UNION ALL
SELECT 'older', base + 3, 'op_delete', 'accounts', 'op_delete', 'operation', NULL,
       '{"kind": "delete", "total": 1, "succeeded": 1, "failed": 0, "cascaded": {"posts": 1}}', 'me', %(at)s
FROM taken
""",
    "reassign": """
WITH old AS MATERIALIZED (SELECT id, brand_id, group_id, updated_at FROM accounts WHERE id = 'moved'),
changed AS (
    UPDATE accounts AS record SET brand_id = 'brd_2', group_id = NULL, updated_at = %(at)s FROM old
    WHERE record.id = old.id
    RETURNING record.id,
        jsonb_build_object('brand_id', old.brand_id, 'group_id', old.group_id, 'updated_at', old.updated_at) AS before,
        jsonb_build_object('brand_id', record.brand_id, 'group_id', record.group_id, 'updated_at', record.updated_at)
            AS after
),
taken AS MATERIALIZED (SELECT stowage.take_seqs('older', (SELECT count(*) FROM changed) + 1) AS base)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT 'older', base + 1, 'op_reassign', 'accounts', id, 'updated', before, after, 'me', %(at)s FROM taken, changed
UNION ALL
SELECT 'older', base + 2, 'op_reassign', 'accounts', 'op_reassign', 'operation', NULL,
       '{"kind": "reassign", "total": 1, "succeeded": 1, "failed": 0}', 'me', %(at)s FROM taken
""",
    "update": """
WITH old AS MATERIALIZED (SELECT id, followers, updated_at FROM accounts WHERE id IN ('updated', 'edited')),
changed AS (
    UPDATE accounts AS made SET followers = 2, updated_at = %(at)s FROM old WHERE made.id = old.id
    RETURNING made.id, jsonb_build_object('followers', old.followers, 'updated_at', old.updated_at) AS before,
              jsonb_build_object('followers', made.followers, 'updated_at', made.updated_at) AS after
),
taken AS MATERIALIZED (SELECT stowage.take_seqs('older', (SELECT count(*) FROM changed) + 1) AS base)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT 'older', base + row_number() OVER (ORDER BY id), 'op_update', 'accounts', id, 'updated', before, after, 'me',
       %(at)s
FROM taken, changed
UNION ALL
SELECT 'older', base + 3, 'op_update', 'accounts', 'op_update', 'operation', NULL,
       '{"kind": "update", "total": 2, "succeeded": 2, "failed": 0}', 'me', %(at)s FROM taken
""",
    "import": """
WITH written AS (
    INSERT INTO accounts AS made (id, username, platform, brand_id, created_at, updated_at)
    VALUES ('made', 'made', 'x', 'brd_1', %(at)s, %(at)s)
    RETURNING made.id, jsonb_build_object(
        'id', made.id, 'username', made.username, 'display_name', made.display_name, 'platform', made.platform,
        'brand_id', made.brand_id, 'group_id', made.group_id, 'followers', made.followers, 'status', made.status,
        'created_at', made.created_at, 'updated_at', made.updated_at
    ) AS image
),
taken AS MATERIALIZED (SELECT stowage.take_seqs('older', (SELECT count(*) FROM written) + 1) AS base)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT 'older', base + 1, 'op_import', 'accounts', id, 'created', NULL::jsonb, image, 'me', %(at)s FROM taken, written
UNION ALL
SELECT 'older', base + 2, 'op_import', 'accounts', 'op_import', 'operation', NULL::jsonb,
       '{"kind": "import", "total": 1, "succeeded": 1, "failed": 0}', 'me', %(at)s FROM taken
""",
}


@dataclass
class Older:
    """A tenant whose journal was written by that version, in a database that has been migrated since."""

    url: str
    owner: psycopg.Connection
    tenant: Tenant
    before: dict[str, Json]
    entries: list[Json]

    def accounts(self) -> dict[str, Json]:
        """Every account, whole, by id."""
        rows = self.owner.execute(f"SELECT to_jsonb(t) - %s::text[] FROM tenant_{SLUG}.accounts t", (MOVED,)).fetchall()
        return {row["id"]: row for (row,) in rows}

    def undo(self, operation: str) -> dict[str, str | None]:
        """Undo an operation; what became of each record."""
        edit = Edit(self.tenant, "somebody", "operator", NOW)
        body = json.loads(bulk_undo(edit, UndoRequest(operationId=operation)).body)
        return {result["id"]: result.get("code") for result in body["results"]}

    def journal(self) -> list[Json]:
        """The journal, oldest first."""
        return read_journal(self.url)


def read_journal(url: str) -> list[Json]:
    with connect(url, "stowage_app") as app:
        rows = app.execute("SELECT to_jsonb(c) FROM stowage.changes c WHERE tenant = %s ORDER BY seq", (SLUG,))
        return [entry for (entry,) in rows]


def register(owner: psycopg.Connection, id: str, slug: str, name: str) -> None:
    """As that version did, whose tenants had no other schema than their slug's."""
    owner.execute("SET LOCAL ROLE stowage_owner")
    owner.execute("INSERT INTO control_plane.projects (id, slug, name) VALUES (%s, %s, %s)", (id, slug, name))
    owner.execute("RESET ROLE")


@pytest.fixture
def older(stack: RunningStack, tmp_path: Path) -> Iterator[Older]:
    folder = tmp_path / "migrations"
    shutil.copytree(Path(migrations.__file__).parent, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for family, last in (("product", BEFORE), ("tenant", BEFORE_OF_TENANTS)):
        for path in (folder / family).glob("*.sql"):
            if int(path.name[:4]) > last:
                path.unlink()
    older = partial(migrations.read_migrations, folder=folder)
    with bare_database(stack.database_url) as url, in_process(stack):
        with connect(url) as owner:
            apply_roles(owner)
            migrate(owner, folder)
            registered = mock.patch.object(migrations, "register_tenant", register)
            with registered, mock.patch.multiple(migrations, grant_tenant=mock.DEFAULT, read_migrations=older):
                create_tenant(owner, SLUG, SLUG, "Older")
            owner.execute("SELECT stowage.grant_tenant(%s)", (f"tenant_{SLUG}",))
            owner.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(f"tenant_{SLUG}")))
            owner.execute(ROWS)
            tenant = Tenant(SLUG, SLUG, "Older")
            before = Older(url, owner, tenant, {}, []).accounts()
            with connect(url, "stowage_app") as app:
                app.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(f"tenant_{SLUG}")))
                for statement in WRITTEN.values():
                    app.execute(statement, {"at": NOW - timedelta(hours=1), "purge_at": NOW + timedelta(days=30)})
            written = read_journal(url)
            assert "product/0018_whole_images" in migrate(owner)
            assert f"tenant_{SLUG}: tenant/0006_trash_beside" in migrate_tenants(owner)
            with mock.patch.dict(os.environ, STOWAGE_DATABASE_URL=url):
                settings.cache_clear()
                yield Older(url, owner, tenant, before, written)
        settings.cache_clear()


def test_older_entries_stay_as_they_were_written(older: Older) -> None:
    assert older.journal() == older.entries
    whole = {entry["id"] for entry in older.entries if "id" in (entry["after"] or {})}
    assert whole == {"made"}


def test_what_lay_in_the_trash_of_an_older_version_lies_there_still(older: Older) -> None:
    with connect(older.url, "stowage_app") as app:
        [row] = list_trash(app, older.tenant, [ENTITIES["accounts"], ENTITIES["posts"]], 10, 0)
    assert (row.id, row.deleted_by, row.cascaded) == ("deleted", "me", {"posts": 1})
    assert (row.deleted_at, row.purge_at) == (NOW - timedelta(hours=1), NOW + timedelta(days=30))


@pytest.mark.parametrize(
    ("operation", "ids"),
    [
        ("op_delete", {"deleted"}),
        ("op_reassign", {"moved"}),
        ("op_update", {"updated", "edited"}),
    ],
)
def test_what_an_older_version_changed_goes_back_as_it_was(older: Older, operation: str, ids: set[str]) -> None:
    assert older.undo(operation) == dict.fromkeys(ids)
    after = older.accounts()
    assert {record_id: after[record_id] for record_id in ids} == {
        record_id: older.before[record_id] for record_id in ids
    }
    for entry in older.journal()[len(older.entries) :]:
        holds_what_it_should(entry)


def test_what_an_older_version_made_goes_to_the_trash(older: Older) -> None:
    assert older.undo("op_import") == {"made": None}
    assert older.accounts()["made"]["deleted_at"] is not None
    (entry,) = [each for each in older.journal() if each["id"] == "made" and each["type"] == "deleted"]
    holds_what_it_should(entry)


def test_what_was_edited_since_an_older_version_changed_it_stays(older: Older) -> None:
    older.owner.execute("UPDATE accounts SET followers = 3 WHERE id = 'edited'")
    older.owner.execute("UPDATE accounts SET display_name = 'Zoë' WHERE id = 'updated'")
    assert older.undo("op_update") == {"edited": "changed_since", "updated": None}
    after = older.accounts()
    assert (after["edited"]["followers"], after["updated"]["followers"]) == (3, 1)
    assert after["updated"]["display_name"] == "Zoë"


def test_older_and_newer_entries_are_exported_as_one_audit_log(older: Older) -> None:
    older.undo("op_reassign")
    source = open_export(
        connect(older.url, "stowage_app"),
        older.tenant.schema,
        SLUG,
        data_type="audit",
        format="ndjson",
        filters=None,
    )
    try:
        lines = [json.loads(line) for line in b"".join(source.chunks()).splitlines()]
        source.finish()
    finally:
        source.close()
    expected = older.journal()
    assert [(line["seq"], line["before"], line["after"]) for line in lines] == [
        (entry["seq"], entry["before"], entry["after"]) for entry in expected
    ]
    assert len(lines) > len(older.entries)
