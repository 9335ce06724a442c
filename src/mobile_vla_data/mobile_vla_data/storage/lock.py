"""One writing process per folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from mobile_vla_data.storage.access import NO_LOCKS, is_locked_elsewhere, obstacle_of

#: The file that the writer of a dataset folder holds locked.
LOCK_FILE = ".recording.lock"
#: The file that a process holds locked while it changes a committed episode.
EDIT_LOCK_FILE = ".editing.lock"
#: Where the system has no locks, a file of this name, with the writer's host and pid, takes their place.
_MARKER_SUFFIX = ".holder"
#: How long a reader that only asks whether the lock is taken (:func:`is_locked`) is waited for [s].
_PATIENCE_S = 0.2

_log = logging.getLogger(__name__)
#: Folders that this process has warned about.
_warned: set[Path] = set()


class FolderBusyError(RuntimeError):
    """Another process writes to this folder; one line naming it."""


class DatasetBusyError(FolderBusyError):
    """Another process records into this dataset folder; one line naming it."""


class FolderLock(ABC):
    """Held by the process that writes to a folder, which is created if it is missing.

    The kernel drops the lock when its holder dies, however it dies, so nothing has to be cleaned up by hand. On a file
    system without locks a file with the holder's host and pid takes their place. It tells a second writer from one on
    the same machine that has died; a dead holder on another machine cannot be told from a living one.
    """

    def __init__(self, folder: str | Path, file_name: str) -> None:
        self.folder = Path(folder)
        self._path = self.folder / file_name
        self._held: BaseFileLock | None = None

    @abstractmethod
    def busy(self, holder: str) -> FolderBusyError:
        """Return the error that another process, ``holder``, has the lock."""

    def cannot(self, reason: str) -> OSError:
        """Return the error that the folder cannot be made or written to."""
        return OSError(f"{self.folder}: {reason}")

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            FolderBusyError: another process, or another lock object of this one, holds it.
            OSError: the folder cannot be made or written to; one line.
        """
        if self._held is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self._kind()
            lock.acquire(timeout=_PATIENCE_S)
        except Timeout:
            raise self.busy(_holder(self._path)) from None
        except (FileExistsError, NotADirectoryError):
            raise self.cannot("is a file, or lies below one; choose another folder") from None
        except PermissionError as error:
            blocked = self._path if os.path.exists(self._path) else self.folder
            raise self.cannot(f"cannot be written to ({obstacle_of(error, blocked).reason}); choose another folder, or "
                              "give yourself the right to it") from None  # fmt: skip
        except OSError as error:
            raise self.cannot(f"cannot be written to ({error.strerror}); choose another folder") from None
        self._held = lock
        if not isinstance(lock, SoftFileLock):
            # Only for the message of another process; the lock itself is the kernel's.
            _write_holder(self._path, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))

    def release(self) -> None:
        """Give the lock back. Idempotent. The file stays: removing it would let two processes lock two files."""
        if self._held is not None:
            if not isinstance(self._held, SoftFileLock):
                _write_holder(self._path, "")
            self._held.release()
            self._held = None

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _kind(self) -> BaseFileLock:
        if _has_locks(self._path):
            return FileLock(self._path)
        if self.folder not in _warned:
            _warned.add(self.folder)
            _log.warning(
                "%s: its file system has no locks; another writer is recognised by a file ending in %s alone",
                self.folder,
                _MARKER_SUFFIX,
            )
        return SoftFileLock(_marker(self._path))


class DatasetLock(FolderLock):
    """Held by the process that records into a dataset folder."""

    def __init__(self, dataset: str | Path) -> None:
        super().__init__(dataset, LOCK_FILE)

    def busy(self, holder: str) -> DatasetBusyError:
        """Return the error that another process, ``holder``, records there."""
        return DatasetBusyError(
            f"dataset {self.folder} is being recorded by {holder}; stop it or choose another folder"
        )

    def cannot(self, reason: str) -> OSError:
        """Return the error that the folder cannot be made or written to."""
        return OSError(f"dataset {self.folder}: {reason}")


class EditLock(FolderLock):
    """Held for the moment in which a committed episode is changed, also while a recorder adds new ones."""

    def __init__(self, dataset: str | Path) -> None:
        super().__init__(dataset, EDIT_LOCK_FILE)

    def busy(self, holder: str) -> DatasetBusyError:
        """Return the error that another process, ``holder``, is changing an episode there."""
        return DatasetBusyError(f"dataset {self.folder} is being edited by {holder}; try again")

    def cannot(self, reason: str) -> OSError:
        """Return the error that the folder cannot be written to."""
        return OSError(f"dataset {self.folder}: {reason}")


def is_locked(dataset: str | Path) -> bool:
    """Return whether a process writes to this dataset folder now, as far as this process can see."""
    path = Path(dataset) / LOCK_FILE
    if is_locked_elsewhere(path):
        return True
    if not _marker(path).exists():
        return False
    try:
        # The first try of a filelock before 4.2 removes the marker of a dead holder, the second takes the lock.
        with SoftFileLock(_marker(path), timeout=0.1, poll_interval=0.02):
            return False
    except (Timeout, OSError):
        return True


def _marker(path: Path) -> Path:
    return path.with_name(path.name + _MARKER_SUFFIX)


def _has_locks(path: Path) -> bool:
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in NO_LOCKS
    return True


def _write_holder(path: Path, text: str) -> None:
    # A full disk must not keep anybody from making room on it.
    with contextlib.suppress(OSError):
        path.write_text(text, encoding="utf-8")


def _holder(path: Path) -> str:
    """Name the holder of a lock, as it wrote itself into the lock's file or into the marker beside it."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"pid {holder['pid']} on {holder['host']}"
    with contextlib.suppress(OSError, ValueError, IndexError):
        # filelock's record: pid, host with its namespace behind a question mark, start of the process.
        pid, host = _marker(path).read_text(encoding="utf-8").splitlines()[:2]
        return f"pid {int(pid)} on {host.split('?')[0]}"
    return "another process"
