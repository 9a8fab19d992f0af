"""The session cookie, and that a cookie alone changes nothing for a page of somebody else's."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from tests.conftest import Api, RunningStack
from tests.stack.route_surface import UNKNOWN_RUN, export_body, fields, refusal, sign

LISTED = "http://localhost:3000"
FOREIGN = (
    {},
    {"origin": "https://evil.example.com"},
    {"origin": "null"},
    {"origin": "http://["},
    {"origin": "http://localhost:3000.evil.example.com"},
    {"origin": "https://localhost:3000"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"origin": "https://evil.example.com", "sec-fetch-site": "same-origin"},
)


@pytest.fixture
def by_cookie(stack: RunningStack, abroad: Api) -> Api:
    """An admin of every sample tenant, by cookie alone, from a page of any site."""
    abroad.headers["cookie"] = f"auth_token={stack.tokens['admin']}"
    return abroad


def total(api: Api) -> int:
    return int(api.get("/api/guilds/initech/exports").json()["pagination"]["total"])


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_change_by_cookie_from_elsewhere_is_refused(headers: dict[str, str], by_cookie: Api) -> None:
    before = total(by_cookie)
    response = by_cookie.post("/api/guilds/initech/exports", json=export_body(), headers=headers)
    refusal(response, 403, "foreign_origin")
    refusal(by_cookie.delete(f"/api/guilds/initech/exports/{UNKNOWN_RUN}", headers=headers), 403, "foreign_origin")
    refusal(by_cookie.post(f"/api/jobs/{UNKNOWN_RUN}/cancel", headers=headers), 403, "foreign_origin")
    assert total(by_cookie) == before


def test_a_change_by_cookie_from_our_own_pages_is_taken(stack: RunningStack, anonymous: Api) -> None:
    cookie = {"cookie": f"auth_token={stack.tokens['admin']}"}
    for page in ({"origin": stack.api_url}, {"origin": LISTED}, {"sec-fetch-site": "same-origin"}):
        refusal(anonymous.post(f"/api/jobs/{UNKNOWN_RUN}/cancel", headers=cookie | page), 404, "not_found")


def test_reading_by_cookie_needs_no_origin(by_cookie: Api) -> None:
    for headers in FOREIGN:
        assert by_cookie.get("/api/v1/me", headers=headers).status_code == 200


def test_a_change_by_header_needs_no_origin(stack: RunningStack, abroad: Api) -> None:
    headers = {"origin": "https://evil.example.com", "authorization": f"Bearer {stack.tokens['admin']}"}
    refusal(abroad.post(f"/api/jobs/{UNKNOWN_RUN}/cancel", headers=headers), 404, "not_found")


def test_a_session_is_a_cookie_that_scripts_cannot_read(stack: RunningStack, anonymous: Api) -> None:
    expires = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
    token = sign(stack, sub="eve@example.com", role="operator", tenants=["zoo"], exp=int(expires.timestamp()))
    response = anonymous.post("/api/session", json={"token": token})
    assert response.status_code == 200
    assert response.json() == {
        "sub": "eve@example.com",
        "role": "operator",
        "tenants": ["zoo"],
        "expiresAt": "2027-01-02T03:04:05.000Z",
    }
    cookie, *attributes = response.headers["set-cookie"].split("; ")
    assert cookie == f"auth_token={token}"
    given = {name.lower(): value for name, _, value in (attribute.partition("=") for attribute in attributes)}
    assert parsedate_to_datetime(given.pop("expires")) == expires
    assert given == {"path": "/", "secure": "", "httponly": "", "samesite": "Lax"}


def test_the_cookie_of_a_session_signs_in(stack: RunningStack, anonymous: Api) -> None:
    response = anonymous.post("/api/session", json={"token": stack.tokens["viewer"]})
    cookie = response.headers["set-cookie"].split(";")[0]
    assert anonymous.get("/api/v1/me", headers={"cookie": cookie}).json()["role"] == "viewer"


def test_signing_out_clears_the_cookie_also_without_a_session(anonymous: Api) -> None:
    response = anonymous.delete("/api/session")
    assert (response.status_code, response.content) == (204, b"")
    cookie, *attributes = response.headers["set-cookie"].split("; ")
    assert cookie == "auth_token="
    given = {attribute.partition("=")[0].lower(): attribute.partition("=")[2] for attribute in attributes}
    assert given == {"path": "/", "max-age": "0", "secure": "", "httponly": "", "samesite": "Lax"}


@pytest.mark.parametrize("token", ["", "garbage", "stw_unknown", "..", "a" * 5000])
def test_what_is_no_token_makes_no_session(token: str, anonymous: Api) -> None:
    response = anonymous.post("/api/session", json={"token": token})
    refusal(response, 401, "unauthenticated")
    assert "set-cookie" not in response.headers


def test_an_expired_token_makes_no_session(stack: RunningStack, anonymous: Api) -> None:
    response = anonymous.post("/api/session", json={"token": sign(stack, exp=1)})
    refusal(response, 401, "unauthenticated")
    assert "set-cookie" not in response.headers


def test_a_session_takes_a_token_and_nothing_else(stack: RunningStack, anonymous: Api) -> None:
    body = refusal(anonymous.post("/api/session", json={"token": 7, "next": "/"}), 400, "invalid_request")
    assert fields(body) == ["token", "next"]
    assert fields(refusal(anonymous.post("/api/session", json={}), 400, "invalid_request")) == ["token"]


def test_a_foreign_page_can_neither_sign_in_nor_out(stack: RunningStack, abroad: Api) -> None:
    headers = {"origin": "https://evil.example.com"}
    for response in (
        abroad.post("/api/session", json={"token": stack.tokens["admin"]}, headers=headers),
        abroad.delete("/api/session", headers=headers),
    ):
        refusal(response, 403, "foreign_origin")
        assert "set-cookie" not in response.headers
    signed_in = abroad.post("/api/session", json={"token": stack.tokens["admin"]}, headers={"origin": LISTED})
    assert signed_in.status_code == 200
