"""Put the figures of ``out/bench/*.json`` into benchmarks/NOTES.md: tools/run_script.sh benchmarks/tables.py

A table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; one that was not measured here is left unchanged.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from common import OUT, ROOT
from parts import read_parts

PAGE = ROOT / "benchmarks" / "NOTES.md"
_MARKED = re.compile(r"<!-- (?P<name>[a-z]+) -->\n.*?<!-- /(?P=name) -->", re.DOTALL)
_HOLDS = {True: "yes", False: "**no**", None: ""}


def main() -> int:
    """Rewrite the page; says which tables are new."""
    PAGE.write_text(_MARKED.sub(_replace, PAGE.read_text()))
    return 0


def _replace(marked: re.Match[str]) -> str:
    name = marked["name"]
    path = OUT / f"{name}.json"
    if not path.exists():
        print(f"{name}: kept, there is no {path.relative_to(ROOT)}")
        return marked[0]
    print(f"{name}: from {path.relative_to(ROOT)}")
    return f"<!-- {name} -->\n{table(name, read_parts(path))}\n<!-- /{name} -->"


def table(name: str, parts: dict[str, Any]) -> str:
    """Markdown of one ``out/bench/NAME.json``: a line for each place and time of measuring, and the figures."""
    measured: dict[str, list[str]] = {}
    for part, result in parts.items():
        if result["figures"]:
            measured.setdefault(_where(name, result), []).append(part)
    rows = [
        f"{where}{' (' + ', '.join(names) + ')' if len(measured) > 1 else ''}." for where, names in measured.items()
    ]
    rows += [
        f"**{part} failed** on {result['failed']['measured_at'][:10]}, commit {result['failed']['commit']}: "
        f"{result['failed']['error']}"
        for part, result in parts.items()
        if "failed" in result
    ]
    lines = ["\n\n".join(rows), "", "| figure | value | goal | holds |", "|---|---|---|---|"]
    for figure in (figure for result in parts.values() for figure in result["figures"]):
        value = figure["value"]
        shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        quantity = f"{shown} {figure['unit']}".strip()
        lines.append(f"| {figure['name']} | {quantity} | {figure['goal'] or ''} | {_HOLDS[figure['holds']]} |")
    return "\n".join(lines)


def _where(name: str, result: dict[str, Any]) -> str:
    on = result["machine"]
    command = f"`make bench-{name}`" + (" QUICK=1" if result["quick"] else "")
    machine = f"{on['cpu']}, {on['cores']} cores, {on['memory_gb']:.0f} GB, load before {on['load_before']}"
    return f"{command}, {result['measured_at'][:10]}, commit {result['commit']}, {machine}"


if __name__ == "__main__":
    sys.exit(main())
