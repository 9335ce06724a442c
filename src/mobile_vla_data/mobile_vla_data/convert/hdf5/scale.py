"""Actions scaled to -1 .. 1, and back without loss."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import DELTA_YAW, action_names
from mobile_vla_data.contract import Contract


@dataclass(frozen=True)
class ActionScale:
    """``scaled = 2 (action - low) / (high - low) - 1`` for each column.

    Low and high are the largest values that the contract's limits allow in one control period, or those recorded if
    larger; the gripper goes from 0 to 1.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, contract: Contract, actions: Iterable[npt.NDArray[np.float32]]) -> ActionScale:
        """Return the scale for recorded actions ``[T, D]`` of a robot."""
        names = action_names(contract)
        limits = contract.limits
        reach = {"gripper": 1.0, DELTA_YAW: limits.angular_rad_s * contract.period_s}
        high = np.array([reach.get(name, limits.linear_m_s * contract.period_s) for name in names])
        for values in actions:
            high = np.maximum(high, np.abs(values).max(0))
        low = [0.0 if name == "gripper" else -value for name, value in zip(names, high.tolist(), strict=True)]
        return cls(names, tuple(low), tuple(high.tolist()))

    def scale(self, actions: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return actions ``[T, D]`` in -1 .. 1; float64, so that :meth:`unscale` gives them back to the bit."""
        low, high = np.array(self.low), np.array(self.high)
        return np.asarray(2.0 * (actions.astype(np.float64) - low) / (high - low) - 1.0)

    def unscale(self, scaled: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the actions that :meth:`scale` was given."""
        low, high = np.array(self.low), np.array(self.high)
        return np.asarray((scaled.astype(np.float64) + 1.0) / 2.0 * (high - low) + low, dtype=np.float32)

    def to_json(self) -> str:
        """Serialise; :meth:`from_json` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ActionScale:
        """Read what :meth:`to_json` wrote."""
        data = json.loads(text)
        return cls(tuple(data["names"]), tuple(data["low"]), tuple(data["high"]))
