"""Evaluation of a checkpoint on one split of a dataset."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_policy.checkpoint import CheckpointInfo, load_network, read_info, resolve
from mobile_vla_policy.engine.choices import EngineError, EngineOptions
from mobile_vla_policy.engine.device import pick_device
from mobile_vla_policy.evaluation.metrics import Metrics, summarise
from mobile_vla_policy.evaluation.predict import EpisodePrediction, PredictionError, predict_episode
from mobile_vla_policy.evaluation.sensitivity import (
    Changed,
    Sensitivity,
    SensitivityTest,
    as_json,
    plain_words,
)
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.samples.episodes import EpisodeData, TrainingData, TrainingDataError, open_dataset
from mobile_vla_policy.samples.frames import decode_frames
from mobile_vla_policy.samples.provenance import learned_from

#: Duration of the first look at what a policy uses [s].
_GLANCE_S = 30.0


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
    sensitivity: dict[Changed, Sensitivity]
    """Change of the predictions without each input."""
    warnings: list[str]
    paths: list[EpisodePrediction]
    """A few episodes to draw."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document, without the paths."""
        return {
            "checkpoint": str(self.checkpoint),
            "split": self.split,
            "tolerance_m": self.tolerance_m,
            "episodes": self.episodes,
            "overall": asdict(self.overall),
            "by_task": {name: asdict(metrics) for name, metrics in self.by_task.items()},
            "by_category": {name: asdict(metrics) for name, metrics in self.by_category.items()},
            **as_json(self.sensitivity),
            "warnings": self.warnings,
        }


@dataclass(frozen=True)
class _Subject:
    """A checkpoint and the dataset that it is evaluated on."""

    info: CheckpointInfo
    network: PolicyNetwork
    data: TrainingData

    @classmethod
    def open(cls, checkpoint: Path, dataset: Path, device: str) -> _Subject:
        if problem := EngineOptions(device=device).problem():
            raise EngineError(problem)
        target = pick_device(device)
        info = read_info(resolve(checkpoint))
        # Not split here: the test split could hold episodes that the policy has learned from.
        data = open_dataset(dataset, info.settings.backbone.cameras, seed=None)
        info.contract.require_same(data.contract, f"the checkpoint {info.folder}", f"the dataset {dataset}")
        return cls(info, load_network(info).to(target), data)

    def frames(self, episode: EpisodeData) -> npt.NDArray[np.uint8]:
        cameras = self.info.settings.backbone.cameras
        return decode_frames(episode, range(episode.num_steps), cameras, self.network.backbone.image_size)

    def predict(self, episode: EpisodeData, frames: npt.NDArray[np.uint8], instruction: str) -> EpisodePrediction:
        info, head = self.info, self.info.settings.head
        try:
            return predict_episode(
                self.network, info.normalisation, info.contract, episode, frames, instruction, head.window,
                head.frame_stride,
            )  # fmt: skip
        except PredictionError as error:
            raise PredictionError(f"{info.folder}: {error}; its weights are damaged, train it again") from None

    def sensitivity_test(self) -> SensitivityTest:
        everything = [episode for part in self.data.splits.values() for episode in part]
        return SensitivityTest(self.predict, self.frames, everything, self.info.settings.head.state != "none")


def evaluate(checkpoint: Path, dataset: Path, split: str, tolerance_m: float, device: str = "auto") -> Evaluation:
    """Predict at every step of every episode of ``split`` and compare.

    Raises:
        CheckpointError, TrainingDataError, ContractError, EngineError, PredictionError: with one line that says what
            is wrong.
    """
    subject = _Subject.open(checkpoint, dataset, device)
    episodes = subject.data.splits.get(split, [])
    if not episodes:
        names = ", ".join(subject.data.splits)
        raise TrainingDataError(f"{dataset}: the split '{split}' has no episodes; it has {names}")
    test, predictions = subject.sensitivity_test(), []
    for episode in episodes:
        frames = subject.frames(episode)
        predictions.append(subject.predict(episode, frames, episode.instruction))
        test.add(predictions[-1], frames)
    found = test.results()
    note = [subject.data.note] if subject.data.note else []
    return Evaluation(
        checkpoint=subject.info.folder,
        split=split,
        tolerance_m=tolerance_m,
        episodes=len(episodes),
        overall=summarise(predictions, tolerance_m),
        by_task=_grouped(predictions, lambda episode: episode.task, tolerance_m),
        by_category=_grouped(predictions, lambda episode: episode.category, tolerance_m),
        sensitivity=found,
        warnings=[*_warnings(subject.info, episodes, found), *note],
        paths=predictions[:: max(1, len(predictions) // 6)][:6],
    )


def what_it_uses(checkpoint: Path, dataset: Path, device: str = "auto") -> list[str]:
    """Describe the inputs that a trained checkpoint does not use, from a few validation episodes; empty if it uses all.

    At most :data:`_GLANCE_S` long: a first look at the end of a training, which :func:`evaluate` completes.

    Raises: as :func:`evaluate`.
    """
    subject = _Subject.open(checkpoint, dataset, device)
    episodes = subject.data.splits.get("validation") or subject.data.splits["train"]
    test, began_s = subject.sensitivity_test(), time.monotonic()
    for episode in episodes:
        frames = subject.frames(episode)
        test.add(subject.predict(episode, frames, episode.instruction), frames)
        if time.monotonic() - began_s > _GLANCE_S:
            break
    return plain_words(test.results(), subject.info.settings.head.state)


def _grouped(
    predictions: list[EpisodePrediction], key: Callable[[EpisodeData], str], tolerance_m: float
) -> dict[str, Metrics]:
    groups: dict[str, list[EpisodePrediction]] = defaultdict(list)
    for prediction in predictions:
        groups[key(prediction.episode)].append(prediction)
    return {name: summarise(groups[name], tolerance_m) for name in sorted(groups)}


def _warnings(info: CheckpointInfo, episodes: list[EpisodeData], found: dict[Changed, Sensitivity]) -> list[str]:
    warnings = []
    if learned := learned_from(info, episodes):
        warnings.append(
            f"{learned} of the {len(episodes)} episodes were trained on: this shows what the policy remembers, not how "
            "it does on new episodes"
        )
    if "instruction" not in found:
        warnings.append("all episodes have one task, so whether the policy listens to the instruction cannot be tested")
    warnings += plain_words(found, info.settings.head.state)
    if not info.training.get("steps"):
        warnings.append("this checkpoint is untrained")
    return warnings
