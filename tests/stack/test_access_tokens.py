"""Tokens: which are taken, from where, and what a caller learns of himself."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.conftest import Api, RunningStack
from tests.stack.route_surface import caller, refusal, sign

ME = "/api/v1/me"


def packed(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def good_claims() -> dict[str, Any]:
    return {"sub": "eve@example.com", "role": "admin", "tenants": ["acme2"], "exp": int(time.time()) + 600}


def unsigned(stack: RunningStack) -> str:
    return f"{packed({'alg': 'none', 'typ': 'JWT'})}.{packed(good_claims())}."


def unsigned_with_signature(stack: RunningStack) -> str:
    return unsigned(stack) + sign(stack).rpartition(".")[2]


def signed_by_somebody_else(stack: RunningStack) -> str:
    return jwt.encode(good_claims(), "k" * 64, algorithm="HS256")


def signed_by_an_rsa_key(stack: RunningStack) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(good_claims(), key, algorithm="RS256")


def rs256_in_name_hs256_in_deed(stack: RunningStack) -> str:
    head, body, _ = jwt.encode(good_claims(), stack.signing_key, algorithm="HS256").split(".")
    renamed = packed({"alg": "RS256", "typ": "JWT"})
    signature = jwt.get_algorithm_by_name("HS256").sign(f"{renamed}.{body}".encode(), stack.signing_key.encode())
    assert head != renamed
    return f"{renamed}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def by_another_hash(stack: RunningStack) -> str:
    return jwt.encode(good_claims(), stack.signing_key, algorithm="HS512")


def changed_after_signing(stack: RunningStack) -> str:
    head, _, signature = sign(stack, role="viewer").split(".")
    return f"{head}.{packed(good_claims())}.{signature}"


def expired(stack: RunningStack) -> str:
    return sign(stack, exp=int(time.time()) - 1)


def not_valid_yet(stack: RunningStack) -> str:
    return sign(stack, nbf=int(time.time()) + 600)


def without_expiry(stack: RunningStack) -> str:
    return sign(stack, exp=None)


def expiring_in_words(stack: RunningStack) -> str:
    return sign(stack, exp="tomorrow")


def expiring_beyond_time(stack: RunningStack) -> str:
    return sign(stack, exp=10**30)


def without_subject(stack: RunningStack) -> str:
    return sign(stack, sub=None)


def with_a_number_as_subject(stack: RunningStack) -> str:
    return sign(stack, sub=7)


def with_an_unknown_role(stack: RunningStack) -> str:
    return sign(stack, role="owner")


def with_a_list_of_unknown_roles(stack: RunningStack) -> str:
    return sign(stack, role=["staff", ["admin"]])


def with_tenants_as_text(stack: RunningStack) -> str:
    return sign(stack, tenants="*")


def garbage(stack: RunningStack) -> str:
    return "garbage"


def three_empty_parts(stack: RunningStack) -> str:
    return ".."


def a_key_that_nobody_has(stack: RunningStack) -> str:
    return "stw_0123456789abcdef"


BAD_TOKENS = (
    unsigned, unsigned_with_signature, signed_by_somebody_else, signed_by_an_rsa_key, rs256_in_name_hs256_in_deed,
    by_another_hash, changed_after_signing, expired, not_valid_yet, without_expiry, expiring_in_words,
    expiring_beyond_time, without_subject, with_a_number_as_subject, with_an_unknown_role, with_a_list_of_unknown_roles,
    with_tenants_as_text, garbage, three_empty_parts, a_key_that_nobody_has,
)  # fmt: skip


@pytest.mark.parametrize("make", BAD_TOKENS, ids=lambda make: make.__name__)
def test_a_token_is_refused(make: Callable[[RunningStack], str], stack: RunningStack, anonymous: Api) -> None:
    token = make(stack)
    for headers in ({"authorization": f"Bearer {token}"}, {"x-api-key": token}, {"cookie": f"auth_token={token}"}):
        response = anonymous.get(ME, headers=headers)
        body = refusal(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"
        assert token not in body["error"]


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "Bearer ", "token abc", "Negotiate"])
def test_an_authorization_header_of_another_kind_is_refused(value: str, stack: RunningStack, anonymous: Api) -> None:
    cookie = f"auth_token={stack.tokens['admin']}"
    refusal(anonymous.get(ME, headers={"authorization": value, "cookie": cookie}), 401, "unauthenticated")


def test_a_token_without_tenants_and_role_is_a_viewer_of_nothing(stack: RunningStack) -> None:
    with caller(stack, role=None, tenants=None) as nobody:
        me = nobody.get(ME).json()
        assert (me["role"], me["tenants"]) == ("viewer", [])
        assert nobody.get("/api/v1/tenants").json() == {"success": True, "data": []}
        assert nobody.get("/api/jobs").json() == {"data": [], "total": 0, "next_cursor": None}
        refusal(nobody.get("/api/guilds/acme2/exports"), 404, "tenant_not_found")
        refusal(nobody.get("/api/backup"), 400, "tenant_required")


def test_a_caller_learns_who_the_token_says_he_is(stack: RunningStack) -> None:
    with caller(stack, sub="eve@example.com", role="operator", tenants=["zoo", "acme2"], exp=4_102_444_800) as eve:
        assert eve.get(ME).json() == {
            "sub": "eve@example.com",
            "role": "operator",
            "tenants": ["acme2", "zoo"],
            "expiresAt": "2100-01-01T00:00:00.000Z",
        }


def test_a_header_counts_before_a_cookie(stack: RunningStack, anonymous: Api) -> None:
    viewer, admin = stack.tokens["viewer"], stack.tokens["admin"]
    both = {"authorization": f"Bearer {viewer}", "cookie": f"auth_token={admin}"}
    assert anonymous.get(ME, headers=both).json()["role"] == "viewer"
    key_and_cookie = {"x-api-key": viewer, "cookie": f"auth_token={admin}"}
    refusal(anonymous.get(ME, headers=key_and_cookie), 401, "unauthenticated")
    bad_header = {"authorization": "Bearer garbage", "cookie": f"auth_token={admin}"}
    refusal(anonymous.get(ME, headers=bad_header), 401, "unauthenticated")


def test_the_cookie_alone_is_enough_to_read(stack: RunningStack, anonymous: Api) -> None:
    cookie = f"theme=dark; auth_token={stack.tokens['operator']}; auth_token_old=1"
    assert anonymous.get(ME, headers={"cookie": cookie}).json()["role"] == "operator"


def test_the_scheme_is_read_whatever_its_case(stack: RunningStack, anonymous: Api) -> None:
    assert anonymous.get(ME, headers={"authorization": f"bearer {stack.tokens['admin']}"}).json()["role"] == "admin"


def test_tenants_are_those_of_the_token_that_exist(stack: RunningStack, other: Api) -> None:
    assert other.get("/api/v1/tenants").json() == {
        "success": True,
        "data": [{"id": "globex", "slug": "globex", "name": "Globex"}],
    }
    with caller(stack, tenants=["*"]) as everywhere:
        listed = [tenant["id"] for tenant in everywhere.get("/api/v1/tenants").json()["data"]]
        assert {"acme", "acme2", "acme_x", "globex", "initech", "zoo"} <= set(listed)
        assert everywhere.get("/api/guilds/globex/exports").status_code == 200
        refusal(everywhere.get("/api/guilds/nosuch/exports"), 404, "tenant_not_found")
    with caller(stack, tenants=["nosuch", "zoo"]) as partly:
        assert [tenant["id"] for tenant in partly.get("/api/v1/tenants").json()["data"]] == ["zoo"]
        refusal(partly.get("/api/guilds/nosuch/exports"), 404, "tenant_not_found")


def test_the_tenant_comes_from_the_request_then_the_header_then_the_token(stack: RunningStack, admin: Api) -> None:
    def first(response: Any) -> str:
        assert response.status_code == 200, response.text
        return str(response.json()["total"])

    refusal(admin.get("/api/backup"), 400, "tenant_required")
    refusal(admin.get("/api/backup?project_id="), 400, "tenant_required")
    named = first(admin.get("/api/backup?project_id=initech", headers={"x-tenant-id": "nosuch"}))
    assert named == first(admin.get("/api/backup", headers={"x-tenant-id": "initech"}))
    with caller(stack, tenants=["initech"]) as single:
        assert first(single.get("/api/backup")) == named
        refusal(single.get("/api/backup", headers={"x-tenant-id": "acme2"}), 404, "tenant_not_found")
    with caller(stack, tenants=["*"]) as everywhere:
        refusal(everywhere.get("/api/backup"), 400, "tenant_required")


def test_health_needs_no_credentials_and_looks_at_none(anonymous: Api) -> None:
    response = anonymous.get("/api/v1/health", headers={"authorization": "Bearer garbage"})
    assert response.status_code == 200
    assert response.json() in ({"status": "ok"}, {"status": "not_ok"}), "it looks at the tables of other tests too"
