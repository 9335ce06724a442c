"""The area that the robot is kept in: limit its speed so that it can stop before the edge.

Inside, the robot may go as fast as it can brake before the edge ahead: at the contract's acceleration, and counting the
distance until a command takes effect. Outside, only motion towards the area is let through, no faster than the robot
can brake before it would leave again. Turning on the spot is possible in either place. Without a fresh position the
distance to the edge is unknown, and the robot stands still.

Reasons never contain a number that changes from tick to tick: a status goes out whenever the reason changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mobile_vla_control.measured import Newest, stoppable
from mobile_vla_data.action import Velocity
from mobile_vla_data.compatibility import same_frame
from mobile_vla_data.contract import Contract
from mobile_vla_data.polygon import EDGE_M, Polygon

#: Cosine of the angle to the shortest way back, below which motion is along the edge rather than back inside.
_ALONG = 0.1


@dataclass(frozen=True)
class Pose:
    """Pose of the robot in the odometry frame [m, rad]."""

    x: float
    y: float
    yaw: float


class KeepIn:
    """Limits velocities to the contract's ``keep_in``. Give it every pose with :meth:`put`."""

    def __init__(self, contract: Contract) -> None:
        self._polygon = Polygon(contract.keep_in) if contract.keep_in else None
        self._newest = Newest(contract.state.pose_topic, contract.state.odometry_max_age_s)
        self._frame = contract.state.odometry_frame
        self._braking_m_s2 = contract.limits.linear_acceleration_m_s2
        self._pose: Pose | None = None

    @property
    def limited(self) -> bool:
        """True if the contract has an area."""
        return self._polygon is not None

    def put(self, x: float, y: float, yaw: float | None, frame: str, measured_s: float, received_s: float) -> None:
        """Take a pose in metres and radians, with both times on the gate's clock; ``yaw`` is None if unknown."""
        if yaw is None:
            self._newest.refuse("the orientation is not a unit quaternion", received_s)
        elif not (math.isfinite(x) and math.isfinite(y)):
            self._newest.refuse("the position is not finite", received_s)
        elif not same_frame(frame, self._frame):
            self._newest.refuse(f"frame_id is '{frame}', the contract says '{self._frame}'", received_s)
        else:
            self._pose = Pose(x, y, yaw)
            self._newest.accept(measured_s, received_s)

    def refuse(self, why: str, received_s: float) -> None:
        """Take a message that gives no pose, and why."""
        self._newest.refuse(why, received_s)

    def problem(self, now_s: float) -> str:
        """Return why the position at ``now_s`` is unknown; empty if it is known, or if there is no area."""
        if self._polygon is None or self._newest.fresh(now_s):
            return ""
        return f"the distance to the edge of keep_in is unknown: {self._newest.why_unknown(now_s)}"

    def apply(self, wanted: Velocity, now_s: float, reaction_s: float) -> tuple[Velocity, str]:
        """Return what may be sent of ``wanted`` at ``now_s``, and why it is less; an empty string if it is not less.

        ``reaction_s`` is the time until the next command takes effect.
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
                return Velocity(0.0, 0.0, wanted.yaw_rate), "outside keep_in only motion back inside is allowed"
            # Motion that comes nearer may still pass by, or cross a corner and leave again.
            room_m = min(room_m, nearer_m) if math.isinf(room_m) else room_m
        most = stoppable(room_m, self._braking_m_s2, max(0.0, now_s - self._newest.measured_s) + reaction_s)
        if speed <= most:
            return wanted, ""
        scale = most / speed
        return Velocity(wanted.x * scale, wanted.y * scale, wanted.yaw_rate), "the edge of keep_in is ahead"


def _rotated(x: float, y: float, yaw: float) -> tuple[float, float]:
    return x * math.cos(yaw) - y * math.sin(yaw), x * math.sin(yaw) + y * math.cos(yaw)
