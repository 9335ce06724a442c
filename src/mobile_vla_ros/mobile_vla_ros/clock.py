"""The clock for timers that have to go on: a simulated clock may stand, and a system clock may be set."""

from rclpy.clock import Clock, ClockType

STEADY = Clock(clock_type=ClockType.STEADY_TIME)
