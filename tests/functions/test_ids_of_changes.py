"""The path of a change names a record in the form in which answers do: another may have been cut on its way."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator

import pytest

from stowage.basics.ids import encode_id
from tests.functions.deployment import answer, changing, deployed, sample

RAW = [
    "https://t.example/p/1",
    "https://t.example/p/1#x",
    "https://t.example/p/1%3Fx=2",
    "https%3A%2F%2Ft.example%2Fp%2F1",
    "abc?",
    "?x=2",
    "?",
    "#",
    "/",
    "a/b",
    "a%2Fb",
    "a b",
    "a+b",
    "é",
    "\N{GRINNING FACE}",
    "\ufffd",
    "~",
    "~tilde",
    "~YWJj",
    "~YS9i=",
    "~YS9j\n",
    "~_w",
    ".",
    "..",
    "a\0",
    "abc\n",
    "a;b",
    "a:b",
    "a@b",
]
"""What a raw, cut, doubly encoded or wrongly encoded id looks like once the gateway has decoded the path."""


@pytest.fixture(autouse=True)
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with deployed(monkeypatch):
        yield


def test_the_handlers_that_change_what_a_path_names_are_found() -> None:
    assert {"delete_trash_item", "restore_trash_item", "delete_record", "update_record"} <= set(changing())


@pytest.mark.parametrize("given", RAW, ids=ascii)
@pytest.mark.parametrize("name", changing())
def test_a_change_is_refused_where_the_path_has_no_emitted_id(name: str, given: str) -> None:
    event = sample(name)
    (parameter,) = set(event["pathParameters"]) - {"guildId", "entity"}
    event["pathParameters"][parameter] = given
    status, body = answer(name, event)
    assert (status, body["code"]) == (400, "encode_id"), body
    assert "base64url" in body["error"]
    assert [detail["field"] for detail in body["details"]] == [parameter]


@pytest.mark.parametrize("given", RAW, ids=ascii)
@pytest.mark.parametrize("name", ["delete_trash_item", "restore_trash_item", "cancel_export", "delete_export"])
def test_a_backends_record_is_not_changed_where_the_path_may_have_been_cut(
    name: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with deployed(monkeypatch, BACKEND_API_URL="http://127.0.0.1:1"):
        for parameter in sample(name)["pathParameters"]:
            event = sample(name)
            event["pathParameters"][parameter] = given
            status, body = answer(name, event)
            assert (status, body["code"]) == (400, "encode_id"), body


@pytest.mark.parametrize("given", [encode_id("https://t.example/p/1?x=2"), encode_id("~"), "abc", "a.b-c_d", "..."])
def test_an_emitted_id_goes_on_to_the_backend(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with deployed(monkeypatch, BACKEND_API_URL="http://127.0.0.1:1"):  # where nobody listens
        event = sample("delete_trash_item")
        event["pathParameters"]["itemId"] = given
        status, body = answer("delete_trash_item", event)
        assert (status, body["code"]) == (502, "upstream_unreachable")


def test_a_refusal_does_not_tell_the_encoded_form_of_what_may_be_another_record() -> None:
    event = sample("delete_trash_item")
    event["pathParameters"]["itemId"] = "https://t.example/p/1"
    _, body = answer("delete_trash_item", event)
    assert urlsafe_b64encode(b"https://t.example/p/1").decode().rstrip("=") not in body["error"]
