"""The report page in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from browser import CHROMIUM, Browser
from run_folders import ALL, deep_widths, make_run
from widthwise.report import build_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
LAPTOP, PHONE = 1366, 390
"""Widths in pixels."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module", params=["small", "deep"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with every arm, on a small and on a deep network."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "deep":
        make_run(folder, arms=ALL, searched=60, items=10_000, widths=deep_widths())
    else:
        make_run(folder, arms=ALL)
    return build_report(folder)


def test_the_page_asks_for_nothing_and_nothing_fails(browser: Browser, page: Path) -> None:
    """No request besides the file itself, no exception, no error on the console."""
    browser.open(page.as_uri(), width=LAPTOP)
    assert browser.value("document.querySelectorAll('svg').length") == 4
    assert browser.requests() == []
    assert browser.errors() == []


@pytest.mark.parametrize(
    ("element", "request_", "error"),
    [
        ("<img src='https://example.org/a.png'>", "https://example.org/a.png", "ERR_NAME_NOT"),
        ("<style>@import 'https://example.org/a.css';</style>", "https://example.org/a.css", "ERR"),
        ("<script>undefinedFunction();</script>", None, "Uncaught"),
        ("<script>console.error('no');</script>", None, "no"),
    ],
)
def test_what_a_page_must_not_do_is_noticed(
    element: str, request_: str | None, error: str, browser: Browser, page: Path, tmp_path: Path
) -> None:
    """The check above can fail: on an image or style from elsewhere, and on a failing script."""
    spoilt = tmp_path / "spoilt.html"
    spoilt.write_text(
        page.read_text(encoding="utf-8").replace("</main>", f"{element}</main>"), encoding="utf-8"
    )
    browser.open(spoilt.as_uri(), width=LAPTOP)
    assert browser.requests() == ([] if request_ is None else [request_])
    assert any(error in text for text in browser.errors())


@pytest.mark.parametrize("width", [LAPTOP, PHONE])
def test_the_page_fits_the_window(width: int, browser: Browser, page: Path) -> None:
    """Nothing reaches beyond the right edge, on a laptop and on a phone."""
    browser.open(page.as_uri(), width=width)
    assert browser.value("document.documentElement.scrollWidth") == width


def test_light_and_dark(browser: Browser, page: Path, tmp_path: Path) -> None:
    """The page follows the setting of the system, and the texts in its figures do too."""
    shots = {}
    for dark in (False, True):
        browser.open(page.as_uri(), width=LAPTOP, dark=dark)
        path = browser.screenshot(tmp_path / f"dark-{dark}.png")
        with Image.open(path) as image:
            shots[dark] = image.convert("L")
        ink, muted = (browser.value(f"getComputedStyle({x}).color") for x in _INKS)
        assert ink != muted
        assert {ink} <= set(browser.value(_FIGURE_TEXTS)) <= {ink, muted}
    assert shots[False].size == shots[True].size
    assert shots[False].width == LAPTOP
    assert shots[False].getpixel((2, 2)) == 255
    assert shots[True].getpixel((2, 2)) < 40


_INKS = ("document.body", "document.querySelector('.note')")
_FIGURE_TEXTS = """
[...document.querySelectorAll('svg text')].map(text => getComputedStyle(text).fill)
"""
