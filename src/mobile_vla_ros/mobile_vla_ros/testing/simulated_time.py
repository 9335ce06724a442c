"""A simulated clock for tests."""

from __future__ import annotations

import threading
import time

from rosgraph_msgs.msg import Clock

from mobile_vla_ros.convert import to_stamp
from mobile_vla_ros.testing.fake_robot import FakeRobot
from mobile_vla_ros.testing.probe import Probe


class SimulatedTime:
    """Publishes /clock, and makes the robot stamp with it: faster than real time, paused, or set back.

    ``factor`` is its speed; 1 is real time. Set ``now_ns`` to make it jump.
    """

    def __init__(self, probe: Probe, robot: FakeRobot, factor: float, now_ns: int = 5 * 10**9) -> None:
        self.probe, self.robot, self.factor = probe, robot, factor
        self.now_ns, self.paused, self._running = now_ns, False, True
        robot.clock = lambda: self.now_ns
        self._publisher = probe.node.create_publisher(Clock, "/clock", 10)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        before_ns = time.monotonic_ns()
        while self._running:
            time.sleep(0.01)
            elapsed_ns, before_ns = time.monotonic_ns() - before_ns, time.monotonic_ns()
            if not self.paused:
                self.now_ns += int(self.factor * elapsed_ns)
                self._publisher.publish(Clock(clock=to_stamp(self.now_ns)))

    def pause(self, paused: bool) -> None:
        """Stop the clock and the robot's messages, or let them go on."""
        self.robot.silent = {"static", "gripper", "odom", "gripper_state"} if paused else set()
        self.paused = paused

    def close(self) -> None:
        """Stop the clock for good."""
        self._running = False
        self._thread.join()
        self.probe.node.destroy_publisher(self._publisher)
