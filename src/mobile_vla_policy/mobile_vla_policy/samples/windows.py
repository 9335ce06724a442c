"""Windows over episodes: in one epoch, every recorded step is in exactly one window.

With a stride of 3, an episode is three interleaved sequences of frames; each is cut into windows of 8, at a place that
is drawn anew every epoch. So a frame is decoded and encoded once an epoch, and stands at every window position in
turn. Windows at either end are shorter, none is dropped: the robot, too, begins without a past.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch.utils.data import Dataset

from mobile_vla_policy.config import HeadSettings
from mobile_vla_policy.model.backbone import Tokens
from mobile_vla_policy.normalisation import Normalisation
from mobile_vla_policy.samples.episodes import EpisodeData
from mobile_vla_policy.samples.frames import Frames
from mobile_vla_policy.training.packing import pack, packed_sizes


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

    frames: torch.Tensor
    """Images uint8 ``[N, cameras, S, S, 3]`` of the valid frames, window after window; or, computed beforehand, ACT
    states ``[rows, hidden]`` as :mod:`~mobile_vla_policy.training.packing` lays them out."""
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
        tensors = (self.frames, self.state, self.target, self.mask, self.valid, self.instruction)
        frames, state, target, mask, valid, instruction = (tensor.to(device, non_blocking=True) for tensor in tensors)
        return Batch(frames, state, target, mask, valid, instruction, self.episodes)


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
    """Item n is the n-th batch of :attr:`plan`; the caller puts a new plan in for every epoch.

    ``frames`` are decoded images, or one tensor of ACT states ``[T, hidden]`` for each episode.
    """

    def __init__(
        self,
        episodes: Sequence[EpisodeData],
        frames: Frames | Sequence[torch.Tensor],
        normalisation: Normalisation,
        head: HeadSettings,
        workers: int = 0,
    ) -> None:
        self.episodes = episodes
        self.workers = workers
        self.instructions = sorted({episode.instruction for episode in episodes})
        self.plan: list[list[Window]] = []
        self._head = head
        index = {text: i for i, text in enumerate(self.instructions)}
        self._instruction = [index[episode.instruction] for episode in episodes]
        # All episodes one after the other: a batch is then one look-up, however many windows it has.
        self._first = [0, *accumulate(self.lengths)]
        self._states = normalisation.normalise_state(torch.from_numpy(np.concatenate([e.states for e in episodes])))
        self._actions = normalisation.action.normalise(torch.from_numpy(np.concatenate([e.actions for e in episodes])))
        self._frames = torch.cat(list(frames)) if isinstance(frames, Sequence) else frames

    @property
    def lengths(self) -> list[int]:
        """Steps of each episode."""
        return [episode.num_steps for episode in self.episodes]

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        windows, width = self.plan[index], self._head.window
        if isinstance(self._frames, torch.Tensor):
            windows = sorted(windows, key=lambda window: len(window.steps), reverse=True)
        counts = torch.tensor([len(window.steps) for window in windows])
        first = torch.tensor([self._first[window.episode] for window in windows])
        end = torch.tensor([self._first[window.episode + 1] for window in windows])
        counted = torch.tensor([window.counted for window in windows])
        padded = [window.steps + window.steps[-1:] * (width - len(window.steps)) for window in windows]
        place = torch.tensor(padded) + first[:, None]
        valid = torch.arange(width) < counts[:, None]
        future = place[..., None] + torch.arange(self._head.horizon)
        recorded = future < end[:, None, None]
        target = self._actions[future.minimum(end[:, None, None] - 1)]
        if isinstance(self._frames, torch.Tensor):
            # Straight to where the head reads it: features are most of what a training step moves.
            frames = self._frames[pack(place, packed_sizes(valid))]
        else:
            images = [self._frames.get(window.episode, window.steps) for window in windows]
            frames = torch.from_numpy(np.concatenate(images))
        return Batch(
            frames=frames,
            state=self._states[place] * valid[..., None],
            target=target * valid[..., None, None],
            mask=recorded & valid[..., None] & counted[:, None, None],
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
