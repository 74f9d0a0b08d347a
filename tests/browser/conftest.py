"""A browser for the tests of the report: Debian's Chromium, driven by Playwright, drawing WebGL in software."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from orchestrator.figures.style import COLOURS

Pixels = NDArray[np.int64]
OPACITY = 0.9  # of the points in the scatter
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def unavailable() -> Callable[[str], NoReturn]:
    """unavailable(reason) skips the test; but fails it in CI, where nobody would see that it is always skipped."""
    return _unavailable


@pytest.fixture(scope="module")
def browser(unavailable: Callable[[str], NoReturn]) -> Iterator[Any]:
    """A running Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        unavailable(f"Playwright cannot be imported ({error}): pip install playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        unavailable("there is no Chromium: apt-get install chromium, or put google-chrome on the PATH")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=[*OPTIONS])
        yield running
        running.close()


class Opened:
    """A page, what its console said, and which addresses it asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def pixels(self) -> Pixels:
        """Those of the scatter once it has stopped moving."""
        before = b""
        for _ in range(50):
            after = self.page.locator("#scatter").screenshot()
            if after == before:
                break
            before = after
            self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return np.asarray(Image.open(io.BytesIO(before)).convert("RGB")).astype(int)

    def count(self, label: int, paper: int = 255, pixels: Pixels | None = None) -> int:
        """How many pixels of the scatter have about the colour of a class."""
        colour = np.array([int(COLOURS[label][place : place + 2], 16) for place in (1, 3, 5)])
        wanted = OPACITY * colour + (1 - OPACITY) * paper
        pixels = self.pixels() if pixels is None else pixels
        return int((np.abs(pixels - wanted).max(2) < 30).sum())

    def open_all(self) -> None:
        """Shows what is folded away."""
        self.page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")

    def goto(self, path: Path) -> None:
        self.page.goto(path.as_uri())
        if self.page.query_selector("#scatter-head option"):  # put there by the script that draws the scatter
            self.page.wait_for_selector("#scatter .main-svg", state="attached")


@pytest.fixture(scope="module")
def opened(browser: Any) -> Callable[..., Any]:
    """opened(path, width=…, …): a context with the page in it; keyword arguments are Playwright's."""

    @contextmanager
    def open_(path: Path, width: int = 800, height: int = 600, script: str = "", **options: Any) -> Iterator[Opened]:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(20_000)
        if script:
            context.add_init_script(script)
        try:
            shown = Opened(context.new_page())
            shown.goto(path)
            yield shown
        finally:
            context.close()

    return open_


@pytest.fixture(scope="module")
def path(made_report: Callable[..., Path]) -> Path:
    """The report of a 3-D study with two heads."""
    return made_report(3, "softmax", "arcface")


@pytest.fixture(scope="module")
def shown(opened: Callable[..., Any], path: Path) -> Iterator[Opened]:
    """That report, open at the width of a desk; tests leave it as they found it."""
    with opened(path, permissions=["clipboard-read", "clipboard-write"]) as found:
        yield found


@pytest.fixture(scope="module")
def page(shown: Opened) -> Any:
    """Playwright's page of that report."""
    return shown.page


@pytest.fixture(scope="module")
def flat(opened: Callable[..., Any], made_report: Callable[..., Path]) -> Iterator[Opened]:
    """The report of a 2-D study."""
    with opened(made_report(2, "arcface")) as found:
        yield found


@pytest.fixture(scope="module")
def projected(opened: Callable[..., Any], made_report: Callable[..., Path]) -> Iterator[Opened]:
    """The report of a 5-D study."""
    with opened(made_report(5, "softmax")) as found:
        yield found
