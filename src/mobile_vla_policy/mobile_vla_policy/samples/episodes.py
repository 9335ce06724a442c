"""The episodes of one split: their numbers in memory, their images where they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import SplitError, split_dataset
from mobile_vla_data.dataset.stats import Statistics, VectorStatistics, compute_statistics
from mobile_vla_data.episode.reader import Episode
from mobile_vla_policy.normalisation import Normalisation, Range

LEAST_TRAIN_EPISODES = 2
#: Quantiles closer than this [m] say that a dimension stands still nearly always.
_STILL_M = 2e-3


class TrainingDataError(ValueError):
    """A dataset cannot be trained on. The message is one line naming dataset or episode and what to do."""


@dataclass(frozen=True)
class EpisodeData:
    """One episode without its images."""

    path: Path
    instruction: str
    task: str
    category: str
    states: npt.NDArray[np.float32]
    """float32 ``[T, 3]``."""
    actions: npt.NDArray[np.float32]
    """float32 ``[T, 3]``."""

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.actions)

    @property
    def digest(self) -> str:
        """Equal for two episodes with the same states and actions, whatever their files are called."""
        return hashlib.sha256(self.states.tobytes() + self.actions.tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class TrainingData:
    """A dataset, split, checked and with its normalisation."""

    contract: Contract
    normalisation: Normalisation
    splits: dict[str, list[EpisodeData]]
    note: str
    """What was done on the way, for the user; empty if nothing."""


def open_dataset(folder: Path, cameras: Sequence[str], seed: int | None) -> TrainingData:
    """Open a dataset; split it by ``seed`` if that has not been done. With None it must have been.

    Raises:
        TrainingDataError: too few episodes, a missing camera, or episodes recorded under different contracts.
        DatasetError, SplitError, EpisodeError: as their modules say.
    """
    dataset = Dataset.open(folder)
    if not dataset.episode_paths:
        raise TrainingDataError(f"{folder}: no episodes; record some, or make some with mobile-vla-sim collect")
    splits, note = dataset.splits(), ""
    if splits is None:
        if seed is None:
            raise TrainingDataError(f"{folder}: is not split; run mobile-vla-data split {folder}")
        try:
            splits = split_dataset(folder, seed=seed)["splits"]
        except SplitError as error:
            raise TrainingDataError(f"{folder}: not split yet, and cannot be: {error}") from None
        note = f"{folder} had not been split: 80 % train, 10 % validation, 10 % test by episode (splits.json)"
    elif left_out := _in_no_split(dataset, splits):
        note = (
            f"{len(left_out)} episodes are in no split and not used, {left_out[0]} first; recorded since? "
            f"mobile-vla-data split {folder} deals all out anew"
        )
    data = {name: [_read(dataset.episode_path(i), cameras) for i in ids] for name, ids in splits.items()}
    train = data.get("train", [])
    if len(train) < LEAST_TRAIN_EPISODES:
        raise TrainingDataError(f"{folder}: the train split has {len(train)} episodes; record more, then split again")
    contract = _one_contract([episode.path for name in sorted(data) for episode in data[name]])
    statistics = compute_statistics(episode.path for episode in train)
    return TrainingData(contract, normalisation_of(statistics), data, note)


def normalisation_of(statistics: Statistics) -> Normalisation:
    """The ranges that actions and states are normalised by: quantiles, or all there is of what hardly ever changes."""
    return Normalisation(action=_range(statistics.actions), state=_range(statistics.states))


def _range(of: VectorStatistics) -> Range:
    ranges = []
    for low, high, least, most in list(zip(of.q01, of.q99, of.min, of.max, strict=True))[:2]:
        # A base that strafes once in a hundred steps: by its quantiles it never does, and the one time would count as
        # hundreds of times the usual.
        ranges.append((low, high) if high - low >= _STILL_M else (least, most))
    (low_x, high_x), (low_y, high_y) = ranges
    return Range((low_x, low_y), (high_x, high_y))


def _in_no_split(dataset: Dataset, splits: Mapping[str, Sequence[str]]) -> list[str]:
    """Ids of the episodes that no split names, but for failures: those are left out on purpose."""
    dealt = {episode_id for ids in splits.values() for episode_id in ids}
    left_out = []
    for episode_id in dataset.episode_ids:
        if episode_id not in dealt:
            with Episode.open(dataset.episode_path(episode_id)) as episode:
                if episode.outcome != "failure":
                    left_out.append(episode_id)
    return left_out


def _read(path: Path, cameras: Sequence[str]) -> EpisodeData:
    with Episode.open(path) as episode:
        missing = [name for name in cameras if name not in episode.cameras]
        if missing:
            raise TrainingDataError(
                f"{path}: no camera '{missing[0]}'; set policy.backbone.cameras=[{', '.join(episode.cameras)}]"
            )
        metadata = episode.metadata
        states, actions = episode.states, episode.actions
    if not len(actions):
        raise TrainingDataError(f"{path}: no steps; remove it from the dataset, then split again")
    for name, values in (("observations/state", states), ("actions", actions)):
        if not np.isfinite(values).all():
            step = int(np.argwhere(~np.isfinite(values))[0][0])
            raise TrainingDataError(
                f"{path}: {name}, step {step} is {values[step].tolist()}, which is not finite; "
                "remove it from the dataset, then split again"
            )
    return EpisodeData(path, metadata.language, metadata.task, metadata.category, states, actions)


def _one_contract(paths: Sequence[Path]) -> Contract:
    """The contract that all episodes share. Equal JSON is compared first: parsing a thousand copies takes seconds."""
    first_text, first = "", None
    for path in paths:
        with Episode.open(path) as episode:
            text = episode.text("contract")
            if first is None:
                first_text, first = text, episode.contract
            elif text != first_text and (differences := first.differences(episode.contract)):
                raise TrainingDataError(
                    f"{path}: recorded under another contract than {paths[0].name}: {'; '.join(differences)}; "
                    "keep them in separate datasets"
                )
    assert first is not None
    return first
