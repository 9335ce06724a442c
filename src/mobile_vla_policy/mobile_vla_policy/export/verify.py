"""Comparison of an export with the network: the same frames through both, including memory and normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode
from mobile_vla_policy.checkpoint import CheckpointInfo
from mobile_vla_policy.engine.choices import EngineError
from mobile_vla_policy.policy import Policy, PredictedChunk
from mobile_vla_policy.preprocess import Frame

#: Frames of each run: one more than fill the window.
_FRAMES = 9
#: Episodes of a dataset to compare on, spread over all of it.
_EPISODES = 3


@dataclass(frozen=True)
class RunFrame:
    """Input of a policy at one time step."""

    images: dict[str, Frame]
    state: npt.NDArray[np.float32]
    instruction: str


Run = Sequence[RunFrame]
"""Frames one window stride apart, for a memory that begins empty."""


def random_run(info: CheckpointInfo) -> Run:
    """Return noise images of the robot's camera sizes, and positions within the training data's; always the same."""
    random = np.random.default_rng(0)
    low, high = np.array(info.normalisation.state.q01), np.array(info.normalisation.state.q99)
    frames = []
    for _ in range(_FRAMES):
        images = {
            name: random.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
            for name, camera in info.contract.cameras.items()
        }
        state = np.array([*random.uniform(low, high), random.integers(2)], dtype=np.float32)
        frames.append(RunFrame(images, state, "go to the kitchen"))
    return frames


def recorded_runs(info: CheckpointInfo, dataset: Path) -> list[Run]:
    """Return the beginnings of some recorded episodes.

    Raises:
        EngineError: there are no episodes, or one lacks a camera of this policy.
        DatasetError, EpisodeError: they cannot be read.
    """
    paths = Dataset.open(dataset).episode_paths
    if not paths:
        raise EngineError(f"{dataset}: no episodes; give a folder of recorded ones, or leave --dataset out")
    chosen = paths[:: math.ceil(len(paths) / _EPISODES)]
    return [_recorded_run(info, path) for path in chosen]


def _recorded_run(info: CheckpointInfo, path: Path) -> Run:
    cameras, stride = info.settings.backbone.cameras, info.settings.head.frame_stride
    with Episode.open(path) as episode:
        missing = sorted(set(cameras) - set(episode.cameras))
        if missing:
            raise EngineError(f"{path}: has no camera '{missing[0]}', which this policy needs")
        return [
            RunFrame(
                {camera: episode.image(camera, step) for camera in cameras},
                np.asarray(episode.states[step], dtype=np.float32),
                episode.metadata.language,
            )
            for step in range(0, episode.num_steps, stride)[:_FRAMES]
        ]


def compare(reference: Policy, other: Policy, runs: Sequence[Run]) -> float:
    """Return the largest difference over all frames; NaN counts as infinite. It is the largest of

    - an action: motion in normalised units, whose usual range is -1 .. 1, or the gripper's probability;
    - the head's input, as a share of its largest value: an untrained policy predicts nearly the same from any image,
      which would hide an error.

    Raises:
        EngineError: an instruction is too long for ``other``.
    """
    worst = 0.0
    for run in runs:
        for ours, theirs in zip(_predictions(reference, run), _predictions(other, run), strict=True):
            actions = (ours.actions - theirs.actions).abs().max()
            inputs = (ours.head_input - theirs.head_input).abs().max() / ours.head_input.abs().max()
            difference = float(torch.maximum(actions, inputs))
            worst = max(worst, difference if math.isfinite(difference) else math.inf)
    return worst


class _Prediction(NamedTuple):
    actions: torch.Tensor
    head_input: torch.Tensor


def _predictions(policy: Policy, run: Run) -> list[_Prediction]:
    if run and (problem := policy.check_instruction(run[0].instruction)):
        raise EngineError(problem)
    memory, predictions = policy.initial_memory(), []
    for frame in run:
        chunk, memory = policy.predict(
            frame.images, frame.state, frame.instruction, memory, elapsed_periods=policy.config.head.frame_stride
        )
        predictions.append(_Prediction(_normalised(policy, chunk), memory.inputs[-1].cpu()))
    return predictions


def _normalised(policy: Policy, chunk: PredictedChunk) -> torch.Tensor:
    return policy.normalisation.action.normalise(torch.from_numpy(chunk.actions))
