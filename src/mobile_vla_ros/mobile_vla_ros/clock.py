"""Time of a node: the clock for timers that must go on, and the current time of its stamps."""

from __future__ import annotations

from typing import Any

from rclpy.clock import Clock, ClockType

#: For timers: a simulated clock may stand still, and a system clock may be set.
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


def now_ns(node: Any) -> int:
    """Return the time of the node's clock, which message stamps are taken from [ns]."""
    return int(node.get_clock().now().nanoseconds)
