"""Subscriptions to every stream of the contract, which feed one ObservationBuilder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sensor_msgs.msg import CompressedImage, Image

from mobile_vla_data.contract import Contract
from mobile_vla_data.observation import ObservationBuilder
from mobile_vla_msgs.msg import GripperState
from mobile_vla_ros.clock import now_ns
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.pose_input import PoseInput
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
        on_image: Callable[[str], None] | None = None,
        *,
        compressed: bool = False,
    ) -> None:
        self.builder = ObservationBuilder(contract)
        self._node = node
        self._image_listener = on_image
        self._subscriptions = [
            node.create_subscription(
                CompressedImage if compressed else Image,
                f"{camera.topic}/compressed" if compressed else camera.topic,
                partial(self._on_jpeg if compressed else self._on_image, name),
                SENSOR,
            )
            for name, camera in contract.cameras.items()
        ]
        self._pose = PoseInput(node, contract, self._on_pose, self._on_no_pose)
        topics = [*(subscription.topic_name for subscription in self._subscriptions), self._pose.topic]
        if contract.has_gripper:
            topic = contract.state.gripper_topic
            gripper = node.create_subscription(GripperState, topic, self._on_gripper, SENSOR)
            self._subscriptions.append(gripper)
            topics.append(gripper.topic_name)

        # Messages for humans use the name that `ros2 topic list` shows, after remapping and namespace.
        for stream, name in zip(self.builder.streams, topics, strict=True):
            stream.topic = name

    def destroy(self) -> None:
        """End the subscriptions."""
        self._pose.destroy()
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

    def _on_pose(self, stamp_ns: int, x: float, y: float, _rotation: object, frame: str) -> None:
        self.builder.put_odometry(stamp_ns, now_ns(self._node), x, y, frame)

    def _on_no_pose(self, why: str) -> None:
        self.builder.refuse_odometry(now_ns(self._node), why)

    def _on_gripper(self, message: GripperState) -> None:
        self.builder.put_gripper(to_ns(message.header.stamp), now_ns(self._node), float(message.position))
