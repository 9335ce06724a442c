"""Windows over episodes: in one epoch, every recorded step is in exactly one window.

With a stride of 3, an episode is three interleaved sequences of frames; each is cut into windows of 8, at a place that
is drawn anew every epoch. So a frame is decoded and encoded once an epoch, and stands at every window position in
turn. Windows at either end are shorter, none is dropped: the robot, too, begins without a past.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.utils.data import Dataset

from mobile_vla_policy.config import HeadSettings
from mobile_vla_policy.model.backbone import Tokens
from mobile_vla_policy.normalisation import Normalisation
from mobile_vla_policy.training.episodes import EpisodeData
from mobile_vla_policy.training.frames import Frames


@dataclass(frozen=True)
class Window:
    """Steps of one episode that the LSTM sees together, oldest first."""

    episode: int
    steps: tuple[int, ...]
    counted: bool = True
    """False for a repeat that only evens out the processes: it has no weight in the loss."""


@dataclass(frozen=True)
class Batch:
    """Windows, laid out for :class:`~mobile_vla_policy.model.network.PolicyNetwork`. N valid frames, B windows."""

    images: torch.Tensor
    """uint8 ``[N, cameras, S, S, 3]``, window after window."""
    state: torch.Tensor
    """Normalised, float ``[B, W, 3]``."""
    target: torch.Tensor
    """Normalised actions, float ``[B, W, H, 3]``."""
    mask: torch.Tensor
    """bool ``[B, W, H]``: actions that were recorded."""
    valid: torch.Tensor
    """bool ``[B, W]``."""
    instruction: torch.Tensor
    """int64 ``[B]``: index into the list of distinct instructions."""
    episodes: tuple[str, ...]
    """Names of the episodes, for messages."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        tensors = (self.images, self.state, self.target, self.mask, self.valid, self.instruction)
        images, state, target, mask, valid, instruction = (tensor.to(device, non_blocking=True) for tensor in tensors)
        return Batch(images, state, target, mask, valid, instruction, self.episodes)


def cut(lengths: Sequence[int], window: int, stride: int, rng: random.Random | None) -> list[Window]:
    """Partition the steps of every episode into windows; shuffled, with random cuts, when there is an ``rng``."""
    windows = []
    for episode, length in enumerate(lengths):
        for phase in range(min(stride, length)):
            steps = range(phase, length, stride)
            first = rng.randint(1, window) if rng else window
            bounds = [0, *range(first, len(steps), window), len(steps)]
            windows += [Window(episode, tuple(steps[a:b])) for a, b in pairwise(bounds) if a < b]
    if rng:
        rng.shuffle(windows)
    return windows


def batches(windows: Sequence[Window], size: int, rank: int = 0, processes: int = 1) -> list[list[Window]]:
    """The batches of one process. Together the processes' n-th batches are the n-th batch of one big process."""
    mine = []
    for start in range(0, len(windows), size * processes):
        step = list(windows[start : start + size * processes])
        while len(step) < processes:
            step.append(Window(step[0].episode, step[0].steps, counted=False))
        share = [len(step) * r // processes for r in range(processes + 1)]
        mine.append(step[share[rank] : share[rank + 1]])
    return mine


class WindowDataset(Dataset[Batch]):
    """Item n is the n-th batch of :attr:`plan`; the caller puts a new plan in for every epoch."""

    def __init__(
        self,
        episodes: Sequence[EpisodeData],
        frames: Frames,
        normalisation: Normalisation,
        head: HeadSettings,
        workers: int = 0,
    ) -> None:
        self.episodes = episodes
        self.workers = workers
        self.instructions = sorted({episode.instruction for episode in episodes})
        self.plan: list[list[Window]] = []
        self._frames = frames
        self._head = head
        index = {text: i for i, text in enumerate(self.instructions)}
        self._instruction = [index[episode.instruction] for episode in episodes]
        self._states = [normalisation.normalise_state(torch.from_numpy(episode.states)) for episode in episodes]
        self._actions = [normalisation.action.normalise(torch.from_numpy(episode.actions)) for episode in episodes]

    @property
    def lengths(self) -> list[int]:
        """Steps of each episode."""
        return [episode.num_steps for episode in self.episodes]

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        windows = self.plan[index]
        shape = (len(windows), self._head.window)
        state, target = torch.zeros(*shape, 3), torch.zeros(*shape, self._head.horizon, 3)
        mask = torch.zeros(*shape, self._head.horizon, dtype=torch.bool)
        valid = torch.zeros(shape, dtype=torch.bool)
        for row, window in enumerate(windows):
            steps = torch.tensor(window.steps)
            actions = self._actions[window.episode]
            future = steps[:, None] + torch.arange(self._head.horizon)
            count = len(steps)
            state[row, :count] = self._states[window.episode][steps]
            target[row, :count] = actions[future.clamp(max=len(actions) - 1)]
            mask[row, :count] = (future < len(actions)) & window.counted
            valid[row, :count] = True
        images = np.concatenate([self._frames.get(window.episode, window.steps) for window in windows])
        return Batch(
            images=torch.from_numpy(images),
            state=state,
            target=target,
            mask=mask,
            valid=valid,
            instruction=torch.tensor([self._instruction[window.episode] for window in windows]),
            episodes=tuple(self.episodes[window.episode].path.stem for window in windows),
        )


def epoch_of_plans(
    lengths: Sequence[int], window: int, stride: int, size: int, seed: int, rank: int = 0, processes: int = 1
) -> Iterator[list[list[Window]]]:
    """The plan of one epoch after the other, for ever. The same seed gives the same plans."""
    epoch = 0
    while True:
        yield batches(cut(lengths, window, stride, random.Random(f"{seed}/{epoch}")), size, rank, processes)
        epoch += 1


def tokens_for(batch: Batch, tokens: Tokens) -> Tokens:
    """The tokens of each window's instruction, without padding beyond the batch's longest."""
    chosen = tokens.select(batch.instruction)
    longest = int(chosen.lengths.max())
    return Tokens(chosen.ids[:, :longest], chosen.lengths)
