"""Exports for a named backend: made once, then kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path

import torch

from mobile_vla_policy import __version__
from mobile_vla_policy.caches import exports_cache
from mobile_vla_policy.checkpoint import CheckpointInfo, is_export, read_info
from mobile_vla_policy.engine.choices import EngineError
from mobile_vla_policy.engine.manifest import check_files, read_manifest
from mobile_vla_policy.export.export import ExportSettings, export

#: An export takes minutes at full size; a temporary folder older than this was left behind [s].
_LEFT_BEHIND_S = 3600.0


def cached_export(info: CheckpointInfo, format_: str, precision: str, device: torch.device) -> CheckpointInfo:
    """Return the export of this checkpoint; make it if it is missing or damaged. Raises EngineError."""
    folder = exports_cache() / f"{info.folder.name}-{format_}-{precision}-{_key(info.folder, device)}"
    if not _is_sound(folder):
        shutil.rmtree(folder, ignore_errors=True)
        for left in folder.parent.glob(f".{folder.name}.*"):
            # Left by a process that was killed while exporting; a younger one may still be running.
            if time.time() - left.stat().st_mtime > _LEFT_BEHIND_S:
                shutil.rmtree(left, ignore_errors=True)
        export(info.folder, folder, ExportSettings(format_, precision, str(device)))
    return read_info(folder)


def _is_sound(folder: Path) -> bool:
    if not is_export(folder):
        return False
    try:
        check_files(folder, read_manifest(folder))
    except EngineError:
        return False
    return True


def _key(checkpoint: Path, device: torch.device) -> str:
    """Return a key that changes with any file of the checkpoint, and with everything else that an export depends on."""
    facts = [__version__, torch.__version__, str(device), str(checkpoint.resolve())]
    for path in sorted(checkpoint.iterdir()):
        status = path.stat()
        facts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
