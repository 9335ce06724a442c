"""Predictions over a whole recorded episode, as the policy would make them when driving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mobile_vla_data.action import displacement, gripper
from mobile_vla_data.contract import Contract
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.normalisation import Normalisation
from mobile_vla_policy.policy import set_gripper_probability, strided
from mobile_vla_policy.preprocess import to_float
from mobile_vla_policy.samples.episodes import EpisodeData

_FRAMES_AT_ONCE = 64


class PredictionError(ValueError):
    """A prediction is not finite. The message is one line naming the episode and the step."""


@dataclass(frozen=True)
class EpisodePrediction:
    """Predictions at every step of a recorded episode."""

    episode: EpisodeData
    actions: npt.NDArray[np.float32]
    """float32 ``[T, horizon, 3 or 4]``, in the columns of :mod:`mobile_vla_data.action`; the gripper is a
    probability."""
    closed: npt.NDArray[np.bool_]
    """bool ``[T]``: gripper command for the next period, after the contract's thresholds."""

    @property
    def deltas(self) -> npt.NDArray[np.float32]:
        """float32 ``[T, horizon, 2]``: delta_x, delta_y [m]."""
        return np.asarray(displacement(self.actions))


@torch.inference_mode()
def predict_episode(
    network: PolicyNetwork,
    normalisation: Normalisation,
    contract: Contract,
    episode: EpisodeData,
    frames: npt.NDArray[np.uint8],
    instruction: str,
    window: int,
    stride: int,
) -> EpisodePrediction:
    """Predict at every step. ``frames`` are uint8 ``[T, cameras, S, S, 3]``.

    The backbone encodes every frame once; then the LSTM runs over the strided window of each step, in one batch.

    Raises:
        PredictionError: a prediction is not finite.
    """
    device = next(network.parameters()).device
    count = len(frames)
    states = normalisation.normalise_state(torch.from_numpy(episode.states)).to(device)
    one = network.backbone.tokenise([instruction]).to(device)
    inputs = []
    for start in range(0, count, _FRAMES_AT_ONCE):
        pixels = to_float(torch.from_numpy(frames[start : start + _FRAMES_AT_ONCE]).to(device))
        tokens = one.select(torch.zeros(len(pixels), dtype=torch.int64, device=device))
        features = network.backbone.encode(pixels, tokens)
        inputs.append(network.head.embed(features, states[start : start + _FRAMES_AT_ONCE]).float())
    chunks = _windowed(network, torch.cat(inputs), window, stride)
    chunks = normalisation.action.denormalise(chunks.float().cpu())
    finite = torch.isfinite(chunks).flatten(1).all(1)
    if not finite.all():
        step = int((~finite).nonzero()[0])
        raise PredictionError(f"{episode.path.stem}, step {step}: the prediction is {chunks[step, 0].tolist()}")
    set_gripper_probability(chunks, contract)
    closed, decisions = bool(gripper(episode.states)[0] > 0.5), []
    for value in gripper(chunks)[:, 0].tolist():
        closed = contract.thresholds.decide(value, closed)
        decisions.append(closed)
    return EpisodePrediction(episode, chunks.numpy(), np.array(decisions, dtype=bool))


def _windowed(network: PolicyNetwork, inputs: torch.Tensor, window: int, stride: int) -> torch.Tensor:
    """Return chunks ``[T, horizon, action_dim]`` of each step's window; short windows are padded behind."""
    count = len(inputs)
    index = torch.zeros(count, window, dtype=torch.int64)
    last = torch.zeros(count, dtype=torch.int64)
    for step in range(count):
        steps = strided(tuple(range(step + 1)), window, stride)
        index[step, : len(steps)] = torch.tensor(steps)
        last[step] = len(steps) - 1
    chunks: torch.Tensor
    chunks, _ = network.head(inputs[index.to(inputs.device)])
    return chunks[torch.arange(count), last]
