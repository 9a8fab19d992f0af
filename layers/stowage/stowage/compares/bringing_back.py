"""Records brought back from a backup, as one operation of the journal (docs/bring-back.md)."""

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import accumulate

from stowage.access.identity import for_role
from stowage.basics.errors import BadRequestError, TooLargeError
from stowage.basics.ids import encode_id, parse_rfc3339
from stowage.bulk.requests import MOST_IDS, read_ids
from stowage.bulk.results import answer
from stowage.compares.bring_back_request import BringBackRequest
from stowage.compares.coming_back import Returning, columns_back
from stowage.compares.staged import compared_sides, place_of, staging_of
from stowage.entities.declaration import Entity
from stowage.entities.declared import entity_named, must_be_writable
from stowage.postgres.compares.differences import Sides, as_dumped
from stowage.postgres.compares.items import BackedUp, Item, find_what_fits, read_backed_up, sizes_backed_up
from stowage.postgres.compares.listing import still_of_kind
from stowage.postgres.compares.present import purged_since, where_they_are
from stowage.postgres.dumps.pg_dump import TIME_ZONE
from stowage.postgres.journal.changes import append_staged, prepare_staging
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.encodings import held_ids
from stowage.postgres.session.idempotency import KeptAnswer
from stowage.postgres.session.transactions import retry_unique
from stowage.postgres.trash.restores import lock_for_restoring
from stowage.records.failures import Failure
from stowage.runs.record import Run

MOST_BYTES = 32_000_000
"""So much of a backup comes back in one call; all of it is in memory, some of it several times."""


@for_role("admin")
def bring_back(edit: Edit, run: Run, request: BringBackRequest, now: datetime) -> KeptAnswer:
    """The answer of `POST …/bring-back`: a BulkOperationResult with 200 or 207.

    Codes: `not_in_backup`, `invalid` (a value no longer fits its column), `parent_missing`, `parent_in_trash`,
    `conflict`, `purged`; with `fields` also `not_found` and `already_deleted`. BadRequestError for an entity that was
    not compared or is only read, and for fields that cannot be brought back; ConflictError and GoneError as
    `staging_of`.
    """
    staging = staging_of(run, now)
    declared = entity_named(request.entity, "entity")
    must_be_writable(declared)

    def work(connection: Connection) -> KeptAnswer:
        sides = compared_sides(connection, edit.tenant, staging, declared)
        columns = columns_back(sides, _checked(sides, request.fields))
        given, ids, cursor, remaining = _asked(connection, sides, request)
        returning = Returning(connection, edit, sides, request.on_conflict == "rename")
        # Who names a record may have back even what was deleted for good; who takes all of a kind does not mean it.
        gone = set[str]()
        if request.ids is None:
            since = parse_rfc3339(run.outcome.facts["backup_at"]) if run.outcome else now
            gone = purged_since(connection, edit.tenant, declared, [each for each in ids if each is not None], since)
        _bring_back(returning, ids, columns, gone, whole=request.fields is None)
        failures = returning.failures
        told = {
            "kind": "bring_back",
            "total": len(ids),
            "succeeded": len(ids) - len(failures),
            "failed": len(failures),
            "backup": run.uses,
        }
        append_staged(connection, edit, declared.name, told | _if_any("cascaded", returning.cascaded))
        return answer(
            edit.operation,
            declared,
            given,
            [failures[place].code if place in failures else None for place in range(len(ids))],
            returning.cascaded,
            remaining,
            sentences={place: failure.error for place, failure in failures.items() if failure.error},
            next_cursor=cursor if remaining else None,
        )

    route, body = f"POST backup/compare/{run.id}/bring-back", request.model_dump_json().encode()
    return edit.answer_once(route, body, work, again_on=retry_unique)


def _if_any(name: str, value: object) -> dict[str, object]:
    return {name: value} if value else {}


def _checked(sides: Sides, fields: Sequence[str] | None) -> Sequence[str] | None:
    """The fields of a request; BadRequestError for one that cannot be brought back."""
    known = [each.name for each in sides.fields]
    for place, name in enumerate(fields or ()):
        if name not in known or name in (fields or ())[:place]:
            message = "is named twice" if name in known else f"is not one of {', '.join(known)}"
            raise BadRequestError(f"{name!r} {message}.", details=[{"field": f"fields[{place}]", "message": message}])
    return fields


def _asked(
    connection: Connection, sides: Sides, request: BringBackRequest
) -> tuple[Sequence[str], list[str | None], str | None, int]:
    """The ids as the answer shows them, the raw ones, the cursor behind them and how many more there are."""
    if request.ids is not None:
        ids = held_ids(connection, read_ids(sides.entity, request.ids))
        _must_fit(connection, sides, [each for each in ids if each is not None])
        return request.ids, ids, None, 0
    with connection.transaction(force_rollback=True):  # which takes back its settings
        as_dumped(connection, TIME_ZONE)
        kind, after = str(request.kind), place_of(request.cursor)
        found, last, remaining = still_of_kind(connection, sides, kind, after, MOST_IDS)
        if (few := _how_many_fit(connection, sides, found)) < len(found):
            found, last, remaining = still_of_kind(connection, sides, kind, after, max(1, few))
            _must_fit(connection, sides, found)
    return [encode_id(each) for each in found], [*found], str(last), remaining


def _how_many_fit(connection: Connection, sides: Sides, ids: Sequence[str]) -> int:
    """How many of these records, from the first on, may come back at once."""
    sizes = sizes_backed_up(connection, sides, ids) if ids else {}
    return sum(size <= MOST_BYTES for size in accumulate(sizes.get(each, 0) for each in ids))


def _must_fit(connection: Connection, sides: Sides, ids: Sequence[str]) -> None:
    """TooLargeError where these records are too large to come back at once."""
    if _how_many_fit(connection, sides, ids) < len(ids):
        few = "Restore the backup beside the live schema" if len(ids) == 1 else "Bring back fewer at once"
        raise TooLargeError(f"In the backup these records have more than {MOST_BYTES // 1_000_000} MB. {few}.")


def _bring_back(
    returning: Returning, ids: Sequence[str | None], columns: list[str], gone: Collection[str], *, whole: bool
) -> None:
    connection, sides, declared = returning.connection, returning.sides, returning.entity
    known = [each for each in ids if each is not None]
    lock_for_restoring(connection, returning.edit.schema, declared, known)
    prepare_staging(connection)
    places = where_they_are(connection, returning.edit.schema, declared, known)
    records = read_backed_up(connection, sides, known)
    find_what_fits(connection, sides, records)
    insert, update, restore = dict[int, Item](), dict[int, Item](), dict[int, Item]()
    for place, each in enumerate(ids):
        record = records.get(each) if each is not None else None
        present = places.get(each) if each is not None else None
        needed = columns if present == "live" else None
        if each in gone:
            returning.failures[place] = Failure("purged", "", "")
            continue
        if failure := _failure(declared, record, present, needed, whole=whole):
            returning.failures[place] = failure
            continue
        assert record is not None, "else it has failed"
        changes = {column: record.item[column] for column in (declared.column("id"), *columns)}
        if present is None:
            insert[place] = record.item
        else:
            (update if present == "live" else restore)[place] = changes
    returning.insert(insert)
    returning.update(update, whole=whole)
    returning.restore(restore)


def _failure(
    declared: Entity, record: BackedUp | None, present: str | None, needed: list[str] | None, *, whole: bool
) -> Failure | None:
    """Why a record cannot come back, as far as that is known before it is tried. `needed`: columns, None for all."""
    if record is None:
        return Failure("not_in_backup", "", "")
    if not whole and present != "live":
        return Failure("not_found" if present is None else "already_deleted", "", "")
    misfits = [column for column in record.misfits if needed is None or column in needed]
    if misfits:
        field = next((each.name for each in declared.fields if each.column == misfits[0]), misfits[0])
        return Failure(
            "invalid", field, f"This {field} of the backup does not fit its column in the database any more."
        )
    return None
