"""The console's files: how they are served and kept, that nothing of them comes from elsewhere."""

import base64
import gzip
import hashlib
import json
import posixpath
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from stowage.aws import clients, objects
from stowage.entry import console, console_files
from tests.functions.deployment import deployed, handler, sample
from tests.structure.deployed_template import functions
from tests.structure.repository import ROOT

type Json = Any

FOLDER = ROOT / "console"
OURS = sorted(path for path in FOLDER.rglob("*") if path.suffix in (".js", ".css", ".html", ".svg"))
MODULES = [path for path in OURS if path.suffix == ".js" and path.parent.name != "vendor"]


@pytest.fixture(autouse=True)
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    console.policy.cache_clear()
    with deployed(monkeypatch):
        yield
    console.policy.cache_clear()


def ask(path: str = "", method: str = "GET", query: str = "", **headers: str) -> Json:
    """The handler's whole answer to somebody unknown."""
    event = sample("show_console")
    event["headers"], event["rawQueryString"] = headers, query
    route = "/console/{path+}" if path else "/console"
    if path:
        event["pathParameters"] = {"path": path}
    event["routeKey"] = f"{method} {route}"
    event["requestContext"]["http"]["method"] = method
    return handler("show_console")(event, None)


def body_of(answer: Json) -> bytes:
    return base64.b64decode(answer["body"])


def headers_of(answer: Json) -> dict[str, str]:
    return {name.lower(): value for name, value in answer["headers"].items()}


def asset(name: str) -> str:
    return f"{console_files.read_console().version}/{name}"


def test_every_path_without_an_extension_is_the_page() -> None:
    pages = [ask(), ask("runs", query="run=1&status=failed"), ask("tenants/acme"), ask("records/acme/posts/~aHR0cA")]
    assert {page["statusCode"] for page in pages} == {200}
    assert len({body_of(page) for page in pages}) == 1
    headers = headers_of(pages[0])
    assert headers["content-type"].startswith("text/html")
    assert headers["cache-control"] == "no-cache"


def test_what_the_page_is_made_of_is_served_under_the_hash_of_the_folder_for_ever() -> None:
    """Every file is in exactly one answer: the libraries, icon and page alone, the others joined."""
    served = console_files.read_console().assets
    for name in served.keys() - {"index.html"}:
        headers = headers_of(ask(asset(name)))
        assert headers["cache-control"] == "public, max-age=31536000, immutable"
        assert headers["x-content-type-options"] == "nosniff"
    for path in FOLDER.rglob("vendor/*.js"):
        assert body_of(ask(asset(f"vendor/{path.name}"))) == path.read_bytes()
    text = b"".join(each.body for each in served.values()).decode()
    for path in MODULES:
        assert text.count(f"// {path.relative_to(FOLDER).as_posix()}\n") == 1
    assert body_of(ask(asset("styles.css"))) == b"".join(
        (FOLDER / "styles" / f"{name}.css").read_bytes() for name in ("tokens", "shell", "parts", "pages")
    )


def test_files_that_are_joined_name_different_things() -> None:
    """One scope holds them all; and an import that renamed would find nothing there."""
    modules = {name for name in console_files.read_console().assets if name.endswith(".js")}
    for name, each in console_files.read_console().assets.items():
        if name.endswith(".js") and not name.startswith("vendor/"):
            text = each.body.decode()
            named = re.findall(r"^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)", text, re.MULTILINE)
            several = re.findall(r"^(?:export )?const \w+ = \w+, (.*);$", text, re.MULTILINE)
            imported = re.findall(r"^import \{(.*)\} from", text, re.MULTILINE)
            named += [each.split("=")[0].strip() for line in several + imported for each in line.split(",")]
            assert sorted(named) == sorted(set(named)), name
            assert not re.search(r"^import .* as .* from|^export default|^export .* from", text, re.MULTILINE), name
            imported = re.findall(r"""(?:from |import\()"([^"]+)\"""", text)
            assert {posixpath.normpath(posixpath.join(posixpath.dirname(name), each)) for each in imported} <= modules


OTHERS = (
    *("app.js", "0000/app.js", "assets/app.js", "index.html", "{}/lib/api.js", "{}/nothing.js"),
    *("{}/Makefile.md", "{}/../template.yaml", "{}/index.html", "{}/vendor/sources.json"),
)


@pytest.mark.parametrize("path", OTHERS)
def test_nothing_else_is_served(path: str) -> None:
    assert ask(path.format(console_files.read_console().version))["statusCode"] == 404


def test_who_has_it_already_is_told_so_and_head_says_what_get_would() -> None:
    for path in ("", asset("app.js")):
        given = ask(path)
        tag = headers_of(given)["etag"]
        again = ask(path, **{"if-none-match": tag})
        assert (again["statusCode"], again.get("body") or "") == (304, "")
        assert headers_of(ask(path, "HEAD"))["etag"] == tag
        packed = ask(path, **{"accept-encoding": "gzip, br"})
        assert headers_of(packed)["content-encoding"] == "gzip"
        assert gzip.decompress(body_of(packed)) == body_of(given)


def test_the_policy_lets_in_nothing_from_elsewhere_and_no_text_as_a_script() -> None:
    policy = dict(part.strip().partition(" ")[::2] for part in headers_of(ask())["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self'",
        "connect-src": "'self'", "form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'", "trusted-types": "'none'",
    }  # fmt: skip


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1"])
def test_files_may_go_where_upload_forms_send_them(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket's DomainName and RegionalDomainName, which the template names, are what forms are sent to."""
    for name, value in {"REGION": region, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}" if name != "REGION" else "AWS_DEFAULT_REGION", value)
    clients.s3.cache_clear()
    clients._session.cache_clear()
    form = urlsplit(objects.signed_post("uploads-1", "file", most_bytes=1, seconds=1)["url"])
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    assert form.netloc in (f"uploads-1.s3.{suffix}", f"uploads-1.s3.{region}.{suffix}")
    given = functions()["ShowConsoleFunction"]["Environment"]["Variables"]["STOWAGE_UPLOADS_ORIGINS"]
    assert given == "https://<UploadsBucket.DomainName> https://<UploadsBucket.RegionalDomainName>"
    clients.s3.cache_clear()
    clients._session.cache_clear()


def test_the_page_and_the_modules_name_only_files_that_are_there() -> None:
    text = body_of(ask()).decode()
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", text)
    for name in re.findall(r'(?:src|href)="([^"]+)"', text):
        if name != "/docs":
            assert ask(name.removeprefix("/console/"))["statusCode"] == 200, name
    for path in MODULES:
        for name in re.findall(r'(?:from|import\()\s*"([^"]+)"', path.read_text()):
            assert (path.parent / name).resolve().is_file(), f"{path}: {name}"


def test_no_module_writes_html_or_fetches_but_one() -> None:
    for path in MODULES:
        text = path.read_text()
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), path
        assert len(text.splitlines()) <= 300, path
        if path.name != "api.js":
            assert "fetch(" not in text, path
            assert "XMLHttpRequest" not in text, path


def test_the_whole_console_is_small() -> None:
    """The budget of a first view and of all files, gzipped (docs/console.md)."""
    assets = console_files.read_console().assets
    first = {name for name in assets if not name.startswith("pages/")} | {"pages/home.js", "pages/runs.js"}
    assert sum(len(assets[name].packed) for name in first) < 60_000
    assert len(first) <= 10
    assert sum(len(each.packed) for each in assets.values()) < 150_000


def test_what_is_not_ours_is_what_its_makers_published() -> None:
    vendor = FOLDER / "vendor"
    sources = json.loads((vendor / "sources.json").read_text())
    files = {name: told for source in sources for name, told in source["files"].items()}
    for name, told in files.items():
        text = (vendor / name).read_text()
        for was, now in [told["rewritten"]] if "rewritten" in told else []:
            assert text.count(now) == 1
            text = text.replace(now, was)
        assert hashlib.sha256(text.encode()).hexdigest() == told["sha256"], name
    assert {path.name for path in vendor.iterdir()} == {*files, "sources.json", "LICENSES.txt"}
    licences = (vendor / "LICENSES.txt").read_text()
    assert all(f"{source['package']} {source['version']}" in licences.lower() for source in sources)
    assert "The MIT License" in licences
    assert "Apache License" in licences


def test_every_failure_of_a_run_has_advice() -> None:
    section = (ROOT / "docs/operations.md").read_text().partition("## When a run fails")[2].partition("\n## ")[0]
    codes = {c for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for c in re.findall(r"`(\w+)`", row)}
    advised = set(re.findall(r'"([a-z0-9_]+)"', (FOLDER / "words/remedies.js").read_text()))
    assert len(codes) > 40
    assert codes - advised == set()
