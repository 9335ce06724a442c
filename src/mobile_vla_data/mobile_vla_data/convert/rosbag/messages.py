"""The values in ROS messages, by type; a message is any object with the fields of its type."""

from __future__ import annotations

from typing import Any

from mobile_vla_data.action import Velocity
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.rosbag.mapping import GripperTopic

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
ODOMETRY, TF = "nav_msgs/msg/Odometry", "tf2_msgs/msg/TFMessage"
POSE, POSE_COVARIANCE = "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped"
TWIST, TWIST_STAMPED = "geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"
JOINT_STATE, TRAJECTORY = "sensor_msgs/msg/JointState", "trajectory_msgs/msg/JointTrajectory"
BOOL, TEXT, HEADER = "std_msgs/msg/Bool", "std_msgs/msg/String", "std_msgs/msg/Header"
GRIPPER_STATE, GRIPPER_COMMAND = "mobile_vla_msgs/msg/GripperState", "mobile_vla_msgs/msg/GripperCommand"
GATE_STATUS, RECORDER_STATUS = "mobile_vla_msgs/msg/GateStatus", "mobile_vla_msgs/msg/RecorderStatus"

IMAGE_TYPES = (IMAGE, COMPRESSED)
POSE_TYPES = (ODOMETRY, POSE, POSE_COVARIANCE)
VELOCITY_TYPES = (TWIST, TWIST_STAMPED)
NUMBER_TYPES = tuple(f"std_msgs/msg/{name}" for name in ("Float32", "Float64", "Int32", "UInt8", "Bool"))
ARRAY_TYPES = tuple(f"std_msgs/msg/{name}MultiArray" for name in ("Float32", "Float64"))
GRIPPER_TYPES = (GRIPPER_STATE, GRIPPER_COMMAND, JOINT_STATE, TRAJECTORY, *NUMBER_TYPES, *ARRAY_TYPES)
DRIVER_TYPES = (GATE_STATUS, BOOL)
MARKER_TYPES = (RECORDER_STATUS, BOOL, TEXT)

#: Values of GateStatus.driver and RecorderStatus.state.
_DRIVER_TELEOP, _STATE_RECORDING = 1, 2


def stamp_ns(message: Any) -> int:
    """Return the time in a message's header [ns]; 0 where it has none, or is not stamped."""
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    if stamp is None:
        return 0
    return time_ns(stamp)


def time_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def missed_ticks(tick: Any) -> int:
    """Return the number of control ticks that the recorder missed before a ``recorder/tick``."""
    return int(tick.frame_id) if str(tick.frame_id).isdigit() else 0


def velocity(message: Any, msgtype: str) -> Velocity:
    """Return the planar velocity of a Twist or TwistStamped."""
    twist = message.twist if msgtype == TWIST_STAMPED else message
    return Velocity(float(twist.linear.x), float(twist.linear.y), float(twist.angular.z))


def position(message: Any, msgtype: str) -> tuple[float, float]:
    """Return x and y [m] of a message in :data:`POSE_TYPES`."""
    pose = message.pose if msgtype == POSE else message.pose.pose
    return float(pose.position.x), float(pose.position.y)


def gripper_value(message: Any, msgtype: str, source: GripperTopic) -> float | None:
    """Return the gripper's value in the message's own unit; None where the message is not about its joint.

    Raises:
        ConvertError: the mapping does not fit the message.
    """
    if msgtype in (GRIPPER_STATE, GRIPPER_COMMAND):
        return float(message.position)
    if msgtype in NUMBER_TYPES:
        return float(message.data)
    if msgtype in ARRAY_TYPES:
        return _element(message.data, source.index, source.topic)
    names = list(message.name if msgtype == JOINT_STATE else message.joint_names)
    index = source.index
    if source.joint is not None:
        if source.joint not in names:
            return None
        index = names.index(source.joint)
    values = message.position if msgtype == JOINT_STATE else message.points[-1].positions if message.points else ()
    return _element(values, index, source.topic) if len(values) else None


def human_drives(message: Any, msgtype: str) -> bool:
    """Return whether a human drives, from a message in :data:`DRIVER_TYPES`."""
    return bool(message.data) if msgtype == BOOL else int(message.driver) == _DRIVER_TELEOP


def open_episode(message: Any, msgtype: str) -> dict[str, str] | None:
    """Return the labels of the episode that is open, from a message in :data:`MARKER_TYPES`; None when none is."""
    if msgtype == BOOL:
        return {} if message.data else None
    if msgtype == TEXT:
        return {"language": str(message.data)} if str(message.data).strip() else None
    if int(message.state) != _STATE_RECORDING:
        return None
    labels = {name: str(getattr(message, name)) for name in ("language", "task", "category")}
    return {name: text for name, text in labels.items() if text}


def _element(values: Any, index: int, topic: str) -> float:
    if index >= len(values):
        raise ConvertError(f"'{topic}' has {len(values)} values; the mapping asks for number {index}")
    return float(values[index])
