"""Writes recordings as other robots would: a robot that drives a curve, waits, and drives on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.convert.converter import convert
from rosbags.rosbag2 import StoragePlugin, Writer

from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.rosbag.bag import typestore
from mobile_vla_data.convert.rosbag.importing import BagImport, import_rosbags
from mobile_vla_data.convert.rosbag.mapping import BagMapping
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.reader import Episode

START_NS = 1_790_000_000_000_000_000
MS = 1_000_000
STORE = typestore()
TYPES = STORE.types


def stamp(time_ns: int) -> Any:
    return TYPES["builtin_interfaces/msg/Time"](time_ns // 10**9, time_ns % 10**9)


def header(time_ns: int, frame: str = "") -> Any:
    return TYPES["std_msgs/msg/Header"](stamp(time_ns), frame)


def make(name: str, *values: Any) -> Any:
    return TYPES[f"geometry_msgs/msg/{name}"](*values)


def vector(x: float, y: float = 0.0, z: float = 0.0) -> Any:
    return make("Vector3", x, y, z)


def twist(x: float, y: float = 0.0, yaw: float = 0.0) -> Any:
    return make("Twist", vector(x, y), vector(0.0, 0.0, yaw))


def quaternion(yaw: float = 0.0) -> Any:
    return make("Quaternion", 0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))


def image(index: int, size: tuple[int, int] = (224, 224)) -> np.ndarray:
    picture = np.full((*size, 3), 90, dtype=np.uint8)
    cv2.circle(picture, (size[1] // 8 + 3 * index % (3 * size[1] // 4), size[0] // 2), size[0] // 15, (220, 40, 40), -1)
    return picture


def image_message(time_ns: int, picture: np.ndarray, encoding: str = "rgb8") -> Any:
    height, width = picture.shape[:2]
    data = np.ascontiguousarray(picture if encoding == "rgb8" else picture[..., ::-1]).reshape(-1)
    return TYPES["sensor_msgs/msg/Image"](header(time_ns), height, width, encoding, 0, 3 * width, data)


def compressed_message(time_ns: int, picture: np.ndarray, kind: str = "jpeg") -> Any:
    data = jpeg.encode(picture, 95) if kind == "jpeg" else cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    return TYPES["sensor_msgs/msg/CompressedImage"](header(time_ns), kind, np.frombuffer(data, dtype=np.uint8))


def odometry_message(time_ns: int, x: float, y: float, frame: str = "odom") -> Any:
    pose = make("Pose", make("Point", x, y, 0.0), quaternion())
    covariance = np.zeros(36)
    return TYPES["nav_msgs/msg/Odometry"](
        header(time_ns, frame),
        "base_link",
        make("PoseWithCovariance", pose, covariance),
        make("TwistWithCovariance", twist(0.0), covariance),
    )


def transform(time_ns: int, parent: str, child: str, x: float, y: float, yaw: float = 0.0) -> Any:
    moved = make("Transform", vector(x, y), quaternion(yaw))
    return make("TransformStamped", header(time_ns, parent), child, moved)


def text(value: str) -> Any:
    return TYPES["std_msgs/msg/String"](value)


class Recording:
    """Messages of one recording, and ways to write them. Times are milliseconds since its beginning."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, str, str, Any]] = []

    def add(self, at_ms: float, topic: str, msgtype: str, message: Any) -> None:
        self.messages.append((START_NS + round(at_ms * MS), topic, msgtype, message))

    def drive(
        self,
        from_ms: int,
        to_ms: int,
        speed_m_s: float = 0.2,
        first: int = 0,
        skip: tuple[str, ...] = (),
        size: tuple[int, int] = (64, 64),
    ) -> None:
        """What a robot of config/robot.yaml publishes: cameras at 30 Hz, odometry at 50, commands at 20."""
        for number, at_ms in enumerate(range(from_ms, to_ms, 33)):
            stamp_ns = START_NS + at_ms * MS - 8 * MS
            for topic in ("/static_camera/image_raw", "/gripper_camera/image_raw"):
                if topic not in skip:
                    self.add(
                        at_ms, topic, "sensor_msgs/msg/Image", image_message(stamp_ns, image(first + number, size))
                    )
        for at_ms in range(from_ms, to_ms, 20):
            x = speed_m_s * (at_ms - from_ms) * 1e-3
            message = odometry_message(START_NS + at_ms * MS - 2 * MS, x, 0.1 * x)
            if "/odom" not in skip:
                self.add(at_ms + 1, "/odom", "nav_msgs/msg/Odometry", message)
        for at_ms in range(from_ms, to_ms, 50):
            if "/cmd_vel" not in skip:
                self.add(at_ms + 3, "/cmd_vel", "geometry_msgs/msg/Twist", twist(speed_m_s, 0.1 * speed_m_s))
            if "/gripper/state" not in skip:
                message = TYPES["mobile_vla_msgs/msg/GripperState"](header(START_NS + at_ms * MS), 0.0, False)
                self.add(at_ms + 4, "/gripper/state", "mobile_vla_msgs/msg/GripperState", message)

    def write(
        self,
        path: Path,
        storage: StoragePlugin = StoragePlugin.MCAP,
        labels: dict | None = None,
        silent: dict[str, str] | None = None,
    ) -> Path:
        """Write it with rosbags: a folder. ``silent`` topics, with their types, are there without a message."""
        with Writer(path, version=8, storage_plugin=storage) as writer:
            if labels is not None:
                writer.set_custom_data("mobile_vla", json.dumps(labels))
            known: dict[str, Any] = {}
            for topic, msgtype in (silent or {}).items():
                writer.add_connection(topic, msgtype, typestore=STORE)
            for time_ns, topic, msgtype, message in sorted(self.messages, key=lambda item: item[0]):
                if topic not in known:
                    known[topic] = writer.add_connection(topic, msgtype, typestore=STORE)
                writer.write(known[topic], time_ns, STORE.serialize_cdr(message, msgtype))
        return path

    def write_ros1(self, path: Path) -> Path:
        """Write it as a ROS 1 bag, with the headers of ROS 1."""
        convert([self.write(path.with_suffix(""))], path, "", 8, None, "", STORE, None, (), (), (), ())
        return path

    def write_with_mcap(self, path: Path, compression: str = "ZSTD") -> Path:
        """Write it with Foxglove's mcap library: one file, compressed chunks, definitions of another writer."""
        from mcap.writer import CompressionType
        from mcap.writer import Writer as McapWriter

        with path.open("wb") as stream:
            writer = McapWriter(stream, compression=CompressionType[compression])
            writer.start(profile="ros2", library="another writer")
            channels: dict[str, int] = {}
            for time_ns, topic, msgtype, message in sorted(self.messages, key=lambda item: item[0]):
                if topic not in channels:
                    definition, _ = STORE.generate_msgdef(msgtype, ros_version=2)
                    schema = writer.register_schema(msgtype, "ros2msg", definition.encode())
                    channels[topic] = writer.register_channel(topic, "cdr", schema)
                data = bytes(STORE.serialize_cdr(message, msgtype))
                writer.add_message(channels[topic], time_ns, data, time_ns)
            writer.finish()
        return path


def mapping(**changes) -> BagMapping:
    fields = {
        "mapping_version": 1,
        "cameras": {"static": "/static_camera/image_raw", "gripper": "/gripper_camera/image_raw"},
        "odometry": {"topic": "/odom"},
        "gripper_state": {"topic": "/gripper/state"},
        "velocity": {"topic": "/cmd_vel"},
        "labels": {"language": "go to the kitchen", "category": "navigation"},
    }
    return BagMapping.model_validate({**fields, **changes})


def import_one(bag: Path, dataset: Path, contract: Contract, used: BagMapping) -> list[Episode]:
    import_rosbags([bag], dataset, BagImport(contract, used))
    return [Episode.open(path) for path in Dataset(dataset).episode_paths]


def drive(seconds: float = 4.0, **options) -> Recording:
    recording = Recording()
    recording.drive(0, round(seconds * 1000), **options)
    return recording
