"""Editing committed episodes: relabel, annotate, trim, merge. A file is never changed in place.

Each edit writes a complete new file beside the old one, fsyncs it and renames it over; a crash leaves the old or the
new. Edits of committed episodes take the :class:`~mobile_vla_data.storage.lock.EditLock`, so that a recorder may add
episodes meanwhile. The caller of :func:`merge`, which adds episodes, holds the ``DatasetLock``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mobile_vla_data.action import gripper
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.folder import Dataset, move_to_trash
from mobile_vla_data.dataset.split import fingerprint
from mobile_vla_data.dataset.trash import UNTRIMMED
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.episode_file import BLOCK_STEPS, EpisodeFileBuilder, write_alternatives
from mobile_vla_data.episode.metadata import OUTCOMES, Ending, EpisodeHeader, EpisodeMetadata, require_one_of
from mobile_vla_data.episode.reader import Episode, EpisodeError, EpisodeUnavailableError
from mobile_vla_data.episode.steps import StepRecord
from mobile_vla_data.storage.access import open_hdf5
from mobile_vla_data.storage.durable import as_disk_full, publish, require_room
from mobile_vla_data.storage.lock import EditLock

#: An edited file may be larger than the original by this much [bytes]; only labels grow.
_ROOM_BYTES = 1 << 18


class EditError(ValueError):
    """An edit cannot be made; one line saying why. Nothing was changed."""


@dataclass(frozen=True)
class Labels:
    """New labels for :func:`relabel`; None leaves a field unchanged."""

    language: str | None = None
    task: str | None = None
    category: str | None = None
    outcome: str | None = None
    environment: Mapping[str, Any] | None = None
    language_alternatives: Sequence[str] | None = None


def relabel(path: str | Path, labels: Labels) -> None:
    """Set labels of one episode.

    Raises:
        MetadataError: a value is not allowed.
        EpisodeError: the file cannot be read.
        DatasetBusyError: another process is editing an episode.
    """
    path = Path(path)
    with _lock_of(path):
        _relabel(path, labels)


def _relabel(path: Path, labels: Labels) -> None:
    with Episode.open(path) as episode:
        old = {name: _text_or_empty(episode, name) for name in ("language", "task", "category", "source")}
        new = EpisodeMetadata(
            labels.language if labels.language is not None else old["language"],
            labels.task if labels.task is not None else old["task"],
            labels.category if labels.category is not None else old["category"],
            old["source"],
            labels.environment if labels.environment is not None else _environment(episode),
            tuple(labels.language_alternatives or ()),
        )
    if labels.outcome is not None:
        require_one_of("outcome", labels.outcome, OUTCOMES)
    values = {
        "language": new.language,
        "task": new.task,
        "category": new.category,
        "environment": new.environment_json,
        **({"outcome": labels.outcome} if labels.outcome is not None else {}),
    }

    def write(temporary: Path) -> None:
        shutil.copyfile(path, temporary)
        with open_hdf5(temporary, "r+") as file:
            for name, value in values.items():
                file.attrs[name] = value
            if labels.language_alternatives is not None:
                write_alternatives(file, new.language_alternatives)

    _replace(path, path, write)


def annotate(path: str | Path, column: int, row: int) -> int:
    """Set the target of an episode's instruction, in the first camera's image; returns the number of steps with it.

    A target does not move until it is grasped: it holds from the first step until the gripper's state goes from open
    to closed, or to the end where it never does. After that it is unknown.

    Raises:
        EditError: the place is outside the image.
        EpisodeError: the file cannot be read.
        DatasetBusyError: another process is editing an episode.
    """
    path = Path(path)
    with _lock_of(path):
        return _annotate(path, column, row)


def _annotate(path: Path, column: int, row: int) -> int:
    with Episode.open(path) as episode:
        size = episode.contract.cameras[episode.contract.first_camera]
        if not (0 <= column < size.width and 0 <= row < size.height):
            raise EditError(f"{path}: target ({column}, {row}) is outside the image of {size.width}x{size.height}")
        closed = gripper(episode.states) > episode.contract.thresholds.close_above
    grasps = np.flatnonzero(closed[1:] & ~closed[:-1]) + 1
    steps = int(grasps[0]) if len(grasps) else len(closed)
    target = np.full((len(closed), 2), schema.UNKNOWN_TARGET, dtype=schema.TARGET_DTYPE)
    target[:steps] = column, row

    def write(temporary: Path) -> None:
        shutil.copyfile(path, temporary)
        with open_hdf5(temporary, "r+") as file:
            if schema.TARGET in file:
                del file[schema.TARGET]
            file[schema.TARGET] = target
            file.attrs["schema_version"] = schema.SCHEMA_VERSION

    _replace(path, path, write)
    return steps


def forget_target(path: str | Path) -> None:
    """Remove the target that :func:`annotate` has set.

    Raises:
        EpisodeError: the file cannot be read.
        DatasetBusyError: another process is editing an episode.
    """
    path = Path(path)
    with _lock_of(path):
        Episode.open(path).close()

        def write(temporary: Path) -> None:
            shutil.copyfile(path, temporary)
            with open_hdf5(temporary, "r+") as file:
                if schema.TARGET in file:
                    del file[schema.TARGET]

        _replace(path, path, write)


def trim(path: str | Path, first: int, last: int) -> None:
    """Keep the steps ``first`` .. ``last`` of an episode, both included; the old file goes to the trash.

    Raises:
        EditError: the range is empty or outside the episode.
        EpisodeError: the file cannot be read.
        DatasetBusyError: another process is editing an episode.
    """
    path = Path(path)
    with _lock_of(path):
        _trim(path, first, last)


def _trim(path: Path, first: int, last: int) -> None:
    with Episode.open(path) as episode:
        if not 0 <= first <= last < episode.num_steps:
            raise EditError(f"{path}: steps {first} .. {last} are not within 0 .. {episode.num_steps - 1}")

    def write(temporary: Path) -> None:
        with Episode.open(path) as episode:
            _copy_steps(episode, range(first, last + 1), temporary)

    _replace(path, path, write, keep_old=True)


def merge(
    target: str | Path, sources: Sequence[str | Path], progress: Callable[[int, int], None] | None = None
) -> dict[str, str]:
    """Copy every episode of other datasets into ``target`` under new ids; returns source file -> new id.

    Episodes that ``target`` holds already are left out, so an interrupted merge can be repeated.

    Raises:
        ContractError: an episode was recorded under another contract; nothing was copied.
        EpisodeError: a file cannot be read; nothing was copied.
    """
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    contract: tuple[Contract, str] | None = None
    known: set[str] = set()
    wanted: list[Path] = []
    here = Dataset(folder).episode_paths
    for path in [*here, *(path for source in sources for path in Dataset.open(source).episode_paths)]:
        with Episode.open(path) as episode:
            if contract is None:
                contract = episode.contract, str(path)
            contract[0].require_same(episode.contract, contract[1], str(path))
            mark = fingerprint(episode)
        if path not in here and mark not in known:
            wanted.append(path)
        known.add(mark)
    copied = {}
    for number, path in enumerate(wanted, start=1):
        copied[str(path)] = _adopt(folder, path)
        if progress is not None:
            progress(number, len(wanted))
    return copied


def _adopt(folder: Path, path: Path) -> str:
    episode_id = schema.format_id(schema.next_number(folder))

    def write(temporary: Path) -> None:
        shutil.copyfile(path, temporary)
        with open_hdf5(temporary, "r+") as file:
            file.attrs["episode_id"] = episode_id

    _replace(path, schema.final_path(folder, episode_id), write)
    return episode_id


def _copy_steps(episode: Episode, steps: range, target: Path) -> None:
    header = EpisodeHeader(
        episode.episode_id,
        episode.metadata,
        episode.contract,
        episode.cameras,
        episode.encoding(episode.cameras[0]),
        episode.jpeg_quality(episode.cameras[0]) or 0,
        episode.created_at,
    )
    states, actions, ticks, takeover = episode.states, episode.actions, episode.timestamps_ns, episode.takeover
    stamps, targets = episode.stamps_ns, episode.target
    encodings = {camera: text for camera in episode.cameras if (text := episode.source_encoding(camera))}
    records = (
        StepRecord(
            int(ticks[index]),
            {camera: _stored_image(episode, camera, index) for camera in episode.cameras},
            states[index],
            actions[index],
            {stream: int(values[index]) for stream, values in stamps.items()},
            bool(takeover[index]),
            None if targets is None else (int(targets[index, 0]), int(targets[index, 1])),
            encodings,
        )
        for index in steps
    )
    builder = EpisodeFileBuilder(target, header)
    try:
        while block := list(islice(records, BLOCK_STEPS)):
            builder.append(block)
        optional = {name: episode.file.attrs[name] for name in schema.OPTIONAL_ATTRIBUTES if name in episode.file.attrs}
        builder.finish(Ending(episode.outcome, episode.dropped_ticks, optional))
    finally:
        builder.close()


def _stored_image(episode: Episode, camera: str, index: int) -> Any:
    data = episode.jpeg(camera, index)
    return episode.image(camera, index) if data is None else np.frombuffer(data, dtype=np.uint8)


def _replace(source: Path, target: Path, write: Callable[[Path], None], keep_old: bool = False) -> None:
    """Write a new file, made of ``source``, beside ``target`` and rename it over.

    ``keep_old`` leaves a copy of the old in the trash. A symbolic link stays one: the file it points to is replaced.
    """
    target = target.resolve()
    require_room(target, (2 if keep_old else 1) * source.stat().st_size + _ROOM_BYTES)
    temporary = target.parent / f".{target.stem}.edit"
    try:
        write(temporary)
        if keep_old:
            shutil.copyfile(target, untrimmed := target.with_name(f"{target.name}{UNTRIMMED}"))
            move_to_trash(untrimmed)
        publish(temporary, target)
    except OSError as error:
        raise as_disk_full(error, target) from None
    finally:
        temporary.unlink(missing_ok=True)


def _lock_of(path: Path) -> EditLock:
    folder = path.resolve().parent
    if not folder.is_dir():
        raise EpisodeError(f"{path}: no such episode file")  # the lock would make the folder
    return EditLock(folder)


def _text_or_empty(episode: Episode, name: str) -> str:
    try:
        return episode.text(name)
    except EpisodeUnavailableError:
        raise
    except EpisodeError:
        return ""


def _environment(episode: Episode) -> dict[str, Any]:
    try:
        value = json.loads(_text_or_empty(episode, "environment") or "{}")
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
