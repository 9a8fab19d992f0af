"""What a comparison has staged, for those who read it."""

from datetime import datetime

from stowage.basics.errors import BadRequestError, ConflictError, GoneError
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.compares.differences import Sides, read_staged, sides_of
from stowage.postgres.compares.staging import staging_schema
from stowage.postgres.session.connection import Connection
from stowage.runs.record import Run
from stowage.tenants import Tenant


def staging_of(run: Run, now: datetime) -> str:
    """The schema that holds what a comparison has staged.

    ConflictError `not_completed` where it has found nothing (yet), GoneError `expired` a day after it has.
    """
    if run.is_expired(now):
        raise _expired()
    if run.status != "completed":
        raise ConflictError(f"The comparison is {run.status}: there is nothing to show.", "not_completed")
    return staging_schema(run.id, run.attempt)


def compared_sides(connection: Connection, tenant: Tenant, staging: str, declared: Entity) -> Sides:
    """The two sides of an entity; GoneError `expired` where the copy is gone, BadRequestError `not_compared`."""
    staged = read_staged(connection, staging)
    if not staged:
        raise _expired()
    if declared.name not in staged or declared.name not in ENTITIES:
        message = "was not compared; the job's result names what was"
        raise BadRequestError(
            f"{declared.name} {message}.", "not_compared", details=[{"field": "entity", "message": message}]
        )
    return sides_of(connection, tenant.schema, staging, declared, staged[declared.name])


def place_of(cursor: str | None) -> int:
    """The place among the differences behind which a page begins; BadRequestError `invalid_cursor`."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise BadRequestError(
            "That cursor is none of ours; take next_cursor of the page before.",
            "invalid_cursor",
            details=[{"field": "cursor", "message": "not a cursor"}],
        )
    return int(cursor)


def _expired() -> GoneError:
    return GoneError("What was compared is gone; compare the backup again.", "expired")
