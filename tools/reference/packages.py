"""Executables of the packages, read from their ``setup.py``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class Executable(NamedTuple):
    """One console script."""

    package: str
    name: str
    module: str


def executables(root: Path) -> list[Executable]:
    """Every console script of the workspace, by package and name."""
    found = []
    for setup in sorted((root / "src").glob("*/setup.py")):
        for name, module in re.findall(r'"([\w-]+) = ([\w.]+):\w+"', setup.read_text()):
            found.append(Executable(setup.parent.name, name, module))
    return sorted(found)
