"""Up to 20 requests of record routes in one call (docs/api.md, Batch)."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic_core import from_json, to_json

from stowage.basics.errors import StowageError, UnavailableError
from stowage.basics.json_numbers import write_json
from stowage.basics.sizes import is_deliverable, too_large_record
from stowage.batch.requests import BatchPart, filled, in_order, needs, read_batch
from stowage.batch.routes import Told, run, sent
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.transactions import REQUEST_SECONDS

LEAST_SECONDS = 1.0
"""A part that could not have as long as this is not begun."""
ROOM = 50_000
"""Bytes of an answer that are kept for parts whose own would not fit."""
LONGEST_FACT = 300


class FailedDependencyError(StowageError):
    """A request of a batch was not run, since one that it depends on did not go well."""

    status = 424
    code = "failed_dependency"


def answer_batch(edit: Edit, raw: bytes, refuse: Callable[[Exception], Told]) -> str:
    """Run the parts of a body one after another, each a transaction of its own, and give the JSON of the answer.

    `edit` says for whom; with its key each part has one of its own. `refuse` makes a part's status and
    body of what was raised, so a failing part never fails the others. BadRequestError for a body that
    is no batch, before anything is run.
    """
    parts = read_batch(raw)
    deadline = time.monotonic() + REQUEST_SECONDS
    told: dict[str, Told] = {}
    size = ""
    for part in in_order(parts):
        try:
            told[part.id] = _fitting(part, _run(edit, part, told, deadline - time.monotonic()), size)
        except Exception as error:
            told[part.id] = refuse(error)
        size += told[part.id][1]
    listed = [f'{{"id":"{part.id}","status":{told[part.id][0]},"body":{told[part.id][1]}}}' for part in parts]
    return f'{{"success":true,"responses":[{",".join(listed)}]}}'


def _run(edit: Edit, part: BatchPart, told: dict[str, Told], seconds: float) -> Told:
    failed = [name for name in needs(part) if told[name][0] >= 400]
    if failed:
        raise FailedDependencyError(f"Not run: {failed[0]} did not go well.")
    if seconds < LEAST_SECONDS:
        raise UnavailableError("The batch has taken its time: send this request again.", retry_after=1)
    answers = {name: from_json(told[name][1]) for name in needs(part)}
    path = "/".join(str(filled(segment, answers)) for segment in part.path.split("/"))
    body = None if part.body is None else write_json(filled(part.body, answers)).encode()
    key = edit.key and f"{edit.key} {part.id}"
    return run(sent(replace(edit.anew(), key=key, seconds=seconds), part.method, path, body))


def _fitting(part: BatchPart, answer: Told, size: str) -> Told:
    """The answer if it fits beside the others. What was changed stays so: then its short facts are told alone."""
    status, body = answer
    if is_deliverable(size + body + " " * ROOM):
        return answer
    if part.method == "GET":
        raise too_large_record()
    facts: Any = {
        name: value
        for name, value in from_json(body).items()
        if isinstance(value, int) or (isinstance(value, str) and len(value) <= LONGEST_FACT)
    }
    return status, to_json(facts | {"truncated": True}).decode()
