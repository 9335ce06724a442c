"""axe-core in the page of a browser: what keeps people with other eyes, hands or ears from using it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from chromium import Chromium

#: WCAG 2.1 A and AA, and what axe-core calls best practices.
_RUN = """
axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }).then((result) =>
  ({ kept: result.passes.length,
     broken: result.violations.map((one) =>
       `${one.id}: ${one.nodes.map((node) => `${node.target} ${node.failureSummary}`)}`) }))
"""


def findings(browser: Chromium, scheme: str = "light") -> list[Any]:
    """Return one line for each rule that the page breaks, in a colour scheme."""
    if not browser.evaluate("typeof axe === 'object'"):
        browser.evaluate((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8") + "; true")
    browser.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        result = browser.evaluate(_RUN)
        assert result["kept"] > 10, "axe-core looked at nothing"
        return list(result["broken"])
    finally:
        browser.command("Emulation.setEmulatedMedia", features=[])
