"""What the inference thread does: the newest observation through the policy, whenever one is due."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.observation import ObservationBuilder
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy

#: A frame that comes this share of a period before it is due is taken: the next one would come much too late.
_EARLY = 0.25


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass."""

    generation: int
    instruction: str
    stamp_ns: int
    """When the observation was captured: the chunk counts from here."""
    deltas: npt.NDArray[np.float32]
    gripper: npt.NDArray[np.float32]
    started_ns: int
    stages_s: dict[str, float]
    inference_s: float


@dataclass(frozen=True)
class Task:
    """What the inference thread is working on; a new generation begins with an empty memory."""

    generation: int
    instruction: str


class Inference:
    """The inference thread's side of a drive: :meth:`step` is what the thread calls.

    The driver, on the other thread, replaces ``task``, ``replan_ns`` and ``retry_at_s`` whole. The rest is not for it.
    """

    def __init__(self, policy: DrivingPolicy, builder: ObservationBuilder, clock_ns: Callable[[], int]) -> None:
        self.task = Task(0, "")
        self.replan_ns = 0
        """Observations captured before this are not worth planning from [ns]."""
        self.retry_at_s = 0.0
        """No pass begins before this time.monotonic()."""
        self._policy, self._builder, self._clock_ns = policy, builder, clock_ns
        self._period_ns = policy.contract.period_ns
        self._cameras = set(policy.cameras)
        self._memory: tuple[int, Any] = (0, policy.initial_memory())
        self._prepared = True
        """Whether what can be done before the next frame is done."""
        self._due_ns = 0
        self._used_ns = 0

    def step(self) -> ForwardPass | None:
        """One forward pass on the newest observation; None when none is due."""
        task = self.task
        if not task.instruction or time.monotonic() < self.retry_at_s:
            return None
        started_ns = self._clock_ns()
        stamp_ns = self._builder.streams[0].stamp_ns
        if not self._is_due(stamp_ns) or stamp_ns < self.replan_ns:
            self._prepare(task)
            return None
        observation = self._builder.snapshot(started_ns)
        # A camera that the contract calls optional is not optional for a policy that was trained to look through it.
        if observation is None or not self._cameras <= observation.images.keys() - set(observation.stale):
            return None
        stamp_ns = next(iter(observation.stamps_ns.values()))
        elapsed_periods = max(1, round((stamp_ns - self._used_ns) / self._period_ns))
        self._take(stamp_ns)
        generation, memory = self._memory
        if generation != task.generation:
            memory = self._policy.initial_memory()
        began_s = time.perf_counter()
        predicted, new_memory = self._policy.predict(
            observation.images, observation.state, task.instruction, memory, elapsed_periods=elapsed_periods
        )
        inference_s = time.perf_counter() - began_s
        deltas = np.asarray(predicted.deltas, dtype=np.float32)
        gripper = np.asarray(predicted.gripper, dtype=np.float32)
        sound = bool(np.isfinite(deltas).all() and np.isfinite(gripper).all())
        # What came out not finite went into the memory, too.
        self._memory = (task.generation, new_memory if sound else memory)
        self._prepared = False
        stages_s = dict(self._policy.stage_latency_s)
        return ForwardPass(
            task.generation, task.instruction, stamp_ns, deltas, gripper, started_ns, stages_s, inference_s
        )

    def _prepare(self, task: Task) -> None:
        """Use the time until the next frame is due, once."""
        generation, memory = self._memory
        if not self._prepared and generation == task.generation:
            self._policy.prepare(memory)
        self._prepared = True

    def _is_due(self, stamp_ns: int) -> bool:
        """Whether a frame captured then is the one of the next control period.

        A frame from before the last one used passes: the observation takes it only if the clock was set back.
        """
        if not stamp_ns or stamp_ns == self._used_ns:
            return False
        return stamp_ns < self._used_ns or stamp_ns >= self._due_ns - _EARLY * self._period_ns

    def _take(self, stamp_ns: int) -> None:
        """Note that a frame was used; the grid of due times goes on from it, without running after a slow pass."""
        self._used_ns = stamp_ns
        self._due_ns += self._period_ns
        if not stamp_ns <= self._due_ns <= stamp_ns + (1.0 + _EARLY) * self._period_ns:
            self._due_ns = stamp_ns + self._period_ns
