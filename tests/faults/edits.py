"""Every request that edits records, as its function carries it out: named, so that a process of its own can be killed.

python -m tests.faults.edits NAME TENANT OPERATION
"""

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from stowage.bulk import bulk_delete, bulk_reassign, bulk_undo
from stowage.bulk.requests import DeleteRequest, ReassignRequest, UndoRequest
from stowage.compares import find_compare
from stowage.compares.bring_back_request import BringBackRequest
from stowage.compares.bringing_back import bring_back
from stowage.entities.declared import ENTITIES
from stowage.imports.items import import_items
from stowage.postgres.session.edit import Edit
from stowage.records import change_record, change_records, create_record
from stowage.records.deleting import RecordIds, delete_record
from stowage.records.deleting import bulk_delete as bulk_delete_records
from stowage.tenants import Tenant
from stowage.trash.deleting import delete_item
from stowage.trash.items import RestoreRequest
from stowage.trash.purging import purge_journal, purge_tenant
from stowage.trash.restoring import restore_item

ACTOR, KEY = "me", "key"
NEW = {"username": "fresh", "platform": "x", "brandId": "brd_2", "groupId": "grp_2"}
CHANGED = {"username": "fresh", "brandId": "brd_2", "groupId": "grp_2"}


def edits(tenant: Tenant, operation: str) -> dict[str, Callable[[], object]]:
    """The requests about the accounts `a` and `c`; `operation` is what an undo is of, or from which comparison they
    come back.
    """
    now, accounts = datetime.now(UTC), ENTITIES["accounts"]
    deleting = DeleteRequest(ids=["a", "c"], dataType="accounts")
    reassigning = ReassignRequest(ids=["a", "c"], targetBrandId="brd_2", targetGroupId="grp_2")

    edit = Edit(tenant, ACTOR, "admin", now, KEY)
    updates = {"updates": [{"id": "a", "followers": 5}, {"id": "c", **CHANGED}]}
    items = {"items": [NEW | {"username": "other"}, NEW]}

    back = BringBackRequest(entity="accounts", ids=["a", "c"])

    return {
        "bring_back": lambda: bring_back(edit, find_compare(tenant.id, operation), back, now),
        "delete": lambda: bulk_delete(edit, deleting),
        "delete_records": lambda: bulk_delete_records(edit, accounts, RecordIds(ids=["a", "c"])),
        "delete_record": lambda: delete_record(edit, accounts, "c", None),
        "reassign": lambda: bulk_reassign(edit, reassigning),
        "undo": lambda: bulk_undo(edit, UndoRequest(operationId=operation)),
        "restore": lambda: restore_item(edit, "c", RestoreRequest()),
        "delete_for_good": lambda: delete_item(edit, "c", "accounts"),
        "purge": lambda: purge_tenant(tenant, now + timedelta(days=31), lambda: True),
        "forget": lambda: purge_journal(tenant, now, lambda: True),
        "create_record": lambda: create_record(edit, accounts, json.dumps(NEW).encode()),
        "update_record": lambda: change_record(edit, accounts, "c", json.dumps(CHANGED).encode(), None),
        "update_records": lambda: change_records(edit, accounts, json.dumps(updates).encode()),
        "import": lambda: import_items(edit, accounts, json.dumps(items).encode()),
    }


def carry_out(environment: Mapping[str, str], name: str, tenant: Tenant, operation: str) -> None:
    """Carry one out in a process that has nothing yet."""
    os.environ |= environment
    edits(tenant, operation)[name]()
