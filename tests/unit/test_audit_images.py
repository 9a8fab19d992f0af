"""Images of records in the audit log: fields as the API names and shows them, and nothing else."""

import json
from typing import Any

import pytest

from stowage.audit.images import show_image
from stowage.entities.declaration import Entity, Field, FieldType, Reference

ENTITY = Entity(
    "things",
    "thing",
    "things",
    None,
    label="id",
    own=(
        Field("parentId", "parent_id", "integer"),
        Field("price", "price", "numeric"),
        Field("prices", "prices", "numeric", is_array=True),
        Field("size", "size", "number"),
        Field("sizes", "sizes", "number", is_array=True),
        Field("counts", "counts", "integer", is_array=True),
        Field("seenAt", "seen_at", "timestamp"),
        Field("localAt", "local_at", "local_timestamp"),
        Field("file", "file", "bytes"),
        Field("files", "files", "bytes", is_array=True),
        Field("facts", "facts", "json"),
        Field("words", "words", "text"),
        Field("range", "range", "other"),
    ),
    references=(Reference("parentId", "tasks", "keep"),),
)


def image(**columns: str) -> Any:
    return json.loads(show_image(ENTITY, columns), parse_float=str)


@pytest.mark.parametrize(
    ("column", "kept", "field", "shown"),
    [
        ("id", '"a/b"', "id", "~YS9i"),
        ("id", "7", "id", "7"),
        ("parent_id", "12", "parentId", "12"),
        ("parent_id", "null", "parentId", None),
        ("price", "1.10", "price", "1.10"),
        ("price", "12345678901234567890.123456789", "price", "12345678901234567890.123456789"),
        ("price", '"NaN"', "price", "NaN"),
        ("prices", "[1.10, null, 2]", "prices", ["1.10", None, "2"]),
        ("size", '"-Infinity"', "size", "-Infinity"),
        ("sizes", "[1, 2.5]", "sizes", [1, "2.5"]),
        ("counts", "[[1, 2], [3, 4]]", "counts", [[1, 2], [3, 4]]),
        ("seen_at", '"2024-05-06T07:08:09+00:00"', "seenAt", "2024-05-06T07:08:09.000Z"),
        ("seen_at", '"2024-05-06T07:08:09.1+00:00"', "seenAt", "2024-05-06T07:08:09.100Z"),
        ("seen_at", '"2024-05-06T07:08:09.123456+00:00"', "seenAt", "2024-05-06T07:08:09.123456Z"),
        ("seen_at", '"0044-03-15T12:00:00+00:00 BC"', "seenAt", "0044-03-15 12:00:00+00 BC"),
        ("seen_at", '"infinity"', "seenAt", "infinity"),
        ("local_at", '"2024-05-06T07:08:09.5"', "localAt", "2024-05-06T07:08:09.500000"),
        ("file", '"\\\\x00ff"', "file", "AP8="),
        ("files", '["\\\\x00ff", null]', "files", ["AP8=", None]),
        ("facts", '{"a": 1}', "facts", {"a": 1}),
        ("words", '"\\"é\\u0001"', "words", '"é\x01'),
        ("range", '"[1,5)"', "range", "[1,5)"),
    ],
)
def test_values_are_shown_as_the_record_shows_them(column: str, kept: str, field: str, shown: object) -> None:
    assert image(**{column: kept}) == {field: shown}


def test_numbers_within_json_keep_their_digits() -> None:
    assert show_image(ENTITY, {"facts": '{"n": 1.00000000000000000001}'}) == '{"facts": {"n": 1.00000000000000000001}}'


def test_only_declared_fields_are_shown_and_none_where_there_is_no_image() -> None:
    assert image(words='"a"', password='"secret"', deleted_at='"x"') == {"words": "a"}
    assert show_image(ENTITY, None) == show_image(ENTITY, {"$sha256": '"00"'}) == "null"


def test_a_column_that_was_of_another_type_then_is_shown_as_it_was_kept() -> None:
    types: tuple[FieldType, ...] = ("timestamp", "bytes", "numeric", "text")
    for kind in types:
        entity = Entity("things", "thing", "things", None, label="id", own=(Field("it", "it", kind),))
        for kept in ("true", '"words"', "{}", "[1]"):
            assert json.loads(show_image(entity, {"it": kept})) == {"it": json.loads(kept)}
