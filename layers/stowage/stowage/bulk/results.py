"""What became of each id of a bulk request, as both mounts tell it (docs/api.md)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

from stowage.basics.errors import TooLargeError
from stowage.basics.sizes import is_deliverable
from stowage.entities.declaration import Entity
from stowage.postgres.session.idempotency import KeptAnswer

_SENTENCES = {
    "not_found": "There is no such {entity}.",
    "already_deleted": "This {entity} is in the trash already.",
    "conflict": "What this {entity} needs is taken, moved or gone by now.",
    "has_children": "Other records ({others}) still belong to this {entity}; move or delete them first.",
    "too_large": "Too many records would go along; delete fewer at once.",
    "changed_since": "This {entity} was changed since.",
    "purged": "This {entity} has been deleted for good.",
    "parent_in_trash": "What this {entity} belongs to is in the trash; restore that first.",
    "no_trash": "There is no trash for this {entity}, so what was made stays.",
    "not_in_backup": "The backup holds no such {entity}.",
}


class BulkResult(TypedDict):
    """What became of one id, in the form in which the request gave it."""

    id: str
    status: Literal["success", "error"]
    error: NotRequired[str]
    code: NotRequired[str]


class BulkOperationResult(TypedDict):
    """The answer of a bulk request; results are in its order.

    `truncated`: for their size they carry no sentences, or only those that failed are listed, or none. `remaining`: so
    many changes of an operation are still to be undone, by the same request; or so many records are still to be brought
    back, by the request with `next_cursor` as its cursor.
    """

    operationId: str
    total: int
    succeeded: int
    failed: int
    cascaded: NotRequired[dict[str, int]]
    truncated: NotRequired[bool]
    remaining: NotRequired[int]
    next_cursor: NotRequired[str]
    results: list[BulkResult]


def explain(codes: Iterable[str | None], declared: Entity) -> dict[str, str]:
    """The sentence for a person behind each of these codes."""
    found = {code: _SENTENCES[code] for code in {*codes} if code}
    others = " or ".join(_keeping(declared)) if "has_children" in found else ""
    return {code: sentence.format(entity=declared.singular, others=others) for code, sentence in found.items()}


def _keeping(declared: Entity) -> list[str]:
    """The entities whose records may keep one of this entity: those that refer to it, or to what would go along."""
    along = [child for child, _ in declared.children("cascade")]
    kinds = (("restrict", [declared, *along]), ("cascade", [*along, declared]))
    return list(dict.fromkeys(child.name for kind, of in kinds for each in of for child, _ in each.children(kind)))


def answer(
    operation: str,
    declared: Entity,
    given: Sequence[str],
    codes: Sequence[str | None],
    cascaded: Mapping[str, int],
    remaining: int = 0,
    *,
    must_list_failures: bool = True,
    sentences: Mapping[int, str] | None = None,
    next_cursor: str | None = None,
) -> KeptAnswer:
    """200, or 207 where any id failed, with a result for each; under 5 MB, with less where need be.

    TooLargeError where not even those that failed can be listed and they must be: fewer ids at once would do.
    `sentences` are what is told of some failures, by place, instead of what is told of their codes.
    """
    told, of_codes = sentences or {}, explain(codes, declared)
    failed = len(codes) - codes.count(None)
    result: BulkOperationResult = {
        "operationId": operation,
        "total": len(codes),
        "succeeded": len(codes) - failed,
        "failed": failed,
        "results": [
            _result(each, code, told.get(place) or (code and of_codes[code]))
            for place, (each, code) in enumerate(zip(given, codes, strict=True))
        ],
    }
    if cascaded:
        result["cascaded"] = dict(cascaded)
    if remaining:
        result["remaining"] = remaining
    if next_cursor:
        result["next_cursor"] = next_cursor
    return KeptAnswer(207 if failed else 200, _fitting(result, must_list_failures))


def _fitting(result: BulkOperationResult, must_list_failures: bool) -> str:
    """The result as JSON, with whatever keeps it under 5 MB: no sentences, then no successes, then no results."""
    body = _json(result)
    if is_deliverable(body):
        return body
    result["truncated"] = True
    for item in result["results"]:
        item.pop("error", None)
    for kept in (result["results"], [item for item in result["results"] if item["status"] == "error"]):
        result["results"] = kept
        body = _json(result)
        if is_deliverable(body):
            return body
    if must_list_failures:
        raise TooLargeError("These ids are too long for an answer that names each of them; send fewer at once.")
    result["results"] = []
    return _json(result)


def _result(given: str, code: str | None, sentence: str | None) -> BulkResult:
    if code is None:
        return {"id": given, "status": "success"}
    return {"id": given, "status": "error", "error": sentence or "", "code": code}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
