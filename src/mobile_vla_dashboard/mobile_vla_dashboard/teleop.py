"""Driving from the page: a dead-man switch, and control for one operator at a time. No rclpy, no web framework."""

from __future__ import annotations

import math
import sys
import threading
from dataclasses import dataclass

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract

#: A command older than this no longer moves the robot [s]; five messages at the page's 20 Hz.
FRESH_S = 0.25

#: An operator without a message for this long loses control [s]; an idle page sends a heartbeat every second.
WHEEL_TIMEOUT_S = 3.0


class StickError(ValueError):
    """A message of the operator cannot be followed; one line saying why."""


def velocity_of_stick(x: object, y: object, turn: object, contract: Contract) -> Velocity:
    """Return the velocity of a stick at ``x`` forward, ``y`` left and ``turn`` left, fractions -1 .. 1 of the limits.

    A holonomic base strafes with ``y``; a differential one turns. The stick is cut to the unit circle, so that a
    diagonal is not faster than straight ahead.

    Raises:
        StickError: a fraction is not a finite number.
    """
    forward, left, left_turn = (_fraction(name, value) for name, value in (("x", x), ("y", y), ("turn", turn)))
    length = max(1.0, math.hypot(forward, left))
    forward, left = forward / length, left / length
    limits = contract.limits
    if contract.base == "differential":
        left, left_turn = 0.0, left_turn + left
    rate = limits.angular_rad_s * min(max(left_turn, -1.0), 1.0)
    return Velocity(forward * limits.linear_m_s, left * limits.linear_m_s, rate)


def _fraction(name: str, value: object) -> float:
    # A whole number may be beyond every float; not a number is below none.
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)
    raise StickError(f"{name} must be a number from -1 to 1, got {value!r:.40}")


class DeadMan:
    """Decides what to publish now, given when the operator's last command came. Thread-safe.

    While commands are fresh, the newest one; when they stop for any reason, one zero; then nothing, so that an unused
    page does not keep a policy from driving.
    """

    def __init__(self, fresh_s: float = FRESH_S) -> None:
        self._fresh_s = fresh_s
        self._velocity = Velocity()
        self._heard_s = -math.inf
        self._driving = False
        self._lock = threading.Lock()

    def command(self, velocity: Velocity, now_s: float) -> bool:
        """Take the newest command, received at ``now_s`` on a monotonic clock; return True if motion begins with it."""
        with self._lock:
            begins = not self._driving
            self._velocity, self._heard_s, self._driving = velocity, now_s, True
            return begins

    def release(self) -> None:
        """End the motion: the next :meth:`due` is the zero."""
        with self._lock:
            self._heard_s = -math.inf

    def due(self, now_s: float) -> Velocity | None:
        """Return the velocity to publish at ``now_s``, None for silence."""
        with self._lock:
            if not self._driving:
                return None
            if now_s - self._heard_s <= self._fresh_s:
                return self._velocity
            self._driving = False
            return Velocity()


@dataclass(frozen=True)
class Operator:
    """A browser that asked for control; compared by ``key``, because two may share an address."""

    key: int
    address: str


class Wheel:
    """Belongs to one operator at a time. Used on the event loop only."""

    def __init__(self, timeout_s: float = WHEEL_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._operator: Operator | None = None
        self._heard_s = -math.inf

    def operator(self, now_s: float) -> Operator | None:
        """Return who is in control at ``now_s``; None if nobody is, or the operator has been silent for too long."""
        if self._operator is not None and now_s - self._heard_s > self._timeout_s:
            self._operator = None
        return self._operator

    def take(self, operator: Operator, now_s: float) -> bool:
        """Take or keep control; return False if another operator has it."""
        holder = self.operator(now_s)
        if holder is not None and holder != operator:
            return False
        self._operator, self._heard_s = operator, now_s
        return True

    def leave(self, operator: Operator) -> bool:
        """Release control if ``operator`` has it; return whether that was so."""
        if self._operator != operator:
            return False
        self._operator = None
        return True
