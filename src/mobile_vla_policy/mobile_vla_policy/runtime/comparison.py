"""The score of shadow mode: the policy's commands compared with those that the robot got."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from mobile_vla_data.action import Velocity

#: Long enough for a room, short enough to follow an operator who begins another task [s].
WINDOW_S = 60.0


@dataclass(frozen=True)
class Agreement:
    """Differences over the window. NaN without samples."""

    samples: int = 0
    velocity_mean_m_s: float = math.nan
    """Length of the difference of the velocities in the plane [m/s]."""
    velocity_p95_m_s: float = math.nan
    yaw_rate_mean_rad_s: float = math.nan
    """Absolute difference [rad/s]."""
    yaw_rate_p95_rad_s: float = math.nan
    gripper_samples: int = 0
    gripper_share: float = math.nan
    """Share of gripper samples with equal commands, 0 .. 1."""


@dataclass(frozen=True)
class _Sample:
    at_s: float
    velocity_m_s: float
    yaw_rate_rad_s: float
    gripper_same: bool | None


class Comparison:
    """Collects samples and forgets those older than ``window_s``; ``now_s`` is from a monotonic clock."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._samples: deque[_Sample] = deque()

    def add(
        self,
        now_s: float,
        would: Velocity,
        told: Velocity,
        gripper_would: bool | None = None,
        gripper_told: bool | None = None,
    ) -> None:
        """Take the policy's command and the robot's at the same moment.

        Grippers are True for closed, and None if the command leaves the gripper unchanged.
        """
        both = gripper_would is not None and gripper_told is not None
        self._samples.append(
            _Sample(
                now_s,
                math.hypot(would.x - told.x, would.y - told.y),
                abs(would.yaw_rate - told.yaw_rate),
                gripper_would == gripper_told if both else None,
            )
        )
        self._forget(now_s)

    def agreement(self, now_s: float) -> Agreement:
        """Return the figures of the window that ends now."""
        self._forget(now_s)
        if not self._samples:
            return Agreement()
        velocities = np.array([sample.velocity_m_s for sample in self._samples])
        yaw_rates = np.array([sample.yaw_rate_rad_s for sample in self._samples])
        grippers = [sample.gripper_same for sample in self._samples if sample.gripper_same is not None]
        return Agreement(
            len(self._samples),
            float(velocities.mean()),
            float(np.percentile(velocities, 95)),
            float(yaw_rates.mean()),
            float(np.percentile(yaw_rates, 95)),
            len(grippers),
            sum(grippers) / len(grippers) if grippers else math.nan,
        )

    def _forget(self, now_s: float) -> None:
        while self._samples and now_s - self._samples[0].at_s > self._window_s:
            self._samples.popleft()
