"""Publishes the robot's pose as a transform, for contracts whose ``state.pose`` is tf."""

from __future__ import annotations

import math
from typing import Any

from geometry_msgs.msg import Quaternion, TransformStamped

from mobile_vla_data.contract import TRANSFORMS, Contract
from mobile_vla_ros.convert import to_stamp
from mobile_vla_ros.pose_input import tf_message
from mobile_vla_ros.qos import SENSOR_OFFERED


class TransformPublisher:
    """Publishes the place of ``action.frame`` in ``state.odometry_frame`` on ``/tf``.

    Raises:
        StartError: tf2_msgs is not installed.
    """

    def __init__(self, node: Any, contract: Contract) -> None:
        self._parent, self._child = contract.state.odometry_frame, contract.action.frame
        self._type: Any = tf_message()
        self._publisher = node.create_publisher(self._type, TRANSFORMS, SENSOR_OFFERED)

    def publish(self, stamp_ns: int, x: float, y: float, yaw: float = 0.0) -> None:
        """Publish a pose [m, rad]."""
        moved = TransformStamped(child_frame_id=self._child)
        moved.header.stamp, moved.header.frame_id = to_stamp(stamp_ns), self._parent
        moved.transform.translation.x, moved.transform.translation.y = x, y
        moved.transform.rotation = Quaternion(z=math.sin(yaw / 2), w=math.cos(yaw / 2))
        self._publisher.publish(self._type(transforms=[moved]))
