"""Answers that would be too large say less: sentences go first, then what succeeded; never more than is delivered."""

import json
from typing import Any

import pytest

from stowage.basics.errors import TooLargeError
from stowage.basics.sizes import MOST_ANSWER_BYTES, is_deliverable
from stowage.bulk.results import answer
from stowage.entities.declared import ENTITIES

LAMBDA_BYTES = 6 * 1024 * 1024
"""What Lambda takes of an answer (AWS Lambda developer guide, "Quotas")."""


def as_lambda_sends_it(body: str) -> bytes:
    headers = {"content-type": "application/json", "ratelimit-remaining": "x" * 2000}
    return json.dumps({"statusCode": 207, "headers": headers, "body": body}, ensure_ascii=False).encode()


@pytest.mark.parametrize("text", ["x", "é", "😀", '"', "\\", '\\"', "\u2028", "\x7f"])
def test_what_is_deliverable_fits_into_lambdas_answer_with_its_escapes(text: str) -> None:
    def body(count: int) -> str:
        return json.dumps([text * count], ensure_ascii=False)

    fits, refused = 100_000, 5_000_000
    assert is_deliverable(body(fits))
    assert not is_deliverable(body(refused)), "no such text is that short"
    while refused - fits > 1_000:
        middle = (fits + refused) // 2
        fits, refused = (middle, refused) if is_deliverable(body(middle)) else (fits, middle)
    assert len(as_lambda_sends_it(body(fits))) <= LAMBDA_BYTES
    assert len(body(fits).encode()) <= MOST_ANSWER_BYTES
    assert len(as_lambda_sends_it(body(refused))) > 0.9 * MOST_ANSWER_BYTES, "refused too early"


def results(ids: list[str], codes: list[str | None]) -> Any:
    made = answer("op_1", ENTITIES["posts"], ids, codes, {})
    assert is_deliverable(made.body)
    return json.loads(made.body)


def test_sentences_go_first() -> None:
    ids = [f"https://x.example/{n:05}/{'p' * 400}" for n in range(10_000)]
    told = results(ids, ["not_found"] * 10_000)
    assert (told["total"], told["failed"], told["truncated"]) == (10_000, 10_000, True)
    assert told["results"][9_999] == {"id": ids[9_999], "status": "error", "code": "not_found"}


def test_then_what_succeeded_so_that_fifty_thousand_urls_can_be_undone() -> None:
    ids = [f"~{n:05}{'p' * 200}" for n in range(50_000)]
    codes: list[str | None] = [None] * 50_000
    codes[7] = codes[49_999] = "changed_since"
    told = results(ids, codes)
    assert (told["total"], told["succeeded"], told["failed"], told["truncated"]) == (50_000, 49_998, 2, True)
    assert [item["id"] for item in told["results"]] == [ids[7], ids[49_999]]


def test_ids_that_leave_no_room_are_refused_before_anything_is_committed() -> None:
    with pytest.raises(TooLargeError):
        answer("op_1", ENTITIES["posts"], ['"' * 320 + str(n) for n in range(10_000)], ["not_found"] * 10_000, {})
