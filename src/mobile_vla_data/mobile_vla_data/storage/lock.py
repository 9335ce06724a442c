"""One writing process per folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import IO

#: In a dataset folder.
LOCK_FILE = ".recording.lock"


class FolderBusyError(RuntimeError):
    """Another process writes to this folder; one line naming it."""


class DatasetBusyError(FolderBusyError):
    """Another process records into this dataset folder; one line naming it."""


class FolderLock(ABC):
    """Held by the process that writes to a folder, which is created if it is missing.

    The kernel drops the lock when its holder dies, however it dies, so nothing has to be cleaned up by hand.
    """

    def __init__(self, folder: str | Path, file_name: str) -> None:
        self.folder = Path(folder)
        self._name = file_name
        self._file: IO[str] | None = None

    @abstractmethod
    def busy(self, holder: str) -> FolderBusyError:
        """The error that another process, ``holder``, has the lock."""

    def cannot(self, reason: str) -> OSError:
        """The error that the folder cannot be made or written to."""
        return OSError(f"{self.folder}: {reason}; choose a folder of your own")

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            FolderBusyError: another process, or another lock object of this one, holds it.
            OSError: the folder cannot be made or written to; one line.
        """
        if self._file is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = open(self.folder / self._name, "a+", encoding="utf-8")  # noqa: SIM115 - the open file is the lock
        except (FileExistsError, NotADirectoryError):
            raise self.cannot("is a file, or lies below one") from None
        except OSError as error:
            raise self.cannot(f"cannot be written to ({error.strerror})") from None
        try:
            _lock_exclusively(file)
        except BlockingIOError:
            holder = _holder(file)
            file.close()
            raise self.busy(holder) from None
        except BaseException:
            file.close()
            raise
        # The content only serves the other one's message; the lock itself is the kernel's.
        file.truncate(0)
        with contextlib.suppress(OSError):
            # A full disk must not keep anybody from making room on it.
            os.write(file.fileno(), json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        self._file = file

    def release(self) -> None:
        """Give the lock back. Idempotent. The file stays: removing it would let two processes lock two files."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class DatasetLock(FolderLock):
    """Held by the process that records into a dataset folder."""

    def __init__(self, dataset: str | Path) -> None:
        super().__init__(dataset, LOCK_FILE)

    def busy(self, holder: str) -> DatasetBusyError:
        """The error that another process, ``holder``, records there."""
        return DatasetBusyError(
            f"dataset {self.folder} is being recorded by {holder}; stop it or choose another folder"
        )

    def cannot(self, reason: str) -> OSError:
        """The error that the folder cannot be made or written to."""
        return OSError(f"dataset {self.folder}: {reason}; choose a folder of your own")


def _lock_exclusively(file: IO[str]) -> None:
    """Take the kernel's lock; a reader that only asks whether it is taken (:func:`is_locked`) is waited for."""
    deadline = time.monotonic() + 0.2
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder = json.load(file)
        return f"pid {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def is_locked(dataset: str | Path) -> bool:
    """Whether a process holds the lock of this dataset folder now."""
    try:
        with open(Path(dataset) / LOCK_FILE, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
