"""File operations that survive a crash: fsync of file and folder, atomic replacement, a full disk by name."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(OSError):
    """The disk is full; one line naming the file. What was written before stays and can be recovered."""


def free_bytes(folder: Path) -> int:
    """Bytes an unprivileged process can still write to the file system of ``folder``."""
    stats = os.statvfs(folder)
    return stats.f_bavail * stats.f_frsize


def require_space(folder: Path, wanted_bytes: int, path: Path) -> None:
    """Raise :class:`DiskFullError` about ``path`` unless ``wanted_bytes`` fit on the file system of ``folder``."""
    free = free_bytes(folder)
    if free < wanted_bytes:
        raise DiskFullError(errno.ENOSPC, f"{path}: disk full ({free / 1e6:.1f} MB free); free some space")


def as_disk_full(error: OSError, path: Path) -> OSError:
    """Return a :class:`DiskFullError` if ``error`` (of Python or of HDF5) means a full disk, else ``error`` itself."""
    # HDF5 reports the number only inside its text.
    full = error.errno in _FULL or any(f"errno = {code}," in str(error) for code in _FULL)
    return DiskFullError(errno.ENOSPC, f"{path}: disk full; free some space") if full else error


def fsync_path(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(part: Path, final: Path) -> None:
    """Give the complete file ``part`` its final name such that after a crash it is there whole or not at all."""
    fsync_path(part)
    os.rename(part, final)
    fsync_path(final.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``; a reader sees the old content or the new, never a mixture."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        publish(Path(temporary), path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
