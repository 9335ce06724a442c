"""Journeys: whole episodes, for losses at one step that use the other steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mobile_vla_data.action import displacement, position
from mobile_vla_data.contract import Contract
from mobile_vla_policy.samples.episodes import EpisodeData

#: Steps over which a base that turns is looked at for the direction in which it drove.
_AHEAD = 5


@dataclass(frozen=True)
class Journeys:
    """E episodes of a batch, padded to the longest, L steps."""

    positions: torch.Tensor
    """By odometry, float ``[E, L, 2]`` [m]."""
    motions: torch.Tensor
    """The motion wanted at each step, along the odometry's axes, float ``[E, L, 2]`` [m per control period]."""
    targets: torch.Tensor
    """Where the instructed target is in the first camera's image: right and up, -1 .. 1; NaN if unknown.
    Float ``[E, L, 2]``."""
    recorded: torch.Tensor
    """bool ``[E, L]``: this step exists."""
    steps: torch.Tensor
    """int64 ``[B, W]``: the windows' steps within their episodes."""

    def to(self, device: torch.device) -> Journeys:
        """Return the same on another device."""
        return Journeys(*(value.to(device, non_blocking=True) for value in vars(self).values()))


class JourneyMaker:
    """Makes the journeys of a batch from the episodes of a split."""

    def __init__(self, episodes: Sequence[EpisodeData], contract: Contract) -> None:
        camera = contract.cameras[contract.first_camera]
        self._size = (camera.width, camera.height)
        self._positions = [torch.from_numpy(np.array(position(episode.states))) for episode in episodes]
        self._motions = [torch.from_numpy(_motions(episode, contract.turns)) for episode in episodes]
        self._targets = [torch.from_numpy(in_image(episode.target_px(), self._size)) for episode in episodes]

    def make(self, episodes: Sequence[int], steps: torch.Tensor) -> Journeys:
        """Return the journeys of ``episodes``, distinct indices, for windows of ``steps`` int64 ``[B, W]``."""
        lengths = torch.tensor([len(self._positions[episode]) for episode in episodes])
        pad = torch.nn.utils.rnn.pad_sequence
        return Journeys(
            pad([self._positions[episode] for episode in episodes], batch_first=True),
            pad([self._motions[episode] for episode in episodes], batch_first=True),
            pad([self._targets[episode] for episode in episodes], batch_first=True, padding_value=float("nan")),
            torch.arange(int(lengths.max())) < lengths[:, None],
            steps,
        )


def in_image(pixels: npt.NDArray[np.int32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return pixels ``[T, 2]`` (column, row) of an image of ``size`` (width, height) as right and up in -1 .. 1.

    A pixel of -1, -1 is unknown and becomes NaN.
    """
    width, height = size
    scaled = (pixels + 0.5) / np.array([width, height]) * 2 - 1
    places = scaled * np.array([1.0, -1.0])
    places[(pixels < 0).any(axis=1)] = np.nan
    return np.asarray(places, dtype=np.float32)


def _motions(episode: EpisodeData, turns: bool) -> npt.NDArray[np.float32]:
    if not turns:
        return np.array(displacement(episode.actions), dtype=np.float32)
    # Its actions are along axes that turn with it; what it drove is along the odometry's.
    places = np.array(position(episode.states))
    last = len(places) - 1
    ahead = np.minimum(np.arange(len(places)) + _AHEAD, last)
    return np.asarray((places[ahead] - places) / _AHEAD, dtype=np.float32)
