"""Publishes the robot's pose as a transform, for contracts whose ``state.pose`` is tf."""

from __future__ import annotations

from typing import Any

from mobile_vla_data.contract import TRANSFORMS, Contract
from mobile_vla_ros.convert import transform_message
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
        transform = transform_message(self._parent, self._child, stamp_ns, x, y, yaw)
        self._publisher.publish(self._type(transforms=[transform]))
