"""The chunk scheduler: the right action for now, from chunks that arrive late and overlap.

Chunk n was predicted from an observation captured at ``stamp_ns``; its action i is meant for the control period that
begins at ``stamp_ns + i * period``. Time alone decides which action is sent:

    chunk 1   |a0 |a1 |a2 |a3 |a4 |
    chunk 2           |b0 |b1 |b2 |b3 |b4 |          b0 and b1 had passed on arrival: dropped
                              ^ arrived here; now b2 and a4 overlap and are blended, later b3 and b4 are
                                alone, and after b4 the queue is empty: None, the robot must stop

Slow inference: at 0.3 s per pass, a chunk of 5 x 0.1 s arrives 0.33 s after its image with 0.17 s left, and the next
one comes 0.3 s later. So the rest is played slower, by 0.33 / 0.17 = 1.9 (a tenth longer than the next one should
take): the robot drives the same path at half the speed, instead of stopping three times a second. A tick is starved if
no chunk, played slower or not, has an action for it.

Everything is passed in, clock included, so that tests can create any sequence of delays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import GripperThresholds


class ChunkRefusedError(ValueError):
    """A chunk cannot be driven. The message is one line."""


@dataclass(frozen=True)
class SchedulerOptions:
    """Options of the scheduler."""

    horizon: int = 0
    """Actions used of each chunk; 0 means all of them."""
    blend: float = 0.3
    """Weight that a chunk keeps for each control period by which a newer one is ahead: an action is the mean of all
    chunks for this moment, weighted ``blend ** (age / period)`` (temporal ensembling as in Zhao et
    al. 2023, 'Learning fine-grained bimanual manipulation', but favouring the newest). 0 follows the newest alone."""
    replan_threshold: int = 0
    """Run the policy again once this many actions or fewer will be left when the next chunk arrives; 0: always."""
    max_stretch: float = 3.0
    """A chunk that would end before the next one is expected is driven slower, up to this factor: with slow inference,
    the robot drives slowly instead of jerking between go and stop. 1 never slows down."""

    def problem(self) -> str:
        """Return the error in these options, in one line; empty if there is none."""
        if self.horizon < 0:
            return f"horizon is {self.horizon}; give a number of actions, or 0 for the whole chunk"
        if not 0.0 <= self.blend < 1.0:
            return f"blend is {self.blend}; it must be at least 0 (newest chunk only) and below 1"
        if self.replan_threshold < 0:
            return f"replan_threshold is {self.replan_threshold}; give a number of actions, or 0 to predict always"
        if not 1.0 <= self.max_stretch <= 4.0:
            return f"max_stretch is {self.max_stretch}; it must be between 1 (never slow down) and 4"
        return ""


@dataclass(frozen=True)
class Action:
    """Action for this moment."""

    delta_x: float
    """Metres forward in one control period."""
    delta_y: float
    """Metres to the left in one control period."""
    gripper_closed: bool | None
    """None: nothing was decided since the first chunk, so the gripper keeps its position."""
    stamp_ns: int
    """Capture time of its newest observation."""
    delta_yaw: float = 0.0
    """Radians turned to the left in one control period; 0 if the chunks have no turns."""


@dataclass(frozen=True)
class _QueuedChunk:
    """A chunk in the queue. From ``arrival_ns`` on its own time runs ``stretch`` times slower."""

    stamp_ns: int
    arrival_ns: int
    stretch: float
    deltas: npt.NDArray[np.float64]
    gripper: npt.NDArray[np.float64]

    def index(self, now_ns: int, period_ns: int) -> int:
        """Return the index of the action meant for now; outside ``0 .. len - 1`` if there is none."""
        elapsed_ns = self.arrival_ns - self.stamp_ns + (now_ns - self.arrival_ns) / self.stretch
        return math.floor(elapsed_ns / period_ns)

    def end_ns(self, period_ns: int) -> int:
        """Return the end of its last action."""
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

    ``starved_ticks`` counts calls of :meth:`action` with an empty queue after it had been filled; ``late_chunks``
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
        self._queue: list[_QueuedChunk] = []
        self._filled = False

    def reset(self) -> None:
        """Forget every chunk and the decision about the gripper; the counters stay.

        An operator may have moved the gripper since: it keeps its position until the policy decides again.
        """
        self._queue = []
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
        """Take a chunk that has arrived at ``now_ns``.

        ``deltas`` are float ``[horizon, 2 or 3]``: metres and, where the policy has it, radians; ``gripper`` are
        probabilities ``[horizon]``.

        ``next_in_ns`` is the expected time until the next chunk. Returns whether any of this one can still be used.

        Raises:
            ChunkRefusedError: a value is not finite, a probability is outside 0 .. 1, or the shapes are wrong. Nothing
                of such a chunk is used.
        """
        _check(deltas, gripper)
        horizon = self.options.horizon or len(deltas)
        # A camera's clock may be slightly ahead; an observation from the future was made now.
        stamp_ns = min(stamp_ns, now_ns)
        chunk = _QueuedChunk(stamp_ns, now_ns, 1.0, deltas[:horizon].astype(float), gripper[:horizon].astype(float))
        if self._queue and stamp_ns <= self._queue[-1].stamp_ns <= now_ns:
            return False
        remaining_ns = chunk.end_ns(self._period_ns) - now_ns
        if remaining_ns <= 0:
            self.late_chunks += 1
            return False
        stretch = min(max(next_in_ns / remaining_ns, 1.0), self.options.max_stretch)
        self._queue.append(_QueuedChunk(stamp_ns, now_ns, stretch, chunk.deltas, chunk.gripper))
        self._filled = True
        return True

    def action(self, now_ns: int) -> Action | None:
        """Return the action meant for ``now_ns``, or None if there is none: the robot must stop."""
        speaking = self._speaking(now_ns)
        if not speaking:
            if self._filled:
                self.starved_ticks += 1
            return None
        newest = speaking[-1]
        weights = [self.options.blend ** ((newest.stamp_ns - chunk.stamp_ns) / self._period_ns) for chunk in speaking]
        total = sum(weights)
        # Shares of the motion: a chunk that is played slower moves less in one period.
        shares = [weight / (total * chunk.stretch) for chunk, weight in zip(speaking, weights, strict=True)]
        deltas = [chunk.deltas[chunk.index(now_ns, self._period_ns)] for chunk in speaking]
        delta_x, delta_y, *turn = np.dot(shares, deltas).tolist()
        probability = newest.gripper[newest.index(now_ns, self._period_ns)]
        self._closed = decide_gripper(self._thresholds, float(probability), self._closed)
        return Action(delta_x, delta_y, self._closed, newest.stamp_ns, *turn)

    @property
    def filled(self) -> bool:
        """True if a chunk has been taken since the last reset."""
        return self._filled

    def depth(self, now_ns: int) -> int:
        """Return the number of actions ready to be sent, including the one meant for now."""
        speaking = self._speaking(now_ns)
        return len(speaking[-1].deltas) - speaking[-1].index(now_ns, self._period_ns) if speaking else 0

    def replan_ns(self, now_ns: int, delay_ns: int) -> int:
        """Return the earliest capture time of an observation that is worth a forward pass.

        ``delay_ns`` is the time from capture to the arrival of a chunk. 0, that is any time, if the queue is empty,
        also because the clock was set back.
        """
        if not self.options.replan_threshold or not (speaking := self._speaking(now_ns)):
            return 0
        left_ns = self.options.replan_threshold * self._period_ns
        return speaking[-1].end_ns(self._period_ns) - left_ns - delay_ns

    def _speaking(self, now_ns: int) -> list[_QueuedChunk]:
        """Return the chunks that have an action for now, oldest first, and drop all others: they never will again.

        A chunk from the future is dropped too: the clock was set back, so its time is unknown.
        """
        self._queue = [chunk for chunk in self._queue if 0 <= chunk.index(now_ns, self._period_ns) < len(chunk.deltas)]
        return self._queue


def _check(deltas: npt.NDArray[np.floating], gripper: npt.NDArray[np.floating]) -> None:
    fits = deltas.ndim == 2 and deltas.shape[1] in (2, 3) and gripper.shape == deltas.shape[:1] and len(deltas)
    if not fits:
        raise ChunkRefusedError(f"chunk has deltas {deltas.shape} and gripper {gripper.shape}, not [n, 2 or 3] and [n]")
    for name, values in (("delta", deltas), ("gripper", gripper)):
        finite = np.isfinite(values)
        if not finite.all():
            where = int(np.argmin(finite.reshape(len(values), -1).all(axis=1)))
            raise ChunkRefusedError(f"{name} of action {where} is not finite ({values[where]})")
    if gripper.min() < 0.0 or gripper.max() > 1.0:
        raise ChunkRefusedError(f"gripper probability {gripper.min():.3g} .. {gripper.max():.3g} is outside 0 .. 1")
