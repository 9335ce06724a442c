"""Which tasks are demonstrated together in one scene, and in which order.

A policy learns to use the instruction only if the same image occurs with different instructions. So tasks are put into
groups of two or three that can be done in one scene from one start, and every task of a group gets an episode there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mobile_vla_data.dataset.plan import CollectionPlan
from mobile_vla_sim.tasks.catalogue import TASKS, task_named

_DEALS = 60
_MOST_IN_GROUP = 3


@dataclass(frozen=True)
class Slot:
    """One episode of a schedule."""

    group: int
    """Number of the group, counted from the first cycle; a group shares a scene."""
    tasks: tuple[str, ...]
    """Tasks of the group."""
    place: int
    """Index of the task that this episode demonstrates."""


class Schedule:
    """Puts tasks into groups, cycle after cycle; a cycle holds each task in proportion to the plan's numbers."""

    def __init__(self, tasks: Sequence[str], plan: CollectionPlan) -> None:
        """Raises :class:`UnknownTaskError`."""
        names = tuple(dict.fromkeys(task_named(name).name for name in tasks))
        wanted = [plan.tasks[name].episodes for name in names]
        common = math.gcd(*wanted)
        # Twice, so that a task alone can still be grouped with itself where it has more than one goal.
        times = 2 if len(names) < 3 else 1
        self._cycle = tuple(
            name for name, count in zip(names, wanted, strict=True) for _ in range(times * count // common)
        )

    def slot(self, index: int) -> Slot:
        """Return the slot of episode ``index``."""
        cycle, place = divmod(index, len(self._cycle))
        groups = _deal(self._cycle, cycle)
        # Every cycle has its own number of groups: count those before.
        group = sum(len(_deal(self._cycle, before)) for before in range(cycle))
        for tasks in groups:
            if place < len(tasks):
                return Slot(group, tasks, place)
            place -= len(tasks)
            group += 1
        raise AssertionError("a cycle is as long as its groups together")


def compatible(first: str, second: str) -> bool:
    """Return True if two tasks can be done in one scene from one start, with different goals."""
    a, b = TASKS[first], TASKS[second]
    return a.needs().merged(b.needs()) is not None and not (a.only and a.only == b.only)


@cache
def _deal(cycle: tuple[str, ...], number: int) -> tuple[tuple[str, ...], ...]:
    """Group one cycle's tasks; of many random groupings, take the one with the fewest single tasks."""
    random = np.random.default_rng(number)
    best: list[list[str]] = []
    for _ in range(_DEALS):
        groups = _deal_once([cycle[index] for index in random.permutation(len(cycle))])
        alone = sum(len(group) == 1 for group in groups)
        if not best or alone < sum(len(group) == 1 for group in best):
            best = groups
        if not alone:
            break
    return tuple(tuple(group) for group in best)


def _deal_once(names: list[str]) -> list[list[str]]:
    groups: list[list[str]] = []
    while names:
        group = [names.pop(0)]
        partner = next((name for name in names if compatible(group[0], name)), None)
        if partner is not None:
            names.remove(partner)
            group.append(partner)
        groups.append(group)
    for group in [group for group in groups if len(group) == 1]:
        others = (other for other in groups if 2 <= len(other) < _MOST_IN_GROUP)
        host = next((other for other in others if all(compatible(group[0], name) for name in other)), None)
        if host is not None:
            host += group
            groups.remove(group)
    return groups
