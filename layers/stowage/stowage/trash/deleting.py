"""Deleting one record of the trash for good, with all that went with it."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn

from stowage.access.identity import for_role
from stowage.basics.errors import ConflictError, GoneError, UnavailableError
from stowage.entities.declaration import Entity
from stowage.postgres.session.connection import PURGE, Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.transactions import transact
from stowage.postgres.trash.purge import purge_records
from stowage.postgres.trash.purge_due import fits_one_batch
from stowage.tenants import Tenant
from stowage.trash.batches import purge_large
from stowage.trash.items import locate, refuse_cut

BUDGET_SECONDS = 18.0
"""No batch begins later."""
BATCH_SECONDS = 8.0
"""None takes longer, so that the last one ends within the function's 29 s. What fits the first has all the time."""


@for_role("admin")
def delete_item(edit: Edit, record_id: str, data_type: str | None, clock: Callable[[], float] = time.monotonic) -> str:
    """Delete a record (raw id) of the trash for good; its id.

    NotFoundError, GoneError, BadRequestError as `locate` and `refuse_cut`; ConflictError `has_children` while others
    still need it. What is too much for one transaction goes in batches, it last: UnavailableError `purge_unfinished`
    where the time is not enough for all of them, and the same request again goes on.
    """
    deadline = clock() + BUDGET_SECONDS
    edit, tenant = replace(edit, login=PURGE, seconds=BATCH_SECONDS), edit.tenant

    def work(connection: Connection) -> tuple[Entity, str, bool]:
        refuse_cut(connection, tenant, record_id, data_type)
        declared, found_id = locate(connection, tenant, record_id, data_type, purging=True)
        if not fits_one_batch(connection, tenant, declared, found_id):
            return declared, found_id, False
        purged = purge_records(connection, edit, declared, [found_id], only_due=False)
        if not purged.count:
            _raise_why(connection, tenant, declared, found_id)
        return declared, found_id, True

    declared, found_id, gone = replace(edit, seconds=BUDGET_SECONDS + BATCH_SECONDS).run(work)
    if gone:
        return found_id
    _, finished = purge_large(edit, declared, found_id, lambda: clock() < deadline, only_due=False)
    if not finished:
        raise UnavailableError(
            f"So much belongs to this {declared.singular} that not all of it has gone yet; "
            "the same request again goes on.",
            "purge_unfinished",
        )
    with suppress(GoneError):
        transact(
            tenant.database,
            lambda connection: _raise_why(connection, tenant, declared, found_id),
            schema=tenant.schema,
            role=PURGE,
        )
    return found_id


def _raise_why(connection: Connection, tenant: Tenant, declared: Entity, record_id: str) -> NoReturn:
    locate(connection, tenant, record_id, declared.name, purging=True)
    raise ConflictError(
        f"Other records still belong to this {declared.singular}; delete them for good first.", "has_children"
    )
