"""Write the generated pages of ``docs/reference``: ``PYTHONPATH=tools python -m reference [--check]``.

``--check`` writes nothing, names the pages that differ from the code, and exits with status 1 if there are any.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reference import codes, commands, interfaces, launch_files, node_parameters, settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "reference"
PAGES: dict[str, Callable[[Path], str]] = {
    "cli.md": commands.page,
    "launch.md": launch_files.page,
    "parameters.md": node_parameters.page,
    "messages.md": interfaces.page,
    "codes.md": codes.page,
    "contract.md": settings.contract_page,
    "plan.md": settings.plan_page,
    "training.md": settings.training_page,
}
NOTE = "<!-- Generated from the code by `make docs`. Do not edit. -->\n\n"


def main() -> int:
    """Write or check every page; return the exit status."""
    with ThreadPoolExecutor() as pool:
        texts = dict(zip(PAGES, pool.map(lambda make: NOTE + make(ROOT).rstrip() + "\n", PAGES.values()), strict=True))
    stale = [name for name, text in texts.items() if _read(FOLDER / name) != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"docs/reference/{name} differs from the code; run 'make docs' and commit the result")
        return 1 if stale else 0
    for name in stale:
        (FOLDER / name).write_text(texts[name], encoding="utf-8")
        print(f"docs/reference/{name}")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
