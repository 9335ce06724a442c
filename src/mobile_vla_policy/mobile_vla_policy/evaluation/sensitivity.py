"""Dependence of the predicted actions on the images, the instruction and the state: replace one, and compare.

A policy can predict well without its images: a table from odometry and instruction to a direction is enough. Only such
a comparison reveals it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import displacement
from mobile_vla_policy.evaluation.predict import EpisodePrediction
from mobile_vla_policy.samples.episodes import EpisodeData

Changed = Literal["instruction", "black_images", "other_images", "state"]
"""Replacement of an input: another task's instruction, black images, the images of another episode at the same step, or
a state of zeros."""

Frames = npt.NDArray[np.uint8]

#: A policy whose actions change by less than this share of their length does not use what was changed.
LEAST_CHANGE = 0.2


@dataclass(frozen=True)
class Sensitivity:
    """Change of the predictions with one input."""

    change_m: float
    """Mean distance between the next displacements with and without the change [m]."""
    relative: float
    """``change_m`` over the mean length of a recorded displacement."""
    error_m: float
    """Mean distance between the next displacement under the change and the recorded one [m]."""
    gripper_changed: float
    """Share of steps with another gripper command under the change."""


class Predict(Protocol):
    """Predict over a whole episode from the given frames uint8 ``[T, cameras, S, S, 3]`` and instruction."""

    def __call__(self, episode: EpisodeData, frames: Frames, instruction: str) -> EpisodePrediction: ...


class LoadFrames(Protocol):
    """Return an episode's frames, uint8 ``[T, cameras, S, S, 3]``."""

    def __call__(self, episode: EpisodeData) -> Frames: ...


class SensitivityTest:
    """Collects pairs of predictions, episode by episode.

    ``everything`` are all episodes of the dataset, which lend instructions and images; ``uses_state`` says whether the
    policy reads any of the state.
    """

    def __init__(self, predict: Predict, load: LoadFrames, everything: Sequence[EpisodeData], uses_state: bool) -> None:
        self._predict = predict
        self._load = load
        self._everything = everything
        self._instructions: dict[str, set[str]] = defaultdict(set)
        for episode in everything:
            self._instructions[episode.task].add(episode.instruction)
        self._uses_state = uses_state
        self._pairs: dict[Changed, list[tuple[EpisodePrediction, EpisodePrediction]]] = defaultdict(list)

    def add(self, right: EpisodePrediction, frames: Frames) -> None:
        """Predict one episode under every change. ``right`` is its prediction from ``frames`` without any."""
        for changed, episode, images, instruction in self._changes(right.episode, frames):
            # The prediction is compared with what was recorded, whatever state it was given.
            found = replace(self._predict(episode, images, instruction), episode=right.episode)
            self._pairs[changed].append((right, found))

    def results(self) -> dict[Changed, Sensitivity]:
        """Return one entry for every change that was possible."""
        return {changed: sensitivity(pairs) for changed, pairs in self._pairs.items()}

    def _changes(self, episode: EpisodeData, frames: Frames) -> Iterator[tuple[Changed, EpisodeData, Frames, str]]:
        told = episode.instruction
        # Drawn by the episode's name: the same in every evaluation.
        draw = random.Random(episode.path.stem)
        if swapped := self._other_instructions(episode):
            yield "instruction", episode, frames, draw.choice(swapped)
        yield "black_images", episode, np.zeros_like(frames), told
        if others := [one for one in self._everything if one.path != episode.path]:
            other = draw.choice(others)
            steps = np.minimum(np.arange(len(frames)), other.num_steps - 1)
            yield "other_images", episode, self._load(other)[steps], told
        if self._uses_state:
            yield "state", replace(episode, states=np.zeros_like(episode.states)), frames, told

    def _other_instructions(self, episode: EpisodeData) -> list[str]:
        """Return the instructions of other tasks."""
        return sorted(text for task, texts in self._instructions.items() if task != episode.task for text in texts)


def sensitivity(pairs: Sequence[tuple[EpisodePrediction, EpisodePrediction]]) -> Sensitivity:
    """Compare predictions (without, with) a change, over all steps of all pairs."""

    def distance(one: npt.NDArray[np.floating], two: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        return np.asarray(np.linalg.norm(one - two, axis=1))

    change = np.concatenate([distance(a.deltas[:, 0], b.deltas[:, 0]) for a, b in pairs]).mean()
    length = np.concatenate([np.linalg.norm(displacement(a.episode.actions), axis=1) for a, _ in pairs]).mean()
    error = np.concatenate([distance(b.deltas[:, 0], displacement(b.episode.actions)) for _, b in pairs]).mean()
    gripper = np.concatenate([a.closed != b.closed for a, b in pairs]).mean()
    return Sensitivity(float(change), float(change / max(length, 1e-9)), float(error), float(gripper))


def plain_words(found: dict[Changed, Sensitivity], state: str) -> list[str]:
    """Describe the inputs that the policy does not use, one sentence each; ``state`` is the head's setting."""
    lines = []
    images = [found[name].relative for name in ("black_images", "other_images") if name in found]
    if images and min(images) < LEAST_CHANGE:
        lines.append(
            f"the policy ignores the images: {_missing(found)}; train longer, record more varied scenes, and keep "
            "x and y out of its input (head.state: gripper or none)"
        )
    if "instruction" in found and found["instruction"].relative < LEAST_CHANGE:
        lines.append(
            f"the policy ignores the instruction: another task's instruction changes its actions by only "
            f"{_percent(found['instruction'])} of their length; record episodes in which the same scene is driven "
            "under different instructions, and train longer"
        )
    if state == "full" and "state" in found and images and found["state"].relative > min(images):
        lines.append(
            f"the policy relies on odometry: with x, y and gripper set to zero its actions change by "
            f"{_percent(found['state'])} of their length, and by {100 * min(images):.0f} % without its images; "
            "set head.state: gripper, unless odometry is localised in a map"
        )
    return lines


def as_json(found: dict[Changed, Sensitivity]) -> dict[str, Any]:
    """Return every kind of change, null where it could not be made."""
    names: tuple[Changed, ...] = ("instruction", "black_images", "other_images", "state")
    return {f"{name}_sensitivity": asdict(found[name]) if name in found else None for name in names}


def _missing(found: dict[Changed, Sensitivity]) -> str:
    black = f"black images change its actions by {_percent(found['black_images'])} of their length"
    if "other_images" not in found:
        return black
    return f"{black}, the images of another episode by {_percent(found['other_images'])}"


def _percent(one: Sensitivity) -> str:
    return f"{100 * one.relative:.0f} %"
