"""The episodes that an export takes out of a dataset, checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import SPLIT_NAMES
from mobile_vla_data.episode.reader import Episode


@dataclass(frozen=True)
class SelectedEpisode:
    """One episode of an export."""

    path: Path
    num_steps: int
    size_bytes: int
    mtime_ns: int
    language: str
    """The instruction."""
    split: str
    """train, validation or test; empty for an episode in no split."""

    @property
    def episode_id(self) -> str:
        """``episode_NNNNNN``."""
        return self.path.stem


@dataclass(frozen=True)
class Selection:
    """The episodes of an export, ordered by split, all with the same contract and cameras."""

    contract: Contract
    cameras: tuple[str, ...]
    episodes: tuple[SelectedEpisode, ...]
    has_splits: bool
    streams: tuple[str, ...]
    """Streams with capture times, without those of cameras that are not exported."""
    has_targets: bool
    """True if any episode has the instruction's target."""

    @property
    def num_steps(self) -> int:
        """Steps of all episodes."""
        return sum(episode.num_steps for episode in self.episodes)

    @property
    def identity(self) -> list[tuple[str, int, int, str]]:
        """What determines the content of an export: path, size, time of change and split of each episode."""
        return [(str(item.path.resolve()), item.size_bytes, item.mtime_ns, item.split) for item in self.episodes]

    @property
    def split_ranges(self) -> dict[str, range]:
        """Split name -> positions of its episodes in :attr:`episodes`; one split, ``train``, without splits.json."""
        if not self.has_splits:
            return {"train": range(len(self.episodes))}
        ranges = {}
        first = 0
        for name in SPLIT_NAMES:
            count = sum(episode.split == name for episode in self.episodes)
            if count:
                ranges[name] = range(first, first + count)
            first += count
        return ranges


def select(
    dataset: str | Path, cameras: Sequence[str] = (), outcomes: Sequence[str] = (), *, finite: bool = True
) -> Selection:
    """Choose the episodes of an export.

    Args:
        dataset: dataset folder.
        cameras: names of the cameras to take; empty for all of the first episode's.
        outcomes: outcomes to take; empty for all.
        finite: refuse actions and states that are not finite: other formats' statistics and scales cannot hold them.

    Raises:
        ConvertError: no episode, one without steps, one that lacks a camera, or a number that is not finite.
        ContractError: the contracts of two episodes differ in meaning.
        EpisodeError: a file cannot be read.
        DatasetError: there is no such folder, or its splits.json is malformed.
    """
    folder = Dataset.open(dataset)
    splits = folder.splits()
    split_of = {episode_id: name for name, ids in (splits or {}).items() for episode_id in ids}
    taken = tuple(cameras)
    contract: Contract | None = None
    found: list[SelectedEpisode] = []
    streams: dict[str, None] = {}
    has_targets = False
    for path in folder.episode_paths:
        with Episode.open(path) as episode:
            if outcomes and episode.outcome not in outcomes:
                continue
            contract = contract or episode.contract
            contract.require_same(episode.contract, str(found[0].path if found else path), str(path))
            taken = taken or episode.cameras
            _require_usable(episode, taken)
            if finite:
                _require_finite(episode)
            has_targets = has_targets or episode.target is not None
            streams.update(dict.fromkeys(episode.stamps_ns))
            found.append(_describe(episode, split_of.get(path.stem, "")))
    if contract is None:
        asked = f" with outcome {' or '.join(outcomes)}" if outcomes else ""
        raise ConvertError(f"{folder.path}: no episodes{asked} to export")
    order = {name: number for number, name in enumerate(SPLIT_NAMES)}
    found.sort(key=lambda episode: order.get(episode.split, len(order)))
    kept = tuple(name for name in streams if name in taken or name not in contract.cameras)
    return Selection(contract, taken, tuple(found), splits is not None, kept, has_targets)


def common_cameras(dataset: str | Path) -> tuple[str, ...]:
    """Return the cameras that every episode has, in the order of the first. Raises as :func:`select`."""
    found: tuple[str, ...] | None = None
    for path in Dataset.open(dataset).episode_paths:
        with Episode.open(path) as episode:
            found = episode.cameras if found is None else tuple(name for name in found if name in episode.cameras)
    return found or ()


def _describe(episode: Episode, split: str) -> SelectedEpisode:
    status = episode.path.stat()
    language = episode.metadata.language
    return SelectedEpisode(episode.path, episode.num_steps, status.st_size, status.st_mtime_ns, language, split)


def _require_usable(episode: Episode, cameras: Sequence[str]) -> None:
    if episode.num_steps < 1:
        raise ConvertError(f"{episode.path}: has no steps; delete it with 'mobile-vla-data delete'")
    missing = [camera for camera in cameras if camera not in episode.cameras]
    if missing:
        raise ConvertError(
            f"{episode.path}: has no camera '{missing[0]}'; choose cameras that every episode has with --camera "
            f"(it has {', '.join(episode.cameras)})"
        )


def _require_finite(episode: Episode) -> None:
    for name, values in (("actions", episode.actions), ("states", episode.states)):
        steps = np.flatnonzero(~np.isfinite(values).all(1))
        if len(steps):
            raise ConvertError(
                f"{episode.path}: {name}[{steps[0]}] is not finite; keep the steps before or after it with "
                "'mobile-vla-data trim'"
            )
