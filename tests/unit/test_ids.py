"""Ids: what a path survives, and in which order runs sort."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.basics.ids import decode_id, encode_id, is_run_id, new_run_id, parse_rfc3339, rfc3339

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


@given(st.text(min_size=1))
def test_every_id_survives_the_path_and_comes_back(raw: str) -> None:
    assert re.fullmatch(r"~?[A-Za-z0-9._=-]+", encode_id(raw))
    assert decode_id(encode_id(raw)) == raw


@pytest.mark.parametrize("raw", ["https://x.example/p?id=1#a", "~tilde", "a/b", "%2F", "é", " "])
def test_an_id_that_a_path_would_not_survive_is_encoded(raw: str) -> None:
    assert encode_id(raw).startswith("~")


def test_a_plain_id_stays_as_it_is() -> None:
    assert encode_id("acc_01.x-Y") == "acc_01.x-Y"


def test_runs_sort_by_the_time_of_their_creation() -> None:
    ids = [new_run_id(NOW + timedelta(milliseconds=n)) for n in range(50)]
    assert ids == sorted(ids)
    assert all(map(is_run_id, ids))


@pytest.mark.parametrize("given_id", ["", "nope", "../x", "0193476E-5A00-7C3A-9B1E-2F6D8C4B7A10"])
def test_what_is_no_run_id_is_told_from_one(given_id: str) -> None:
    assert not is_run_id(given_id)


@given(st.integers(0, 7_000_000_000_000_000))
def test_times_are_kept_to_the_millisecond_and_sort_as_text(microseconds: int) -> None:
    when = datetime(1971, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    assert abs(parse_rfc3339(rfc3339(when)) - when) < timedelta(milliseconds=1)
    assert rfc3339(when) < rfc3339(when + timedelta(seconds=1))
