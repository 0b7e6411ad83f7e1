"""A real browser for the console."""

from __future__ import annotations

import shutil
from typing import Any, ClassVar

import pytest
from penstock_console import PASSWORD

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser(needs):
    needs("chromium")
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield running
        running.close()


class Sight:
    """A page and what went wrong in it."""

    _signed_in: ClassVar[dict[tuple[str, str], Any]] = {}

    def __init__(self, browser, url, **context):
        self.context = browser.new_context(locale="en-GB", **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.url = url
        self._scripts = context.get("java_script_enabled", True)
        self.wrong: list[str] = []
        self.page.on(
            "console", lambda message: self.wrong.append(message.text) if message.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))

    def sign_in(self, name="jonas.lind"):
        """Sign in: by the form the first time and wherever no script runs, then by the cookies that it gave."""
        cookies = self._signed_in.get((self.url, name))
        if cookies and self._scripts:
            self.context.add_cookies(cookies)
            self.go("pipelines")
            return self
        self.go("login")
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/console/pipelines")
        self._signed_in[self.url, name] = self.context.cookies()
        return self

    def go(self, path):
        self.page.goto(f"{self.url}/console/{path}")
        return self.page
