"""Records that the database refuses without naming them: who is found, with how many statements."""

from collections.abc import Sequence
from math import ceil, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.postgres.session.savepoints import Refused
from stowage.records import splitting
from stowage.records.failures import NOT_ALLOWED, NOT_FOUND, NOT_TRIED, Failure
from stowage.records.splitting import Found, Numbered, write_what_can_be


class Table:
    """Takes what is not bad, all at once or nothing of it; `known` are those of which it can be said why."""

    def __init__(self, bad: Sequence[int], known: Sequence[int] = ()) -> None:
        self.bad, self.known = {*bad, *known}, set(known)
        self.rows: list[int] = []
        self.tries = 0
        self.are_all: list[bool] = []

    def write(self, records: Numbered[str], are_all: bool) -> Refused | None:
        self.tries += 1
        self.are_all.append(are_all)
        if any(index in self.bad for index, _ in records):
            return Refused("P0001")
        self.rows += [index for index, _ in records]
        return None

    def judge(self, records: Numbered[str]) -> Found | None:
        return {index: [NOT_FOUND] for index, _ in records if index in self.known}


@given(st.integers(1, 200), st.sets(st.integers(0, 199)), st.sets(st.integers(0, 199)))
def test_all_but_the_bad_are_written_in_their_order(count: int, bad: set[int], known: set[int]) -> None:
    bad, known = ({n for n in some if n < count} for some in (bad, known))
    table = Table(sorted(bad), sorted(known))
    found = write_what_can_be([(n, "record") for n in range(count)], table.write, table.judge)
    expected: dict[int, list[Failure]] = {key: [NOT_ALLOWED] for key in bad - known}
    assert found == expected | {key: [NOT_FOUND] for key in known}
    assert table.rows == [n for n in range(count) if n not in found]
    assert table.tries <= 2 + 4 * len(bad - known) * ceil(log(count, 4) + 1)


def test_what_cannot_be_judged_together_is_judged_apart() -> None:
    table = Table([1], known=[5])

    def judge(records: Numbered[str]) -> Found | None:
        return None if len(records) > 2 else table.judge(records)

    found = write_what_can_be([(n, "record") for n in range(8)], table.write, judge)
    assert found == {1: [NOT_ALLOWED], 5: [NOT_FOUND]}


def test_numbers_that_a_refusal_names_are_left_out_at_once() -> None:
    answers = [Refused("23505", (1, 3)), None]
    found = write_what_can_be([(n, "record") for n in (10, 20, 30)], lambda *_: answers.pop(0), lambda _: {})
    assert [(index, failure.code) for index, (failure,) in found.items()] == [(10, "conflict"), (30, "conflict")]
    assert not answers


def test_after_its_time_the_rest_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "SPLITTING_SECONDS", -1)
    table = Table([3])
    found = write_what_can_be([(n, "record") for n in range(8)], table.write, table.judge)
    assert (table.tries, table.rows) == (1, [])
    assert found == {key: [NOT_TRIED] for key in range(8)}
