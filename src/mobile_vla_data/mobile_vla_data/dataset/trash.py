"""The trash folder of a dataset: what is deleted waits there until a human empties it."""

from __future__ import annotations

import os
from pathlib import Path

from mobile_vla_data.episode import schema
from mobile_vla_data.storage.durable import fsync_path


def move_to_trash(path: Path) -> Path:
    """Move a file of a dataset folder into its trash folder and return its new path; nothing there is overwritten."""
    trash = path.parent / schema.TRASH_FOLDER
    trash.mkdir(exist_ok=True)
    target = trash / path.name
    generation = 0
    while target.exists() or target.is_symlink():
        generation += 1
        target = trash / f"{path.name}.{generation}"
    if path.is_symlink():
        # A relative link would point nowhere from there.
        target.symlink_to(path.resolve())
        path.unlink()
    else:
        os.rename(path, target)
    fsync_path(trash)
    fsync_path(path.parent)
    return target
