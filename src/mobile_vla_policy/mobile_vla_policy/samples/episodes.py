"""The episodes of a dataset for training: states and actions in memory, images in their files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import motion_columns
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import SplitError, split_dataset
from mobile_vla_data.dataset.stats import Statistics, VectorStatistics, compute_statistics
from mobile_vla_data.episode.reader import Episode
from mobile_vla_policy.normalisation import Normalisation, Range

LEAST_TRAIN_EPISODES = 2
#: A dimension whose quantiles are closer than this [m, rad] is nearly always still.
_STILL = 2e-3


class TrainingDataError(ValueError):
    """A dataset cannot be used for training. The message is one line naming dataset or episode and what to do."""


@dataclass(frozen=True)
class EpisodeData:
    """One episode without its images."""

    path: Path
    instruction: str
    task: str
    category: str
    states: npt.NDArray[np.float32]
    """float32 ``[T, 3]``: x, y [m], gripper."""
    actions: npt.NDArray[np.float32]
    """float32 ``[T, 3]``, or ``[T, 4]`` with delta_yaw."""
    targets: npt.NDArray[np.int32] | None = None
    """int32 ``[T, 2]``: column and row of the instructed target in the first camera's image as stored; -1 unknown."""
    alternatives: tuple[str, ...] = ()
    """Further wordings of the instruction; training draws one for each window."""

    @property
    def wordings(self) -> tuple[str, ...]:
        """The instruction, and its further wordings."""
        return (self.instruction, *self.alternatives)

    def target_px(self) -> npt.NDArray[np.int32]:
        """Return :attr:`targets`, all unknown if the episode has none."""
        return np.full((self.num_steps, 2), -1, np.int32) if self.targets is None else self.targets

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.actions)

    @property
    def digest(self) -> str:
        """Digest of states and actions; it does not depend on the file's name."""
        return hashlib.sha256(self.states.tobytes() + self.actions.tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class TrainingData:
    """A dataset, split, checked and with its normalisation."""

    contract: Contract
    normalisation: Normalisation
    splits: dict[str, list[EpisodeData]]
    note: str
    """Note for the user about the split; empty if there is none."""


def open_dataset(folder: Path, cameras: Sequence[str], seed: int | None, *, symmetric: bool = False) -> TrainingData:
    """Open a dataset; split it by ``seed`` if it is not split. With None, it must be split already.

    ``symmetric``: as :func:`normalisation_of` has it.

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
        note = f"{folder} was not split; it is now: 80 % train, 10 % validation, 10 % test by episode (splits.json)"
    elif left_out := _in_no_split(dataset, splits):
        note = (
            f"{len(left_out)} episodes are in no split and are not used (first: {left_out[0]}); if they were recorded "
            f"since, mobile-vla-data split {folder} --keep assigns them"
        )
    data = {name: [_read(dataset.episode_path(i), cameras) for i in ids] for name, ids in splits.items()}
    train = data.get("train", [])
    if len(train) < LEAST_TRAIN_EPISODES:
        raise TrainingDataError(f"{folder}: the train split has {len(train)} episodes; record more, then split again")
    contract = _one_contract([episode.path for name in sorted(data) for episode in data[name]])
    statistics = compute_statistics(episode.path for episode in train)
    return TrainingData(contract, normalisation_of(statistics, contract, symmetric=symmetric), data, note)


def normalisation_of(statistics: Statistics, contract: Contract, *, symmetric: bool = False) -> Normalisation:
    """Return the ranges for normalising actions and states: quantiles, or extremes if nearly still.

    ``symmetric``: ranges of actions around 0, so that a mirrored action is one, too; and the same for x and y where the
    robot's frame does not turn, so that a turned one is.
    """
    action = _range(statistics.actions)
    if symmetric:
        ends = [max(abs(low), abs(high)) for low, high in zip(action.q01, action.q99, strict=True)]
        ends = ends if contract.turns else [max(ends)] * len(ends)
        action = Range(tuple(-end for end in ends), tuple(ends))
    return Normalisation(action=action, state=_range(statistics.states))


def _range(of: VectorStatistics) -> Range:
    ranges = []
    for column in motion_columns(len(of.q01)):
        low, high = of.q01[column], of.q99[column]
        # A base that strafes once in a hundred steps: by its quantiles it never does, and that one step would count as
        # hundreds of times the usual.
        still = high - low < _STILL
        ranges.append((of.min[column], of.max[column]) if still else (low, high))
    return Range(*zip(*ranges, strict=True))


def _in_no_split(dataset: Dataset, splits: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the ids of the episodes in no split, except failures, which are left out on purpose."""
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
        states, actions, targets = episode.states, episode.actions, episode.target
    if not len(actions):
        raise TrainingDataError(f"{path}: no steps; remove it from the dataset, then split again")
    for name, values in (("observations/state", states), ("actions", actions)):
        if not np.isfinite(values).all():
            step = int(np.argwhere(~np.isfinite(values))[0][0])
            raise TrainingDataError(
                f"{path}: {name}, step {step} is {values[step].tolist()}, which is not finite; "
                "remove it from the dataset, then split again"
            )
    wordings = metadata.language_alternatives
    return EpisodeData(path, metadata.language, metadata.task, metadata.category, states, actions, targets, wordings)


def _one_contract(paths: Sequence[Path]) -> Contract:
    """Return the contract of all episodes. Equal JSON is compared first: parsing a thousand copies takes seconds."""
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
