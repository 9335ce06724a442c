"""Subscribes to every stream of the contract and feeds one ObservationBuilder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CompressedImage, Image

from mobile_vla_data.contract import Contract
from mobile_vla_data.observation import ObservationBuilder
from mobile_vla_msgs.msg import GripperState
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.qos import SENSOR

#: A stream that has a publisher and was not heard for so long is subscribed anew [s].
SILENT_S = 5.0
_LOOK_S = 1.0
_STEADY = Clock(clock_type=ClockType.STEADY_TIME)


@dataclass
class _Input:
    """One subscription, and what it takes to make it again."""

    message_type: type
    topic: str
    callback: Callable[[Any], None]
    subscription: Any = None
    since_s: float = 0.0
    """When a message arrived or the subscription was made, on the monotonic clock [s]."""
    told: bool = False
    """Whether its silence was reported."""

    def take(self, message: Any) -> None:
        """The subscription's callback."""
        self.since_s, self.told = time.monotonic(), False
        self.callback(message)


class ObservationInputs:
    """The subscriptions of the contract's streams; recorder and policy node own one each.

    ``on_image`` is called with the camera's name after each of its images was accepted. With ``compressed`` it
    subscribes the cameras' ``<topic>/compressed`` (JPEG) instead of their raw images: for a policy on another machine.
    """

    def __init__(
        self,
        node: Any,
        contract: Contract,
        callback_group: CallbackGroup | None = None,
        on_image: Callable[[str], None] | None = None,
        *,
        compressed: bool = False,
    ) -> None:
        self.builder = ObservationBuilder(contract)
        self._node = node
        self._image_listener = on_image
        self._group = {"callback_group": callback_group} if callback_group else {}
        suffix, state = "/compressed" if compressed else "", contract.state
        self._inputs = [
            self._subscribe(
                CompressedImage if compressed else Image,
                camera.topic + suffix,
                partial(self._on_jpeg if compressed else self._on_image, name),
            )
            for name, camera in contract.cameras.items()
        ]
        self._inputs.append(self._subscribe(Odometry, state.odometry_topic, self._on_odometry))
        self._inputs.append(self._subscribe(GripperState, state.gripper_topic, self._on_gripper))
        # What a human reads must be the name that `ros2 topic list` shows, after remapping and namespace.
        for stream, item in zip(self.builder.streams, self._inputs, strict=True):
            stream.topic = item.subscription.topic_name
        self._timer = node.create_timer(_LOOK_S, self._renew_silent, clock=_STEADY, **self._group)

    def destroy(self) -> None:
        """End the subscriptions."""
        self._node.destroy_timer(self._timer)
        for item in self._inputs:
            self._node.destroy_subscription(item.subscription)
        self._inputs = []

    def _subscribe(self, message_type: type, topic: str, callback: Callable[[Any], None]) -> _Input:
        item = _Input(message_type, topic, callback)
        self._renew(item)
        return item

    def _renew(self, item: _Input) -> None:
        old, item.since_s = item.subscription, time.monotonic()
        item.subscription = self._node.create_subscription(
            item.message_type, item.topic, item.take, SENSOR, **self._group
        )
        if old is not None:
            self._node.destroy_subscription(old)

    def _renew_silent(self) -> None:
        """Subscribe anew what is published and does not arrive.

        After a node was killed (``kill -9``) Fast DDS now and then does not tell a publisher of its successor's
        subscription; a new one gets through. To a camera that is silent by itself it makes no difference.
        """
        for item in self._inputs:
            topic = item.subscription.topic_name
            if time.monotonic() - item.since_s < SILENT_S or not self._node.count_publishers(topic):
                continue
            self._renew(item)
            if not item.told:
                item.told = True
                self._node.get_logger().warning(f"'{topic}' has a publisher and does not arrive: subscribed anew")

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _on_image(self, camera: str, message: Image) -> None:
        accepted = self.builder.put_image(
            camera,
            to_ns(message.header.stamp),
            self._now_ns(),
            message.data,
            message.encoding,
            message.height,
            message.width,
            message.step,
        )
        if accepted and self._image_listener is not None:
            self._image_listener(camera)

    def _on_jpeg(self, camera: str, message: CompressedImage) -> None:
        accepted = self.builder.put_jpeg(camera, to_ns(message.header.stamp), self._now_ns(), bytes(message.data))
        if accepted and self._image_listener is not None:
            self._image_listener(camera)

    def _on_odometry(self, message: Odometry) -> None:
        position = message.pose.pose.position
        self.builder.put_odometry(
            to_ns(message.header.stamp), self._now_ns(), position.x, position.y, message.header.frame_id
        )

    def _on_gripper(self, message: GripperState) -> None:
        self.builder.put_gripper(to_ns(message.header.stamp), self._now_ns(), float(message.position))
