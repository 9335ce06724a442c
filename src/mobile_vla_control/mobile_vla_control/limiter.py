"""Keep velocity, acceleration and jerk within the contract's limits, step by step."""

from __future__ import annotations

import math

from mobile_vla_data.action import Velocity, clamp
from mobile_vla_data.contract import Limits

_Vector = tuple[float, float]


class VelocityLimiter:
    """Follows a target velocity as fast as acceleration and jerk allow, without overshooting a constant target.

    This holds for calls of :meth:`follow` at any interval. A target that comes nearer while the velocity changes
    towards it may be overshot, because jerk is limited: an acceleration A takes A^2 / (2 J) to fade, 0.05 m/s for
    2 m/s^2 and 40 m/s^3.

    The two axes of the plane are limited together, as vectors, because a change of direction is an acceleration, too.
    Yaw is limited separately. If both cannot be kept, the speed limit has priority over jerk.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.halt()

    def halt(self) -> None:
        """Stop at once."""
        self._velocity, self._acceleration = Velocity(), Velocity()

    def hold(self, velocity: Velocity) -> None:
        """Note that ``velocity`` was sent instead of the result of :meth:`follow`; its acceleration counts as 0."""
        self._velocity, self._acceleration = velocity, Velocity()

    def follow(self, target: Velocity, elapsed_s: float) -> Velocity:
        """Return the velocity to send ``elapsed_s`` after the last one; ``target`` comes from :func:`clamp`."""
        if elapsed_s <= 0.0:
            return self._velocity
        limits, now, before = self._limits, self._velocity, self._acceleration
        linear = _acceleration(
            (target.x - now.x, target.y - now.y),
            (before.x, before.y),
            elapsed_s,
            limits.linear_acceleration_m_s2,
            limits.linear_jerk_m_s3,
        )
        turn, _ = _acceleration(
            (target.yaw_rate - now.yaw_rate, 0.0),
            (before.yaw_rate, 0.0),
            elapsed_s,
            limits.angular_acceleration_rad_s2,
            limits.angular_jerk_rad_s3,
        )
        smooth = Velocity(
            _snapped(now.x + linear[0] * elapsed_s, target.x),
            _snapped(now.y + linear[1] * elapsed_s, target.y),
            _snapped(now.yaw_rate + turn * elapsed_s, target.yaw_rate),
        )
        # The acceleration can only fade, so a fast change of direction would exceed the largest speed.
        self._velocity = sent = clamp(smooth, limits, can_strafe=True)
        self._acceleration = Velocity(*linear, turn)
        if sent != smooth:
            self._acceleration = Velocity(
                (sent.x - now.x) / elapsed_s, (sent.y - now.y) / elapsed_s, (sent.yaw_rate - now.yaw_rate) / elapsed_s
            )
        return sent


def _acceleration(change: _Vector, before: _Vector, period_s: float, largest: float, jerk: float | None) -> _Vector:
    """Return the acceleration for the next ``period_s``, given the wanted ``change`` and the acceleration ``before``.

    With a jerk limit J an acceleration a has to fade to zero before the target is reached. Fading changes the velocity
    by a^2 / (2 J) in continuous time, and by less in steps of any length, since each step applies the faded value from
    its beginning. So an ``a`` with a * T + a^2 / (2 J) <= distance, where T is the next period, never overshoots,
    whatever the lengths of the later periods. The result is the largest such ``a``.
    """
    distance = math.hypot(*change)
    if jerk is None:
        wanted = min(distance / period_s, largest)
    else:
        # J * (sqrt(T^2 + 2 d / J) - T), written without the difference of two numbers that are nearly equal.
        wanted = min(2.0 * distance / (period_s + math.sqrt(period_s**2 + 2.0 * distance / jerk)), largest)
    scale = wanted / distance if distance > 0.0 else 0.0
    acceleration = (change[0] * scale, change[1] * scale)
    if jerk is None:
        return acceleration
    difference = (acceleration[0] - before[0], acceleration[1] - before[1])
    share = min(1.0, jerk * period_s / max(math.hypot(*difference), 1e-12))
    return before[0] + difference[0] * share, before[1] + difference[1] * share


def _snapped(value: float, target: float) -> float:
    """Return ``target`` if it is nearly reached: a robot that should stand must not keep a speed of 1e-17."""
    return target if abs(value - target) < 1e-9 else value
