"""At deployment: bring every database to this version's schema, copy the registry, compare the declarations."""

from datetime import datetime

from stowage import schedules
from stowage.attention.comparing import check_declarations
from stowage.basics.errors import StowageError
from stowage.entry.deployment import on_deployment
from stowage.postgres.schema.migrations import migrate
from stowage.postgres.schema.registry import copy_registry
from stowage.postgres.session.connection import OWNER, connect
from stowage.settings import settings


@on_deployment
def app(now: datetime) -> dict[str, object]:
    """Answer which migrations were applied; a failing one fails the deployment, and so does a schedule that is none."""
    schedules.check_deployment()
    applied = {}
    for database in ("main", *settings().databases):
        try:
            with connect(database, OWNER) as connection:
                applied[database] = migrate(connection)
        except StowageError as error:
            error.message = f"Database {database}: {error.message}"
            raise
    return {"applied": applied, **copy_registry(now), **check_declarations(now)}
