"""Import of up to 10,000 records in one request: all or nothing, or the good ones of them (docs/api.md)."""

from typing import Any

from pydantic_core import to_json

from stowage.access.identity import for_role
from stowage.basics.errors import BadRequestError, Detail
from stowage.basics.ids import encode_id
from stowage.entities.declaration import Entity
from stowage.postgres.edits.inserts import Row, insert_problems, insert_records, with_ids
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.idempotency import KeptAnswer
from stowage.postgres.session.savepoints import Refused
from stowage.records.answers import fits
from stowage.records.bodies import Items, read_items
from stowage.records.failures import Failure, explain, find_duplicates, invalid
from stowage.records.hooks import hooked_items
from stowage.records.models import defaults_of, holds_exact, new_records
from stowage.records.splitting import Found, Numbered, Told, Writing


@for_role("operator")
def import_items(edit: Edit, entity: Entity, body: bytes) -> KeptAnswer:
    """Save the items of a body and say which; 201.

    BadRequestError `invalid_items` with every complaint by index where one is not to be saved and `skipInvalid` was
    not asked for; then nothing is saved.
    """
    items = read_items(new_records(entity), body, "items", exactly=holds_exact(entity))
    items = hooked_items(entity, items, is_new=True)
    options = items.rest.get("options") or {}
    skips = bool(options.get("skipInvalid"))
    details = dict(items.invalid)
    failures = {index: invalid(complaints) for index, complaints in items.invalid.items()}

    def work(connection: Connection) -> KeptAnswer:
        rows = make_rows(connection, edit, entity, items)
        saving = _Saving(connection, edit, entity, "import", items.total)
        found = saving.write(rows)
        if (details or found) and not skips:
            raise _refusal(items, details, found)
        first = {index: complaints[0] for index, complaints in found.items()}
        key = entity.column("id")
        created = [row[key] for index, row in rows if index not in found]
        sent = items if options.get("returnFailures") else None
        return KeptAnswer(201, _answer(edit.operation, ",".join(saving.saved), created, failures | first, sent))

    return edit.answer_once(f"POST import/{entity.name}", body, work)


def make_rows(connection: Connection, edit: Edit, entity: Entity, items: Items) -> list[tuple[int, Row]]:
    """The valid items as rows, each with its index: defaults filled in, and ids where none was given."""
    defaults = defaults_of(entity)
    rows = with_ids(connection, edit, entity, [{**defaults, **item} for _, item in items.valid])
    return [(index, row) for (index, _), row in zip(items.valid, rows, strict=True)]


class _Saving(Writing[Row]):
    """New records; `saved` is the JSON of those that are saved."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.saved: list[str] = []

    def save(self, records: Numbered[Row], told: Told | None, places: list[int] | None) -> Refused | None:
        rows = [row for _, row in records]
        saved = insert_records(self.connection, self.edit, self.entity, rows, told, places=places)
        if isinstance(saved, Refused):
            return saved
        self.saved.append(saved)
        return None

    def judge(self, records: Numbered[Row]) -> Found | None:
        """What the database finds, then duplicates among the others."""
        rows = [row for _, row in records]
        problems = insert_problems(self.connection, self.edit.schema, self.entity, rows)
        if problems is None:
            return None
        found: Found = {}
        for problem in problems:
            found.setdefault(records[problem.n - 1][0], []).append(explain(self.entity, problem))
        others = [(index, row) for index, row in records if index not in found]
        duplicates = find_duplicates(self.entity, others, "items")
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


def _answer(operation: str, records: str, created: list[str], failures: dict[int, Failure], sent: Items | None) -> str:
    """The body, with the failures where they are asked for; within the size that an answer may have."""
    head: dict[str, Any] = {"operationId": operation, "created": len(created), "failed": len(failures)}
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
