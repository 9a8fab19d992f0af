"""Import of up to 10,000 records in one request: all or nothing, or the good ones of them (CONTRACT §3, Import)."""

from typing import Any

from pydantic_core import to_json

from stowage.basics.errors import BadRequestError, Detail
from stowage.basics.ids import encode_id, new_operation_id, new_record_ids
from stowage.entities.declaration import Entity
from stowage.postgres.edits.inserts import Author, Row, insert_problems, insert_records
from stowage.postgres.journal.changes import append_changes
from stowage.postgres.journal.operations import summary
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.idempotency import KeptAnswer, keep, replayed
from stowage.postgres.session.savepoints import Refused
from stowage.postgres.session.transactions import transact
from stowage.records.answers import fits
from stowage.records.bodies import Items, read_items
from stowage.records.failures import Failure, explain, find_duplicates, invalid
from stowage.records.models import defaults_of, new_records
from stowage.records.requests import WriteRequest
from stowage.records.splitting import Found, Numbered, write_what_can_be


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
        records, found = _Saving(connection, author, entity, items.total).save(rows)
        if (details or found) and not skips:
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

    def __init__(self, connection: Connection, author: Author, entity: Entity, total: int) -> None:
        self._connection, self._author, self._entity, self._total = connection, author, entity, total
        self._saved: list[str] = []

    def save(self, rows: Numbered[Row]) -> tuple[str, Found]:
        """The JSON of the rows that were saved, and why the others were not."""
        found = write_what_can_be(rows, self._write, self._judge)
        author, saved = self._author, len(rows) - len(found)
        whole = summary(
            author.operation, "import", self._entity.name, author.actor, author.at, total=self._total, succeeded=saved
        )
        append_changes(self._connection, author.tenant, [whole])
        return ",".join(self._saved), found

    def _write(self, rows: Numbered[Row]) -> Refused | None:
        saved = insert_records(self._connection, self._author, self._entity, [row for _, row in rows])
        if isinstance(saved, Refused):
            return saved
        self._saved.append(saved)
        return None

    def _judge(self, rows: Numbered[Row]) -> Found | None:
        """What the database finds, then duplicates among the others."""
        problems = insert_problems(self._connection, self._author.schema, self._entity, [row for _, row in rows])
        if problems is None:
            return None
        found: Found = {}
        for problem in problems:
            found.setdefault(rows[problem.n - 1][0], []).append(explain(self._entity, problem))
        others = [(index, row) for index, row in rows if index not in found]
        duplicates = find_duplicates(self._entity, others, "items")
        return found | {index: [failure] for index, failure in duplicates.items()}


def _refusal(items: Items, invalid_items: dict[int, list[Detail]], found: Found) -> BadRequestError:
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
