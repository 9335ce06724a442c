"""The obstacle sensors of the contract as topics: LaserScan and Range."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import LaserScan, Range

from mobile_vla_data.contract import Contract
from mobile_vla_ros.convert import to_stamp
from mobile_vla_ros.qos import SENSOR_OFFERED
from mobile_vla_sim.world.ranging import CONE_RAD, FARTHEST_M, NEAREST_M, scan_angles


class ObstacleSensors:
    """Publishes what the simulated sensors measure; nothing without ``obstacles`` in the contract."""

    def __init__(self, node: Any, contract: Contract) -> None:
        self._sensors = contract.obstacles.sensors if contract.obstacles else []
        self._publishers = [
            node.create_publisher(LaserScan if sensor.type == "scan" else Range, sensor.topic, SENSOR_OFFERED)
            for sensor in self._sensors
        ]

    def publish(self, stamp_ns: int, measured: list[npt.NDArray[np.float32]]) -> None:
        """Publish the measurements of all sensors, in the contract's order, made at ``stamp_ns``."""
        for sensor, publisher, values in zip(self._sensors, self._publishers, measured, strict=True):
            if sensor.type == "scan":
                angles = scan_angles(sensor)
                message: Any = LaserScan(range_min=NEAREST_M, range_max=FARTHEST_M)
                message.angle_min, message.angle_max = float(angles[0]), float(angles[-1])
                message.angle_increment = float(angles[1] - angles[0])
                message.ranges = array.array("f", values.tobytes())
            else:
                message = Range(radiation_type=Range.ULTRASOUND, field_of_view=CONE_RAD, range=float(values[0]))
                message.min_range, message.max_range = NEAREST_M, FARTHEST_M
            message.header.stamp, message.header.frame_id = to_stamp(stamp_ns), sensor.topic.replace("/", "_")
            publisher.publish(message)
