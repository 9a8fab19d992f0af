"""The API's document and its page: who reads them, how they are cached, that nothing comes from elsewhere."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stowage.entities.declared import ENTITIES
from stowage.entry.document import page
from tests.functions.deployment import deployed, handler, sample, token

type Json = Any

ASSETS = Path(page.__file__).with_name("assets")
PARTS = ("start.js", "swagger-ui.css", "swagger-ui-bundle.js")


@pytest.fixture(autouse=True)
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with deployed(monkeypatch):
        yield


def ask(name: str, *, method: str = "GET", part: str | None = None, **headers: str) -> Json:
    """A handler's whole answer to somebody unknown."""
    event = sample(name)
    event["headers"] = headers
    if part is not None:
        event["routeKey"], event["pathParameters"] = "GET /docs/{file}", {"file": part}
    event["routeKey"] = event["routeKey"].replace("GET", method)
    event["requestContext"]["http"]["method"] = method
    return handler(name)(event, None)


def body_of(answer: Json) -> bytes:
    body = answer["body"]
    return base64.b64decode(body) if answer["isBase64Encoded"] else body.encode()


def header(answer: Json, name: str) -> str | None:
    found = {key.lower(): value for key, value in answer.get("headers", {}).items()}
    found |= {key.lower(): value[0] for key, value in answer.get("multiValueHeaders", {}).items()}
    return found.get(name)


def test_everybody_may_read_the_document() -> None:
    answer = ask("get_openapi")
    assert (answer["statusCode"], header(answer, "content-type")) == (200, "application/json")
    found = json.loads(body_of(answer))
    assert found["openapi"].startswith("3.1.")
    assert found["components"]["parameters"]["entity"]["schema"]["enum"] == list(ENTITIES)
    assert {"/api/v1/{entity}", "/api/v1/openapi.json", "/docs"} <= set(found["paths"])


def test_the_document_is_compressed_for_those_who_can_read_it() -> None:
    plain, packed = ask("get_openapi"), ask("get_openapi", **{"accept-encoding": "br, gzip"})
    assert header(packed, "content-encoding") == "gzip"
    assert gzip.decompress(body_of(packed)) == body_of(plain)
    assert len(body_of(packed)) < len(body_of(plain)) / 4
    assert "Accept-Encoding" in str(header(plain, "vary"))


@pytest.mark.parametrize(
    ("name", "part"), [("get_openapi", None), ("show_docs", None), *(("show_docs", p) for p in PARTS)]
)
def test_who_has_it_already_is_told_so(name: str, part: str | None) -> None:
    first = ask(name, part=part)
    tag = header(first, "etag")
    assert tag
    assert header(first, "cache-control") == "no-cache"
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = ask(name, part=part, **{"if-none-match": given})
        assert (again["statusCode"], again.get("body") or "", header(again, "etag")) == (304, "", tag)
    assert ask(name, part=part, **{"if-none-match": '"other"'})["statusCode"] == 200


@pytest.mark.parametrize(("name", "part"), [("get_openapi", None), ("show_docs", None), ("show_docs", PARTS[0])])
def test_head_says_what_get_would(name: str, part: str | None) -> None:
    get, head = ask(name, part=part), ask(name, part=part, method="HEAD")
    assert head["statusCode"] == 200
    for each in ("etag", "content-type", "cache-control"):
        assert header(head, each) == header(get, each)


@pytest.mark.parametrize(("name", "part"), [("get_openapi", None), ("show_docs", None), ("show_docs", PARTS[0])])
def test_a_deployment_may_ask_for_credentials(name: str, part: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    with deployed(monkeypatch, OPENAPI_PUBLIC="false"):
        answer = ask(name, part=part)
        assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (401, "unauthenticated")
        for method in ("GET", "HEAD"):
            seen = ask(name, part=part, method=method, authorization=f"Bearer {token(role='viewer', tenants=[])}")
            assert seen["statusCode"] == 200


@pytest.mark.parametrize("part", [None, *PARTS])
def test_every_part_of_the_page_comes_from_here_under_a_strict_policy(part: str | None) -> None:
    answer = ask("show_docs", part=part)
    assert answer["statusCode"] == 200
    policy = str(header(answer, "content-security-policy"))
    assert "default-src 'none'" in policy
    assert not any(each in policy for each in ("unsafe", "http", "*"))
    assert header(answer, "x-content-type-options") == "nosniff"


def test_the_page_names_nothing_but_parts_that_are_there_and_has_no_script_of_its_own() -> None:
    text = body_of(ask("show_docs")).decode()
    named = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert {each.rpartition("/")[2] for each in named if each.startswith("/docs/")} == set(PARTS)
    assert all(each.startswith(("/docs/", "/api/v1/openapi.json", "data:")) for each in named)
    assert re.findall(r"<script(?![^>]*src=)|<style|style=|onload=", text) == []


@pytest.mark.parametrize(
    "part", ["", "nothing.js", "sources.json", "../page.py", "swagger-ui.css.gz", "index.html/", "."]
)
def test_nothing_else_is_served(part: str) -> None:
    answer = ask("show_docs", part=part)
    assert answer["statusCode"] == 404


@pytest.mark.parametrize("part", PARTS[1:])
def test_a_compressed_part_is_given_to_everybody(part: str) -> None:
    plain, packed = ask("show_docs", part=part), ask("show_docs", part=part, **{"accept-encoding": "gzip"})
    assert header(packed, "content-encoding") == "gzip"
    assert header(plain, "content-encoding") is None
    assert gzip.decompress(body_of(packed)) == body_of(plain)


def test_what_is_not_ours_is_what_its_maker_published() -> None:
    sources = json.loads((ASSETS / "sources.json").read_text())
    for name, digest in sources["sha256"].items():
        kept = ASSETS / f"{name}.gz"
        raw = gzip.decompress(kept.read_bytes()) if kept.exists() else (ASSETS / name).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == digest, name
    ours = {"index.html", "start.js", "sources.json"}
    assert {path.name.removesuffix(".gz") for path in ASSETS.iterdir()} == ours | set(sources["sha256"])
    assert "Apache License" in (ASSETS / "swagger-ui.LICENSE.txt").read_text()
