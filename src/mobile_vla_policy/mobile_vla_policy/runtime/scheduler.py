"""The chunk scheduler: which action is the right one now, given chunks that arrive late and overlap.

Chunk n was predicted from an observation captured at ``stamp_ns``; its action i is meant for the control period that
begins at ``stamp_ns + i * period``. Time alone decides what is sent:

    chunk 1   |a0 |a1 |a2 |a3 |a4 |
    chunk 2           |b0 |b1 |b2 |b3 |b4 |          b0 and b1 had passed when it arrived: dropped
                              ^ arrived here; now b1 and a3 overlap and are blended, later b3, b4 stand alone,
                                and after b4 the queue is dry: None, the robot is told to stop

Slow inference: at 0.3 s a pass, a chunk of 5 x 0.1 s arrives 0.33 s after its picture with 0.17 s left, and the next
one comes 0.3 s later. So what is left is played slower, by 0.33 / 0.17 = 1.9 (a tenth longer than the next one should
take): the robot goes the same way at half the speed, instead of stopping three times a second. A tick is starved when
no chunk, played slower or not, has an action left for it.

Everything is passed in, clock included, so that a test can drive it through any sequence of delays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import GripperThresholds


class ChunkRefusedError(ValueError):
    """A chunk is not fit to be driven; the message is one line."""


@dataclass(frozen=True)
class SchedulerOptions:
    """How chunks become actions."""

    horizon: int = 0
    """Actions used of each chunk; 0 means all of them."""
    blend: float = 0.3
    """Weight that a chunk loses for each control period by which a newer one is ahead of it: an action is the mean of
    all chunks that speak about this moment, weighted ``blend ** (age / period)`` (temporal ensembling as in Zhao et
    al. 2023, 'Learning fine-grained bimanual manipulation', but favouring the newest). 0 follows the newest alone."""
    replan_threshold: int = 0
    """Plan again once no more than this many actions will be left when the next chunk arrives; 0 means always."""
    max_stretch: float = 3.0
    """A chunk that would run dry before the next one is expected is driven slower, up to this factor: a robot whose
    inference is slow drives slowly instead of jerking between go and stop. 1 never slows down."""

    def problem(self) -> str:
        """What is wrong with these options, in one line; empty when nothing is."""
        if self.horizon < 0:
            return f"horizon is {self.horizon}; it is a number of actions, 0 for all of a chunk"
        if not 0.0 <= self.blend < 1.0:
            return f"blend is {self.blend}; it must be at least 0 (newest chunk only) and below 1"
        if self.replan_threshold < 0:
            return f"replan_threshold is {self.replan_threshold}; it is a number of actions, 0 to plan all the time"
        if not 1.0 <= self.max_stretch <= 4.0:
            return f"max_stretch is {self.max_stretch}; it must be between 1 (never slow down) and 4"
        return ""


@dataclass(frozen=True)
class Action:
    """What to do right now."""

    delta_x: float
    """Metres forward in one control period."""
    delta_y: float
    """Metres to the left in one control period."""
    gripper_closed: bool | None
    """None: nothing was decided since the plan began, the gripper is to be left as it is."""
    stamp_ns: int
    """When the newest observation behind it was captured."""


@dataclass(frozen=True)
class _Plan:
    """A chunk in the queue. From ``arrival_ns`` on its own time runs ``stretch`` times slower."""

    stamp_ns: int
    arrival_ns: int
    stretch: float
    deltas: npt.NDArray[np.float64]
    gripper: npt.NDArray[np.float64]

    def index(self, now_ns: int, period_ns: int) -> int:
        """Which of its actions is meant for now; outside ``0 .. len - 1`` if none."""
        elapsed_ns = self.arrival_ns - self.stamp_ns + (now_ns - self.arrival_ns) / self.stretch
        return math.floor(elapsed_ns / period_ns)

    def end_ns(self, period_ns: int) -> int:
        """When its last action ends."""
        remaining_ns = self.stamp_ns + len(self.deltas) * period_ns - self.arrival_ns
        return self.arrival_ns + round(remaining_ns * self.stretch)


def decide_gripper(thresholds: GripperThresholds, value: float, before: bool | None) -> bool | None:
    """Decide whether the gripper is to be closed, given a probability or position and the decision before.

    None if there was no decision before and ``value`` lies between the thresholds: leave the gripper as it is.
    """
    if_open, if_closed = thresholds.decide(value, False), thresholds.decide(value, True)
    return if_open if if_open == if_closed else before


class ChunkScheduler:
    """The queue of actions between inference and the command timer. Not thread-safe: one thread owns it.

    ``starved_ticks`` counts calls of :meth:`action` that found the queue dry after it had been filled; ``late_chunks``
    counts chunks that arrived after their last action had passed.
    """

    def __init__(self, period_ns: int, gripper: GripperThresholds, options: SchedulerOptions) -> None:
        if problem := options.problem():
            raise ValueError(problem)
        self.options = options
        self.starved_ticks = 0
        self.late_chunks = 0
        self._period_ns = period_ns
        self._thresholds = gripper
        self._closed: bool | None = None
        self._plans: list[_Plan] = []
        self._filled = False

    def reset(self) -> None:
        """Forget every chunk, and what was decided about the gripper; the counters stay.

        Somebody else may have moved it since: until the policy decides anew, it is left as it is.
        """
        self._plans = []
        self._filled = False
        self._closed = None

    def offer(
        self,
        stamp_ns: int,
        deltas: npt.NDArray[np.floating],
        gripper: npt.NDArray[np.floating],
        now_ns: int,
        next_in_ns: int = 0,
    ) -> bool:
        """Take a chunk, float ``[horizon, 2]`` metres and ``[horizon]`` probabilities, that has arrived at ``now_ns``.

        ``next_in_ns`` is how long from now the next chunk is expected. Returns whether any of it is still of use.

        Raises:
            ChunkRefusedError: a value is not finite, a probability is outside 0 .. 1, or the shapes are wrong. Nothing
                of such a chunk is used.
        """
        _check(deltas, gripper)
        horizon = self.options.horizon or len(deltas)
        # A camera's clock may be a little ahead of ours; an observation from the future was made now.
        stamp_ns = min(stamp_ns, now_ns)
        plan = _Plan(stamp_ns, now_ns, 1.0, deltas[:horizon].astype(float), gripper[:horizon].astype(float))
        if self._plans and stamp_ns <= self._plans[-1].stamp_ns <= now_ns:
            return False
        remaining_ns = plan.end_ns(self._period_ns) - now_ns
        if remaining_ns <= 0:
            self.late_chunks += 1
            return False
        stretch = min(max(next_in_ns / remaining_ns, 1.0), self.options.max_stretch)
        self._plans.append(_Plan(stamp_ns, now_ns, stretch, plan.deltas, plan.gripper))
        self._filled = True
        return True

    def action(self, now_ns: int) -> Action | None:
        """The action meant for ``now_ns``, or None when there is none: the robot must stop."""
        speaking = self._speaking(now_ns)
        if not speaking:
            if self._filled:
                self.starved_ticks += 1
            return None
        newest = speaking[-1]
        weights = [self.options.blend ** ((newest.stamp_ns - plan.stamp_ns) / self._period_ns) for plan in speaking]
        total = sum(weights)
        delta_x = delta_y = 0.0
        for plan, weight in zip(speaking, weights, strict=True):
            x, y = plan.deltas[plan.index(now_ns, self._period_ns)]
            delta_x += x * weight / (total * plan.stretch)
            delta_y += y * weight / (total * plan.stretch)
        probability = newest.gripper[newest.index(now_ns, self._period_ns)]
        self._closed = decide_gripper(self._thresholds, float(probability), self._closed)
        return Action(float(delta_x), float(delta_y), self._closed, newest.stamp_ns)

    @property
    def filled(self) -> bool:
        """Whether a chunk has been taken since the last reset."""
        return self._filled

    def depth(self, now_ns: int) -> int:
        """Actions ready to be sent, the one meant for now included."""
        speaking = self._speaking(now_ns)
        return len(speaking[-1].deltas) - speaking[-1].index(now_ns, self._period_ns) if speaking else 0

    def replan_ns(self, now_ns: int, delay_ns: int) -> int:
        """From when on an observation is worth planning from, if a chunk arrives ``delay_ns`` after it was captured.

        0, that is any, where there is no plan: also when the last one was dropped because the clock was set back.
        """
        if not self.options.replan_threshold or not (speaking := self._speaking(now_ns)):
            return 0
        left_ns = self.options.replan_threshold * self._period_ns
        return speaking[-1].end_ns(self._period_ns) - left_ns - delay_ns

    def _speaking(self, now_ns: int) -> list[_Plan]:
        """Chunks that have an action for now, oldest first; the others can never have one again and are dropped.

        A chunk from the future is dropped too: it means the clock was set back, and nobody knows what it fits now.
        """
        self._plans = [plan for plan in self._plans if 0 <= plan.index(now_ns, self._period_ns) < len(plan.deltas)]
        return self._plans


def _check(deltas: npt.NDArray[np.floating], gripper: npt.NDArray[np.floating]) -> None:
    if deltas.ndim != 2 or deltas.shape[1:] != (2,) or gripper.shape != deltas.shape[:1] or not len(deltas):
        raise ChunkRefusedError(f"chunk has deltas {deltas.shape} and gripper {gripper.shape}, not [n, 2] and [n]")
    for name, values in (("delta", deltas), ("gripper", gripper)):
        finite = np.isfinite(values)
        if not finite.all():
            where = int(np.argmin(finite.reshape(len(values), -1).all(axis=1)))
            raise ChunkRefusedError(f"{name} of action {where} is not finite ({values[where]})")
    if gripper.min() < 0.0 or gripper.max() > 1.0:
        raise ChunkRefusedError(f"gripper probability {gripper.min():.3g} .. {gripper.max():.3g} is outside 0 .. 1")
