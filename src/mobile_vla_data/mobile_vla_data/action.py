"""Columns of actions and states, velocities, and the conversion between the two: shared by every package.

An action is ``[delta_x, delta_y, gripper]``: metres travelled in the robot frame during one control period, and
gripper 0 open / 1 closed. Where the contract sets ``action.yaw``, a fourth column ``delta_yaw`` holds the turn during
the period [rad]. Velocity = delta / period. A differential base cannot strafe: without ``delta_yaw``,
``(delta_x, delta_y)`` is the end point of the circular arc that the base drives in one period from pose (0, 0, 0).

This module owns the columns. Other code names them through :data:`ACTION`, :func:`action_names`,
:func:`displacement`, :func:`motion`, :func:`gripper` and :func:`position`, never by number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import Contract, Limits

ACTION = ("delta_x", "delta_y", "gripper")
DELTA_YAW = "delta_yaw"
STATE = ("x", "y", "gripper")
UNITS = {"delta_x": "m", "delta_y": "m", "delta_yaw": "rad", "x": "m", "y": "m", "gripper": ""}

#: Column of the gripper, the same in actions and states.
GRIPPER = ACTION.index("gripper")
_YAW = len(ACTION)

#: A base that cannot strafe does not drive to points nearer than this [m]: their direction is a prediction's noise, and
#: would make a robot that should stand still turn at full rate.
STANDS_M = 1e-3

#: A NumPy array or a torch tensor.
Array = TypeVar("Array", bound=Any)


def action_names(contract: Contract) -> tuple[str, ...]:
    """Names of the action's columns under a contract: :data:`ACTION`, and ``delta_yaw`` where it has one."""
    return (*ACTION, DELTA_YAW) if contract.action.yaw else ACTION


def motion_columns(width: int) -> tuple[int, ...]:
    """Columns of the motion (every column but the gripper) in an action of ``width`` columns."""
    return tuple(column for column in range(width) if column != GRIPPER)


def motion_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the motion's columns, in order, out of the names of an action's columns."""
    return tuple(names[column] for column in motion_columns(len(names)))


def motion(actions: Array) -> Array:
    """Motion ``[..., 2 or 3]`` of actions ``[..., 3 or 4]``: delta_x, delta_y [m] and delta_yaw [rad] if present.

    A copy, of NumPy arrays and torch tensors alike.
    """
    chosen: Array = actions[..., list(motion_columns(actions.shape[-1]))]
    return chosen


def displacement(actions: Array) -> Array:
    """View ``[..., 2]`` of actions: delta_x, delta_y [m]."""
    chosen: Array = actions[..., :GRIPPER]
    return chosen


def position(states: Array) -> Array:
    """View ``[..., 2]`` of states: x, y [m]."""
    chosen: Array = states[..., :GRIPPER]
    return chosen


def gripper(values: Array) -> Array:
    """View ``[...]`` of actions or states: the gripper, 0 open .. 1 closed."""
    chosen: Array = values[..., GRIPPER]
    return chosen


def yaw(actions: Array) -> Array | None:
    """View ``[...]`` of actions: delta_yaw [rad]; None where they have no such column."""
    return actions[..., _YAW] if actions.shape[-1] > _YAW else None


@dataclass(frozen=True)
class Velocity:
    """A planar velocity in the robot frame: ``x`` forward [m/s], ``y`` left [m/s], ``yaw_rate`` [rad/s]."""

    x: float = 0.0
    y: float = 0.0
    yaw_rate: float = 0.0

    @property
    def finite(self) -> bool:
        """Return whether every component is a finite number."""
        return math.isfinite(self.x) and math.isfinite(self.y) and math.isfinite(self.yaw_rate)


def clamp(wanted: Velocity, limits: Limits, *, can_strafe: bool) -> Velocity:
    """Return the velocity nearest to ``wanted``, in the same direction, that base and limits allow."""
    y = wanted.y if can_strafe else 0.0
    speed = math.hypot(wanted.x, y)
    # A command at the limit must not count as clamped because its norm is rounded up.
    scale = limits.linear_m_s / speed if speed > limits.linear_m_s * (1 + 1e-9) else 1.0
    yaw_rate = min(max(wanted.yaw_rate, -limits.angular_rad_s), limits.angular_rad_s)
    return Velocity(wanted.x * scale, y * scale, yaw_rate)


class ActionCodec:
    """Converts between velocities and actions of one control period, for the contract's base and columns."""

    def __init__(self, contract: Contract) -> None:
        self._period_s = contract.period_s
        self._holonomic = contract.base == "holonomic"
        self._yaw = contract.action.yaw

    def to_velocity(self, delta_x: float, delta_y: float, delta_yaw: float = 0.0) -> Velocity:
        """Return the velocity that travels ``(delta_x, delta_y)`` [m] and turns ``delta_yaw`` [rad] in one period.

        On a differential base without ``delta_yaw`` in its contract the base drives the arc through the end point:
        with chord d and heading a = atan2(dy, dx), the turn is 2a and the arc length d * a / sin(a) (Lynch and Park,
        Modern Robotics, 13.3.1, solved for the chord). End points behind the robot are driven backwards, so that the
        turn never exceeds half a circle. An end point nearer than :data:`STANDS_M` means: stand still.

        With ``delta_yaw`` the turn is given, and the chord is the end point's share in its direction, delta_yaw / 2.
        """
        if self._holonomic:
            turn = delta_yaw if self._yaw else 0.0
            return Velocity(delta_x / self._period_s, delta_y / self._period_s, turn / self._period_s)
        if self._yaw:
            # Beyond half a circle a period, which no base can drive, the chord says nothing.
            half = min(max(0.5 * delta_yaw, -0.5 * math.pi), 0.5 * math.pi)
            chord = delta_x * math.cos(half) + delta_y * math.sin(half)
            arc = chord if abs(half) < 1e-6 else chord * half / math.sin(half)
            return Velocity(arc / self._period_s, 0.0, delta_yaw / self._period_s)
        if math.hypot(delta_x, delta_y) < STANDS_M:
            return Velocity()
        direction = -1.0 if delta_x < 0 else 1.0
        heading = math.atan2(direction * delta_y, direction * delta_x)
        chord = direction * math.hypot(delta_x, delta_y)
        arc = chord if abs(heading) < 1e-6 else chord * heading / math.sin(heading)
        return Velocity(arc / self._period_s, 0.0, 2.0 * heading / self._period_s)

    def to_delta(self, velocity: Velocity) -> tuple[float, float]:
        """Metres ``(delta_x, delta_y)`` travelled in one control period at constant ``velocity``.

        A turn on the spot travels nowhere: (0, 0). Only ``delta_yaw`` carries it.
        """
        if self._holonomic:
            return velocity.x * self._period_s, velocity.y * self._period_s
        turn = velocity.yaw_rate * self._period_s
        arc = velocity.x * self._period_s
        if abs(turn) < 1e-6:
            return arc, 0.5 * arc * turn
        return arc * math.sin(turn) / turn, arc * (1.0 - math.cos(turn)) / turn

    def to_action(self, velocity: Velocity, *, gripper_closed: bool) -> npt.NDArray[np.float32]:
        """Action, float32 ``[3]`` or ``[4]``, of one control period at constant ``velocity``."""
        values = [*self.to_delta(velocity), float(gripper_closed)]
        if self._yaw:
            values.append(velocity.yaw_rate * self._period_s)
        return np.array(values, dtype=np.float32)

    def lost_yaw_rad(self, velocity: Velocity) -> float:
        """Turning of one control period at constant ``velocity`` that its action does not carry [rad], 0 or more."""
        if self._yaw:
            return 0.0
        carried = self.to_velocity(*self.to_delta(velocity)).yaw_rate
        return abs(velocity.yaw_rate - carried) * self._period_s


class CommandIntegrator:
    """Turns the stream of velocity and gripper commands into one action per control period.

    Feed it each command with the time it took effect; :meth:`close` returns the action of the period that ends then
    and begins the next. A command holds until the next one, as it does on the robot.
    """

    def __init__(self, contract: Contract) -> None:
        self._codec = ActionCodec(contract)
        self._thresholds = contract.thresholds
        self.lost_yaw_rad = 0.0
        """Turning commanded in the last closed period that its action does not carry [rad], 0 or more."""
        self.reset(0, gripper_closed=False)

    def reset(self, start_ns: int, *, gripper_closed: bool, velocity: Velocity | None = None) -> None:
        """Begin a period at ``start_ns`` with the command that is in effect then."""
        self._start_ns = self._since_ns = start_ns
        self._velocity = velocity or Velocity()
        self._sum = np.zeros(3)
        self._closed = gripper_closed
        self.lost_yaw_rad = 0.0

    def command_velocity(self, stamp_ns: int, velocity: Velocity) -> None:
        """Take a velocity command in effect from ``stamp_ns`` on. The caller refuses non-finite ones."""
        self._advance(stamp_ns)
        self._velocity = velocity

    def command_gripper(self, position: float) -> None:
        """Take a gripper command, 0 open .. 1 closed."""
        self._closed = self._thresholds.decide(position, self._closed)

    def close(self, end_ns: int) -> npt.NDArray[np.float32]:
        """End the period at ``end_ns`` and begin the next; returns the action, float32 ``[3]`` or ``[4]``.

        The mean velocity over the period that really passed is scaled to the declared period, so that a late tick
        does not record a longer stride.
        """
        self._advance(end_ns)
        elapsed_s = (end_ns - self._start_ns) * 1e-9
        mean = Velocity(*(self._sum / elapsed_s).tolist()) if elapsed_s > 0 else Velocity()
        # A simulated clock may have been set back: then the command holds from now on.
        self._start_ns, self._since_ns, self._sum = end_ns, end_ns, np.zeros(3)
        self.lost_yaw_rad = self._codec.lost_yaw_rad(mean)
        return self._codec.to_action(mean, gripper_closed=self._closed)

    def _advance(self, now_ns: int) -> None:
        held_s = max(0, now_ns - self._since_ns) * 1e-9
        self._sum += held_s * np.array([self._velocity.x, self._velocity.y, self._velocity.yaw_rate])
        self._since_ns = max(self._since_ns, now_ns)
