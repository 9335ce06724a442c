"""File operations that survive a crash: fsync of file and folder, atomic replacement; errors in one line."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
#: Advice about errors of the file system.
_ADVICE = {
    **dict.fromkeys(_FULL, "free some space"),
    errno.EFBIG: "raise the limit (ulimit -f), or choose another file system",
    errno.EROFS: "choose another folder, or mount it for writing",
    errno.EACCES: "choose a folder that you own, or give yourself permission",
    errno.EPERM: "choose a folder that you own, or give yourself permission",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file; choose another",
    errno.EEXIST: "choose a folder",
    errno.EISDIR: "name a file in it",
}


class DiskFullError(OSError):
    """The disk is full; one line naming the file. Data written before is kept and can be recovered."""

    def __str__(self) -> str:
        return str(self.strerror)


def explained(error: OSError) -> str:
    """Return one line about ``error``: the path, the reason and advice, without the number."""
    if error.errno is None or error.strerror is None:
        return str(error)
    if error.filename is None:
        return error.strerror
    advice = _ADVICE.get(error.errno)
    return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}" + (f"; {advice}" if advice else "")


def require_writable(folder: Path) -> None:
    """Make ``folder`` if it is missing, and check that files can be created there, before work is done for them.

    Raises:
        OSError: they cannot be created; names the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


def free_bytes(folder: Path) -> int:
    """Return the bytes that an unprivileged process can still write to the file system of ``folder``."""
    stats = os.statvfs(folder)
    return stats.f_bavail * stats.f_frsize


def require_space(folder: Path, wanted_bytes: int, path: Path) -> None:
    """Raise :class:`DiskFullError` about ``path`` unless ``wanted_bytes`` fit on the file system of ``folder``."""
    free = free_bytes(folder)
    if free < wanted_bytes:
        raise DiskFullError(errno.ENOSPC, f"{path}: disk full ({free / 1e6:.1f} MB free); free some space")


def require_room(path: Path, wanted_bytes: int) -> None:
    """Check that a file of ``wanted_bytes`` can be written beside ``path``: HDF5 can crash on a disk that fills up.

    Raises:
        OSError: there is no room; names ``path``.
    """
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            os.posix_fallocate(file.fileno(), 0, wanted_bytes)
    except OSError as error:
        raise as_disk_full(error, path) from None


def as_disk_full(error: OSError, path: Path) -> OSError:
    """Return ``error`` (of Python or of HDF5) about ``path``, as a :class:`DiskFullError` if the disk is full."""
    # HDF5 reports the number only inside its text.
    full = error.errno in _FULL or any(f"errno = {code}," in str(error) for code in _FULL)
    if full:
        return DiskFullError(errno.ENOSPC, f"{path}: disk full; free some space")
    return error if error.errno is None or error.strerror is None else OSError(error.errno, error.strerror, str(path))


def fsync_path(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Network and FUSE file systems may not know this for folders; their servers keep the entries.
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def publish(part: Path, final: Path) -> None:
    """Give the complete file ``part`` its final name such that after a crash it is there whole or not at all."""
    fsync_path(part)
    os.rename(part, final)
    fsync_path(final.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """Replace the content of ``path`` by ``text``; a reader sees the old or the new, never both. Raises OSError."""
    make_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def make_atomically(path: Path, make: Callable[[Path], object]) -> None:
    """Let ``make`` write a file beside ``path``, with the same suffix, and rename it to ``path`` when it is complete.

    A symbolic link stays one: the file that it points to is replaced.

    Raises:
        OSError: the file cannot be written; names ``path``.
    """
    path = path.resolve()
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    os.close(descriptor)
    temporary = Path(name)
    try:
        make(temporary)
        with contextlib.suppress(PermissionError):  # file systems without such rights
            os.chmod(temporary, 0o644)
        publish(temporary, path)
    except OSError as error:
        raise as_disk_full(error, path) from None
    finally:
        temporary.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
