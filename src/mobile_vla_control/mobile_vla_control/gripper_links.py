"""Connections to a gripper: a topic, an action or a service, as the contract's ``gripper_driver.command`` says.

Message packages that are not part of every installation are imported only where they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import Float64, Float64MultiArray
from std_srvs.srv import SetBool

from mobile_vla_data.gripper_driver import GripperCommandInterface, position_of, value_of
from mobile_vla_ros.qos import COMMAND
from mobile_vla_ros.run import StartError


@dataclass
class Order:
    """A position that is sent to the gripper, and its outcome, which a link notes when it is known."""

    position: float
    """0 open .. 1 closed."""
    receivers: frozenset[Any]
    """Endpoints that it was sent to."""
    sent_s: float
    """When it was sent, on the steady clock [s]."""
    problem: str | None = None
    """Why it failed, in one line; empty when it succeeded, None while there is no answer."""
    reached: float = math.nan
    """Position of the gripper after a success."""
    remark: str = ""
    """One line about a success that is not complete."""

    def succeed(self, reached: float | None = None, remark: str = "") -> None:
        """Note that the gripper is at ``reached``, or else where it was sent to."""
        self.problem, self.remark = "", remark
        self.reached = self.position if reached is None else reached


class Link(Protocol):
    """Sends orders to a gripper."""

    missing: str
    """One line for health while there is no gripper."""
    repeats_after_s: float
    """Time after which an order that succeeded may be sent again [s]; infinity: never."""

    def receivers(self) -> frozenset[Any]:
        """Return what identifies the other ends; a gripper that was restarted has new ones."""
        ...

    def send(self, order: Order) -> None:
        """Send an order, and note its outcome in it, at once or later."""
        ...


class TopicLink:
    """Publishes what ``make`` returns for the gripper's own value. A message that has a subscriber is a success."""

    def __init__(
        self,
        node: Node,
        command: GripperCommandInterface,
        message_type: type,
        make: Callable[[float], Any],
        *,
        repeats_after_s: float = 0.0,
    ) -> None:
        self._node, self._command, self._make = node, command, make
        self._publisher = node.create_publisher(message_type, command.name, COMMAND)
        self.missing = f"nothing subscribes to '{self._publisher.topic_name}'"
        self.repeats_after_s = repeats_after_s

    def receivers(self) -> frozenset[Any]:
        """Return the subscribers."""
        return _identities(self._node.get_subscriptions_info_by_topic(self._publisher.topic_name))

    def send(self, order: Order) -> None:
        """Publish."""
        self._publisher.publish(self._make(value_of(order.position, self._command.open, self._command.closed)))
        order.succeed()


class ActionLink:
    """Sends goals of control_msgs/GripperCommand. Raises :class:`StartError` where that is not installed."""

    def __init__(self, node: Node, command: GripperCommandInterface) -> None:
        try:
            from control_msgs.action import GripperCommand as GripperAction
        except ImportError:
            raise StartError(_not_installed("control_msgs", command.type)) from None
        self._node, self._command, self._type = node, command, GripperAction
        self._client = ActionClient(node, GripperAction, command.name)
        self.missing = f"no action server '{command.name}'"
        self.repeats_after_s = math.inf

    def receivers(self) -> frozenset[Any]:
        """Return the servers that are ready."""
        if not self._client.server_is_ready():
            return frozenset()
        status = self._node.resolve_topic_name(f"{self._command.name}/_action/status")
        return _identities(self._node.get_publishers_info_by_topic(status))

    def send(self, order: Order) -> None:
        """Send a goal; its result is the outcome."""
        name, opened, closed = self._command.name, self._command.open, self._command.closed
        goal = self._type.Goal()
        goal.command.position = value_of(order.position, opened, closed)
        goal.command.max_effort = self._command.max_effort

        def accepted(done: Any) -> None:
            handle = done.result()
            if handle.accepted:
                handle.get_result_async().add_done_callback(ended)
            else:
                order.problem = f"'{name}' rejected the goal {goal.command.position:g}"

        def ended(done: Any) -> None:
            status, result = done.result().status, done.result().result
            if result.stalled:
                # A gripper that closes on an object stalls; some controllers call that a success, others abort.
                remark = f"stalled at {result.position:g}: it holds something, or is blocked"
                order.succeed(position_of(result.position, opened, closed), remark)
            elif status == GoalStatus.STATUS_SUCCEEDED:
                order.succeed()
            else:
                end = "was cancelled" if status == GoalStatus.STATUS_CANCELED else "was aborted"
                order.problem = f"'{name}' did not reach the goal {goal.command.position:g}: it {end}"

        self._client.send_goal_async(goal).add_done_callback(accepted)


class ServiceLink:
    """Calls std_srvs/SetBool, true to close."""

    def __init__(self, node: Node, name: str) -> None:
        self._node, self._name = node, name
        self._client = node.create_client(SetBool, name)
        self._call: Future | None = None
        self.missing = f"no service '{name}'"
        self.repeats_after_s = math.inf

    def receivers(self) -> frozenset[Any]:
        """Return the servers that are ready."""
        if not self._client.service_is_ready():
            return frozenset()
        # Topic of the responses in DDS. Other middleware has none: there a server is new only after it was gone.
        responses = f"rr{self._node.resolve_service_name(self._name)}Reply"
        return _identities(self._node.get_publishers_info_by_topic(responses, no_mangle=True)) | {self._name}

    def send(self, order: Order) -> None:
        """Call the service; its response is the outcome."""

        def answered(done: Any) -> None:
            answer = done.result()
            if answer.success:
                order.succeed()
            else:
                order.problem = f"'{self._name}' failed: {answer.message}"

        if self._call is not None:
            # A call that was never answered must not be kept forever.
            self._client.remove_pending_request(self._call)
        self._call = self._client.call_async(SetBool.Request(data=order.position > 0.5))
        self._call.add_done_callback(answered)


def connect(node: Node, command: GripperCommandInterface) -> Link:
    """Return the link that the contract asks for. Raises :class:`StartError` if its messages are not installed."""
    if command.type == "set_bool":
        return ServiceLink(node, command.name)
    if command.type == "action":
        return ActionLink(node, command)
    if command.type == "trajectory":
        # Sent again earlier, it would start again before its end.
        return TopicLink(node, command, *_trajectory(command), repeats_after_s=command.duration_s)
    if command.type == "float":
        return TopicLink(node, command, Float64, lambda value: Float64(data=value))
    return TopicLink(node, command, Float64MultiArray, lambda value: Float64MultiArray(data=[value]))


def _identities(infos: list[Any]) -> frozenset[Any]:
    return frozenset(tuple(info.endpoint_gid) for info in infos)


def _trajectory(command: GripperCommandInterface) -> tuple[type, Callable[[float], Any]]:
    """Return the message type, and the function that makes a trajectory of one point. Raises :class:`StartError`."""
    try:
        from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
    except ImportError:
        raise StartError(_not_installed("trajectory_msgs", command.type)) from None

    def make(value: float) -> Any:
        point = JointTrajectoryPoint(positions=[value])
        point.time_from_start = Duration(seconds=command.duration_s).to_msg()
        return JointTrajectory(joint_names=[command.joint], points=[point])

    return JointTrajectory, make


def _not_installed(package: str, kind: str) -> str:
    apt = package.replace("_", "-")
    return f"gripper_adapter_node: '{kind}' needs {package}: install ros-$ROS_DISTRO-{apt} with apt-get"
