"""A policy in command of a robot: it sees one control tick after another and says what to do in each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import ActionCodec, Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.image import Image
from mobile_vla_sim.expert.noise import limited


class Chunk(Protocol):
    """Prediction of a policy."""

    @property
    def deltas(self) -> npt.NDArray[np.float32]:
        """float32 ``[horizon, 2]``: delta_x, delta_y [m]."""

    @property
    def gripper(self) -> npt.NDArray[np.float32]:
        """float32 ``[horizon]``: probability that the gripper is to be closed."""


class DrivingPolicy(Protocol):
    """Interface of a policy that drives; ``mobile_vla_policy.policy.Policy`` implements it."""

    @property
    def horizon(self) -> int:
        """Actions of a chunk."""

    def initial_memory(self) -> Any:
        """Return the memory before the first frame."""

    def predict(
        self,
        images: Mapping[str, Image],
        state: npt.NDArray[np.float32],
        instruction: str,
        memory: Any,
        *,
        elapsed_periods: int,
    ) -> tuple[Chunk, Any]:
        """Return the next chunk and the new memory."""


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
        self._chunk: Chunk | None = None
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
        return limited(velocity, self.contract)
