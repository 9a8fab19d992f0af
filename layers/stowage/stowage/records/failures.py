"""Why one record of many could not be saved: a code for programs, a sentence for a person (docs/api.md)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stowage.basics.errors import BadRequestError, ConflictError, Detail, StowageError
from stowage.basics.sizes import MOST_CHANGED_BYTES
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.edits.rules import Problem
from stowage.postgres.session.savepoints import Refused
from stowage.postgres.session.violations import Violation, taken


@dataclass(frozen=True)
class Failure:
    """What stands in the way of one record; `field` is what it is about, empty for the record as a whole."""

    code: str
    field: str
    error: str


def invalid(details: Iterable[Detail]) -> Failure:
    """The failure of an item that is not one, all its complaints in one sentence."""
    told = [f"{detail['field'].rpartition('.')[2]}: {detail['message']}".removeprefix(": ") for detail in details]
    return Failure("invalid", "", "; ".join(told) + ".")


def explain(entity: Entity, problem: Problem) -> Failure:
    """What the database found, in words."""
    match problem.kind:
        case "id":
            return Failure("conflict", "id", f"There is a record in {entity.table} with this id, perhaps in the trash.")
        case "unique":
            rule = entity.unique[int(problem.about)]
            return Failure("conflict", rule[-1], f"Another {entity.singular} has this {' and '.join(rule)}.")
        case "reference":
            parent = _parent(entity, problem.about).singular
            return Failure("invalid_reference", problem.about, f"There is no {parent} with this id.")
        case "shared":
            other = _parent(entity, problem.about).singular
            agreed = next(each.agrees[0] for each in entity.references if each.field == problem.about)
            owner = next((ENTITIES[each.entity].singular for each in entity.references if each.field == agreed), agreed)
            return Failure("invalid_reference", problem.about, f"This {other} belongs to another {owner}.")
        case "followed":
            return Failure("has_children", "", f"It still has {problem.about}; move them first.")
        case "rule":
            violation = taken([problem.about], entity.table)
            return Failure(violation.code, "", violation.sentence)
        case "misfit" | "character":
            field = next((field for field in entity.fields if field.column == problem.about), None)
            name = field.name if field else problem.about
            if problem.kind == "character":
                told = f"This {name} holds a character that the tenant's database does not have in its encoding."
                return Failure("invalid", name, told)
            return Failure("invalid", name, f"This {name} does not fit its column in the database.")
        case "check":
            columns = problem.about.split(",")
            named = [field.name for field in entity.fields if field.column in columns]
            if not named:
                return Failure("invalid", "", f'The check "{problem.other}" of {entity.table} does not allow this.')
            are = "is" if len(named) == 1 else "are"
            told = f'This {" and ".join(named)} {are} not allowed by the check "{problem.other}" of {entity.table}.'
            return Failure("invalid", named[-1], told)


def explain_left(violation: Violation | None) -> Failure:
    """What can be told of a record that was left out although nothing is found against it."""
    return Failure(violation.code, "", violation.sentence) if violation else IN_THE_WAY


def explain_refusal(refused: Refused) -> Failure:
    """What can be told of a record that only the database itself refuses."""
    if refused.violation:
        return Failure(refused.violation.code, "", refused.violation.sentence)
    return IN_THE_WAY if refused.sqlstate == "23505" else NOT_ALLOWED


NOT_FOUND = Failure("not_found", "id", "There is no such record.")
IN_THE_WAY = Failure("conflict", "", "Another record stands in the way of this one.")
NOT_ALLOWED = Failure("invalid", "", "The database does not allow this record.")
TOO_LARGE = Failure(
    "too_large", "", f"This record has more than {MOST_CHANGED_BYTES // 1_000_000} MB; file imports change such ones."
)
NOT_TRIED = Failure(
    "not_tried", "", "The database refuses too many of these records to try each; send this one again with fewer."
)


def duplicate(index: int, fields: Iterable[str], key: str) -> Failure:
    """The failure of an item that is, in the fields of a rule, like an earlier one of the same request."""
    named = tuple(fields)
    return Failure("conflict", named[-1], f"{key}[{index}] has the same {' and '.join(named)}.")


def single(failures: list[Failure]) -> StowageError:
    """The refusal of the only record of a request."""
    details: list[Detail] = [
        {"field": failure.field, "message": failure.error[:1].lower() + failure.error[1:].rstrip(".")}
        for failure in failures
    ]
    first = failures[0]
    if all(failure.code in ("conflict", "has_children") for failure in failures):
        return ConflictError(first.error, first.code, details=details)
    first = next(failure for failure in failures if failure.code not in ("conflict", "has_children"))
    return BadRequestError(first.error, "invalid_request" if first.code == "invalid" else first.code, details=details)


def find_duplicates(
    entity: Entity, items: Iterable[tuple[int, dict[str, Any]]], key: str, *, whole: bool = True
) -> dict[int, Failure]:
    """The items that are like an earlier one which is none itself: same id (where `whole`), same unique fields."""
    seen: dict[tuple[Any, ...], int] = {}
    found: dict[int, Failure] = {}
    rules = [("id",), *entity.unique] if whole else list(entity.unique)
    columns = [tuple(entity.column(field) for field in rule) for rule in rules]
    for index, item in items:
        keys = [
            (n, *(item.get(column) for column in rule))
            for n, rule in enumerate(columns)
            if all(item.get(column) is not None for column in rule)
        ]
        earlier = next((known for known in keys if known in seen), None)
        if earlier is not None:
            found[index] = duplicate(seen[earlier], rules[earlier[0]], key)
        else:
            seen |= dict.fromkeys(keys, index)
    return found


def _parent(entity: Entity, field: str) -> Entity:
    return next(ENTITIES[reference.entity] for reference in entity.references if reference.field == field)
