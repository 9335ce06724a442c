"""Plays the messages of a recording to the recorder's own sampling code, as if they arrived now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.pixels import decode, is_jpeg
from mobile_vla_data.convert.rosbag import messages as ros
from mobile_vla_data.convert.rosbag.bag import Bag, BagMessage
from mobile_vla_data.convert.rosbag.mapping import BagMapping, same_topic
from mobile_vla_data.image import ImageError
from mobile_vla_data.observation import ObservationBuilder
from mobile_vla_data.sampling.commands import CommandTrack
from mobile_vla_data.sampling.sampler import Sampler
from mobile_vla_data.transforms import TransformError, Transforms

_COMPRESSED_SUFFIX = "/compressed"
_STATIC = "_static"
Handler = Callable[[Any, BagMessage], None]


class Player:
    """The inputs of one recording. Feed it every message of :attr:`topics` in order, then tick :attr:`sampler`.

    Raises:
        ConvertError: the recording lacks a topic of the mapping, or has it with a type that cannot be used.
    """

    def __init__(self, bag: Bag, contract: Contract, mapping: BagMapping) -> None:
        self._bag, self._contract, self._mapping = bag, contract, mapping
        self._builder = ObservationBuilder(contract)
        self._commands = CommandTrack(contract, mapping.velocity.topic, mapping.velocity.max_age_s)
        self.sampler = Sampler(self._builder, self._commands)
        self._transforms = Transforms()
        self.image_topics: frozenset[str] = frozenset()
        """Topics that need not be fed far from any episode."""
        self._handlers: dict[str, list[Handler]] = {}
        self._add_cameras()
        self._add_state()
        self._add_commands()

    @property
    def topics(self) -> frozenset[str]:
        """Topics to feed."""
        return frozenset(self._handlers)

    def feed(self, message: BagMessage) -> None:
        """Take a message. Raises :class:`ConvertError` when it is damaged."""
        content = self._bag.decode(message)
        for handle in self._handlers[message.topic]:
            handle(content, message)

    def before_tick(self, now_ns: int) -> None:
        """Prepare a tick: if the mapping says so, silence counts as a command to stand still."""
        if self._mapping.velocity.when_silent == "stop" and self._commands.problem(now_ns):
            self._commands.take_velocity(now_ns, now_ns, Velocity())

    def _on(self, topic: str, types: tuple[str, ...], handler: Handler) -> None:
        """Add a handler; a topic may have several, such as joint states for a gripper's position and its command."""
        self._handlers.setdefault(self._bag.require(topic, types), []).append(handler)

    def _add_cameras(self) -> None:
        unknown = [name for name in self._mapping.cameras if name not in self._contract.cameras]
        if unknown:
            raise ConvertError(
                f"mapping: camera '{unknown[0]}' is not in the contract; it has {', '.join(self._contract.cameras)}"
            )
        found: dict[str, str] = {}
        for camera, wanted in self._mapping.cameras.items():
            topics = [same_topic(wanted), same_topic(wanted) + _COMPRESSED_SUFFIX]
            topic = next((name for name in topics if name in self._bag.types), None)
            if topic is None and not self._contract.cameras[camera].required:
                continue
            topic = topic or same_topic(wanted)
            if topic in found:
                raise ConvertError(f"mapping: cameras '{found[topic]}' and '{camera}' have the same topic '/{topic}'")
            self._on(topic, ros.IMAGE_TYPES, self._image_handler(camera))
            found[topic] = camera
        self.image_topics = frozenset(found)

    def _add_state(self) -> None:
        source = self._mapping.odometry
        if source.parent is not None and source.child is not None:
            self._on(source.topic, (ros.TF,), self._on_tf)
            if same_topic(source.topic) + _STATIC in self._bag.types:
                self._on(source.topic + _STATIC, (ros.TF,), self._on_tf)
        else:
            self._on(source.topic, ros.POSE_TYPES, self._on_pose)
        if self._mapping.gripper_state is not None:
            self._on(self._mapping.gripper_state.topic, ros.GRIPPER_TYPES, self._on_gripper_state)

    def _add_commands(self) -> None:
        self._on(self._mapping.velocity.topic, ros.VELOCITY_TYPES, self._on_velocity)
        command, driver = self._mapping.gripper_command, self._mapping.driver
        # A robot may never have been told to move its gripper, and only a policy can be taken over from.
        if command is not None and same_topic(command.topic) in self._bag.types:
            self._on(command.topic, ros.GRIPPER_TYPES, self._on_gripper_command)
        if driver is not None and same_topic(driver) in self._bag.types:
            self._on(driver, ros.DRIVER_TYPES, self._on_driver)

    def _stamp(self, content: Any, message: BagMessage) -> int:
        return message.time_ns if self._mapping.stamps == "arrival" else ros.stamp_ns(content)

    def _image_handler(self, camera: str) -> Handler:
        def on_image(content: Any, message: BagMessage) -> None:
            stamp_ns, now_ns = self._stamp(content, message), message.time_ns
            if message.msgtype == ros.IMAGE:
                shape = int(content.height), int(content.width), int(content.step)
                self._builder.put_image(camera, stamp_ns, now_ns, content.data, str(content.encoding), *shape)
                return
            data = content.data.tobytes()
            if is_jpeg(data):
                self._builder.put_jpeg(camera, stamp_ns, now_ns, data, str(content.format) or "jpeg")
                return
            try:
                image = decode(data)
            except ImageError as error:
                raise ConvertError(f"{self._bag.path}: '/{message.topic}' at {now_ns} ns: {error}") from None
            height, width = image.shape[:2]
            self._builder.put_image(camera, stamp_ns, now_ns, image, "rgb8", height, width, 3 * width)

        return on_image

    def _on_pose(self, content: Any, message: BagMessage) -> None:
        x, y = ros.position(content, message.msgtype)
        self._put_position(self._stamp(content, message), message.time_ns, x, y, str(content.header.frame_id))

    def _on_tf(self, content: Any, message: BagMessage) -> None:
        frame, child = self._mapping.odometry.parent, self._mapping.odometry.child
        assert frame is not None and child is not None
        static = message.topic.endswith(_STATIC)
        self._transforms.put_message(content, static=static)
        if static:
            return
        try:
            pose = self._transforms.pose(frame, child)
        except TransformError as error:
            self._builder.refuse_odometry(message.time_ns, str(error))
            return
        if pose.stamp_ns is not None:
            stamp_ns = message.time_ns if self._mapping.stamps == "arrival" else pose.stamp_ns
            self._put_position(stamp_ns, message.time_ns, pose.x, pose.y, frame)

    def _put_position(self, stamp_ns: int, now_ns: int, x: float, y: float, frame: str) -> None:
        self._builder.put_odometry(stamp_ns, now_ns, x, y, frame)
        if self._mapping.gripper_state is None:
            self._builder.put_gripper(stamp_ns, now_ns, 0.0)

    def _on_gripper_state(self, content: Any, message: BagMessage) -> None:
        source = self._mapping.gripper_state
        assert source is not None
        value = ros.gripper_value(content, message.msgtype, source)
        if value is not None:
            # Numbers have no header.
            stamp_ns = self._stamp(content, message) if hasattr(content, "header") else message.time_ns
            self._builder.put_gripper(stamp_ns, message.time_ns, source.fraction(value))

    def _on_gripper_command(self, content: Any, message: BagMessage) -> None:
        source = self._mapping.gripper_command
        assert source is not None
        value = ros.gripper_value(content, message.msgtype, source)
        if value is not None:
            self._commands.take_gripper(source.fraction(value))

    def _on_velocity(self, content: Any, message: BagMessage) -> None:
        self._commands.take_velocity(message.time_ns, message.time_ns, ros.velocity(content, message.msgtype))

    def _on_driver(self, content: Any, message: BagMessage) -> None:
        self._commands.take_driver(human=ros.human_drives(content, message.msgtype))
