"""A comparison's attempt in the worker: the backup's rows are staged, then set against the live ones.

Nothing of the backup is run. The tenant's tables are only read.
"""

from collections import defaultdict
from typing import Any

from stowage.backups.verifying import first_wrong, read_through
from stowage.basics.errors import RunError
from stowage.basics.schemas import Schema
from stowage.entities.absence import without
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.compares.blocks import Blocks, Table
from stowage.postgres.compares.differences import (
    Sides,
    Staged,
    begin_snapshot,
    find_differences,
    read_staged,
    sides_of,
)
from stowage.postgres.compares.staging import Staging, drop_staging, refusals, staging_schema
from stowage.postgres.dumps.pg_dump import TIME_ZONE
from stowage.postgres.session.connection import APP, RESTORE, Connection, connect
from stowage.postgres.session.disagreements import lacking_entities
from stowage.runs.attempt import Attempt
from stowage.runs.manifest import read_manifest
from stowage.runs.progress import FencedError
from stowage.runs.record import Run
from stowage.runs.store import find_run

type Found = dict[str, Any]
"""What a job tells of an entity."""


def compare_backup(attempt: Attempt) -> None:
    """Stage the backup that the run uses and find what differs; the schema with both stays for the run's readers.

    RunError `backup_damaged` where the file does not verify, `key_changed`; whatever fails, nothing is left.
    """
    run = attempt.run
    attempt.reporter.report("checking", "Looking for the file.")
    backup = find_run(run.tenant, str(run.uses))
    try:
        with refusals(), connect(run.database, RESTORE) as staging, connect(run.database, APP) as live:
            drop_staging(staging, run.id)
            lacking = lacking_entities(live, run.spec["schema"])
            with without(lacking):
                facts, rows = _compare(attempt, backup, staging, live)
        attempt.finish(facts, rows=rows)
    except FencedError:
        raise  # the attempt that has taken over drops what this one has staged
    except BaseException:
        with connect(run.database, RESTORE) as staging:
            drop_staging(staging, run.id)
        raise


def _compare(attempt: Attempt, backup: Run | None, staging: Connection, live: Connection) -> tuple[Found, int]:
    run = attempt.run
    manifest = (backup and read_manifest(backup)) or {}
    contents = manifest.get("contents", {})
    schema = staging_schema(run.id, run.attempt)
    wanted = _wanted(run, contents.get("schema_name", ""))
    staged = Staging(staging, schema, run.tenant, wanted)
    blocks = Blocks(wanted, staged.opened)
    checks, rows = read_through(backup, attempt.reporter, blocks)
    if wrong := first_wrong(checks):
        raise RunError(f"The backup is damaged. {wrong['message']}", "backup_damaged")
    if blocks.error:
        raise blocks.error
    staged.commit()

    there = read_staged(staging, schema)
    begin_snapshot(live, contents.get("time_zone", TIME_ZONE))
    entities, left_out = list[Found](), list[Found]()
    for name in run.spec["entities"] or [each.name for each in ENTITIES.declared]:
        attempt.reporter.moved()
        attempt.reporter.report("comparing", f"Comparing {name}.", rows=rows)
        found = _found(run, live, schema, name, there)
        if isinstance(found, str):
            left_out.append({"name": name, "reason": found})
        else:
            entities.append(_told(found) | {"name": name} | find_differences(live, staging, found))
    facts = {"backup_id": run.uses, "backup_at": backup.created_at if backup else "", "entities": entities}
    return (facts | {"left_out": left_out} if left_out else facts), rows


def _wanted(run: Run, schema: str) -> dict[Table, list[Entity]]:
    """The entities to compare, by their tables in the backup."""
    wanted = defaultdict[Table, list[Entity]](list)
    for name in run.spec["entities"] or ENTITIES:
        if name in ENTITIES:
            wanted[ENTITIES[name].schema_in(schema), ENTITIES[name].table].append(ENTITIES[name])
    return wanted


def _found(run: Run, live: Connection, schema: str, name: str, there: dict[str, Staged]) -> Sides | str:
    """The two sides of an entity, or why they cannot be compared."""
    if name not in ENTITIES:
        return "The tenant has no such table now."
    if name not in there:
        return "The backup holds no rows of such a table."
    sides = sides_of(live, Schema(run.spec["schema"], run.tenant), schema, ENTITIES[name], there[name])
    if not {*ENTITIES[name].key.names} <= sides.staged:
        return "The table in the backup has another key."
    return sides


def _told(sides: Sides) -> Found:
    """The columns that exist on one side only."""
    gone = sorted(sides.staged - sides.live.keys())
    new = [field.name for field in sides.entity.own if field.column not in sides.staged and not field.is_read_only]
    return ({"columns_only_in_backup": gone} if gone else {}) | ({"fields_only_live": new} if new else {})
