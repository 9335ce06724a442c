"""The page of the commands, from their typer applications."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from reference.packages import executables

INTRODUCTION = """# Commands

Every command exits with 0 when it is done, 1 on findings or a failure (one line on stderr says which), 2 on wrong
usage, and 130 after Ctrl-C. `--json` prints one JSON document to stdout and nothing else ([JSON output](json.md)).
"""


def page(root: Path) -> str:
    """Return the page."""
    parts = [INTRODUCTION]
    for executable in executables(root):
        if executable.name.startswith("mobile-vla-"):
            parts.append(_command(executable.name, executable.module))
    return "\n".join(parts)


def _command(name: str, module: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "typer", module, "utils", "docs", "--name", name],
        check=True,
        capture_output=True,
        text=True,
    )
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in done.stdout.splitlines())
