"""The area the robot is kept in: how fast it may go where it is, so that it can stop before the edge.

Inside, speed in the plane is limited to what can be braked away before the edge ahead: at the contract's acceleration,
and counting what passes until a command takes effect. Outside, only motion that comes nearer to the area is let
through, no faster than can be braked away before it leads out again. Turning on the spot is possible in either place.
Without a fresh position nobody knows where the edge is, and the robot stands.

What it says never contains a number that changes from tick to tick: a status goes out whenever the reason changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.polygon import EDGE_M, Polygon

#: Cosine of the angle to the shortest way back, below which motion is along the edge rather than back inside.
_ALONG = 0.1
#: How far the square of a quaternion's norm may be from 1: rounding to four digits, and no more.
_UNIT = 1e-3


@dataclass(frozen=True)
class Pose:
    """Where the robot is, in the odometry frame."""

    x: float
    y: float
    yaw: float
    at_s: float
    """When it was measured, on the gate's clock [s]."""


class KeepIn:
    """Judges velocities against the contract's ``keep_in``. Feed it every pose with :meth:`put`."""

    def __init__(self, contract: Contract) -> None:
        self._polygon = Polygon(contract.keep_in) if contract.keep_in else None
        self._max_age_s = contract.state.odometry_max_age_s
        self._topic = contract.state.odometry_topic
        self._frame = contract.state.odometry_frame
        self._braking_m_s2 = contract.limits.linear_acceleration_m_s2
        self._pose: Pose | None = None
        self._refusal = ""

    @property
    def limited(self) -> bool:
        """Whether there is an area at all."""
        return self._polygon is not None

    def put(self, x: float, y: float, yaw: float | None, frame: str, at_s: float) -> None:
        """Take a pose in metres and radians, measured at ``at_s`` on the gate's clock; ``yaw`` of :func:`yaw_of`."""
        if yaw is None:
            self._refusal = "; its last orientation is no unit quaternion"
        elif not (math.isfinite(x) and math.isfinite(y)):
            self._refusal = "; its last position is not finite"
        # A namespaced robot prefixes its frames ("robot1/odom"); the last part is what the contract names.
        elif frame.rsplit("/", 1)[-1] != self._frame.rsplit("/", 1)[-1]:
            self._refusal = f"; its frame_id is '{frame}', the contract says '{self._frame}'"
        else:
            self._refusal, self._pose = "", Pose(x, y, yaw, at_s)

    def problem(self, now_s: float) -> str:
        """Why the position cannot be told at ``now_s``; empty when it can, or when there is no area."""
        if self._polygon is None:
            return ""
        advice = f"nobody knows where the edge of keep_in is{self._refusal}"
        if self._pose is None:
            return f"nothing usable has arrived on '{self._topic}': {advice}"
        if not -self._max_age_s <= now_s - self._pose.at_s <= self._max_age_s:
            return f"'{self._topic}' has no fresh position: {advice}"
        return ""

    def apply(self, wanted: Velocity, now_s: float, reaction_s: float) -> tuple[Velocity, str]:
        """What of ``wanted`` may be sent at ``now_s``, and why it is less; an empty string when it is not.

        ``reaction_s`` is how long the robot goes on as before until the next command takes effect.
        """
        speed = math.hypot(wanted.x, wanted.y)
        if self._polygon is None or wanted == Velocity():
            return wanted, ""
        pose = self._pose
        if pose is None or self.problem(now_s):
            return Velocity(), self.problem(now_s)
        if speed == 0.0:
            return wanted, ""
        direction = _rotated(wanted.x / speed, wanted.y / speed, pose.yaw)
        here = (pose.x, pose.y)
        edge = self._polygon.nearest(here)
        room_m = self._polygon.distance_to_exit(here, direction)
        if not self._polygon.contains(here) and (outside_m := math.dist(edge, here)) > EDGE_M:
            nearer_m = (edge[0] - pose.x) * direction[0] + (edge[1] - pose.y) * direction[1]
            if nearer_m < _ALONG * outside_m:
                return Velocity(0.0, 0.0, wanted.yaw_rate), "outside keep_in only motion back inside is let through"
            # What comes nearer may yet pass by, or cross a corner and leave again behind it.
            room_m = min(room_m, nearer_m) if math.isinf(room_m) else room_m
        most = self._stoppable_m_s(room_m, max(0.0, now_s - pose.at_s) + reaction_s)
        if speed <= most:
            return wanted, ""
        scale = most / speed
        return Velocity(wanted.x * scale, wanted.y * scale, wanted.yaw_rate), "the edge of keep_in is ahead"

    def _stoppable_m_s(self, room_m: float, reaction_s: float) -> float:
        """The speed v that is gone within ``room_m``: v * reaction + v^2 / (2 a) = room, solved for v."""
        if math.isinf(room_m):
            return math.inf
        unbraked = self._braking_m_s2 * reaction_s
        return max(0.0, math.sqrt(unbraked**2 + 2.0 * self._braking_m_s2 * room_m) - unbraked)


def yaw_of(w: float, x: float, y: float, z: float) -> float | None:
    """Yaw of an orientation [rad]; None when it is no unit quaternion, such as the zeros of a driver that has none."""
    if not abs(w * w + x * x + y * y + z * z - 1.0) <= _UNIT:
        return None
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def _rotated(x: float, y: float, yaw: float) -> tuple[float, float]:
    return x * math.cos(yaw) - y * math.sin(yaw), x * math.sin(yaw) + y * math.cos(yaw)
