"""Debian's Chromium under Playwright, for tests of pages."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, sync_playwright

CHROMIUM = Path(os.environ.get("CHROMIUM_PATH", "/usr/bin/chromium"))
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

NewPage = Callable[..., Page]


@contextmanager
def pages() -> Iterator[tuple[NewPage, list[str]]]:
    """Yields what opens a page of a new browser, and what its pages complained of so far.

    The pages take Playwright's options of a context (`color_scheme`, `viewport`, `java_script_enabled`, …). Complaints are
    errors in the console, among them breaches of the Content-Security-Policy, uncaught exceptions and failed requests.
    """
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: install Debian's chromium or set CHROMIUM_PATH")
    complaints: list[str] = []

    def failed(request: Request) -> None:
        complaints.append(f"{request.url}: {request.failure}")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)

        def new(**options: object) -> Page:
            page = browser.new_page(**options)  # type: ignore[arg-type]
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("requestfailed", failed)
            return page

        yield new, complaints
        browser.close()
