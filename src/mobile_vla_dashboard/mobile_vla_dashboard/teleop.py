"""Driving from the page: a dead-man switch and a seat for one. No rclpy, no web framework."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract

#: A command older than this no longer moves the robot [s]; five messages at the page's 20 Hz.
FRESH_S = 0.25

#: A driver unheard for this long has lost the seat [s]; an idle page sends a heartbeat every second.
SEAT_TIMEOUT_S = 3.0


class DriveError(ValueError):
    """A drive message cannot be followed; one line saying why."""


def velocity_of_fractions(x: object, y: object, contract: Contract) -> Velocity:
    """Velocity of a stick at ``x`` forward and ``y`` left, fractions -1 .. 1 of the contract's limits.

    A holonomic base strafes with ``y``; a differential one turns. The stick is cut to the unit circle, so that a
    diagonal is not faster than straight ahead.

    Raises:
        DriveError: a fraction is not a finite number.
    """
    values = []
    for name, value in (("x", x), ("y", y)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DriveError(f"{name} must be a number from -1 to 1, got {value!r:.40}")
        values.append(float(value))
    forward, left = values
    length = math.hypot(forward, left)
    if length > 1.0:
        forward, left = forward / length, left / length
    limits = contract.limits
    if contract.base == "holonomic":
        return Velocity(forward * limits.linear_m_s, left * limits.linear_m_s)
    return Velocity(forward * limits.linear_m_s, 0.0, left * limits.angular_rad_s)


class DeadMan:
    """What to publish now, given when the driver was last heard. Thread-safe.

    While commands are fresh, the newest; when they stop for whatever reason, one zero; then nothing, so that a page
    nobody drives from does not keep a policy from driving.
    """

    def __init__(self, fresh_s: float = FRESH_S) -> None:
        self._fresh_s = fresh_s
        self._velocity = Velocity()
        self._heard_s = -math.inf
        self._driving = False
        self._lock = threading.Lock()

    def command(self, velocity: Velocity, now_s: float) -> bool:
        """Take the driver's newest command, heard at ``now_s`` on a monotonic clock; True if it begins a ride."""
        with self._lock:
            begins = not self._driving
            self._velocity, self._heard_s, self._driving = velocity, now_s, True
            return begins

    def release(self) -> None:
        """Let go: the next :meth:`due` is the zero."""
        with self._lock:
            self._heard_s = -math.inf

    def due(self, now_s: float) -> Velocity | None:
        """The velocity to publish at ``now_s``, None for silence."""
        with self._lock:
            if not self._driving:
                return None
            if now_s - self._heard_s <= self._fresh_s:
                return self._velocity
            self._driving = False
            return Velocity()


@dataclass(frozen=True)
class Driver:
    """Who sits in the seat; compared by identity of the connection, not by address."""

    key: int
    address: str


class Seat:
    """One driver at a time. Used on the event loop only."""

    def __init__(self, timeout_s: float = SEAT_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._driver: Driver | None = None
        self._heard_s = -math.inf

    def driver(self, now_s: float) -> Driver | None:
        """Who drives at ``now_s``; None when the seat is free, or its driver has been unheard for too long."""
        if self._driver is not None and now_s - self._heard_s > self._timeout_s:
            self._driver = None
        return self._driver

    def take(self, driver: Driver, now_s: float) -> bool:
        """Sit down, or stay seated; False when someone else sits there."""
        seated = self.driver(now_s)
        if seated is not None and seated != driver:
            return False
        self._driver, self._heard_s = driver, now_s
        return True

    def leave(self, driver: Driver) -> bool:
        """Free the seat if ``driver`` sits in it; returns whether they did."""
        if self._driver != driver:
            return False
        self._driver = None
        return True
