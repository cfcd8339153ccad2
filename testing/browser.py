"""Debian's Chromium under Playwright, for tests of pages."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = Path(os.environ.get("CHROMIUM_PATH", "/usr/bin/chromium"))
NONE_THERE = f"no browser at {CHROMIUM}: install Debian's chromium or set CHROMIUM_PATH"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

NewPage = Callable[..., Page]


@contextmanager
def pages() -> Iterator[NewPage]:
    """Yields what opens a page in a browser of its own; at the end, nothing may have been complained of.

    A complaint is an error in the console, such as a breach of the Content-Security-Policy, or an uncaught exception.
    The pages take the options of Playwright's `new_page` (`color_scheme`, `viewport`, `java_script_enabled`, …), and
    `expected`: parts of the complaints that may come.
    """
    complaints: list[str] = []

    def note(text: str, expected: Sequence[str]) -> None:
        if not any(part in text for part in expected):
            complaints.append(text)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)

        def new(*, expected: Sequence[str] = (), **options: Any) -> Page:
            page = browser.new_page(**options)
            page.on("console", lambda message: note(message.text, expected) if message.type == "error" else None)
            page.on("pageerror", lambda error: note(str(error), expected))
            return page

        yield new
        browser.close()
    assert not complaints, complaints


@pytest.fixture
def browser_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[NewPage]:
    """Opens pages in a browser (`pages`); the test is skipped where there is none."""
    if not CHROMIUM.exists():
        pytest.skip(NONE_THERE)
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright has a loop in this thread
    with pages() as new:
        yield new
