"""Debian's Chromium under Playwright, for tests of pages."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path(os.environ.get("CHROMIUM_PATH", "/usr/bin/chromium"))
NO_BROWSER = f"no browser at {CHROMIUM}: install Debian's chromium or set CHROMIUM_PATH"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS_FOLDER", Path(__file__).parent.parent / "build" / "screenshots"))

NewPage = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start a browser for all tests of a module; skip them if none is installed."""
    if not CHROMIUM.exists():
        pytest.skip(NO_BROWSER)
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright has a loop in this thread
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def browser_page(chromium: Browser) -> Iterator[NewPage]:
    """Open isolated pages; fail at the end if a page logged an error."""
    # `new_page`'s options apply, and `expected`: parts of errors that are permitted.
    opened: list[Page] = []
    errors: list[str] = []

    def new(*, expected: Sequence[str] = (), **options: Any) -> Page:
        def note(text: str) -> None:
            if not any(part in text for part in expected):
                errors.append(f"{page.url}: {text}")

        page = chromium.new_page(**options)
        opened.append(page)
        page.on("console", lambda message: note(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: note(str(error)))
        return page

    yield new
    for page in opened:
        page.close()
    assert not errors, errors


def save_screenshot(page: Page, name: str, whole: bool = True) -> None:
    """Save a screenshot in SCREENSHOTS, of the full page by default."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole, timeout=60_000)
