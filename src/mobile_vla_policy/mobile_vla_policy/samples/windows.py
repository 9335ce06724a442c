"""Windows over episodes: in one epoch, every recorded step is in exactly one window, unless windows are repeated.

With a stride of 3, an episode is three interleaved sequences of frames; each is cut into windows of 8, at places that
are drawn for every epoch. So each frame is decoded and encoded once per epoch, and takes every window position in
turn. Windows at either end are shorter, and none is dropped: the robot also starts without past frames.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch.utils.data import Dataset

from mobile_vla_data.action import gripper
from mobile_vla_data.episode.reader import EpisodeError
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
    """False for a repeated window that only evens out the processes: it has no weight in the loss."""
    wording: int = 0
    """Index of the episode's wording to use; 0 is the instruction itself."""


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
    """bool ``[B, W]``: window positions that hold a step."""
    instructions: tuple[str, ...]
    """One for each window."""
    episodes: tuple[str, ...]
    """Names of the episodes, for messages."""
    group: torch.Tensor
    """int64 ``[B]``: windows of one episode have the same number, from 0 on without gaps."""
    journeys: Journeys | None = None
    """Journeys of these episodes, if a loss needs them."""

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on another device."""
        tensors = (self.frames, self.state, self.target, self.mask, self.valid, self.group)
        frames, state, target, mask, valid, group = (tensor.to(device, non_blocking=True) for tensor in tensors)
        journeys = None if self.journeys is None else self.journeys.to(device)
        return Batch(frames, state, target, mask, valid, self.instructions, self.episodes, group, journeys)


@dataclass(frozen=True)
class Draw:
    """Settings for drawing the windows of one epoch."""

    window: int
    """Frames."""
    stride: int
    """Control periods between two frames of a window."""
    together: int = 1
    """Number of windows of one episode that follow one another, drawn from the whole episode."""
    repeats: int = 0
    """Additional draws of each window around a change of the gripper."""


def cut_windows(lengths: Sequence[int], window: int, stride: int, rng: random.Random | None) -> list[Window]:
    """Partition the steps of every episode into windows; shuffled, with random cuts, if there is an ``rng``."""
    windows = [part for episode, length in enumerate(lengths) for part in _cut(episode, length, window, stride, rng)]
    if rng:
        rng.shuffle(windows)
    return windows


def draw_windows(
    lengths: Sequence[int], changes: Sequence[frozenset[int]], how: Draw, rng: random.Random
) -> list[Window]:
    """Return one epoch of windows: every step at least once, windows of an episode together in random order.

    ``changes`` are the steps of each episode that are near a change of the gripper.
    """
    groups: list[list[Window]] = []
    for episode, (length, near) in enumerate(zip(lengths, changes, strict=True)):
        windows = list(_cut(episode, length, how.window, how.stride, rng))
        windows += [part for part in windows if not near.isdisjoint(part.steps) for _ in range(how.repeats)]
        rng.shuffle(windows)
        # The last group is filled up from the same episode.
        windows += rng.choices(windows, k=-len(windows) % how.together)
        groups += [windows[start : start + how.together] for start in range(0, len(windows), how.together)]
    rng.shuffle(groups)
    return [window for group in groups for window in group]


def draw_wordings(windows: Sequence[Window], episodes: Sequence[EpisodeData], rng: random.Random) -> list[Window]:
    """Give each window one of its episode's wordings, all of them equally often."""
    return [
        replace(window, wording=rng.randrange(count))
        if (count := len(episodes[window.episode].wordings)) > 1
        else window
        for window in windows
    ]


def near_changes(episode: EpisodeData, steps: int = 5) -> frozenset[int]:
    """Return the steps of an episode that are at most ``steps`` from one at which the gripper is told to change."""
    closed = gripper(episode.actions) > 0.5
    changes = np.flatnonzero(closed[1:] != closed[:-1]) + 1
    near = (np.abs(np.arange(len(closed))[:, None] - changes) <= steps).any(axis=1)
    return frozenset(np.flatnonzero(near).tolist())


def _cut(episode: int, length: int, window: int, stride: int, rng: random.Random | None) -> Iterator[Window]:
    for phase in range(min(stride, length)):
        steps = range(phase, length, stride)
        first = rng.randint(1, window) if rng else window
        bounds = [0, *range(first, len(steps), window), len(steps)]
        yield from (Window(episode, tuple(steps[a:b])) for a, b in pairwise(bounds) if a < b)


def batches_of(windows: Sequence[Window], size: int, rank: int = 0, processes: int = 1) -> list[list[Window]]:
    """Return the batches of one process. Together the processes' n-th batches are the n-th batch of one big process."""
    mine = []
    for start in range(0, len(windows), size * processes):
        together = list(windows[start : start + size * processes])
        while len(together) < processes:
            together.append(replace(together[0], counted=False))
        share = [len(together) * r // processes for r in range(processes + 1)]
        mine.append(together[share[rank] : share[rank + 1]])
    return mine


def epochs_of_batches(
    data: WindowData, how: Draw, size: int, seed: int, rank: int = 0, processes: int = 1
) -> Iterator[list[list[Window]]]:
    """Yield the batches of one epoch after the other, without end. The same seed gives the same batches."""
    epoch = 0
    while True:
        rng = random.Random(f"{seed}/{epoch}")
        if how.together == 1 and not how.repeats:
            windows = cut_windows(data.lengths, how.window, how.stride, rng)
        else:
            windows = draw_windows(data.lengths, data.changes, how, rng)
        # A generator of its own: further wordings do not change which windows are drawn.
        windows = draw_wordings(windows, data.episodes, random.Random(f"{seed}/{epoch}/wordings"))
        yield batches_of(windows, size, rank, processes)
        epoch += 1


class WindowData:
    """Episodes of one split, ready to be put together into batches.

    ``frames`` are decoded images, or one tensor of ACT states ``[T, hidden]`` for each episode; ``workers`` is the
    number of processes that decode them.
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
        self._head, self._journeys = head, journeys
        # All episodes one after the other: a batch is then one look-up, however many windows it has.
        self._first = [0, *accumulate(self.lengths)]
        self._states = normalisation.normalise_state(torch.from_numpy(np.concatenate([e.states for e in episodes])))
        self._actions = normalisation.action.normalise(torch.from_numpy(np.concatenate([e.actions for e in episodes])))
        self._frames = torch.cat(list(frames)) if isinstance(frames, Sequence) else frames

    @property
    def lengths(self) -> list[int]:
        """Steps of each episode."""
        return [episode.num_steps for episode in self.episodes]

    def batch(self, windows: Sequence[Window]) -> Batch:
        """Put windows together. Raises EpisodeError if an episode's file cannot be read."""
        width = self._head.window
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
        episodes = [self.episodes[window.episode] for window in windows]
        row: dict[int, int] = {}
        group = [row.setdefault(window.episode, len(row)) for window in windows]
        journeys = None if self._journeys is None else self._journeys.make(list(row), torch.tensor(padded))
        return Batch(
            frames=self._frames_of(windows, place),
            state=self._states[place] * valid[..., None],
            target=target * valid[..., None, None],
            mask=recorded & valid[..., None] & counted[:, None, None],
            valid=valid,
            instructions=tuple(
                episode.wordings[window.wording] for episode, window in zip(episodes, windows, strict=True)
            ),
            episodes=tuple(episode.path.stem for episode in episodes),
            group=torch.tensor(group),
            journeys=journeys,
        )

    def _frames_of(self, windows: Sequence[Window], place: torch.Tensor) -> torch.Tensor:
        if isinstance(self._frames, torch.Tensor):
            return self._frames[place]
        return torch.from_numpy(np.concatenate([self._frames.get(window.episode, window.steps) for window in windows]))


class Batches(Dataset[Batch | EpisodeError]):
    """Batches in a fixed order, for a DataLoader.

    An episode that cannot be read is an item, too: raised in a worker process, the error would arrive wrapped in that
    process's stack trace.
    """

    def __init__(self, data: WindowData, batches: Sequence[Sequence[Window]]) -> None:
        self._data, self._batches = data, batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch | EpisodeError:
        try:
            return self._data.batch(self._batches[index])
        except EpisodeError as error:
            return error
