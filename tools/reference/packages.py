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
    """Module whose ``main()`` it runs."""


def executables(root: Path) -> list[Executable]:
    """Every console script of the workspace, by package and name."""
    found = []
    for setup in sorted((root / "src").glob("*/setup.py")):
        for name, module, function in re.findall(r'"([\w-]+) = ([\w.]+):(\w+)"', setup.read_text()):
            start = (setup.parent / f"{module.replace('.', '/')}.py").read_text()
            # A ``start`` module names the module whose ``main()`` the entry point runs.
            named = re.search(rf'^{function} = entry\(\s*"([\w.]+)"', start, re.MULTILINE)
            found.append(Executable(setup.parent.name, name, named[1] if named else module))
    return sorted(found)
