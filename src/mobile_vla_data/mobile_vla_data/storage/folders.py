"""The user's folders for caches and state, and atomic replacement of whole folders.

After a crash the old content is in place, or the new, never half of each.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path, user_state_path

from mobile_vla_data.storage.durable import fsync_path

_APP = "mobile_vla"


class WriteError(OSError):
    """A file or folder cannot be written. The message is one line naming the path."""


def state_folder() -> Path:
    """Folder for what has to outlive a node: the same for every session and service of a user, also after a logout.

    It is ``$XDG_STATE_HOME/mobile_vla``, by default ``~/.local/state/mobile_vla``.
    """
    return user_state_path(_APP)


def cache_folder() -> Path:
    """Folder for what may be deleted at any time and is then fetched or made again.

    It is ``$MOBILE_VLA_CACHE``, by default ``$XDG_CACHE_HOME/mobile_vla`` or ``~/.cache/mobile_vla``.
    """
    return Path(os.environ.get("MOBILE_VLA_CACHE") or user_cache_path(_APP))


@contextmanager
def writing(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn failures to write ``path`` into a :class:`WriteError` about it.

    ``errors`` are exceptions of libraries that are no OSError, such as ``safetensors.SafetensorError``.
    """
    caught: tuple[type[Exception], ...] = (OSError, *errors)
    try:
        yield
    except WriteError:
        raise
    except caught as error:
        reason = " ".join(str(error).split())
        raise WriteError(f"{path}: cannot be written ({reason}); free some space, or write elsewhere") from None


@contextmanager
def replacing(folder: Path, *errors: type[Exception]) -> Iterator[Path]:
    """Give an empty folder to fill; at the end of the block it replaces ``folder``. A failure changes nothing.

    ``errors`` as in :func:`writing`.

    Raises:
        WriteError: the disk is full, for example.
    """
    with writing(folder, *errors), swapping(folder) as part:
        yield part


@contextmanager
def swapping(folder: Path) -> Iterator[Path]:
    """Do as :func:`replacing` for a block that also reads other files: every error is raised unchanged."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield part
        part.chmod(0o755)
        replace_folder(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def replace_folder(part: Path, folder: Path) -> None:
    """Put the finished folder ``part`` in the place of ``folder``, once all its content is on the disk.

    Otherwise a power cut could leave the new name with empty files, and the old content gone.
    """
    for path in [*part.rglob("*"), part]:
        fsync_path(path)
    old = set_aside(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    fsync_path(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def settle_folder(folder: Path) -> None:
    """After a crash within :func:`replace_folder`, put the old content back in its place."""
    if not folder.exists():
        with contextlib.suppress(FileNotFoundError):  # there is none, or another process was faster
            os.replace(set_aside(folder), folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder, and what a crash within :func:`replacing` may have left beside it."""
    for path in (folder, *folder.parent.glob(f".{folder.name}.*")):
        shutil.rmtree(path, ignore_errors=True)


def set_aside(folder: Path) -> Path:
    """Path where :func:`replace_folder` keeps the old content until the new one is in place."""
    return folder.with_name(f".{folder.name}.old")
