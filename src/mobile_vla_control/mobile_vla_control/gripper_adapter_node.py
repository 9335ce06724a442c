"""Connects a gripper with another interface: gripper/command to it, and the position of its joint to gripper/state.

The contract's ``gripper_driver`` says which.
"""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import JointState

from mobile_vla_control.gripper_links import Order, connect
from mobile_vla_data.gripper_driver import position_of
from mobile_vla_msgs.msg import GripperCommand, GripperState
from mobile_vla_ros.clock import STEADY
from mobile_vla_ros.diagnostics import OK, WARN, Diagnostics, Health
from mobile_vla_ros.parameters import load_contract
from mobile_vla_ros.qos import COMMAND, SENSOR, SENSOR_OFFERED
from mobile_vla_ros.run import StartError, run

#: Rate of gripper/state where the gripper does not report its position [Hz].
_STATE_HZ = 10.0
#: A joint without a position for this long is silent [s].
_SILENT_S = 1.0


class GripperAdapterNode(Node):
    """Subscribes ``gripper/command`` and joint states; publishes ``gripper/state``."""

    def __init__(self) -> None:
        super().__init__("gripper_adapter_node")
        contract = load_contract(self)
        driver = contract.gripper_driver
        if driver is None or not contract.has_gripper:
            raise StartError("gripper_adapter_node: the contract has no gripper, or no gripper_driver; nothing to do")
        self._command, self._joint = driver.command, driver.state
        self._link = connect(self, driver.command)
        self._order: Order | None = None
        self._refusal, self._reported, self._failure, self._position = "", "", "", 0.0
        self._joint_seen_s = -math.inf
        self._state = self.create_publisher(GripperState, contract.state.gripper_topic, SENSOR_OFFERED)
        self.create_subscription(GripperCommand, "gripper/command", self._on_command, COMMAND)
        if self._joint is None:
            self.create_timer(1.0 / _STATE_HZ, self._publish_commanded, clock=STEADY)
        else:
            self.create_subscription(JointState, self._joint.topic, self._on_joints, SENSOR)
        self._diagnostics = Diagnostics(self, self._health)

    def close(self) -> None:
        """Leave the gripper where it is."""

    def _on_command(self, message: GripperCommand) -> None:
        position = float(message.position)
        if not (math.isfinite(position) and 0.0 <= position <= 1.0):
            self._refusal = f"refused the position {position}: it is outside 0 .. 1"
            return
        self._refusal = ""
        receivers = self._link.receivers()
        if self._order is not None and self._order.position == position and not self._is_due(self._order, receivers):
            self._order.receivers = receivers
            return
        self._note_position()
        failed = "" if self._order is None else self._failed(self._order)
        self._failure = "" if failed == self._link.missing else failed
        self._order = Order(position, receivers, time.monotonic())
        if receivers:
            self._link.send(self._order)
        else:
            self._order.problem = self._link.missing

    def _is_due(self, order: Order, receivers: frozenset[Any]) -> bool:
        """Return whether to send an order again, now that the gate has repeated its command: about once a second."""
        # A gripper that was started meanwhile knows no position.
        if receivers - order.receivers or self._problem(order):
            return True
        return order.problem == "" and time.monotonic() - order.sent_s >= self._link.repeats_after_s

    def _problem(self, order: Order) -> str:
        """Return why an order has not reached the gripper; empty if it has, or still may."""
        if order.problem is None and time.monotonic() - order.sent_s > self._command.timeout_s:
            return f"'{self._command.name}' has not answered within {self._command.timeout_s:g} s"
        return order.problem or ""

    def _failed(self, order: Order) -> str:
        """Return the problem of an order, or, as long as it has no answer, that of the orders before it."""
        return self._problem(order) or ("" if order.problem == "" else self._failure)

    def _note_position(self) -> None:
        if self._order is not None and self._order.problem == "":
            self._position = self._order.reached

    def _on_joints(self, message: JointState) -> None:
        assert self._joint is not None
        if self._joint.joint not in message.name:
            return
        index = list(message.name).index(self._joint.joint)
        if index < len(message.position) and math.isfinite(message.position[index]):
            self._joint_seen_s = time.monotonic()
            state = GripperState(position=position_of(message.position[index], self._joint.open, self._joint.closed))
            state.header = message.header
            self._state.publish(state)

    def _publish_commanded(self) -> None:
        if not self._link.receivers():
            return  # nobody knows where a gripper is that is not there
        self._note_position()
        state = GripperState(position=self._position)
        state.header.stamp = self.get_clock().now().to_msg()
        self._state.publish(state)

    def _health(self) -> Health:
        order, joint = self._order, self._joint
        sent = order.position if order else math.nan
        values = {"command": self._command.type, "name": self._command.name, "sent": sent}
        problems = [self._refusal]
        if joint is not None and time.monotonic() - self._joint_seen_s > _SILENT_S:
            problems.append(f"no position of joint '{joint.joint}' on '{joint.topic}'")
        if not self._link.receivers():
            problems.append(self._link.missing)
        elif order is not None:
            problems.append(self._failed(order))
        said = "; ".join(filter(None, problems))
        if said and said != self._reported:
            self.get_logger().warning(said)
        self._reported = said
        return Health(WARN, said, values) if said else Health(OK, (order and order.remark) or "OK", values)


def main() -> None:
    """Run the adapter until it is told to stop."""
    sys.exit(run(GripperAdapterNode))


if __name__ == "__main__":
    main()
