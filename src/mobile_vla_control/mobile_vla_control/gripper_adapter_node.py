"""Connects a gripper with another interface: gripper/command to it, and the position of its joint to gripper/state.

The contract's ``gripper_driver`` says which. Message packages that are not part of every installation are imported only
where they are used.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray
from std_srvs.srv import SetBool

from mobile_vla_data.gripper_driver import GripperCommandInterface, position_of, value_of
from mobile_vla_msgs.msg import GripperCommand, GripperState
from mobile_vla_ros.clock import STEADY
from mobile_vla_ros.diagnostics import OK, WARN, Diagnostics, Health
from mobile_vla_ros.parameters import load_contract
from mobile_vla_ros.qos import COMMAND, SENSOR, SENSOR_OFFERED
from mobile_vla_ros.run import StartError, run

#: Rate of gripper/state where the gripper does not report its position [Hz].
_STATE_HZ = 10.0


class GripperAdapterNode(Node):
    """Subscribes ``gripper/command`` and joint states; publishes ``gripper/state``."""

    def __init__(self) -> None:
        super().__init__("gripper_adapter_node")
        contract = load_contract(self)
        driver = contract.gripper_driver
        if driver is None or not contract.has_gripper:
            raise StartError("gripper_adapter_node: the contract has no gripper, or no gripper_driver; nothing to do")
        self._command, self._joint = driver.command, driver.state
        self._problem, self._sent, self._position = "no command yet", math.nan, 0.0
        self._heard = False
        self._send = self._sender(driver.command)
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
            self._problem = f"refused the position {position}: it is outside 0 .. 1"
            return
        # The gate repeats its command once a second: an action or a service is called again only after a failure.
        if position != self._sent or self._problem:
            self._sent = position
            self._send(position)

    def _sender(self, command: GripperCommandInterface) -> Callable[[float], None]:
        """Return the function that sends a position, 0 open .. 1 closed, to the gripper."""
        kind, name = command.type, command.name
        if kind == "set_bool":
            service = self.create_client(SetBool, name)
            return lambda position: self._call(service, SetBool.Request(data=position > 0.5))
        if kind == "action":
            return self._action_sender(command)
        make: Callable[[float], Any]
        if kind == "trajectory":
            message_type, make = _trajectory(command)
        elif kind == "float":
            message_type, make = Float64, lambda value: Float64(data=value)
        else:
            message_type, make = Float64MultiArray, lambda value: Float64MultiArray(data=[value])
        publisher = self.create_publisher(message_type, name, COMMAND)

        def publish(position: float) -> None:
            publisher.publish(make(value_of(position, command.open, command.closed)))
            heard = publisher.get_subscription_count() > 0
            self._done("" if heard else f"nothing subscribes to '{publisher.topic_name}'")

        return publish

    def _action_sender(self, command: GripperCommandInterface) -> Callable[[float], None]:
        try:
            from control_msgs.action import GripperCommand as GripperAction
        except ImportError:
            raise StartError(_missing("control_msgs", command.type)) from None
        client = ActionClient(self, GripperAction, command.name)

        def send(position: float) -> None:
            if not client.server_is_ready():
                self._done(f"no action server '{command.name}'")
                return
            goal = GripperAction.Goal()
            goal.command.position = value_of(position, command.open, command.closed)
            goal.command.max_effort = command.max_effort

            def answered(done: Any) -> None:
                accepted = done.result().accepted
                self._done("" if accepted else f"'{command.name}' rejected the goal {goal.command.position:g}")

            self._problem = ""
            client.send_goal_async(goal).add_done_callback(answered)

        return send

    def _call(self, service: Any, request: SetBool.Request) -> None:
        if not service.service_is_ready():
            self._done(f"no service '{self._command.name}'")
            return

        def answered(done: Any) -> None:
            answer = done.result()
            self._done("" if answer.success else f"'{self._command.name}' failed: {answer.message}")

        self._problem = ""
        service.call_async(request).add_done_callback(answered)

    def _done(self, problem: str) -> None:
        if problem and problem != self._problem:
            self.get_logger().warning(problem)
        self._problem = problem
        if not problem:
            self._position = self._sent

    def _on_joints(self, message: JointState) -> None:
        assert self._joint is not None
        if self._joint.joint not in message.name:
            return
        index = list(message.name).index(self._joint.joint)
        if index < len(message.position) and math.isfinite(message.position[index]):
            self._heard = True
            state = GripperState(position=position_of(message.position[index], self._joint.open, self._joint.closed))
            state.header = message.header
            self._state.publish(state)

    def _publish_commanded(self) -> None:
        state = GripperState(position=self._position)
        state.header.stamp = self.get_clock().now().to_msg()
        self._state.publish(state)

    def _health(self) -> Health:
        values = {"command": self._command.type, "name": self._command.name, "sent": self._sent}
        if self._joint is not None and not self._heard:
            return Health(WARN, f"no position of joint '{self._joint.joint}' on '{self._joint.topic}'", values)
        if self._problem and math.isfinite(self._sent):
            return Health(WARN, self._problem, values)
        return Health(OK, "OK", values)


def _trajectory(command: GripperCommandInterface) -> tuple[type, Callable[[float], Any]]:
    """Return the message type, and the function that makes a trajectory of one point. Raises :class:`StartError`."""
    try:
        from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
    except ImportError:
        raise StartError(_missing("trajectory_msgs", command.type)) from None

    def make(value: float) -> Any:
        point = JointTrajectoryPoint(positions=[value])
        point.time_from_start = Duration(seconds=command.duration_s).to_msg()
        return JointTrajectory(joint_names=[command.joint], points=[point])

    return JointTrajectory, make


def _missing(package: str, kind: str) -> str:
    apt = package.replace("_", "-")
    return f"gripper_adapter_node: '{kind}' needs {package}: install ros-$ROS_DISTRO-{apt} with apt-get"


def main() -> None:
    """Run the adapter until it is told to stop."""
    sys.exit(run(GripperAdapterNode))


if __name__ == "__main__":
    main()
