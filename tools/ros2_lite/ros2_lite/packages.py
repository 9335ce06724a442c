"""Packages of the workspace: their folders, executables and launch files."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from ros2_lite.errors import UserError


def prefix_of(package: str) -> Path:
    """Return the install prefix of a package. Raises UserError."""
    try:
        return Path(get_package_prefix(package))
    except (PackageNotFoundError, ValueError):
        raise UserError(f"package '{package}' not found; has the workspace been built (make setup)?") from None


def share_of(package: str) -> Path:
    """Return the share folder of a package. Raises UserError."""
    return prefix_of(package) / "share" / package


def find_executable(package: str, executable: str) -> str:
    """Return the path of a package's executable. Raises UserError."""
    folder = prefix_of(package) / "lib" / package
    path = folder / executable
    if not os.access(path, os.X_OK) or path.is_dir():
        there = sorted(file.name for file in folder.glob("*") if os.access(file, os.X_OK) and file.is_file())
        raise UserError(f"executable '{executable}' not found in '{folder}', which has {', '.join(there) or 'none'}")
    return str(path)


def find_launch_file(package: str, name: str) -> Path:
    """Return the path of a package's launch file. Raises UserError."""
    share = share_of(package)
    if found := sorted(path for path in share.rglob(name) if path.is_file()):
        return found[0]
    there = sorted(path.name for path in share.rglob("*.launch.py"))
    raise UserError(f"launch file '{name}' not found in '{share}', which has {', '.join(there) or 'none'}")
