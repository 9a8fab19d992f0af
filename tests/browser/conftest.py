"""The browser that tests of pages share."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

# A page's first load asks for a dozen modules, while other tests keep both cores busy.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = os.environ.get("STOWAGE_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        missing = "NOT TESTED: no browser here. Install chromium (.ci/run does), or name one in STOWAGE_BROWSER."
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield launched
        launched.close()
