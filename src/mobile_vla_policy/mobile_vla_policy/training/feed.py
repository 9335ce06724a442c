"""Batches for the trainer: those of each optimisation step, from any position of any epoch on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch.utils.data import DataLoader

from mobile_vla_data.episode.reader import EpisodeError
from mobile_vla_policy.samples.windows import (
    Batch,
    Batches,
    Draw,
    Window,
    WindowData,
    batches_of,
    cut_windows,
    epochs_of_batches,
)
from mobile_vla_policy.training.settings import TrainSettings


@dataclass(frozen=True)
class Place:
    """A position in training: the next batch is number ``batch`` of epoch ``epoch``; both count from 0."""

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Group:
    """The batches of one optimisation step, and the place behind them."""

    batches: list[Batch]
    seeds: list[int]
    """For the random draws of each batch; they do not depend on where training was resumed."""
    end: Place

    @property
    def frames(self) -> int:
        """Frames in all batches."""
        return sum(int(batch.valid.sum()) for batch in self.batches)

    @property
    def actions(self) -> int:
        """Recorded actions in all batches."""
        return sum(int(batch.mask.sum()) for batch in self.batches)


class TrainFeed:
    """The train split for one of several processes."""

    def __init__(self, data: WindowData, settings: TrainSettings, rank: int = 0, processes: int = 1) -> None:
        self._data, self._settings, self._rank, self._processes = data, settings, rank, processes

    def steps_in(self, epochs: int) -> int:
        """Return the number of optimisation steps in the first ``epochs`` epochs."""
        return sum(math.ceil(len(epoch) / self._settings.accumulation) for epoch in islice(self._epochs(), epochs))

    def groups(self, start: Place) -> Iterator[Group]:
        """Yield the batches of each optimisation step from ``start`` on, without end.

        An epoch ends with the step that its last batches make, however few: as one larger batch would.
        """
        for epoch, windows in enumerate(self._epochs()):
            if epoch < start.epoch:
                continue
            number = start.batch if epoch == start.epoch else 0
            batches = load(self._data, windows[number:])
            while group := list(islice(batches, self._settings.accumulation)):
                seeds = [self._seed(epoch, number + offset) for offset in range(len(group))]
                number += len(group)
                yield Group(group, seeds, Place(epoch, number) if number < len(windows) else Place(epoch + 1, 0))

    def _epochs(self) -> Iterator[list[list[Window]]]:
        head, settings = self._settings.policy.head, self._settings
        how = Draw(head.window, head.frame_stride, settings.together, settings.gripper_repeats)
        return epochs_of_batches(self._data, how, settings.batch_size, settings.seed, self._rank, self._processes)

    def _seed(self, epoch: int, batch: int) -> int:
        position = (epoch * 1_000_003 + batch) * self._processes + self._rank
        return int((self._settings.seed * 1_000_000_007 + position) % (1 << 62))


def validation_batches(data: WindowData, settings: TrainSettings) -> Iterator[Batch]:
    """Yield every window of a split once, in order."""
    head = settings.policy.head
    windows = cut_windows(data.lengths, head.window, head.frame_stride, None)
    return load(data, batches_of(windows, 4 * settings.batch_size))


def load(data: WindowData, batches: list[list[Window]]) -> Iterator[Batch]:
    """Yield batches that ``data.workers`` processes put together. Raises EpisodeError."""
    # An item is a whole batch already: fewer, larger messages between the processes.
    # A generator of its own: the loader would draw from the global one, and a resumed training would differ.
    loader = DataLoader(Batches(data, batches), batch_size=None, num_workers=data.workers, generator=torch.Generator())
    for item in loader:
        if isinstance(item, EpisodeError):
            raise item
        yield item
