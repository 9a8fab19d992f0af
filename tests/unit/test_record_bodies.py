"""Bodies of records: read once, every complaint by its index, the valid items whatever the others are."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.basics.errors import BadRequestError
from stowage.basics.sizes import MOST_ANSWER_BYTES
from stowage.entities.declared import ENTITIES
from stowage.records.answers import data_of, envelope, etag, fits, is_known, names
from stowage.records.bodies import read_body, read_items
from stowage.records.failures import find_duplicates
from stowage.records.models import changed_record, changed_records, new_record, new_records

TASK = {"title": "x"}
GOOD = st.fixed_dictionaries(
    {"title": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))},
    optional={"status": st.sampled_from(["todo", "completed"]), "description": st.none() | st.just("d")},
)
BAD = st.sampled_from([{}, {"title": 1}, {"title": "x", "y": 1}, {"title": "a\0"}, [], None, "x", 1.5])


@given(st.lists(GOOD | BAD, min_size=1, max_size=30))
def test_valid_items_keep_their_index_and_invalid_ones_have_a_complaint(sent: list[Any]) -> None:
    items = read_items(new_records(ENTITIES["tasks"]), json.dumps({"items": sent}).encode(), "items")
    assert items.total == len(sent)
    assert {index for index, _ in items.valid} | items.invalid.keys() == set(range(len(sent)))
    assert not {index for index, _ in items.valid} & items.invalid.keys()
    assert all(item == sent[index] for index, item in items.valid)
    for index, details in items.invalid.items():
        assert all(detail["field"].startswith(f"items[{index}]") for detail in details)
    assert items.sent() == sent


def test_fields_come_by_the_names_of_their_columns_and_only_where_they_were_sent() -> None:
    body = b'{"displayName": null, "brandId": "~YS9i"}'
    assert read_body(changed_record(ENTITIES["accounts"]), body) == {"display_name": None, "brand_id": "a/b"}


def test_a_new_record_may_bring_its_id_and_a_changed_one_may_not() -> None:
    assert read_body(new_record(ENTITIES["tasks"]), b'{"id": "~YS9i", "title": "x"}')["id"] == "a/b"
    with pytest.raises(BadRequestError) as refused:
        read_body(changed_record(ENTITIES["tasks"]), b'{"id": "x"}')
    assert refused.value.details == [{"field": "id", "message": "cannot be changed"}]


def test_an_update_without_an_id_refuses_the_body_and_a_bad_field_only_its_item() -> None:
    shape = changed_records(ENTITIES["tasks"])
    items = read_items(shape, b'{"updates": [{"id": "a", "title": 5}, {"id": "b"}]}', "updates", required=("id",))
    assert (items.valid, list(items.invalid)) == ([(1, {"id": "b"})], [0])
    for body in (b'{"updates": [{"title": "x"}]}', b'{"updates": ["a"]}', b'{"updates": [{"id": null}]}'):
        with pytest.raises(BadRequestError):
            read_items(shape, body, "updates", required=("id",))


def test_ten_thousand_and_one_items_are_too_many() -> None:
    for count, refused in ((10_000, False), (10_001, True)):
        body = json.dumps({"items": [TASK] * count}).encode()
        if refused:
            with pytest.raises(BadRequestError):
                read_items(new_records(ENTITIES["tasks"]), body, "items")
        else:
            assert read_items(new_records(ENTITIES["tasks"]), body, "items").total == count


def test_of_items_that_are_alike_the_first_is_good_and_a_duplicate_takes_nothing() -> None:
    rows = [
        {"id": "1", "platform": "x", "username": "a"},
        {"id": "1", "platform": "x", "username": "b"},
        {"id": "2", "platform": "x", "username": "b"},
        {"id": "3", "platform": "y", "username": "a"},
        {"id": "4", "platform": "x", "username": "a"},
    ]
    found = find_duplicates(ENTITIES["accounts"], enumerate(rows), "items")
    assert {index: failure.error for index, failure in found.items()} == {
        1: "items[0] has the same id.",
        4: "items[0] has the same platform and username.",
    }


UNREAD = {
    "nested": ("[" * 300 + "]" * 300, "The body is nested too deep; 200 levels are read."),
    "digits": ("9" * 5_000, "A number of the body has more than 4,300 digits."),
    "half an escape": (r'"\ud8"', "The body is not JSON."),
}


@pytest.mark.parametrize(("value", "told"), UNREAD.values(), ids=UNREAD.keys())
def test_a_body_that_cannot_be_read_is_told_why(value: str, told: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        read_body(changed_record(ENTITIES["tasks"]), f'{{"title": {value}}}'.encode())
    assert refused.value.message == told
    with pytest.raises(BadRequestError) as refused:
        read_items(new_records(ENTITIES["tasks"]), f'{{"items": [{{"title": {value}}}]}}'.encode(), "items")
    assert refused.value.message == told


@pytest.mark.parametrize(
    ("header", "matches", "known"),
    [('"a"', True, True), ('"b", "a"', True, True), ("*", True, True), ('W/"a"', False, True), ("a", False, False)],
)
def test_entity_tags_compare_strongly_for_changes_and_weakly_for_reading(
    header: str, matches: bool, known: bool
) -> None:
    assert names(header, '"a"') == matches
    assert is_known('"a"', header) == known


def test_an_answer_is_the_records_as_they_came_within_its_size() -> None:
    body = fits({"operationId": "op_1"}, "items", '{"id":"a"},{"id":"b"}', [{"index": 0}])
    assert body is not None
    assert json.loads(body) == {
        "success": True,
        "data": {"operationId": "op_1", "items": [{"id": "a"}, {"id": "b"}], "failures": [{"index": 0}]},
    }
    assert fits({}, "items", '"' + "x" * MOST_ANSWER_BYTES + '"', None) is None
    record = '{"id":"ü"}'
    assert data_of(envelope(record)) == record
    assert etag(record) != etag(record + " ")
