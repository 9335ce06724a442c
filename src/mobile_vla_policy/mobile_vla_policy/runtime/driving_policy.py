"""The interface of a policy for the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import Contract


class PredictedActions(Protocol):
    """Actions of one forward pass, for ``horizon`` control periods from the observation's on."""

    @property
    def deltas(self) -> npt.NDArray[np.float32]:
        """float32 ``[horizon, 2 or 3]``: metres (forward, left) in the robot frame during each control period and, if
        the contract has delta_yaw, radians turned to the left."""

    @property
    def gripper(self) -> npt.NDArray[np.float32]:
        """float32 ``[horizon]``: probability that the gripper is to be closed."""


class PredictedMaps(Protocol):
    """Probabilities over a square grid of cells of the first camera's image, upper row first."""

    @property
    def target(self) -> npt.NDArray[np.float32]:
        """float32 ``[side, side]``: the instructed target is in this cell."""

    @property
    def robot(self) -> npt.NDArray[np.float32] | None:
        """float32 ``[side, side]``: the robot is in this cell; None if unknown."""


class DrivingPolicy(Protocol):
    """A loaded policy. One thread at a time calls it, except for :meth:`check_instruction`."""

    @property
    def contract(self) -> Contract:
        """Contract of the robot that it was trained for."""

    @property
    def cameras(self) -> Sequence[str]:
        """Cameras that it uses: it gets a fresh image of each, even of one that the contract calls optional."""

    @property
    def horizon(self) -> int:
        """Actions in each chunk."""

    @property
    def stage_latency_s(self) -> Mapping[str, float]:
        """Duration of each stage of the last :meth:`predict`, in order [s]."""

    def initial_memory(self) -> Any:
        """Return the memory before the first observation."""

    def predict(
        self,
        images: Mapping[str, npt.NDArray[np.uint8]],
        state: npt.NDArray[np.float32],
        instruction: str,
        memory: Any,
        *,
        elapsed_periods: int = 1,
    ) -> tuple[PredictedActions, Any]:
        """Predict the next actions from an observation; return them and the memory for the next call.

        ``elapsed_periods``: control periods since the previous observation.
        """

    def prepare(self, memory: Any) -> None:
        """Do the work of the next :meth:`predict` that depends on the past only. Optional; changes no result."""

    def maps(self) -> PredictedMaps | None:
        """Return the heatmaps of the last :meth:`predict`, None if there are none. Called only if somebody looks."""

    def check_instruction(self, instruction: str) -> str:
        """Return why a non-empty instruction cannot be followed (too long, for example), in one line; empty if it can.

        Must be safe to call from any thread, also while another one is in :meth:`predict`.
        """
