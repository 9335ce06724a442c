"""Shadow mode: compares the commands that the robot gets with those that the policy would have sent."""

from __future__ import annotations

import time
from typing import Any

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import GripperCommand
from mobile_vla_policy.node.gate_watch import GateWatch
from mobile_vla_policy.runtime.comparison import Agreement, Comparison
from mobile_vla_policy.runtime.scheduler import decide_gripper
from mobile_vla_ros.convert import velocity_of
from mobile_vla_ros.qos import COMMAND
from mobile_vla_ros.velocity_topics import VelocitySubscription

#: A base that got no command for this long has stopped by itself (docs/explanation/safety.md) [s].
_TOLD_S = 0.5


class Onlooker:
    """Listens to ``cmd_vel`` and ``gripper/command`` from the first :meth:`begin` on.

    The subscriptions stay: destroying DDS entities can block (eProsima/Fast-DDS#6193), on the thread that stops the
    robot.
    """

    def __init__(self, node: Any, contract: Contract, stamped: bool | None, gate: GateWatch) -> None:
        self._node, self._gate, self._stamped = node, gate, stamped
        self._thresholds = contract.thresholds
        self._looking = False
        self._velocities: VelocitySubscription | None = None
        self._comparison = Comparison()
        self._velocity, self._velocity_at_s = Velocity(), 0.0
        self._closed: bool | None = None

    @property
    def agreement(self) -> Agreement:
        """Figures of the last minute; without samples while it does not watch."""
        return self._comparison.agreement(time.monotonic())

    def begin(self) -> None:
        """Start to watch."""
        self._looking = True
        if self._velocities is None:
            self._velocities = VelocitySubscription(
                self._node, "cmd_vel", self._on_velocity, COMMAND, stamped=self._stamped
            )
            self._node.create_subscription(GripperCommand, "gripper/command", self._on_gripper, COMMAND)

    def adapt(self) -> None:
        """Take the type of velocity that the gate sends, where ``stamped`` was None."""
        if self._velocities is not None:
            self._velocities.follow()

    def end(self) -> None:
        """Stop watching, and forget all samples."""
        self._looking = False
        self._comparison = Comparison()
        self._velocity_at_s, self._closed = 0.0, None

    def compare(self, velocity: Velocity, closed: bool | None) -> None:
        """Take the policy's command of this moment; ``closed`` is None if it leaves the gripper unchanged."""
        now_s = time.monotonic()
        if now_s - self._velocity_at_s > _TOLD_S or self._gate.nobody_drives:
            # Zeros of a gate without a driver are no intention, so they are not compared.
            return
        self._comparison.add(now_s, velocity, self._velocity, closed, self._closed)

    def _on_velocity(self, message: Any) -> None:
        velocity = velocity_of(message)
        if self._looking and velocity.finite:
            self._velocity, self._velocity_at_s = velocity, time.monotonic()

    def _on_gripper(self, message: GripperCommand) -> None:
        if self._looking:
            self._closed = decide_gripper(self._thresholds, float(message.position), self._closed)
