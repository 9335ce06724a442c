"""Where the contract and the collection plan are found when no file is named."""

from __future__ import annotations

import os
from pathlib import Path


def config_file(name: str) -> Path:
    """Return the repository's ``config/NAME`` where there is one, else the installed one."""
    local = Path("config") / name
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    installed = [prefix / "share/mobile_vla_bringup/config" / name for prefix in prefixes]
    return next((path for path in (local, *installed) if path.is_file()), local)
