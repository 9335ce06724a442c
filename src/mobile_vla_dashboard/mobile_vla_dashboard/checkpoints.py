"""Checkpoints that trials may compare: those of one folder, by name. No request names a path. No rclpy."""

from __future__ import annotations

from pathlib import Path

#: A folder with one of these is a checkpoint or an export; with one of the last, the output of a training.
_MARKS = ("config.json", "export.json", "best/config.json", "last/config.json")
#: More than this cannot be chosen from on a page.
_MOST = 100


def checkpoints_in(folder: Path | None) -> dict[str, str]:
    """Return name -> absolute path of the checkpoints and trainings in a folder; none if it is not there."""
    if folder is None or not folder.is_dir():
        return {}
    found = (path for path in sorted(folder.absolute().iterdir()) if any((path / mark).is_file() for mark in _MARKS))
    return {path.name: str(path) for path in list(found)[:_MOST]}


def folder_of(loaded: str) -> Path | None:
    """Return the folder that holds the loaded checkpoint; None if nothing, or something of a hub, is loaded."""
    path = Path(loaded)
    return path.parent if path.is_absolute() else None
