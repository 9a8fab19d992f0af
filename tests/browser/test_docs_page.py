"""The page that shows the API's document works whole under its own strict policy, and calls nobody else."""

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import RunningStack

WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
    violations.push(event.violatedDirective + ' ' + event.blockedURI);
});
"""


class Watched:
    """A page with what it asked for and what went wrong on it."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page, self.origin = page, origin
        self.asked: list[str] = []
        self.wrong: list[str] = []
        page.add_init_script(WATCH)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))

    def is_clean(self) -> bool:
        strangers = [url for url in self.asked if not url.startswith((self.origin, "data:"))]
        assert strangers == []
        assert self.page.evaluate("violations") == []
        assert self.wrong == []
        return True


@pytest.fixture(scope="module")
def docs(browser: Browser, stack: RunningStack) -> Iterator[Watched]:
    """The page, drawn once: it takes seconds."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    watched = Watched(context.new_page(), stack.api_url)
    answer = watched.page.goto(f"{stack.api_url}/docs")
    assert answer is not None
    assert answer.status == 200
    watched.page.wait_for_selector(".opblock-tag")
    yield watched
    context.close()


def picture(page: Page, name: str) -> None:
    """A screenshot, where somebody wants to look (STOWAGE_SCREENSHOTS names a folder)."""
    if folder := os.environ.get("STOWAGE_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_it_shows_every_tag_and_the_routes_of_one(docs: Watched) -> None:
    page = docs.page
    assert page.inner_text(".info .title").startswith("Stowage")
    tags = [re.split(r"\s", text)[0] for text in page.locator(".opblock-tag").all_inner_texts()]
    assert {"exports", "bulk", "trash", "backups", "jobs", "records", "imports", "access", "service"} <= set(tags)
    page.click("#operations-tag-exports")
    page.wait_for_selector("#operations-exports-create_export")
    picture(page, "docs")
    page.click("#operations-exports-create_export .opblock-summary-control")
    page.wait_for_selector("#operations-exports-create_export .responses-table")
    assert "instagram" in page.inner_text("#operations-exports-create_export .opblock-section-request-body")
    picture(page, "docs-operation")
    assert docs.is_clean()


def test_a_request_can_be_tried_out(docs: Watched, stack: RunningStack) -> None:
    page = docs.page
    page.click(".authorize")
    page.fill("#auth-bearer-value", stack.tokens["viewer"])
    page.locator(".auth-container", has_text="bearer").locator("button.authorize").click()
    page.locator(".close-modal").click()
    page.click("#operations-tag-access")
    page.click("#operations-access-get_me .opblock-summary-control")
    page.click("#operations-access-get_me .try-out__btn")
    page.click("#operations-access-get_me .execute")
    page.wait_for_selector("#operations-access-get_me .live-responses-table .response-col_status")
    status = page.inner_text("#operations-access-get_me .live-responses-table tbody .response-col_status")
    assert status.startswith("200")
    assert '"role": "viewer"' in page.inner_text("#operations-access-get_me .live-responses-table .microlight")
    picture(page, "docs-tried")
    assert docs.is_clean()
    paths = {urlsplit(url).path for url in docs.asked}
    assert paths >= {"/docs", "/docs/start.js", "/api/v1/openapi.json", "/api/v1/me"}


def test_the_policy_lets_no_script_of_a_page_itself_run(docs: Watched) -> None:
    found: Any = docs.page.evaluate(
        """() => new Promise((resolve) => {
            document.addEventListener('securitypolicyviolation', (event) => resolve(event.violatedDirective));
            const script = document.createElement('script');
            script.textContent = 'window.injected = true';
            document.body.append(script);
        })"""
    )
    assert found.startswith("script-src")
    assert docs.page.evaluate("window.injected") is None
