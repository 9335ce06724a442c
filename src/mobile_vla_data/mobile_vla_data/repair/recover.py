"""Repairs a dataset without losing or inventing data: unfinished episodes, and names of absent ones.

The caller holds the :class:`~mobile_vla_data.storage.lock.DatasetLock`: files that a recorder is writing must not be
touched.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mobile_vla_data.checks.structure import check_structure
from mobile_vla_data.dataset.folder import Dataset, DatasetError, move_to_trash, remove_imports
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.damage import DAMAGE
from mobile_vla_data.episode.log import LogError, cut_off_in_header, read_log
from mobile_vla_data.episode.metadata import Ending
from mobile_vla_data.episode.reader import Episode, EpisodeUnavailableError
from mobile_vla_data.episode.steps import StepTable
from mobile_vla_data.storage.durable import as_disk_full, fsync_path, publish, write_text_atomically


@dataclass(frozen=True)
class Recovery:
    """Result for one unfinished episode."""

    episode_id: str
    result: Literal["recovered", "completed", "cleaned", "lost"]
    """recovered: rebuilt from its log; completed: only the last rename was missing; cleaned: it had been committed,
    or held no step, or an import left it; lost: cannot be read, moved to the trash folder."""
    path: str | None
    """The episode file, if there is one now."""
    steps: int
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def recover_dataset(dataset: str | Path) -> list[Recovery]:
    """Recover every unfinished episode of a folder, in the order of their ids; safe to interrupt and to repeat.

    Half an episode of a killed import is removed: the import can be repeated.

    Raises:
        DatasetError: there is no such folder.
        DiskFullError: no room to write an episode; nothing is lost, free some space and repeat.
    """
    folder = Dataset.open(dataset)
    numbers = {schema.number_in_name(path.name) for path in folder.unfinished_paths}
    left = "an import was killed while it wrote it; import it again"
    imports = [Recovery(episode_id, "cleaned", None, 0, left) for episode_id in remove_imports(folder.path)]
    return imports + [
        _recover(folder.path, schema.format_id(number)) for number in sorted(n for n in numbers if n is not None)
    ]


def fix_dataset(path: str | Path) -> list[str]:
    """Recover unfinished episodes and take names of absent episodes out of splits.json; one line for each repair.

    An episode in two splits is not repaired: only you know which of them it was trained in.
    """
    dataset = Dataset.open(path)
    done = [f"{item.episode_id}: {item.result}: {item.reason}" for item in recover_dataset(dataset.path)]
    try:
        splits = dataset.splits()
    except DatasetError:
        return done
    if splits is None:
        return done
    known = set(dataset.episode_ids)
    absent = sorted({name for ids in splits.values() for name in ids if name not in known})
    if absent:
        splits_path = dataset.path / schema.SPLITS_FILE
        document = json.loads(splits_path.read_text(encoding="utf-8"))
        document["splits"] = {split: [name for name in ids if name in known] for split, ids in splits.items()}
        write_text_atomically(splits_path, json.dumps(document, indent=2) + "\n")
        done.append(f"{splits_path}: {len(absent)} absent episodes removed, the first is {absent[0]}")
    return done


def _recover(dataset: Path, episode_id: str) -> Recovery:
    final = schema.final_path(dataset, episode_id)
    part = schema.part_path(dataset, episode_id)
    schema.copy_path(dataset, episode_id).unlink(missing_ok=True)
    if final.exists():
        _remove(dataset, part)
        return Recovery(episode_id, "cleaned", str(final), 0, "it had been committed; its leftovers were removed")
    try:
        logged = read_log(dataset, episode_id)
    except LogError as error:
        return _without_log(dataset, episode_id, part, str(error))
    steps = len(logged.table)
    if _is_complete(part, logged.table):
        publish(part, final)
        return Recovery(episode_id, "completed", str(final), steps, "only its final name was missing")
    if logged.nothing_whole:
        kept = move_to_trash(part)
        return Recovery(episode_id, "lost", None, 0, f"{part}: its first step is damaged; moved to {kept.parent}")
    if not steps:
        _remove(dataset, part)
        return Recovery(episode_id, "cleaned", None, 0, "it was cut off before its first step")
    cut = f"; step {steps} is incomplete or damaged; it and all steps after it are lost" if logged.torn else ""
    try:
        logged.commit(Ending("unlabelled", 0, {schema.RECOVERED: True}))
    except OSError as error:
        raise as_disk_full(error, part) from None
    return Recovery(episode_id, "recovered", str(final), steps, f"rebuilt from the log of its steps{cut}")


def _without_log(dataset: Path, episode_id: str, part: Path, reason: str) -> Recovery:
    """Handle a part that is not a log: a copied episode of raw images, one that has hardly begun, or a damaged one."""
    if _is_complete(part, None):
        final = schema.final_path(dataset, episode_id)
        publish(part, final)
        with Episode.open(final) as episode:
            steps = episode.num_steps
        return Recovery(episode_id, "completed", str(final), steps, "only its final name was missing")
    if cut_off_in_header(part):
        _remove(dataset, part)
        return Recovery(episode_id, "cleaned", None, 0, "it was cut off before its first step")
    kept = move_to_trash(part)
    return Recovery(episode_id, "lost", None, 0, f"{reason}; moved to {kept.parent}")


def _is_complete(part: Path, logged: StepTable | None) -> bool:
    """Return whether a part is a whole episode with the steps of its log, images included."""
    try:
        with Episode.open(part) as episode:
            if check_structure(episode):
                return False
            for camera in episode.cameras:
                for index in range(episode.num_steps):
                    episode.image(camera, index)
            # HDF5 may have been killed with a dataset in place and its values still to be written.
            return logged is None or (
                np.array_equal(episode.timestamps_ns, logged.ticks_ns)
                and np.array_equal(episode.states, logged.states)
                and np.array_equal(episode.actions, logged.actions)
                and np.array_equal(episode.takeover, logged.takeover)
                and _same_targets(episode.target, logged.targets)
                and all(np.array_equal(episode.stamps_ns[name], values) for name, values in logged.stamps_ns.items())
            )
    except EpisodeUnavailableError:
        # It may be whole: what cannot be read now must not end in the trash.
        raise
    except DAMAGE:
        return False


def _same_targets(stored: npt.NDArray[np.int32] | None, logged: npt.NDArray[np.int32] | None) -> bool:
    return stored is logged if stored is None or logged is None else np.array_equal(stored, logged)


def _remove(dataset: Path, path: Path) -> None:
    path.unlink(missing_ok=True)
    fsync_path(dataset)
