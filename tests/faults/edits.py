"""Every request that edits records, as its function carries it out: named, so that a process of its own can be killed.

python -m tests.faults.edits NAME TENANT OPERATION
"""

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from stowage.bulk import bulk_delete, bulk_reassign, bulk_undo
from stowage.bulk.requests import DeleteRequest, ReassignRequest, UndoRequest
from stowage.entities.declared import ENTITIES
from stowage.imports.items import import_items
from stowage.records import change_record, change_records, create_record
from stowage.records.deleting import RecordIds, delete_record
from stowage.records.deleting import bulk_delete as bulk_delete_records
from stowage.records.requests import WriteRequest
from stowage.tenants import Tenant
from stowage.trash.deleting import delete_item
from stowage.trash.items import RestoreRequest
from stowage.trash.purging import purge_journal, purge_tenant
from stowage.trash.restoring import restore_item

ACTOR, KEY = "me", "key"
NEW = {"username": "fresh", "platform": "x", "brandId": "brd_2", "groupId": "grp_2"}
CHANGED = {"username": "fresh", "brandId": "brd_2", "groupId": "grp_2"}


def edits(tenant: Tenant, operation: str) -> dict[str, Callable[[], object]]:
    """The requests about the accounts `a` and `c`; `operation` is what an undo is of."""
    now, accounts = datetime.now(UTC), ENTITIES["accounts"]
    deleting = DeleteRequest(ids=["a", "c"], dataType="accounts")
    reassigning = ReassignRequest(ids=["a", "c"], targetBrandId="brd_2", targetGroupId="grp_2")

    def written(route: str, body: Any) -> WriteRequest:
        return WriteRequest(tenant, ACTOR, now, json.dumps(body).encode(), route, KEY)

    return {
        "delete": lambda: bulk_delete(tenant, ACTOR, deleting, now, KEY),
        "delete_records": lambda: bulk_delete_records(tenant, accounts, RecordIds(ids=["a", "c"]), ACTOR, now, KEY),
        "delete_record": lambda: delete_record(tenant, accounts, "c", ACTOR, now, None),
        "reassign": lambda: bulk_reassign(tenant, ACTOR, reassigning, now, KEY),
        "undo": lambda: bulk_undo(tenant, ACTOR, UndoRequest(operationId=operation), now, KEY),
        "restore": lambda: restore_item(tenant, ACTOR, "c", RestoreRequest(), now, KEY),
        "delete_for_good": lambda: delete_item(tenant, ACTOR, "c", "accounts", now),
        "purge": lambda: purge_tenant(tenant, now + timedelta(days=31), lambda: True),
        "forget": lambda: purge_journal(tenant, now, lambda: True),
        "create_record": lambda: create_record(written("POST accounts", NEW), accounts),
        "update_record": lambda: change_record(written("PATCH accounts", CHANGED), accounts, "c", None),
        "update_records": lambda: change_records(
            written("PATCH bulk/accounts", {"updates": [{"id": "a", "followers": 5}, {"id": "c", **CHANGED}]}), accounts
        ),
        "import": lambda: import_items(
            written("POST import/accounts", {"items": [NEW | {"username": "other"}, NEW]}), accounts
        ),
    }


def carry_out(environment: Mapping[str, str], name: str, tenant: Tenant, operation: str) -> None:
    """Carry one out in a process that has nothing yet."""
    os.environ |= environment
    edits(tenant, operation)[name]()
