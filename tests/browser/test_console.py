"""The console: what an operator does, on every page, in both themes, on a wide and on a narrow screen."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect

from tests.browser.operator import AXE, at_the_console
from tests.conftest import Api, RunningStack
from tests.stack.route_surface import export_body, start_backup

type Json = Any

PAGES = {
    "": None,
    "/runs": "Runs",
    "/runs?status=failed&since=30d": "Runs",
    "/new/export?tenant=acme2": "New export",
    "/new/backup?tenant=acme2": "New backup",
    "/new/import?tenant=acme2": "Import",
    "/records/acme2/accounts": "Records",
    "/trash?tenant=acme2": "Trash",
    "/operations?tenant=acme2": "Operations",
    "/audit?tenant=acme2": "Audit",
}
"""Every page, with a part of its heading."""


def test_the_examiner_is_what_its_maker_published() -> None:
    told = json.loads((Path(__file__).parent / "vendor/sources.json").read_text())
    assert hashlib.sha256(AXE.encode()).hexdigest() == told["sha256"]["axe.min.js"]


def test_every_page_is_whole_and_accessible_in_both_themes_and_on_a_narrow_screen(
    browser: Browser, stack: RunningStack
) -> None:
    with at_the_console(browser, stack) as operator:
        for path, heading in PAGES.items():
            operator.go(path, heading)
            operator.settle()
            assert operator.is_accessible_everywhere()
        assert operator.is_clean()


def test_a_link_of_the_local_stack_signs_in_at_one_click_and_leaves_no_token_behind(
    browser: Browser, stack: RunningStack
) -> None:
    with at_the_console(browser, stack, None) as operator:
        operator.refused.add(401)
        page = operator.go("/runs?status=failed", "Sign in")
        page.goto(f"{page.url}#token={stack.tokens['viewer']}")
        expect(page.get_by_text("viewer@example.com")).to_be_visible()
        assert "#" not in page.url
        assert operator.is_accessible()
        page.get_by_role("button", name="Sign in as viewer").click()
        expect(page.locator("main h1")).to_have_text("Runs")
        assert page.url.endswith("/console/runs?status=failed")
        assert page.evaluate("document.cookie") == ""
        assert stack.tokens["viewer"] not in page.evaluate("JSON.stringify([localStorage, sessionStorage])")
        assert operator.is_clean()


def test_a_pasted_token_that_is_not_one_is_refused_in_words(browser: Browser, stack: RunningStack) -> None:
    with at_the_console(browser, stack, None) as operator:
        operator.refused.add(401)
        page = operator.go("/sign-in", "Sign in")
        page.get_by_label("Token").fill("eyJ.no.token")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("token")
        page.get_by_label("Token").fill(stack.tokens["operator"])
        page.get_by_role("button", name="Sign in as operator").click()
        expect(page.locator(".caller")).to_contain_text("operator")


def test_a_run_is_followed_to_its_end_without_a_reload(browser: Browser, stack: RunningStack, admin: Api) -> None:
    with at_the_console(browser, stack) as operator:
        page = operator.go("/runs?tenant=acme2", "Runs")
        row = page.locator(f"[data-run='{start_backup(admin, 'acme2')}']")
        expect(row).to_be_visible(timeout=20_000)
        row.click()
        panel = page.locator(".panel")
        expect(panel.locator("h2")).to_have_text("Backup of acme2")
        expect(panel.get_by_role("link", name="Download")).to_be_visible(timeout=30_000)
        expect(panel.locator(".gantt")).to_contain_text("Store the file")
        with page.expect_download() as download:
            panel.get_by_role("link", name="Download").click()
        digest = hashlib.sha256(Path(download.value.path()).read_bytes()).hexdigest()
        expect(panel).to_contain_text(digest)
        page.go_back()
        expect(panel).to_have_count(0)
        assert operator.is_clean()


def test_a_failed_run_says_why_and_what_to_do(browser: Browser, stack: RunningStack, admin: Api) -> None:
    with at_the_console(browser, stack, width=360) as operator:
        answer = admin.post("/api/backup/export", json={"project_id": "acme2", "format": "sql"})
        assert answer.status_code == 202
        identifier = answer.json()["data"]["job_id"]
        assert admin.post(f"/api/jobs/{identifier}/cancel").status_code in (202, 409)
        page = operator.go(f"/runs?run={identifier}", "Runs")
        panel = page.locator(".panel")
        expect(panel.locator("h2")).to_have_text("Backup of acme2")
        page.get_by_role("button", name=re.compile("Runs")).first.click()
        expect(panel).to_have_count(0)


def test_a_viewer_sees_no_button_that_changes_anything(browser: Browser, stack: RunningStack, admin: Api) -> None:
    job = admin.post("/api/guilds/acme2/exports", json=export_body()).json()
    with at_the_console(browser, stack, "viewer") as operator:
        for path in ("", "/runs", f"/runs?run={job['id']}"):
            page = operator.go(path)
            operator.settle()
            words = "Retry|Cancel|Delete|Verify|New|Back up|Download"
            expect(page.get_by_role("button", name=re.compile(f"^({words})"))).to_have_count(0)
        assert operator.is_clean()
