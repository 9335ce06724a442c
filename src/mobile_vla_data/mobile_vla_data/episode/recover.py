"""Turns what a crashed recording left into valid episodes, or says why that cannot be.

The caller holds the :class:`~mobile_vla_data.dataset.lock.DatasetLock`: what an open recorder still writes must not be
touched.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from mobile_vla_data.checks.structure import check_structure
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.trash import move_to_trash
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.durable import as_disk_full, fsync_path, publish
from mobile_vla_data.episode.episode_file import BLOCK_STEPS, EpisodeFileBuilder
from mobile_vla_data.episode.journal import JournalError, read_journal
from mobile_vla_data.episode.reader import Episode, EpisodeError


@dataclass(frozen=True)
class Recovery:
    """What became of one unfinished episode."""

    episode_id: str
    result: Literal["recovered", "completed", "cleaned", "lost"]
    """recovered: rebuilt from its journal; completed: only the last rename was missing; cleaned: it had been committed,
    or held no step; lost: cannot be read, moved to the trash folder."""
    path: str | None
    """The episode file, if there is one now."""
    steps: int
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def recover_dataset(dataset: str | Path) -> list[Recovery]:
    """Deal with every unfinished episode of a folder, in the order of their ids; safe to interrupt and to repeat.

    Raises:
        DatasetError: there is no such folder.
        DiskFullError: no room to write an episode; nothing is lost, free some space and repeat.
    """
    folder = Dataset.open(dataset)
    numbers = {schema.number_in_name(path.name) for path in folder.unfinished_paths}
    return [_recover(folder.path, schema.format_id(number)) for number in sorted(n for n in numbers if n is not None)]


def _recover(dataset: Path, episode_id: str) -> Recovery:
    final = schema.final_path(dataset, episode_id)
    part = schema.part_path(dataset, episode_id)
    journal = schema.journal_path(dataset, episode_id)
    if final.exists():
        _remove(dataset, part, journal)
        return Recovery(episode_id, "cleaned", str(final), 0, "it had been committed; its leftovers were removed")
    steps = _count_steps(journal)
    complete = _steps_of_complete(part)
    if complete is not None and complete >= steps:
        publish(part, final)
        _remove(dataset, journal)
        return Recovery(episode_id, "completed", str(final), complete, "it was complete but for its final name")
    if steps:
        _rebuild(journal, part, final)
        _remove(dataset, journal)
        return Recovery(episode_id, "recovered", str(final), steps, "rebuilt from its journal")
    return _give_up(dataset, episode_id, part, journal)


def _rebuild(journal: Path, part: Path, final: Path) -> None:
    header, steps = read_journal(journal)
    # The old part goes first: on a full disk its room is needed, and the journal holds all it has.
    part.unlink(missing_ok=True)
    builder = EpisodeFileBuilder(part, header)
    try:
        while block := list(islice(steps, BLOCK_STEPS)):
            builder.append(block)
        builder.finish("unlabelled", 0, {schema.RECOVERED: True})
        publish(part, final)
    except OSError as error:
        with contextlib.suppress(OSError, RuntimeError):
            builder.close()
        raise as_disk_full(error, part) from None


def _give_up(dataset: Path, episode_id: str, part: Path, journal: Path) -> Recovery:
    reason = "its journal is missing, and the file was never completed"
    if journal.exists():
        try:
            read_journal(journal)
        except JournalError as error:
            reason = str(error)
        else:
            _remove(dataset, part, journal)
            return Recovery(episode_id, "cleaned", None, 0, "it was cut off before its first step")
    kept = [move_to_trash(path) for path in (part, journal) if path.exists()]
    return Recovery(episode_id, "lost", None, 0, f"{reason}; moved to {kept[0].parent if kept else dataset}")


def _count_steps(journal: Path) -> int:
    try:
        _, steps = read_journal(journal)
        return sum(1 for _ in steps)
    except (JournalError, FileNotFoundError):
        return 0


def _steps_of_complete(part: Path) -> int | None:
    """Number of steps of a part that is a whole episode, images included; None if it is not."""
    try:
        with Episode.open(part) as episode:
            if check_structure(episode):
                return None
            for camera in episode.cameras:
                for index in range(episode.num_steps):
                    episode.image(camera, index)
            return episode.num_steps
    except EpisodeError:
        return None


def _remove(dataset: Path, *paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    fsync_path(dataset)
