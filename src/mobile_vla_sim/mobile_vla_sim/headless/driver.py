"""A policy in command of a robot: it sees one control tick after another and says what to do in each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import ActionCodec, Velocity, clamp
from mobile_vla_data.contract import Contract
from mobile_vla_data.image import Image
from mobile_vla_policy.runtime.driving_policy import DrivingPolicy, PredictedActions


@dataclass
class PolicyDriver:
    """A policy with its memory, its pending actions and its gripper."""

    policy: DrivingPolicy
    contract: Contract
    instruction: str
    closed: bool
    """Whether the gripper is to be closed; at the start, whether it holds something."""
    replan: int = 1
    """Actions of a chunk that are executed before the next prediction."""
    latencies_s: list[float] = field(default_factory=list)
    """Seconds that each prediction took."""

    def __post_init__(self) -> None:
        self._codec = ActionCodec(self.contract)
        self._memory = self.policy.initial_memory()
        self._chunk: PredictedActions | None = None
        self._next = self.replan

    def command(self, images: Mapping[str, Image], state: npt.NDArray[np.float32]) -> Velocity:
        """Return the velocity of the next control period, predicting first if no action is left; sets ``closed``.

        Raises:
            ValueError: the policy's action is not finite.
        """
        if self._next >= self.replan:
            began = time.perf_counter()
            self._chunk, self._memory = self.policy.predict(
                images, state, self.instruction, self._memory, elapsed_periods=self.replan
            )
            self.latencies_s.append(time.perf_counter() - began)
            self._next = 0
        assert self._chunk is not None
        velocity = self._codec.to_velocity(*(float(value) for value in self._chunk.deltas[self._next]))
        if not velocity.finite:
            raise ValueError(f"the policy's action for '{self.instruction}' is not finite")
        self.closed = self.contract.thresholds.decide(float(self._chunk.gripper[self._next]), self.closed)
        self._next += 1
        return clamp(velocity, self.contract.limits, can_strafe=self.contract.base == "holonomic")
