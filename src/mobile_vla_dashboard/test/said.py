"""Every text that a browser shows, against the one table of the page's words."""

from __future__ import annotations

import re

from chromium import Chromium

from mobile_vla_dashboard.wording import table

#: A number and its unit, the same in every language.
MEASURE = re.compile(r"[^a-z]+ (m/s|rad/s|Hz|ms|s|GB|m)")

#: Every visible text, in elements that hold words of the page, or else in those that hold data of other nodes.
_VISIBLE = """
((own) => {
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const element = node.parentElement;
    const seen = element.checkVisibility({ visibilityProperty: true }) && !element.closest("script, style");
    if (seen && element.translate === own && node.textContent.trim()) found.push(node.textContent.trim());
  }
  for (const element of document.querySelectorAll("[title], [placeholder], [aria-label]")) {
    if (!element.checkVisibility() || element.translate !== own) continue;
    for (const name of ["title", "placeholder", "aria-label"]) {
      if (element.getAttribute(name)) found.push(element.getAttribute(name));
    }
  }
  return found;
})
"""


def beside_the_table(page: Chromium, language: str, data: str = "") -> list[str]:
    """Return the words that the page shows and the table does not have; what fits ``data`` comes from elsewhere."""
    said = [_pattern(texts[language]) for texts in table().values()]
    words = [text for text in page.evaluate(f"{_VISIBLE}(true)") if any(letter.isalpha() for letter in text)]
    assert words
    known = [*said, MEASURE, *([re.compile(data)] if data else [])]
    return [text for text in words if not any(pattern.fullmatch(text) for pattern in known)]


def english_as_data(page: Chromium) -> list[str]:
    """Return texts that the page marks as data of other nodes, although they are lines of its own in English.

    A single word, such as the name of an action, may be both.
    """
    lines = [texts["en"] for texts in table().values() if texts["en"] != texts["ko"]]
    own = {text for text in lines if " " in text and "{" not in text}
    return [text for text in page.evaluate(f"{_VISIBLE}(false)") if text in own]


def _pattern(text: str) -> re.Pattern[str]:
    """A text of the table with any values; one without a word of its own fits nothing."""
    parts = re.split(r"\{\w+\}", text)
    return re.compile(".+".join(map(re.escape, parts)) if any(map(str.strip, parts)) else "(?!)", re.DOTALL)
