"""Import of up to 10,000 records in one request: all or nothing, or the good ones of them (CONTRACT §3, Import)."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from stowage.entities import Entity
from stowage.errors import BadRequestError, Detail, UnavailableError
from stowage.ids import encode_id, new_operation_id, new_record_ids
from stowage.postgres.connection import Connection
from stowage.postgres.idempotency import KeptAnswer, keep, replayed
from stowage.postgres.imports import Author, Row, insert_problems, insert_records
from stowage.postgres.journal import append_changes
from stowage.postgres.operations import summary
from stowage.postgres.transactions import transact
from stowage.records.answers import fits
from stowage.records.bodies import Items, read_items
from stowage.records.failures import IN_THE_WAY, Failure, explain, find_duplicates, invalid
from stowage.records.models import defaults_of, new_records
from stowage.records.requests import WriteRequest

_ATTEMPTS = 3


def import_items(request: WriteRequest, entity: Entity) -> KeptAnswer:
    """Save the items of a body and say which; 201.

    BadRequestError `invalid_items` with every complaint by index where one is not to be saved and `skipInvalid` was
    not asked for; then nothing is saved.
    """
    items = read_items(new_records(entity), request.body, "items")
    options = items.rest.get("options") or {}
    skips = bool(options.get("skipInvalid"))
    rows = make_rows(request, entity, items)
    details = dict(items.invalid)
    failures = {index: invalid(complaints) for index, complaints in items.invalid.items()}

    def work(connection: Connection) -> KeptAnswer:
        if kept := replayed(connection, request.key):
            return kept
        author = request.author(new_operation_id(request.now))
        saving = _Saving(connection, author, entity, rows, items.total)
        if failures and not skips:
            raise _refusal(items, details, saving.problems())
        records, found = saving.save(skips=skips)
        if found and not skips:
            raise _refusal(items, details, found)
        first = {index: complaints[0] for index, complaints in found.items()}
        created = [row["id"] for index, row in rows if index not in found]
        answer = KeptAnswer(
            201, _answer(author, records, created, failures | first, items if options.get("returnFailures") else None)
        )
        keep(connection, request.key, answer.status, answer.body)
        return answer

    return transact(request.tenant.database, work)


def make_rows(request: WriteRequest, entity: Entity, items: Items) -> list[tuple[int, Row]]:
    """The valid items as rows, each with its index: defaults filled in, and ids where none was given."""
    defaults = defaults_of(entity)
    ids = new_record_ids(entity.id_prefix, len(items.valid), request.now)
    return [
        (index, {"id": record_id, **defaults, **item})
        for (index, item), record_id in zip(items.valid, ids, strict=True)
    ]


class _Saving:
    """The rows of one request on their way into the table."""

    def __init__(
        self,
        connection: Connection,
        author: Author,
        entity: Entity,
        rows: Sequence[tuple[int, Row]],
        total: int,
    ) -> None:
        self._connection, self._author, self._entity = connection, author, entity
        self._rows, self._total = rows, total

    def save(self, *, skips: bool) -> tuple[str, dict[int, list[Failure]]]:
        """The JSON of the rows that were saved, and why the others were not. Without `skips` none is where one fails.

        Most requests have nothing wrong with them, so all are tried at once and only then asked about.
        """
        failures: dict[int, list[Failure]] = {}
        for _ in range(_ATTEMPTS):
            good = [(index, row) for index, row in self._rows if index not in failures]
            records, missing = self._attempt(good)
            if records is not None:
                return records, failures
            found = self.problems()
            if found.keys() <= failures.keys():
                # What the declaration does not know of, or what was there for a moment.
                found = {good[n - 1][0]: [IN_THE_WAY] for n in missing}
            failures |= found
            if not skips:
                return "", failures
        raise UnavailableError("Others are changing these records at the moment.", "database_busy", retry_after=2)

    def _attempt(self, good: Sequence[tuple[int, Row]]) -> tuple[str | None, Sequence[int]]:
        told = {"kind": "import", "total": self._total, "succeeded": len(good), "failed": self._total - len(good)}
        rows = [row for _, row in good]
        if not rows:
            append_changes(self._connection, self._author.tenant, [self._nothing_saved()])
            return "", ()
        inserted = insert_records(self._connection, self._author, self._entity, rows, told)
        return (None, inserted.missing) if inserted.missing else (inserted.records, ())

    def _nothing_saved(self) -> Any:
        author = self._author
        return summary(
            author.operation, "import", self._entity.name, author.actor, author.at, total=self._total, succeeded=0
        )

    def problems(self) -> dict[int, list[Failure]]:
        """Why rows cannot be saved, by index: what the database finds, then duplicates among the others."""
        found: dict[int, list[Failure]] = defaultdict(list)
        rows = [row for _, row in self._rows]
        if rows:
            for problem in insert_problems(self._connection, self._author.schema, self._entity, rows):
                found[self._rows[problem.n - 1][0]].append(explain(self._entity, problem))
        others = [(index, row) for index, row in self._rows if index not in found]
        for index, failure in find_duplicates(self._entity, others, "items").items():
            found[index].append(failure)
        return dict(found)


def _refusal(items: Items, invalid_items: dict[int, list[Detail]], found: dict[int, list[Failure]]) -> BadRequestError:
    """The 400 that names everything that is wrong, in the order of the items."""
    details: list[Detail] = []
    for index in sorted(invalid_items.keys() | found.keys()):
        details += invalid_items.get(index, [])
        details += [
            {
                "field": f"items[{index}].{failure.field}".rstrip("."),
                "message": failure.error[:1].lower() + failure.error[1:].rstrip("."),
            }
            for failure in found.get(index, [])
        ]
    failed = len(invalid_items.keys() | found.keys())
    what = "The item is" if items.total == 1 else f"{failed:,} of the {items.total:,} items are"
    return BadRequestError(f"{what} not as they must be; nothing was saved.", "invalid_items", details=details)


def _answer(author: Author, records: str, created: list[str], failures: dict[int, Failure], sent: Items | None) -> str:
    """The body, with the failures where they are asked for; within the size that an answer may have."""
    head: dict[str, Any] = {"operationId": author.operation, "created": len(created), "failed": len(failures)}
    listed: list[dict[str, Any]] | None = None
    if sent is not None:
        given = sent.sent()
        listed = [
            {"index": index, "item": given[index], "code": failure.code, "error": failure.error}
            for index, failure in sorted(failures.items())
        ]
    body = fits(head, "items", records, listed)
    if body is not None:
        return body
    for failure in listed or []:
        failure.pop("item")
        failure.pop("error")
    short = to_json([{"id": encode_id(record_id)} for record_id in created]).decode()[1:-1]
    head["truncated"] = True
    # Long ids may grow beyond the limit by their encoding alone; the operation still names what it made.
    body = fits(head, "items", short, listed) or fits(head, "items", "", listed)
    assert body is not None, "10,000 indices and codes"
    return body
