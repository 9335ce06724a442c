"""Where metres of the odometry frame lie in the image of a fixed camera, learned from watching the robot. No rclpy.

Pairs of the robot's odometry and its place in the image give a similarity: scale, turn and shift, with the handedness
of a camera that looks down. It is trusted once the robot has moved far enough, and only while it fits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: The newest pairs count, each at least this far from the one before [m]: odometry drifts.
_PAIRS, _APART_M = 60, 0.05
#: The pairs must reach this far, and fit this well: in metres, and in shares of the image's side.
_REACH_M, _MOST_RMS = 0.4, 0.05


class Pose(NamedTuple):
    """Place and heading in the odometry frame [m, rad]."""

    x: float
    y: float
    yaw: float


Point = tuple[float, float]
"""Column and row as shares of the image's width and height, from the upper left corner."""


def peak(grid: npt.NDArray[np.uint8]) -> Point:
    """Return the centre of the brightest cell of a grid over the image."""
    row, column = divmod(int(grid.argmax()), grid.shape[1])
    return (column + 0.5) / grid.shape[1], (row + 0.5) / grid.shape[0]


class ImagePlace:
    """Learns the similarity. Used on one thread."""

    def __init__(self) -> None:
        self._pairs: deque[tuple[Pose, Point]] = deque(maxlen=_PAIRS)
        self._turn_scale: complex | None = None

    def add(self, pose: Pose, seen: Point) -> None:
        """Take a pose and where the robot was seen at that time."""
        if self._pairs and math.dist(self._pairs[-1][0][:2], pose[:2]) < _APART_M:
            return
        self._pairs.append((pose, seen))
        self._turn_scale = self._fit()

    def path(self, pose: Pose, seen: Point, steps: Sequence[tuple[float, float, float]]) -> list[Point] | None:
        """Return the places in the image that ``steps`` lead through, from ``seen`` on; None while that is unknown.

        ``steps`` are metres forward, metres to the left and radians to the left, each in the frame of the robot then.
        """
        if self._turn_scale is None:
            return None
        here, yaw, points = complex(0.0), pose.yaw, [seen]
        for forward, left, turn in steps:
            here += complex(forward, left) * complex(math.cos(yaw), math.sin(yaw))
            yaw += turn
            moved = self._turn_scale * here
            points.append((seen[0] + moved.real, seen[1] - moved.imag))
        return points

    def _fit(self) -> complex | None:
        """Return what turns and scales metres into shares of the image (right, up), by least squares."""
        metres = np.array([complex(pose.x, pose.y) for pose, _ in self._pairs])
        shares = np.array([complex(column, -row) for _, (column, row) in self._pairs])
        metres, shares = metres - metres.mean(), shares - shares.mean()
        if np.abs(metres).max() < _REACH_M / 2:
            return None
        factor = complex(np.vdot(metres, shares) / np.vdot(metres, metres))
        rms = float(np.sqrt(np.mean(np.abs(shares - factor * metres) ** 2)))
        return factor if rms <= _MOST_RMS else None
