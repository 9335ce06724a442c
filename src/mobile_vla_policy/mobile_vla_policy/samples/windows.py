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

from mobile_vla_data.action import gripper
from mobile_vla_policy.backbones.tokenizer import Tokens
from mobile_vla_policy.model.head import HeadSettings
from mobile_vla_policy.normalisation import Normalisation
from mobile_vla_policy.samples.episodes import EpisodeData
from mobile_vla_policy.samples.frames import Frames
from mobile_vla_policy.samples.journeys import JourneyMaker, Journeys


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
    """Images uint8 ``[N, cameras, S, S, 3]`` of the valid frames, window after window; or ACT states
    ``[B, W, hidden]`` that were computed beforehand."""
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
    group: torch.Tensor
    """int64 ``[B]``: windows of the same episode have the same number, from 0 on without gaps."""
    journeys: Journeys | None = None
    """Their whole course, if a loss needs it."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        tensors = (self.frames, self.state, self.target, self.mask, self.valid, self.instruction, self.group)
        frames, state, target, mask, valid, instruction, group = (
            tensor.to(device, non_blocking=True) for tensor in tensors
        )
        journeys = None if self.journeys is None else self.journeys.to(device)
        return Batch(frames, state, target, mask, valid, instruction, self.episodes, group, journeys)


def cut(lengths: Sequence[int], window: int, stride: int, rng: random.Random | None) -> list[Window]:
    """Partition the steps of every episode into windows; shuffled, with random cuts, when there is an ``rng``."""
    windows = [part for episode, length in enumerate(lengths) for part in _parts(episode, length, window, stride, rng)]
    if rng:
        rng.shuffle(windows)
    return windows


def _parts(episode: int, length: int, window: int, stride: int, rng: random.Random | None) -> Iterator[Window]:
    for phase in range(min(stride, length)):
        steps = range(phase, length, stride)
        first = rng.randint(1, window) if rng else window
        bounds = [0, *range(first, len(steps), window), len(steps)]
        yield from (Window(episode, tuple(steps[a:b])) for a, b in pairwise(bounds) if a < b)


@dataclass(frozen=True)
class Draw:
    """How the windows of one epoch are drawn."""

    window: int
    stride: int
    together: int = 1
    """So many windows of one episode follow one another, drawn from the whole of it."""
    repeats: int = 0
    """Windows around a gripper change come so many times more."""


def draw(lengths: Sequence[int], changes: Sequence[frozenset[int]], how: Draw, rng: random.Random) -> list[Window]:
    """Return an epoch of windows: every step at least once, windows of one episode together in random order.

    ``changes`` are the steps of each episode that are near a change of the gripper.
    """
    groups: list[list[Window]] = []
    for episode, (length, near) in enumerate(zip(lengths, changes, strict=True)):
        windows = list(_parts(episode, length, how.window, how.stride, rng))
        windows += [part for part in windows if not near.isdisjoint(part.steps) for _ in range(how.repeats)]
        rng.shuffle(windows)
        if missing := -len(windows) % how.together:
            windows += rng.choices(windows, k=missing)
        groups += [windows[i : i + how.together] for i in range(0, len(windows), how.together)]
    rng.shuffle(groups)
    return [window for group in groups for window in group]


def near_changes(episode: EpisodeData, steps: int = 5) -> frozenset[int]:
    """Return the steps of an episode that are at most ``steps`` from one at which the gripper is told to change."""
    closed = gripper(episode.actions) > 0.5
    changes = np.flatnonzero(closed[1:] != closed[:-1]) + 1
    return frozenset(
        int(step) for change in changes for step in range(max(0, change - steps), min(len(closed), change + steps + 1))
    )


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
        journeys: JourneyMaker | None = None,
    ) -> None:
        self.episodes = episodes
        self.changes = [near_changes(episode) for episode in episodes]
        self.workers = workers
        self.instructions = sorted({episode.instruction for episode in episodes})
        self.plan: list[list[Window]] = []
        self._head = head
        self._journeys = journeys
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
            frames = self._frames[place]
        else:
            images = [self._frames.get(window.episode, window.steps) for window in windows]
            frames = torch.from_numpy(np.concatenate(images))
        row: dict[int, int] = {}
        group = [row.setdefault(window.episode, len(row)) for window in windows]
        journeys = None if self._journeys is None else self._journeys.make(list(row), torch.tensor(padded))
        return Batch(
            frames=frames,
            state=self._states[place] * valid[..., None],
            target=target * valid[..., None, None],
            mask=recorded & valid[..., None] & counted[:, None, None],
            valid=valid,
            instruction=torch.tensor([self._instruction[window.episode] for window in windows]),
            episodes=tuple(self.episodes[window.episode].path.stem for window in windows),
            group=torch.tensor(group),
            journeys=journeys,
        )


def epoch_of_plans(
    lengths: Sequence[int],
    changes: Sequence[frozenset[int]],
    how: Draw,
    size: int,
    seed: int,
    rank: int = 0,
    processes: int = 1,
) -> Iterator[list[list[Window]]]:
    """The plan of one epoch after the other, for ever. The same seed gives the same plans."""
    epoch = 0
    while True:
        rng = random.Random(f"{seed}/{epoch}")
        if how.together == 1 and not how.repeats:
            windows = cut(lengths, how.window, how.stride, rng)
        else:
            windows = draw(lengths, changes, how, rng)
        yield batches(windows, size, rank, processes)
        epoch += 1


def tokens_for(batch: Batch, tokens: Tokens) -> Tokens:
    """The tokens of each window's instruction, without padding beyond the batch's longest."""
    chosen = tokens.select(batch.instruction)
    longest = int(chosen.lengths.max())
    return Tokens(chosen.ids[:, :longest], chosen.lengths)
