"""Subscriptions to every stream of the contract, which feed one ObservationBuilder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.callback_groups import CallbackGroup
from sensor_msgs.msg import CompressedImage, Image

from mobile_vla_data.contract import Contract
from mobile_vla_data.observation import ObservationBuilder
from mobile_vla_msgs.msg import GripperState
from mobile_vla_ros.clock import now_ns
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.qos import SENSOR


class ObservationInputs:
    """Subscribes to the contract's streams; recorder and policy node own one each.

    ``on_image`` is called with the camera's name for each of its images that was accepted. ``compressed`` subscribes to
    ``<topic>/compressed`` (JPEG) instead of the raw images, for a policy on another machine.
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
        group = {"callback_group": callback_group} if callback_group else {}
        self._subscriptions = [
            node.create_subscription(
                CompressedImage if compressed else Image,
                f"{camera.topic}/compressed" if compressed else camera.topic,
                partial(self._on_jpeg if compressed else self._on_image, name),
                SENSOR,
                **group,
            )
            for name, camera in contract.cameras.items()
        ]
        state = contract.state
        self._subscriptions += [
            node.create_subscription(Odometry, state.odometry_topic, self._on_odometry, SENSOR, **group),
        ]
        if contract.has_gripper:
            topic = state.gripper_topic
            self._subscriptions.append(node.create_subscription(GripperState, topic, self._on_gripper, SENSOR, **group))

        # Messages for humans use the name that `ros2 topic list` shows, after remapping and namespace.
        for stream, subscription in zip(self.builder.streams, self._subscriptions, strict=True):
            stream.topic = subscription.topic_name

    def destroy(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_image(self, camera: str, message: Image) -> None:
        accepted = self.builder.put_image(
            camera,
            to_ns(message.header.stamp),
            now_ns(self._node),
            message.data,
            message.encoding,
            message.height,
            message.width,
            message.step,
        )
        if accepted and self._image_listener is not None:
            self._image_listener(camera)

    def _on_jpeg(self, camera: str, message: CompressedImage) -> None:
        accepted = self.builder.put_jpeg(
            camera, to_ns(message.header.stamp), now_ns(self._node), bytes(message.data), message.format or "jpeg"
        )
        if accepted and self._image_listener is not None:
            self._image_listener(camera)

    def _on_odometry(self, message: Odometry) -> None:
        position = message.pose.pose.position
        self.builder.put_odometry(
            to_ns(message.header.stamp), now_ns(self._node), position.x, position.y, message.header.frame_id
        )

    def _on_gripper(self, message: GripperState) -> None:
        self.builder.put_gripper(to_ns(message.header.stamp), now_ns(self._node), float(message.position))
