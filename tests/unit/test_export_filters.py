"""Filters: what is taken, what is dropped, and what is refused with which words."""

from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from stowage.basics.errors import BadRequestError
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.entities.filters import Filters, parse_filters


def test_null_empty_and_missing_filters_are_dropped() -> None:
    assert parse_filters("accounts", {"platform": None, "status": "", "brandId": [], "search": None}) == Filters()
    assert parse_filters("accounts", None) == Filters()
    assert parse_filters("accounts", {"ids": [None, ""], "brandId": [""], "createdAfter": ""}) == Filters()
    assert parse_filters("accounts", {"platform": [None, ""], "status": ","}).any_of == (("status", (",",)),)


def test_a_comma_separates_and_the_whole_is_a_value_too() -> None:
    assert parse_filters("brands", {"label": "Pine, Oak"}).any_of == (("label", ("Pine", "Oak", "Pine, Oak")),)
    assert parse_filters("brands", {"label": ["Pine, Oak"]}).any_of == (("label", ("Pine, Oak",)),)


def test_ids_are_decoded_and_also_taken_as_they_are() -> None:
    assert parse_filters("posts", {"ids": ["~aHR0cHM6Ly94"]}).ids == ("~aHR0cHM6Ly94", "https://x")
    assert parse_filters("posts", {"accountId": "acc_1"}).any_of == (("accountId", ("acc_1",)),)


def test_moments_are_rfc_3339_or_a_date() -> None:
    filters = parse_filters("posts", {"createdAfter": "2026-01-31", "createdBefore": "2026-02-01T01:00:00+01:00"})
    assert filters.created_after == datetime(2026, 1, 31, tzinfo=UTC)
    assert filters.created_before == datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("data_type", "raw", "field", "message"),
    [
        ("posts", {"username": "x"}, "filters.username", "expected one of id, accountId, url"),
        ("posts", {"username": "x"}, "filters.username", "platform, brandId, groupId, accountGroupId, search"),
        ("tasks", {"accountGroupId": "x"}, "filters.accountGroupId", "expected one of id, title"),
        ("audit", {"platform": "x"}, "filters.platform", "expected one of actor"),
        ("posts", {"endDate": "tomorrow"}, "filters.endDate", "RFC 3339"),
        ("posts", {"endDate": "9999-12-31"}, "filters.endDate", "before the end of the year 9999"),
        ("brands", {"deleted_at": "x"}, "filters.deleted_at", "expected one of id, label, search"),
        ("tasks", {"status": "todo,later"}, "filters.status", "expected one of todo, in_progress, completed"),
        ("posts", {"createdAfter": "yesterday"}, "filters.createdAfter", "RFC 3339"),
        ("posts", {"createdAfter": 5}, "filters.createdAfter", "RFC 3339"),
        ("posts", {"search": "a\0b"}, "filters.search", "NUL"),
        ("posts", {"ids": [{"a": 1}]}, "filters.ids", "a text"),
        ("audit", {"before": "x"}, "filters.before", "expected one of actor"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused_by_name(
    data_type: str, raw: dict[str, object], field: str, message: str
) -> None:
    with pytest.raises(BadRequestError) as raised:
        parse_filters(data_type, raw)
    assert raised.value.details is not None
    assert raised.value.details[0]["field"] == field
    assert message in raised.value.details[0]["message"]


def test_a_field_of_a_record_that_is_referred_to_is_read_as_that_records_field() -> None:
    found = parse_filters("posts", {"platform": "x, y", "brandId": "brd_1", "accountGroupId": ["grp_1"], "likes": 5})
    [reference] = ENTITIES["posts"].references
    assert found.any_of == (("likes", (5,)),)
    assert found.of_others == (
        (reference, "platform", ("x", "y", "x, y")),
        (reference, "brandId", ("brd_1",)),
        (reference, "groupId", ("grp_1",)),
    )
    assert parse_filters("accounts", {"accountGroupId": "grp_1"}).any_of == (("groupId", ("grp_1",)),)


def test_what_references_declare_as_filters_are_filters_of_those_records() -> None:
    for entity in ENTITIES.values():
        for reference in entity.references:
            assert set(reference.filters) <= set(ENTITIES[reference.entity].filters)


@pytest.mark.parametrize("data_type", ["posts", "audit"])
def test_start_and_end_are_the_first_and_the_last_that_are_taken(data_type: str) -> None:
    days = parse_filters(data_type, {"startDate": "2026-01-31", "endDate": "2026-01-31"})
    assert days.created_after == datetime(2026, 1, 31, tzinfo=UTC)
    assert days.created_before == datetime(2026, 2, 1, tzinfo=UTC)
    moments = parse_filters(data_type, {"endDate": "2026-01-31T23:59:59.999Z"})
    assert moments.created_before == datetime(2026, 1, 31, 23, 59, 59, 999_001, tzinfo=UTC)


def test_of_two_beginnings_and_ends_the_narrower_count() -> None:
    both = {
        "startDate": "2026-01-02",
        "createdAfter": "2026-01-01",
        "endDate": "2026-01-09",
        "createdBefore": "2026-01-20",
    }
    found = parse_filters("posts", both)
    assert (found.created_after, found.created_before) == (
        datetime(2026, 1, 2, tzinfo=UTC),
        datetime(2026, 1, 10, tzinfo=UTC),
    )


def test_every_bad_filter_is_told() -> None:
    with pytest.raises(BadRequestError) as raised:
        parse_filters("posts", {"one": 1, "two": 2, "search": "fine"})
    assert [detail["field"] for detail in raised.value.details or []] == ["filters.one", "filters.two"]


class Thing(BaseModel):
    """What an adopter's own table may hold beside the types of ours."""

    label: str
    weight: float | None = None
    isFragile: bool = False
    count: int = 0


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> None:
    """A declared entity with numbers and truth values."""
    monkeypatch.setitem(ENTITIES, "things", Entity("things", "thing", "things", Thing, label="label", id_prefix="thg_"))


@pytest.mark.usefixtures("things")
@pytest.mark.parametrize(
    ("field", "given", "values"),
    [
        ("weight", "1.5, -2,.5,1e3", (1.5, -2.0, 0.5, 1000.0)),
        ("weight", [1, 2.5, "3"], (1.0, 2.5, 3.0)),
        ("isFragile", "true", (True,)),
        ("isFragile", "true,false", (True, False)),
        ("isFragile", False, (False,)),
        ("count", "+5,-7,007", (5, -7, 7)),
        ("count", [1, 2.0, "3"], (1, 2, 3)),
    ],
)
def test_numbers_and_truth_values_are_read_as_such(field: str, given: object, values: tuple[object, ...]) -> None:
    ((found, read),) = parse_filters("things", {field: given}).any_of
    assert (found, read) == (field, values)
    assert [type(value) for value in read] == [type(value) for value in values]


@pytest.mark.usefixtures("things")
@pytest.mark.parametrize(
    ("field", "given", "message"),
    [
        *[("weight", value, "expected a number") for value in ("1_0", "٣", "nan", "inf", "1e999", ".", True)],
        ("weight", 10**400, "expected a text, a number of at most 38 digits, true, false or a list of them"),
        *[("isFragile", value, "expected true or false") for value in ("yes", "True", "1", 1, 0.0)],
        *[("count", value, "expected a whole number") for value in ("1_000", "٣", "1.0", "1e3", "9" * 5000, True, 2.5)],
    ],
)
def test_what_is_no_number_or_truth_value_is_refused(field: str, given: object, message: str) -> None:
    with pytest.raises(BadRequestError) as raised:
        parse_filters("things", {field: given})
    assert raised.value.details == [{"field": f"filters.{field}", "message": message}]
