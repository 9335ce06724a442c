"""What the runtime needs of a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import Contract


class PredictedActions(Protocol):
    """The actions of one forward pass: the next ``horizon`` control periods, from the observation's on."""

    @property
    def deltas(self) -> npt.NDArray[np.float32]:
        """float32 ``[horizon, 2]``: metres (forward, left) in the robot frame during each control period."""

    @property
    def gripper(self) -> npt.NDArray[np.float32]:
        """float32 ``[horizon]``: probability that the gripper is to be closed."""


class DrivingPolicy(Protocol):
    """A loaded policy. One thread at a time calls it, save for :meth:`check_instruction`."""

    @property
    def contract(self) -> Contract:
        """The robot it was trained for."""

    @property
    def cameras(self) -> Sequence[str]:
        """The cameras it looks at: it is not asked without a fresh image of each, also of one that is optional."""

    @property
    def horizon(self) -> int:
        """Actions in each chunk."""

    @property
    def stage_latency_s(self) -> Mapping[str, float]:
        """Seconds that each stage of the last :meth:`predict` took, in the order in which they ran."""

    def initial_memory(self) -> Any:
        """The memory of a policy that has seen nothing yet."""

    def predict(
        self,
        images: Mapping[str, npt.NDArray[np.uint8]],
        state: npt.NDArray[np.float32],
        instruction: str,
        memory: Any,
        *,
        elapsed_periods: int = 1,
    ) -> tuple[PredictedActions, Any]:
        """Predict the next actions from an observation; returns them and the memory for the next call.

        ``elapsed_periods`` is how many control periods ago the observation before this one was captured.
        """

    def prepare(self, memory: Any) -> None:
        """Do now what the next :meth:`predict` can use of the past. Changes no result; may be left out."""

    def check_instruction(self, instruction: str) -> str:
        """Why a non-empty instruction cannot be followed (too long for the context), in one line; empty when it can.

        Must be safe to call from any thread, also while another one is in :meth:`predict`: a human asks while the robot
        drives.
        """
