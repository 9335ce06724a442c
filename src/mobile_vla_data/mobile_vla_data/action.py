"""Action <-> velocity, the one pair of conversions shared by recorder, simulator, gate and policy node.

An action is ``[delta_x, delta_y, gripper]``: metres travelled in the robot frame during one control period, and
gripper 0 open / 1 closed. Velocity = delta / period. A differential base cannot strafe: there ``(delta_x, delta_y)``
is the end point of the circular arc that the base drives in one period from pose (0, 0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import Contract

#: A base that cannot strafe does not go to points nearer than this [m]: their direction is a prediction's noise, and
#: would make a robot that is to stand turn at full rate.
STANDS_M = 1e-3


@dataclass(frozen=True)
class Velocity:
    """A planar velocity in the robot frame: ``x`` forward [m/s], ``y`` left [m/s], ``yaw_rate`` [rad/s]."""

    x: float = 0.0
    y: float = 0.0
    yaw_rate: float = 0.0

    @property
    def finite(self) -> bool:
        """Whether every component is a finite number."""
        return math.isfinite(self.x) and math.isfinite(self.y) and math.isfinite(self.yaw_rate)


class ActionCodec:
    """Converts between velocities and the displacement of one control period, for the contract's base."""

    def __init__(self, contract: Contract) -> None:
        self._period_s = contract.period_s
        self._holonomic = contract.base == "holonomic"

    def to_velocity(self, delta_x: float, delta_y: float) -> Velocity:
        """Velocity that travels ``(delta_x, delta_y)`` metres in one control period.

        On a differential base the arc through the end point is driven: with chord d and heading a = atan2(dy, dx),
        the turn is 2a and the arc length d * a / sin(a) (Lynch and Park, Modern Robotics, 13.3.1, solved for the
        chord).
        End points behind the robot are driven backwards, so the turn never exceeds half a circle. An end point nearer
        than :data:`STANDS_M` is where the robot is: it stands.
        """
        if self._holonomic:
            return Velocity(delta_x / self._period_s, delta_y / self._period_s)
        if math.hypot(delta_x, delta_y) < STANDS_M:
            return Velocity()
        direction = -1.0 if delta_x < 0 else 1.0
        heading = math.atan2(direction * delta_y, direction * delta_x)
        chord = direction * math.hypot(delta_x, delta_y)
        arc = chord if abs(heading) < 1e-6 else chord * heading / math.sin(heading)
        return Velocity(arc / self._period_s, 0.0, 2.0 * heading / self._period_s)

    def to_delta(self, velocity: Velocity) -> tuple[float, float]:
        """Metres ``(delta_x, delta_y)`` travelled in one control period at constant ``velocity``.

        A turn on the spot of a differential base travels nowhere and so has no image here: (0, 0).
        """
        if self._holonomic:
            return velocity.x * self._period_s, velocity.y * self._period_s
        turn = velocity.yaw_rate * self._period_s
        arc = velocity.x * self._period_s
        if abs(turn) < 1e-6:
            return arc, 0.5 * arc * turn
        return arc * math.sin(turn) / turn, arc * (1.0 - math.cos(turn)) / turn


class CommandIntegrator:
    """Turns the stream of velocity and gripper commands into one action per control period.

    Feed it each command with the time it took effect; :meth:`close` returns the action of the period that ends then
    and begins the next. A command holds until the next one, as it does on the robot.
    """

    def __init__(self, contract: Contract) -> None:
        self._codec = ActionCodec(contract)
        self._thresholds = contract.gripper
        self.reset(0, gripper_closed=False)

    def reset(self, start_ns: int, *, gripper_closed: bool, velocity: Velocity | None = None) -> None:
        """Begin a period at ``start_ns`` with the command that is in effect then."""
        self._start_ns = self._since_ns = start_ns
        self._velocity = velocity or Velocity()
        self._sum = np.zeros(3)
        self._closed = gripper_closed

    def command_velocity(self, stamp_ns: int, velocity: Velocity) -> None:
        """Take a velocity command in effect from ``stamp_ns`` on. The caller refuses non-finite ones."""
        self._advance(stamp_ns)
        self._velocity = velocity

    def command_gripper(self, position: float) -> None:
        """Take a gripper command, 0 open .. 1 closed."""
        self._closed = self._thresholds.decide(position, self._closed)

    def close(self, end_ns: int) -> npt.NDArray[np.float32]:
        """End the period at ``end_ns`` and begin the next; returns the action, float32 ``[3]``.

        The mean velocity over the period that really passed is scaled to the declared period, so that a late tick
        does not record a longer stride.
        """
        self._advance(end_ns)
        elapsed_s = (end_ns - self._start_ns) * 1e-9
        mean = self._sum / elapsed_s if elapsed_s > 0 else np.zeros(3)
        delta_x, delta_y = self._codec.to_delta(Velocity(*mean.tolist()))
        self._start_ns, self._sum = end_ns, np.zeros(3)
        return np.array([delta_x, delta_y, float(self._closed)], dtype=np.float32)

    def _advance(self, now_ns: int) -> None:
        held_s = max(0, now_ns - self._since_ns) * 1e-9
        self._sum += held_s * np.array([self._velocity.x, self._velocity.y, self._velocity.yaw_rate])
        self._since_ns = max(self._since_ns, now_ns)
