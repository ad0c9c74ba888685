"""A headless Chromium without network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playing import Shown, until

NAMES = ("chromium", "chromium-browser", "google-chrome")
ON_A_MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> str | None:
    """Return the path of a Chromium, or None."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or (ON_A_MAC if Path(ON_A_MAC).is_file() else None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Start one Chromium for all tests; skip them where there is none."""
    program = executable()
    if program is None:
        pytest.skip("Chromium is not installed; on Debian: sudo apt-get install chromium")
    sync = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with sync.sync_playwright() as driver:
        # a new --user-data-dir of its own comes with each launch
        started = driver.chromium.launch(executable_path=program, args=FLAGS, headless=True)
        yield started
        started.close()


@pytest.fixture
def show(chromium: Any) -> Iterator[Any]:
    """Open pages without network; at the end nothing may have been complained about."""
    opened = []

    def start(file: Path, width: int, scheme: str) -> Shown:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        page = context.new_page()
        shown = Shown(page)
        page.on("console", lambda message: shown.complaints.append(message.text))
        page.on("pageerror", lambda error: shown.complaints.append(str(error)))
        page.on("request", lambda request: shown.requests.append(request.url))
        page.goto(file.resolve().as_uri())
        page.wait_for_function(
            "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
        )
        opened.append((context, shown))
        return shown

    yield start
    for context, shown in opened:
        assert shown.complaints == []
        foreign = [url for url in shown.requests if not url.startswith(("data:", "file:"))]
        assert foreign == []
        context.close()


@pytest.fixture
def opened(chromium: Any) -> Iterator[Any]:
    """Open play pages; at the end nothing may have been complained about, nor asked of others."""
    contexts = []

    def start(
        address: str, width: int = 1280, scheme: str = "light", script: str | None = None
    ) -> Shown:
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        if script is not None:
            context.add_init_script(script)
        shown = Shown(context.new_page())
        shown.page.on("console", lambda message: shown.complaints.append(message.text))
        shown.page.on("pageerror", lambda error: shown.complaints.append(str(error)))
        shown.page.on("request", lambda request: shown.requests.append(request.url))
        shown.page.goto(address)
        shown.page.wait_for_selector("#stage:not([hidden])")
        until(shown.page, "playStats.frames > 2")
        contexts.append((context, shown, address))
        return shown

    yield start
    for context, shown, address in contexts:
        assert shown.complaints == []
        ours = (address, address.replace("http", "ws"), "blob:")
        assert [url for url in shown.requests if not url.startswith(ours)] == []
        context.close()
