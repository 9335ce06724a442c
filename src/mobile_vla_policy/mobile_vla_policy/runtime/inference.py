"""The work of the inference thread: run the policy on the newest observation whenever one is due."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.observation import ObservationBuilder
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy, PredictedMaps

#: An image is taken up to this share of a period before it is due: the next one would come much too late.
_EARLY = 0.25

#: Heatmaps are computed at most this often [s]: they are for people to look at.
_MAPS_PERIOD_S = 0.2


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass."""

    generation: int
    instruction: str
    stamp_ns: int
    """Capture time of the observation, from which the chunk counts."""
    deltas: npt.NDArray[np.float32]
    gripper: npt.NDArray[np.float32]
    started_ns: int
    stages_s: dict[str, float]
    inference_s: float


@dataclass(frozen=True)
class SeenMaps:
    """Heatmaps of one forward pass."""

    stamp_ns: int
    """Capture time of the observation."""
    camera: str
    """The camera whose image they are over."""
    maps: PredictedMaps


@dataclass(frozen=True)
class Task:
    """Task of the inference thread; a new generation begins with an empty memory."""

    generation: int
    instruction: str


class Inference:
    """The inference thread's side of a drive: the thread calls :meth:`step`.

    The driver, on another thread, only replaces ``task``, ``replan_ns``, ``retry_at_s`` and ``want_maps``.
    """

    def __init__(self, policy: DrivingPolicy, builder: ObservationBuilder, clock_ns: Callable[[], int]) -> None:
        self.task = Task(0, "")
        self.replan_ns = 0
        """Observations captured before this time are skipped [ns]."""
        self.retry_at_s = 0.0
        """No pass begins before this time of time.monotonic() [s]."""
        self.want_maps = False
        """Compute heatmaps, after passes that leave time for it."""
        self.maps: SeenMaps | None = None
        """The newest heatmaps."""
        self._maps_due_s = 0.0
        self._policy, self._builder, self._clock_ns = policy, builder, clock_ns
        self._period_ns = policy.contract.period_ns
        self._cameras = set(policy.cameras)
        self._memory: tuple[int, Any] = (0, policy.initial_memory())
        self._prepared = True
        """True if the work that can be done before the next frame is done."""
        self._due_ns = 0
        self._used_ns = 0

    def step(self) -> ForwardPass | None:
        """Run one forward pass on the newest observation; return None if none is due."""
        task = self.task
        if not task.instruction or time.monotonic() < self.retry_at_s:
            return None
        started_ns = self._clock_ns()
        stamp_ns = self._builder.streams[0].stamp_ns
        if not self._is_due(stamp_ns) or stamp_ns < self.replan_ns:
            self._prepare(task)
            return None
        observation = self._builder.snapshot(started_ns)
        # A camera that the contract calls optional is required by a policy that was trained with it.
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
        # A result that is not finite would make the memory useless, too.
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
            self._compute_maps()
        self._prepared = True

    def _compute_maps(self) -> None:
        now_s = time.monotonic()
        if self.want_maps and now_s >= self._maps_due_s:
            self._maps_due_s = now_s + _MAPS_PERIOD_S
            maps = self._policy.maps()
            self.maps = SeenMaps(self._used_ns, self._policy.cameras[0], maps) if maps is not None else None

    def _is_due(self, stamp_ns: int) -> bool:
        """Return whether an image captured at ``stamp_ns`` is the one of the next control period.

        An image older than the last one used passes: it only exists if the clock was set back.
        """
        if not stamp_ns or stamp_ns == self._used_ns:
            return False
        return stamp_ns < self._used_ns or stamp_ns >= self._due_ns - _EARLY * self._period_ns

    def _take(self, stamp_ns: int) -> None:
        """Note that an image was used; due times continue from it, without catching up after a slow pass."""
        self._used_ns = stamp_ns
        self._due_ns += self._period_ns
        if not stamp_ns <= self._due_ns <= stamp_ns + (1.0 + _EARLY) * self._period_ns:
            self._due_ns = stamp_ns + self._period_ns
