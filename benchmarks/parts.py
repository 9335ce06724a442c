"""A benchmark is made of parts. Each is saved when it is done, so that a failure of one does not lose the others.

``out/bench/NAME.json`` has the figures, each with its part, and for each part on what, when and at which commit it was
measured: parts can be measured one by one, on different days. A part that failed keeps its earlier figures, with the
error. The machine and the commit at the top are those of the newest run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from common import OUT, Figure, commit, machine, print_figures, say

Part = Callable[[], Iterable[Figure]]


def parser_of(description: str | None, names: Iterable[str]) -> argparse.ArgumentParser:
    """A parser with ``--quick`` and ``--only PART`` (may be repeated; ``only`` is empty for all)."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter run, marked as such in the file")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=list(names),
        help="measure only this part and keep the figures of the others; may be repeated",
    )
    return parser


def run_parts(
    name: str,
    parts: Mapping[str, Part],
    only: Iterable[str] = (),
    *,
    quick: bool,
    in_time: Callable[[], bool] = lambda: True,
) -> int:
    """Measure the parts (or ``only`` those), print each, write ``out/bench/NAME.json`` after each.

    Parts that would begin when ``in_time`` is false are left out and named; they keep their earlier figures.

    Returns the exit status: 0 when all were measured, 1 when one raised or was left out, 130 after Ctrl-C.
    """
    path = OUT / f"{name}.json"
    results = read_parts(path)
    # Taken once: later the load would be the benchmark's own.
    on, at, status = machine(), commit(), 0
    for part in only or parts:
        if not in_time():
            say(f"{name}: {part} is left out: no time is left")
            status = 1
            continue
        say(f"{name}: {part}")
        taken = {"quick": quick, "measured_at": _now(), "machine": on, "commit": at}
        began_s = time.monotonic()
        try:
            figures = list(parts[part]())
            took_s = round(time.monotonic() - began_s, 1)
            _forget(results, {figure.name for figure in figures})
            results[part] = {**taken, "took_s": took_s, "figures": [_row(figure) for figure in figures]}
            print_figures(f"{name}: {part}{' (quick)' if quick else ''}", figures, taken)
        except (Exception, KeyboardInterrupt) as error:
            traceback.print_exc()
            said = " ".join(f"{type(error).__name__}: {error}".split())
            before = results.get(part, {**taken, "figures": []})
            results[part] = {**before, "failed": {**taken, "error": said}}
            status = 130 if isinstance(error, KeyboardInterrupt) else 1
        # In the order in which a whole run measures them.
        results = {**{known: results[known] for known in parts if known in results}, **results}
        _save(path, {"name": name, **taken}, results)
        if status == 130:
            break
    if not only and not status:
        # What no part measures any more.
        _save(path, {"name": name, **taken}, {part: results[part] for part in parts})
    failed = [part for part, result in results.items() if "failed" in result]
    print(f"{path}" + (f"; failed: {', '.join(failed)}" if failed else ""), file=sys.stderr)
    return status


def read_parts(path: Path) -> dict[str, Any]:
    """Return the parts of a benchmark's file, if any. A file from before parts existed counts as one part."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    if "parts" not in document:
        return {document["name"]: document}
    rows = document["figures"]
    return {
        part: {**about, "figures": [_without_part(row) for row in rows if row["part"] == part]}
        for part, about in document["parts"].items()
    }


def _without_part(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "part"}


def _forget(results: dict[str, Any], names: set[str]) -> None:
    """A figure belongs to the part that measured it last; parts without figures are removed."""
    for part, result in list(results.items()):
        result["figures"] = [row for row in result["figures"] if row["name"] not in names]
        if not result["figures"] and "failed" not in result:
            del results[part]


def _row(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "value": figure.value,
        "unit": figure.unit,
        "goal": figure.goal or None,
        "holds": figure.holds,
    }


def _save(path: Path, about: dict[str, Any], results: Mapping[str, Any]) -> None:
    document = {
        **about,
        "figures": [{**row, "part": part} for part, result in results.items() for row in result["figures"]],
        "parts": {
            part: {key: value for key, value in result.items() if key not in ("name", "figures")}
            for part, result in results.items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
