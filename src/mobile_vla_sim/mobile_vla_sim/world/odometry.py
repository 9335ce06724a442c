"""Odometry as on real robots: zero where the robot was switched on, and drifting."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

OdometryKind = Literal["drifting", "localised"]


class Odometry:
    """Turns true poses into the poses that wheel odometry reports.

    Each run has its own error of scale along x and y and its own curvature; noise grows with the distance driven.
    Localised odometry reports the true pose in the world, as a robot with a map does.
    """

    SCALE_ERROR = 0.015
    """Standard deviation of the error of scale."""
    NOISE_PER_M = 0.01
    """Standard deviation of the noise after one metre [m]."""
    YAW_PER_M = 0.01
    """Standard deviation of the unmeasured change of heading after one metre [rad]; differential bases only."""

    def __init__(self, random: np.random.Generator, pose: tuple[float, float, float], kind: OdometryKind) -> None:
        """``pose`` is the true pose (x, y, yaw) at switch-on."""
        self._random, self._kind = random, kind
        self._scale = 1.0 + np.clip(random.normal(0.0, self.SCALE_ERROR, size=2), -0.03, 0.03)
        self._true = pose
        self._origin_yaw = pose[2]
        self._x = self._y = self._yaw_error = 0.0

    def update(self, x: float, y: float, yaw: float, *, turns: bool = False) -> tuple[float, float, float]:
        """Take the true pose and return the reported one (x, y, yaw) [m, m, rad]; ``turns``: the base can turn."""
        if self._kind == "localised":
            return x, y, yaw
        dx, dy = x - self._true[0], y - self._true[1]
        moved = math.hypot(dx, dy)
        self._true = (x, y, yaw)
        if moved > 0.0:
            noise = self._random.normal(0.0, self.NOISE_PER_M * math.sqrt(moved), size=3)
            if turns:
                self._yaw_error += float(noise[2]) * self.YAW_PER_M / self.NOISE_PER_M
            angle = self._yaw_error - self._origin_yaw
            self._x += (math.cos(angle) * dx - math.sin(angle) * dy) * float(self._scale[0]) + float(noise[0])
            self._y += (math.sin(angle) * dx + math.cos(angle) * dy) * float(self._scale[1]) + float(noise[1])
        return self._x, self._y, math.remainder(yaw - self._origin_yaw + self._yaw_error, math.tau)
