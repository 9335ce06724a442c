"""Put the figures of ``out/bench/*.json`` into docs/performance.md: tools/run_script.sh benchmarks/tables.py

A table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; one that was not measured here stays as it is.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from common import OUT, ROOT

PAGE = ROOT / "docs" / "performance.md"
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
    return f"<!-- {name} -->\n{table(json.loads(path.read_text()))}\n<!-- /{name} -->"


def table(measured: dict[str, Any]) -> str:
    """Markdown of one ``out/bench/NAME.json``, beginning with the machine."""
    on = measured["machine"]
    command = f"`make bench-{measured['name']}`" + (" QUICK=1" if measured["quick"] else "")
    machine = f"{on['cpu']}, {on['cores']} cores, {on['memory_gb']:.0f} GB, load before {on['load_before']}"
    rows = [
        f"{command}, {measured['measured_at'][:10]}, commit {measured['commit']}, {machine}.",
        "",
        "| figure | value | goal | holds |",
        "|---|---|---|---|",
    ]
    for figure in measured["figures"]:
        value = figure["value"]
        shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        quantity = f"{shown} {figure['unit']}".strip()
        rows.append(f"| {figure['name']} | {quantity} | {figure['goal'] or ''} | {_HOLDS[figure['holds']]} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
