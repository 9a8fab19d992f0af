"""What is refused at the door: callers whom no journal could name, keys that are none, bodies that are not UTF-8."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from stowage.entry.http import _LONE, base_url, is_own_origin
from tests.functions.deployment import answer, deployed, sample, token

Json = Any


@pytest.fixture(autouse=True)
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with deployed(monkeypatch):
        yield


def me(**headers: str) -> tuple[int, Json]:
    """What `GET /api/v1/me` answers to these headers alone."""
    event = sample("get_me")
    event["headers"] = headers
    return answer("get_me", event)


WRITABLE = ["a", "a" * 200, "Ada Lovelace", "ädä|😀", "\u2028", "\ufffd", "auth0|5f7c", "a\u00a0b"]
UNWRITABLE = ["", "\0", "a\0b", "a\n", "\x1f", "\x7f", "\x80", "\x9f", "\ud800", "a\udfff", "\udc00\ud800", "a" * 201]


@pytest.mark.parametrize("sub", WRITABLE, ids=ascii)
def test_a_caller_may_have_any_name_that_can_be_written(sub: str) -> None:
    status, body = me(authorization=f"Bearer {token(sub=sub)}")
    assert (status, body["sub"]) == (200, sub)


@pytest.mark.parametrize("sub", UNWRITABLE, ids=lambda sub: ascii(sub[:10]))
def test_a_caller_whom_no_journal_could_name_is_refused(sub: str) -> None:
    status, body = me(authorization=f"Bearer {token(sub=sub)}")
    assert (status, body["code"]) == (401, "unauthenticated"), body


@pytest.mark.parametrize("tenant", [each for each in UNWRITABLE if 0 < len(each) < 9], ids=ascii)
def test_a_tenant_that_no_registry_could_name_is_refused(tenant: str) -> None:
    for tenants in ([tenant], ["acme", tenant], ["*", tenant]):
        status, body = me(authorization=f"Bearer {token(tenants=tenants)}")
        assert (status, body["code"]) == (401, "unauthenticated"), body


NOT_TENANTS = [
    [None], [True], [5], [1.5], [["acme"]], [{}], [{"id": "acme"}], ["acme", None], ["*", 5], [["*"]], [[]],
    "acme", "*", None, 5, True, {}, {"acme": True},
]  # fmt: skip


@pytest.mark.parametrize("tenants", NOT_TENANTS, ids=repr)
def test_a_token_whose_tenants_are_no_list_of_texts_is_refused(tenants: Json) -> None:
    status, body = me(authorization=f"Bearer {token(tenants=tenants)}")
    assert (status, body["code"]) == (401, "unauthenticated"), body


def test_a_token_names_as_many_tenants_as_it_likes() -> None:
    for tenants in ([], ["acme"], ["acme", "acme"], ["None", "5", "*"]):
        assert me(authorization=f"Bearer {token(tenants=tenants)}")[1]["tenants"] == sorted(set(tenants))


@pytest.mark.parametrize("given", [token, lambda: f" {token()}", lambda: "garbage", lambda: "", lambda: "stw_nobody"])
def test_the_header_for_keys_takes_keys_of_ours_alone(given: Any) -> None:
    for headers in ({}, {"cookie": "auth_token=x"}):
        status, body = me(**headers, **{"x-api-key": given()})
        assert (status, body["code"]) == (401, "unauthenticated"), body
    event = sample("get_me")
    event["headers"] = {"x-api-key": given()}
    event["cookies"] = [f"auth_token={token()}"]
    assert answer("get_me", event)[0] == 401, "the header counts before the cookie"


def test_an_authorization_header_counts_before_the_header_for_keys() -> None:
    assert me(authorization=f"Bearer {token()}", **{"x-api-key": "garbage"})[0] == 200


NOT_UTF8 = [
    b"\xff", b"\x80", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80", b"\xed\xb0\x80",
    b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"M\xfcller", b"\xef\xbf", b"\xfe\xff\0a", b"\xef\xbf\xbd\xff",
    b"\xf0\x9f",
]  # fmt: skip
WITH_BODY = ["create_export", "create_record", "update_record", "bulk_delete", "import_records", "create_backup"]


@pytest.mark.parametrize("raw", NOT_UTF8, ids=repr)
@pytest.mark.parametrize("name", WITH_BODY)
def test_a_body_that_is_not_utf8_is_refused(name: str, raw: bytes) -> None:
    event = sample(name)
    body = b'{"title": "' + raw + b'"}'
    event["headers"] |= {"content-type": "application/json", "content-length": str(len(body))}
    event["body"] = body.decode("utf-8", "replace")  # as the gateway gives JSON
    status, refused = answer(name, event)
    assert (status, refused["code"], refused["error"]) == (400, "invalid_request", "The body is not UTF-8."), refused


@pytest.mark.parametrize("raw", [*NOT_UTF8, b"\xf0\x9f\x98", b"\xf4\x8f\xbf", b"a\xf0\x90\x80b"], ids=repr)
@pytest.mark.parametrize("name", WITH_BODY)
def test_a_body_that_is_not_utf8_is_refused_as_a_gateway_gives_bytes_too(name: str, raw: bytes) -> None:
    event = sample(name)
    event["headers"] |= {"content-type": "application/json"}
    event |= {"body": base64.b64encode(b'{"title": "' + raw + b'"}').decode(), "isBase64Encoded": True}
    status, refused = answer(name, event)
    assert (status, refused["code"], refused["error"]) == (400, "invalid_request", "The body is not UTF-8."), refused


def test_a_replacement_character_that_was_sent_is_a_character_like_others() -> None:
    event = sample("create_session")
    body = json.dumps({"token": "\ufffd"}, ensure_ascii=False)
    event["headers"] |= {"content-type": "application/json", "content-length": str(len(body.encode()))}
    event["body"] = body
    assert answer("create_session", event)[0] == 401
    del event["headers"]["content-length"]
    assert answer("create_session", event)[0] == 400, "nobody can tell whether it was sent"


BEFORE_TABLES = ["create_export", "bulk_delete", "create_backup"]
"""Handlers that read a body before they look for its tenant."""


@pytest.mark.parametrize("is_base64", [False, True])
@pytest.mark.parametrize("name", BEFORE_TABLES)
def test_a_byte_order_mark_before_a_body_is_none_of_its_characters(name: str, is_base64: bool) -> None:
    event = sample(name)
    event["headers"] |= {"content-type": "application/json"}
    for body, told in (("\ufeff{", "The body is not JSON."), ("\ufeff[]", "Send a JSON object."),
                       ("\ufeff\ufeff{}", "The body is not JSON.")):  # fmt: skip
        given = base64.b64encode(body.encode()).decode() if is_base64 else body
        status, refused = answer(name, event | {"body": given, "isBase64Encoded": is_base64})
        assert (status, refused["error"]) == (400, told), body
    body = '\ufeff{"nonsense": 1}'
    given = base64.b64encode(body.encode()).decode() if is_base64 else body
    status, refused = answer(name, event | {"body": given, "isBase64Encoded": is_base64})
    assert (status, "nonsense" in {detail["field"] for detail in refused["details"]}) == (400, True), refused


LONE = [r"\ud800", r"\uDFFF", r"a\udc00\ud800", r"\ud83d\u0041", r"\ud83d \ude00", r"\\\ud800", r"\ud800\ud83d\ude00"]
NOT_LONE = [r"\ud83d\ude00", r"\\ud800", r"\\\\udc00", r"\uD83D\uDE00\n", r"\ud7ff", r"\ue000", "ud800"]


@pytest.mark.parametrize("name", WITH_BODY)
def test_half_a_character_is_named_as_what_it_is(name: str) -> None:
    event = sample(name)
    event["headers"] |= {"content-type": "application/json"}
    for text in LONE:
        for body in (f'{{"a": "{text}"}}', f'{{"{text}": 1}}', f'{{"a": ["{text}"]}}'):
            status, refused = answer(name, event | {"body": body})
            assert (status, refused["code"]) == (400, "invalid_request"), body
            assert "half a surrogate pair" in refused["error"], body
    for text in NOT_LONE:
        status, refused = answer(name, event | {"body": f'{{"nonsense": "{text}"}}'})
        assert (status, "surrogate" in refused["error"]) == (400, False), text


UNREAD = {
    "nested": ('{"a": ' + "[" * 300 + "]" * 300 + "}", "The body is nested too deep; 200 levels are read."),
    "digits": ('{"a": ' + "9" * 5_000 + "}", "A number of the body has more than 4,300 digits."),
    "NaN": ('{"a": NaN}', "The body is not JSON."),
    "a comma": ('{"a": 1,}', "The body is not JSON."),
    "half an escape": (r'{"a": "\ud8"}', "The body is not JSON."),
    "cut": ('{"a": "', "The body is not JSON."),
}


@pytest.mark.parametrize(("body", "told"), UNREAD.values(), ids=UNREAD.keys())
@pytest.mark.parametrize("name", BEFORE_TABLES)
def test_what_is_wrong_with_a_body_is_told_as_it_is(name: str, body: str, told: str) -> None:
    event = sample(name)
    event["headers"] |= {"content-type": "application/json"}
    status, refused = answer(name, event | {"body": body})
    assert (status, refused["error"]) == (400, told)


def test_long_bodies_are_looked_through_at_once() -> None:
    began = time.process_time()
    for text in ("\\" * 4_000_000, r"\ud83d\ude00" * 300_000, "\\u" * 2_000_000, "a" * 4_000_000):
        assert not _LONE.match(text)
    assert time.process_time() - began < 3


@pytest.mark.parametrize("name", ["get_me", "list_jobs", "update_record", "create_export", "refuse_unknown_route"])
def test_a_refusal_has_its_sentence_under_both_names(name: str) -> None:
    event = sample(name) | {"cookies": []}
    event["headers"].pop("authorization", None)
    _, body = answer(name, event)
    assert body["message"] == body["error"] != ""


HOSTS = ["evil.example", "evil.example:443", "stowage.example.com@evil.example", "127.0.0.1", ""]


@pytest.mark.parametrize("host", HOSTS)
def test_our_links_lead_to_the_deployment_whatever_the_host_header_says(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = sample("get_export")
    event["headers"] |= {"host": host, "x-forwarded-host": host, "forwarded": f"host={host}"}
    assert base_url(event) == "https://stowage.example.com"
    event["headers"]["x-forwarded-proto"] = "http"
    assert base_url(event) == "http://stowage.example.com"
    event["headers"]["x-forwarded-proto"] = "gopher"
    assert base_url(event) == "https://stowage.example.com"
    with deployed(monkeypatch, PUBLIC_URL="https://data.example.com"):
        assert base_url(event) == "https://data.example.com"


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("https://stowage.example.com", True),
        ("https://data.example.com", True),
        ("https://app.example.com", True),
        ("https://evil.example", False),
        ("http://data.example.com", False),
        ("https://data.example.com.evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_a_page_is_ours_by_the_gateways_name_the_public_one_or_the_list(
    origin: str, is_own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with deployed(monkeypatch, PUBLIC_URL="https://data.example.com", CONSOLE_ORIGINS="https://app.example.com"):
        event = sample("delete_export")
        event["headers"] |= {"origin": origin, "host": "evil.example"}
        assert is_own_origin(event) is is_own
    with deployed(monkeypatch):
        event["headers"] |= {"origin": ""}
        assert not is_own_origin(event)
