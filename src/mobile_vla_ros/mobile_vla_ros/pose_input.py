"""The robot's pose: from odometry, or from the transforms that a robot with a map publishes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from mobile_vla_data.contract import STATIC_TRANSFORMS, TRANSFORMS, Contract
from mobile_vla_data.transforms import TransformError, Transforms
from mobile_vla_ros.clock import now_ns
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.qos import SENSOR
from mobile_vla_ros.run import StartError

_STATIC = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_MOVING = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)

#: stamp [ns], x [m], y [m], quaternion x, y, z, w, frame_id.
OnPose = Callable[[int, float, float, tuple[float, float, float, float], str], None]


class PoseInput:
    """Subscribes to what ``state.pose`` in the contract says, and calls ``on_pose`` for each new pose.

    With ``tf``, ``on_problem`` is called with one line when no chain leads from ``action.frame`` to
    ``state.odometry_frame``, or when one of its transforms is no longer renewed.

    Raises:
        StartError: ``tf`` is asked for and tf2_msgs is not installed.
    """

    def __init__(self, node: Any, contract: Contract, on_pose: OnPose, on_problem: Callable[[str], None]) -> None:
        self._node, self._on_pose, self._on_problem = node, on_pose, on_problem
        self._frame, self._base = contract.state.odometry_frame, contract.action.frame
        self._max_age_s = contract.state.odometry_max_age_s
        self._transforms = Transforms()
        if contract.state.pose == "odom":
            topic = contract.state.odometry_topic
            self._subscriptions = [node.create_subscription(Odometry, topic, self._on_odometry, SENSOR)]
        else:
            self._subscriptions = [
                node.create_subscription(tf_message(), TRANSFORMS, self._on_moving, _MOVING),
                node.create_subscription(tf_message(), STATIC_TRANSFORMS, self._on_static, _STATIC),
            ]

    @property
    def topic(self) -> str:
        """Full name of the topic that the pose comes from."""
        return str(self._subscriptions[0].topic_name)

    def destroy(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_odometry(self, message: Odometry) -> None:
        position, q = message.pose.pose.position, message.pose.pose.orientation
        rotation = (q.x, q.y, q.z, q.w)
        self._on_pose(to_ns(message.header.stamp), position.x, position.y, rotation, message.header.frame_id)

    def _on_static(self, message: Any) -> None:
        self._transforms.put_message(message, static=True)

    def _on_moving(self, message: Any) -> None:
        self._transforms.put_message(message, static=False)
        try:
            pose = self._transforms.pose(self._frame, self._base)
        except TransformError as error:
            self._on_problem(str(error))
            return
        if pose.stamp_ns is None:
            return
        if (now_ns(self._node) - pose.stamp_ns) * 1e-9 > self._max_age_s:
            age = f"older than {self._max_age_s:g} s: it is not renewed, or the clocks differ"
            self._on_problem(f"the transform from {pose.oldest} is {age}")
            return
        self._on_pose(pose.stamp_ns, pose.x, pose.y, pose.rotation, self._frame)


def tf_message() -> type:
    """Return TFMessage. Raises :class:`StartError` where tf2_msgs is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        raise StartError(
            "state.pose is tf in the contract: that needs tf2_msgs; install ros-$ROS_DISTRO-tf2-msgs with apt-get"
        ) from None
    message_type: type = TFMessage
    return message_type
