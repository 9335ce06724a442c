"""The page in a real browser, with the real command gate behind it: views, languages, keyboard, small screens."""

from __future__ import annotations

import json
import re

import pytest
from chromium import Chromium
from dashboard_stage import Stage

from mobile_vla_dashboard.wording import table

pytestmark = pytest.mark.alone

VIEWS = ("collect", "run")

#: A number and its unit, the same in every language.
MEASURE = re.compile(r"[^a-z]+ (m/s|rad/s|Hz|ms|s|GB)")

#: Every text that the page shows outside of elements that hold data of other nodes.
VISIBLE_TEXT = """
(() => {
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const element = node.parentElement;
    const seen = element.checkVisibility({ visibilityProperty: true }) && !element.closest("script, style");
    if (seen && element.translate && node.textContent.trim()) found.push(node.textContent.trim());
  }
  for (const element of document.querySelectorAll("[title], [placeholder], [aria-label]")) {
    if (!element.checkVisibility() || !element.translate) continue;
    for (const name of ["title", "placeholder", "aria-label"]) {
      if (element.getAttribute(name)) found.push(element.getAttribute(name));
    }
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def page(stage: Stage, browser: Chromium) -> Chromium:
    browser.open(f"http://127.0.0.1:{stage.port}/")
    _live(browser)
    return browser


def _live(browser: Chromium) -> None:
    browser.wait_until("document.querySelector('#link').dataset.t === 'link.live'")
    browser.wait_until("document.querySelector('figure') !== null")


def _show(page: Chromium, view: str) -> None:
    page.evaluate(f"location.hash = {json.dumps(view)}; true")
    page.wait_until(f"document.body.dataset.view === {json.dumps(view)}")


def _speak(page: Chromium, language: str) -> None:
    if page.evaluate("document.documentElement.lang") != language:
        page.press("#lang")
    page.wait_until(f"document.documentElement.lang === {json.dumps(language)}")


def test_a_browser_gets_the_language_that_it_asks_for_and_remembers_another_choice(page: Chromium) -> None:
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("document.querySelector('#stop').innerText") == "STOP"
    _speak(page, "ko")
    assert page.evaluate("document.querySelector('#stop').innerText") == "정지"
    page.open(page.evaluate("location.href"))
    _live(page)
    assert page.evaluate("document.documentElement.lang") == "ko"
    _speak(page, "en")


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("view", VIEWS)
def test_all_visible_text_comes_from_the_table(page: Chromium, language: str, view: str) -> None:
    _show(page, view)
    _speak(page, language)
    page.wait_until("document.querySelector('#gate').classList.contains('off') === false")
    table_says = [_pattern(texts[language]) for texts in table().values()]
    # Numbers and arrows need no translation.
    words = [text for text in page.evaluate(VISIBLE_TEXT) if any(letter.isalpha() for letter in text)]
    assert words
    assert [text for text in words if not any(said.fullmatch(text) for said in [*table_says, MEASURE])] == []


def _pattern(text: str) -> re.Pattern[str]:
    """A text of the table with any values; one without a word of its own fits nothing."""
    parts = re.split(r"\{\w+\}", text)
    return re.compile(".+".join(map(re.escape, parts)) if any(map(str.strip, parts)) else "(?!)", re.DOTALL)


@pytest.mark.parametrize("view", VIEWS)
def test_a_narrow_phone_shows_every_view_without_scrolling_sideways(page: Chromium, view: str) -> None:
    page.resize(360, 740, phone=True)
    try:
        for language in ("ko", "en"):
            _speak(page, language)
            _show(page, view)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            assert page.evaluate(
                "(({ top, bottom, width }) => [top >= 0, bottom <= innerHeight, width > 100])"
                "(document.querySelector('#stop').getBoundingClientRect())"
            ) == [True, True, True]
    finally:
        page.command("Emulation.clearDeviceMetricsOverride")
        page.command("Emulation.setTouchEmulationEnabled", enabled=False)


def test_no_script_of_the_page_has_failed(page: Chromium) -> None:
    assert page.failures == []
