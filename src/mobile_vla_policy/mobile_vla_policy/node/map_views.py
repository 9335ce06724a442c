"""Heatmaps of the policy as images, for people who watch it: ``policy/target_map`` and ``policy/robot_map``.

Nothing is computed or published unless somebody subscribes.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image

from mobile_vla_policy.runtime.driver import PolicyDriver
from mobile_vla_ros.clock import STEADY
from mobile_vla_ros.convert import to_stamp
from mobile_vla_ros.qos import SENSOR_OFFERED

_PERIOD_S = 0.1


class MapViews:
    """Publishes the newest heatmaps of the driver that ``driver()`` returns; None while the node is not active."""

    def __init__(self, node: Any, driver: Callable[[], PolicyDriver | None]) -> None:
        self._driver = driver
        self._target = node.create_publisher(Image, "policy/target_map", SENSOR_OFFERED)
        self._robot = node.create_publisher(Image, "policy/robot_map", SENSOR_OFFERED)
        self._published_ns = 0
        self._timer = node.create_timer(_PERIOD_S, self._publish, clock=STEADY)
        self._timer.cancel()

    def adapt(self) -> None:
        """Begin if there is a subscriber, end if there is none. Called regularly."""
        watched = bool(self._target.get_subscription_count() or self._robot.get_subscription_count())
        driver = self._driver()
        if driver is not None:
            driver.want_maps(watched)
        if not watched:
            self._timer.cancel()
        elif self._timer.is_canceled():
            self._timer.reset()

    def _publish(self) -> None:
        driver = self._driver()
        seen = driver.maps if driver is not None else None
        if seen is None or seen.stamp_ns == self._published_ns:
            return
        self._published_ns = seen.stamp_ns
        self._target.publish(map_message(seen.maps.target, seen.stamp_ns, seen.camera))
        if seen.maps.robot is not None:
            self._robot.publish(map_message(seen.maps.robot, seen.stamp_ns, seen.camera))


def map_message(shares: npt.NDArray[np.float32], stamp_ns: int, camera: str) -> Image:
    """Return probabilities ``[side, side]`` as a mono8 image whose brightest cell is 255.

    It has the stamp of the camera's image, and the camera's name as its frame.
    """
    grey = np.rint(255 * shares / max(float(shares.max()), 1e-9)).astype(np.uint8)
    height, width = grey.shape
    message = Image(height=height, width=width, encoding="mono8", step=width)
    message.header.stamp, message.header.frame_id = to_stamp(stamp_ns), camera
    message.data = array.array("B", grey.tobytes())
    return message
