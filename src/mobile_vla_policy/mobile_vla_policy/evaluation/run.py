"""Evaluates a checkpoint on one split of a dataset."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobile_vla_policy.checkpoint import CheckpointInfo, load_network, read_info, resolve
from mobile_vla_policy.engine.choices import EngineError, EngineOptions
from mobile_vla_policy.engine.load import pick_device
from mobile_vla_policy.evaluation.metrics import Metrics, summarise
from mobile_vla_policy.evaluation.predict import EpisodePrediction, PredictionError, predict_episode
from mobile_vla_policy.samples.episodes import EpisodeData, TrainingData, TrainingDataError, open_dataset
from mobile_vla_policy.samples.frames import decode_frames
from mobile_vla_policy.samples.provenance import learned_from

#: Below this share of an action's usual length, a change of the action by another instruction is called no change.
_LEAST_SENSITIVITY = 0.2


@dataclass(frozen=True)
class Sensitivity:
    """What happens when the instruction is swapped for another task's."""

    change_m: float
    """Mean distance between the next displacements under the right and the swapped instruction [m]."""
    relative: float
    """``change_m`` over the mean length of a recorded displacement."""
    swapped_error_m: float
    """Mean error of the next displacement under the swapped instruction [m]."""
    gripper_changed: float
    """Share of steps at which the gripper is told something else under the swapped instruction."""


@dataclass(frozen=True)
class Evaluation:
    """The outcome of :func:`evaluate`."""

    checkpoint: Path
    split: str
    tolerance_m: float
    episodes: int
    overall: Metrics
    by_task: dict[str, Metrics]
    by_category: dict[str, Metrics]
    sensitivity: Sensitivity | None
    """None when the split has one task only."""
    warnings: list[str]
    paths: list[EpisodePrediction]
    """A few episodes to draw."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the paths."""
        return {
            "checkpoint": str(self.checkpoint),
            "split": self.split,
            "tolerance_m": self.tolerance_m,
            "episodes": self.episodes,
            "overall": asdict(self.overall),
            "by_task": {name: asdict(metrics) for name, metrics in self.by_task.items()},
            "by_category": {name: asdict(metrics) for name, metrics in self.by_category.items()},
            "instruction_sensitivity": None if self.sensitivity is None else asdict(self.sensitivity),
            "warnings": self.warnings,
        }


def evaluate(checkpoint: Path, dataset: Path, split: str, tolerance_m: float, device: str = "auto") -> Evaluation:
    """Predict at every step of every episode of ``split`` and compare.

    Raises:
        CheckpointError, TrainingDataError, ContractError, EngineError, PredictionError: with one line that says what
            is wrong.
    """
    if problem := EngineOptions(device=device).problem():
        raise EngineError(problem)
    target = pick_device(device)
    info = read_info(resolve(checkpoint))
    backbone, head = info.settings.backbone, info.settings.head
    # Not split here: episodes that the policy has learned from would be called a test.
    data = open_dataset(dataset, backbone.cameras, seed=None)
    info.contract.require_same(data.contract, f"the checkpoint {info.folder}", f"the dataset {dataset}")
    episodes = data.splits.get(split, [])
    if not episodes:
        raise TrainingDataError(f"{dataset}: the split '{split}' has no episodes; it has {', '.join(data.splits)}")
    network = load_network(info).to(target)

    def predict(episode: EpisodeData, frames: Any, instruction: str) -> EpisodePrediction:
        try:
            return predict_episode(
                network, info.normalisation, info.contract, episode, frames, instruction, head.window, head.frame_stride
            )
        except PredictionError as error:
            raise PredictionError(f"{info.folder}: {error}; its weights are damaged, train it again") from None

    right, swapped = [], []
    for episode in episodes:
        frames = decode_frames(episode, range(episode.num_steps), backbone.cameras, network.backbone.image_size)
        right.append(predict(episode, frames, episode.instruction))
        other = _other_instruction(episode, data)
        if other is not None:
            swapped.append((right[-1], predict(episode, frames, other)))
    sensitivity = _sensitivity(swapped, tolerance_m)
    return Evaluation(
        checkpoint=info.folder,
        split=split,
        tolerance_m=tolerance_m,
        episodes=len(episodes),
        overall=summarise(right, tolerance_m),
        by_task=_grouped(right, lambda episode: episode.task, tolerance_m),
        by_category=_grouped(right, lambda episode: episode.category, tolerance_m),
        sensitivity=sensitivity,
        warnings=[*_warnings(info, episodes, sensitivity), *([data.note] if data.note else [])],
        paths=right[:: max(1, len(right) // 6)][:6],
    )


def _grouped(
    predictions: list[EpisodePrediction], key: Callable[[EpisodeData], str], tolerance_m: float
) -> dict[str, Metrics]:
    groups: dict[str, list[EpisodePrediction]] = defaultdict(list)
    for prediction in predictions:
        groups[key(prediction.episode)].append(prediction)
    return {name: summarise(groups[name], tolerance_m) for name in sorted(groups)}


def _other_instruction(episode: EpisodeData, data: TrainingData) -> str | None:
    """An instruction of another task, the same one in every evaluation; None when there is no other task."""
    others = {e.instruction for episodes in data.splits.values() for e in episodes if e.task != episode.task}
    return random.Random(episode.path.stem).choice(sorted(others)) if others else None


def _sensitivity(pairs: list[tuple[EpisodePrediction, EpisodePrediction]], tolerance_m: float) -> Sensitivity | None:
    if not pairs:
        return None
    change = np.concatenate([np.linalg.norm(a.deltas[:, 0] - b.deltas[:, 0], axis=1) for a, b in pairs]).mean()
    length = np.concatenate([np.linalg.norm(a.episode.actions[:, :2], axis=1) for a, _ in pairs]).mean()
    error = summarise([b for _, b in pairs], tolerance_m).error_m
    gripper = np.concatenate([a.closed != b.closed for a, b in pairs]).mean()
    return Sensitivity(float(change), float(change / max(length, 1e-9)), error, float(gripper))


def _warnings(info: CheckpointInfo, episodes: list[EpisodeData], sensitivity: Sensitivity | None) -> list[str]:
    warnings = []
    if learned := learned_from(info, episodes):
        warnings.append(
            f"{learned} of the {len(episodes)} episodes were trained on: this is what the policy remembers, not how it "
            "does on something new"
        )
    if sensitivity is None:
        warnings.append("all episodes have one task, so whether the policy listens to the instruction cannot be seen")
    elif sensitivity.relative < _LEAST_SENSITIVITY:
        warnings.append(
            f"the policy ignores the instruction: told to do something else, it changes its actions by only "
            f"{100 * sensitivity.relative:.0f} % of their length; record episodes in which the same scene is driven "
            "under different instructions, and train longer"
        )
    if not info.training.get("steps"):
        warnings.append("this checkpoint is untrained")
    return warnings
