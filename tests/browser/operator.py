"""Somebody at the console: a browser that notices whatever should not happen there."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.conftest import RunningStack

type Theme = Literal["light", "dark"]

AXE = gzip.decompress((Path(__file__).parent / "vendor/axe.min.js.gz").read_bytes()).decode()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS = ["color-contrast"]
WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
    violations.push(event.violatedDirective + ' ' + event.blockedURI);
});
"""


class Operator:
    """A page, what it asked for, and what went wrong on it. `refused`: statuses that the test itself provokes."""

    def __init__(self, page: Page, stack: RunningStack) -> None:
        self.page, self.stack = page, stack
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.refused: set[int] = set()
        page.add_init_script(WATCH)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("response", self._saw)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._heard)

    def _saw(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.refused:
            self.wrong.append(f"{response.status} {response.url}")

    def _heard(self, message: Any) -> None:
        # The browser itself tells of each refused request, which `_saw` judges.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.wrong.append(message.text)

    def go(self, path: str, heading: str | None = None) -> Page:
        """Load a page of the console, and wait for its heading."""
        self.page.goto(f"{self.stack.api_url}/console{path}")
        expect(self.page.locator("main h1:not(.unseen)")).to_contain_text(heading or "", timeout=20_000)
        return self.page

    def settle(self) -> None:
        """Wait until nothing says that it loads."""
        expect(self.page.locator(".loading")).to_have_count(0)

    def is_clean(self) -> bool:
        """Nothing failed, nothing was kept from running, nobody else was asked."""
        own = (self.stack.api_url, self.stack.aws_url, "blob:", "data:")
        assert [url for url in self.asked if not url.startswith(own)] == []
        assert self.page.evaluate("violations") == []
        assert self.wrong == []
        return True

    def fits_a_telephone(self) -> bool:
        """At 360 pixels nothing scrolls sideways."""
        self.page.set_viewport_size({"width": 360, "height": 740})
        assert self.fits()
        self.page.set_viewport_size({"width": 1440, "height": 900})
        return True

    def is_accessible(self, rules: list[str] = RULES) -> bool:
        """axe finds nothing, and the page does not scroll sideways."""
        # A debugger's script is under no policy of the page's.
        found = self.page.evaluate(AXE + f"; axe.run({{runOnly: {json.dumps(rules)}, resultTypes: ['violations']}})")
        told = [
            f"{each['id']}: {each['nodes'][0]['target']} {each['nodes'][0]['html'][:200]}"
            for each in found["violations"]
        ]
        assert not told, f"{self.page.url}: {told}"
        return self.fits()

    def fits(self) -> bool:
        """Nothing scrolls sideways."""
        sideways = """[document.documentElement, document.querySelector('main'), document.querySelector('.list-side')]
            .some((each) => each && each.scrollWidth > each.clientWidth + 1)"""
        assert not self.page.evaluate(sideways), f"{self.page.url} scrolls sideways"
        return True


@contextmanager
def at_the_console(
    browser: Browser,
    stack: RunningStack,
    role: str | None = "admin",
    *,
    width: int = 1440,
    theme: Theme = "light",
    **options: Any,
) -> Iterator[Operator]:
    """Somebody signed in with that role; None: nobody yet."""
    size = {"width": width, "height": 900 if width > 720 else 740}
    context: BrowserContext = browser.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce", **options)  # type: ignore[arg-type]
    if role:
        context.add_cookies([{"name": "auth_token", "value": stack.tokens.get(role, role), "url": stack.api_url}])
    try:
        yield Operator(context.new_page(), stack)
    finally:
        context.close()
