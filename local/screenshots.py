"""`make screenshots`: the console's main pages as pictures, from a running local stack with its sample tenants.

They go to docs/console/ and are shown in the README and in docs/console.md. Needs a Chromium: STOWAGE_BROWSER names
one, else that of the path is taken. The stack is the one of STOWAGE_HOME.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import requests

from local.configuration import ROOT, from_environment

PICTURES = ROOT / "docs" / "console"
PAGES = (
    ("home", "", 1440, "light"),
    ("runs", "/runs?run={run}", 1440, "dark"),
    ("tenants", "/tenants", 1440, "light"),
    ("home-narrow", "", 360, "dark"),
)


def main() -> int:
    """Make the pictures; 1 with a sentence where no stack runs or no browser is there."""
    file = from_environment(port=None, aws_port=None, home=None, sample=True).stack_file
    program = os.environ.get("STOWAGE_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    if not file.exists() or not program:
        print("Start the stack first (make up), and install chromium or name a browser in STOWAGE_BROWSER.")
        return 1
    photograph(json.loads(file.read_text()), program, PICTURES)
    return 0


def photograph(description: dict[str, Any], program: str, folder: Path) -> None:
    """Every page of `PAGES`; the run that is open is the newest one that failed, else the newest."""
    from playwright.sync_api import sync_playwright

    url, token = description["api_url"], description["tokens"]["admin"]
    headers = {"authorization": f"Bearer {token}"}
    found = [
        job
        for query in ("?status=failed&limit=1", "?limit=1")
        for job in requests.get(f"{url}/api/jobs{query}", headers=headers, timeout=30).json()["data"]
    ]
    run = found[0]["id"] if found else ""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for name, path, width, theme in PAGES:
            size = {"width": width, "height": 900 if width > 720 else 740}
            context = browser.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
            context.add_cookies([{"name": "auth_token", "value": token, "url": url}])
            page = context.new_page()
            page.goto(f"{url}/console{path.format(run=run)}")
            page.wait_for_selector("main h1:not(.unseen)")
            page.wait_for_selector(".loading", state="detached")
            time.sleep(1)
            page.screenshot(path=folder / f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
