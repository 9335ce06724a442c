"""A folder that gets its name only when it is complete, and that an interrupted export continues."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.parallel import Spread
from mobile_vla_data.storage.durable import as_disk_full, fsync_path, publish, write_text_atomically
from mobile_vla_data.storage.lock import FolderBusyError, FolderLock

_PLAN = ".export.json"
_LOCK = ".export.lock"

Progress = Callable[[int, int], None]
"""Takes the number done and the number in all."""
Writer = TypeVar("Writer")
Job = TypeVar("Job")


class _ExportLock(FolderLock):
    def busy(self, holder: str) -> FolderBusyError:
        return FolderBusyError(f"{self.folder}: {holder} writes the same export; wait for it, or stop it")


def work_folder(target: Path) -> Path:
    """Folder in which ``target`` is built."""
    return target.with_name(f".{target.name}.export")


def require_new(target: Path) -> None:
    """Raise :class:`ConvertError` when ``target`` exists already."""
    if os.path.lexists(target):
        raise ConvertError(f"{target}: exists already; choose another name, or remove it first")


@contextmanager
def building(target: Path, plan: Mapping[str, Any]) -> Iterator[tuple[Path, bool]]:
    """Yield the folder in which to build ``target``, and whether it holds work of an interrupted call.

    When the block ends the folder is renamed to ``target``, and then its hidden files are removed: notes of the export,
    and parts that a killed call left. When the block raises, the folder stays; a later call with an equal ``plan``
    (anything JSON can hold) gets it unchanged, a call with another plan gets an empty one. Files in it must be written
    atomically, for example with :func:`~mobile_vla_data.storage.durable.make_atomically`.

    Raises:
        ConvertError: ``target`` exists.
        FolderBusyError: another process builds it now.
        OSError: the folder cannot be written to.
    """
    with _workplace(target) as work:
        wanted = json.loads(json.dumps(plan))
        goes_on = _read_plan(work) == wanted
        if not goes_on:
            _empty(work)
            write_text_atomically(work / _PLAN, json.dumps(wanted))
        yield work, goes_on
        require_new(target)
        fsync_path(work)
        os.rename(work, target)
        fsync_path(target.parent)
        for path in sorted(target.rglob(".*"), reverse=True):
            _remove(path)


@contextmanager
def building_file(target: Path) -> Iterator[Path]:
    """Yield the path at which to build the file ``target``; it gets its name when the block ends.

    When the block raises, nothing stays. What a killed call left is removed by the next one. Raises as
    :func:`building`.
    """
    with _workplace(target) as work:
        _empty(work)
        try:
            yield work / target.name
            require_new(target)
            publish(work / target.name, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def write_each(
    spread: Spread,
    prepare: Callable[[], Writer],
    write: Callable[[Writer, Job], None],
    left: Sequence[Job],
    total: int,
    progress: Progress | None,
) -> None:
    """Write what is ``left`` of ``total`` episodes; see :meth:`~mobile_vla_data.parallel.Spread.run`.

    ``progress`` is told what an interrupted call has done, then each episode.
    """
    before = total - len(left)
    if progress is not None:
        progress(before, total)
    for done, _ in enumerate(spread.run(prepare, write, left), start=before + 1):
        if progress is not None:
            progress(done, total)


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Yield the locked folder in which ``target`` is built."""
    require_new(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = work_folder(target)
    with _ExportLock(work, _LOCK):
        try:
            yield work
        except OSError as error:
            raise as_disk_full(error, target) from None


def _read_plan(work: Path) -> Any:
    try:
        return json.loads((work / _PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _empty(work: Path) -> None:
    for path in work.iterdir():
        if path.name != _LOCK:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
