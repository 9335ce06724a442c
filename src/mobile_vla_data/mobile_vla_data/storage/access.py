"""Opens files without locks, and explains what keeps a process from one: permissions, locks, a dead disk or server."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

#: Errors of systems without locks: NFS without its lock daemon, CIFS, some FUSE file systems.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_BUSY = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EBUSY, errno.ETXTBSY)
_DENIED = (errno.EACCES, errno.EPERM)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)
#: A disk or a server that does not answer.
_GONE = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN, errno.EREMOTEIO)
_OBSTACLES = frozenset((*_DENIED, *_BUSY, *NO_LOCKS, *_TOO_MANY, *_GONE))
_HDF5_ERRNO = re.compile(r"errno = (\d+)")


@dataclass(frozen=True)
class Obstacle:
    """Reason why this process cannot read a file, whose content may be in perfect order."""

    reason: str
    """The reason, without the path."""
    advice: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.advice}"


def open_hdf5(path: str | Path, mode: str = "r", **options: Any) -> Any:
    """Open an ``h5py.File`` without HDF5's own locks; arguments and errors are h5py's.

    No lock is needed: a committed episode is never changed in place, and a writer holds the lock of the folder.
    """
    return h5py.File(path, mode, locking=False, **options)


def find_obstacle(error: BaseException, path: Path) -> Obstacle | None:
    """Explain why ``path`` could not be opened or read; None when the error is about the file's content.

    Takes errors of Python and of h5py, which has HDF5's number in its text only.
    """
    code = error.errno if isinstance(error, OSError) else None
    if code is None and (found := _HDF5_ERRNO.search(str(error))):
        code = int(found.group(1))
    if code in _OBSTACLES:
        return obstacle_of(OSError(code, os.strerror(code)), path)
    return _busy(path) if is_locked_elsewhere(path) else None


def probe(path: Path) -> Obstacle | None:
    """Read a whole file as bytes, and explain what keeps this process from it; None when nothing does."""
    try:
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
    except OSError as error:
        return obstacle_of(error, path)
    return _busy(path) if is_locked_elsewhere(path) else None


def is_locked_elsewhere(path: Path) -> bool:
    """Return whether another process holds a lock on a file, as HDF5 does while it writes."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def obstacle_of(error: OSError, path: Path) -> Obstacle:
    """Explain why ``path`` could not be opened or read."""
    code = error.errno
    if code in _DENIED:
        return _denied(path)
    if code in _BUSY:
        return _busy(path)
    if code in NO_LOCKS:
        return Obstacle("its file system has no locks", "unset HDF5_USE_FILE_LOCKING, and try again")
    if code in _TOO_MANY:
        return Obstacle("too many files are open", "raise the limit (ulimit -n), and try again")
    reason = (error.strerror or os.strerror(code) if code else str(error)).lower()
    return Obstacle(reason, "check the disk or the network, and try again")


def _busy(path: Path) -> Obstacle:
    return Obstacle(
        "another process has it open for writing", f"close it there ('lsof {path}' names it), and try again"
    )


def _denied(path: Path) -> Obstacle:
    me = _user(os.geteuid())
    for place in (path, *path.absolute().parents):
        try:
            found = place.stat()
        except OSError:
            continue
        # The first place that can be looked at is the file itself, or the folder that may not be entered.
        owner = f"{_user(found.st_uid)}:{_group(found.st_gid)}, mode {stat.S_IMODE(found.st_mode):03o}"
        what = "it" if place == path else f"the folder {place}"
        return Obstacle(
            f"permission denied: {what} belongs to {owner}, and you are {me}",
            f"give yourself permission to read it, for example 'sudo chown -R {me} {path.parent}'",
        )
    return Obstacle("permission denied", "give yourself permission to read it")


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
