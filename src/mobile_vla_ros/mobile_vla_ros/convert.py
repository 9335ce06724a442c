"""Convert ROS messages to plain values and back, without copies where the message allows it."""

from __future__ import annotations

import array
import math
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, TransformStamped, Twist, TwistStamped
from sensor_msgs.msg import Image

from mobile_vla_data.action import Velocity
from mobile_vla_data.image import Image as ImageArray
from mobile_vla_data.observation import Stream
from mobile_vla_msgs.msg import StreamStatus


def to_ns(stamp: Time) -> int:
    """Return a message stamp in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def to_stamp(time_ns: int) -> Time:
    """Return the message stamp of a time in nanoseconds."""
    return Time(sec=time_ns // 1_000_000_000, nanosec=time_ns % 1_000_000_000)


def rotation_of(yaw: float) -> Quaternion:
    """Return the rotation by ``yaw`` [rad] about the vertical axis."""
    return Quaternion(z=math.sin(yaw / 2), w=math.cos(yaw / 2))


def transform_message(parent: str, child: str, stamp_ns: int, x: float, y: float, yaw: float) -> TransformStamped:
    """Build the transform that gives the place [m, rad] of the frame ``child`` in ``parent``."""
    message = TransformStamped(child_frame_id=child)
    message.header.stamp, message.header.frame_id = to_stamp(stamp_ns), parent
    message.transform.translation.x, message.transform.translation.y = x, y
    message.transform.rotation = rotation_of(yaw)
    return message


def image_message(image: ImageArray, stamp_ns: int, frame_id: str) -> Image:
    """Build an rgb8 message from RGB uint8 ``[height, width, 3]``."""
    message = Image(height=image.shape[0], width=image.shape[1], encoding="rgb8", step=image.shape[1] * 3)
    message.header.stamp = to_stamp(stamp_ns)
    message.header.frame_id = frame_id
    # rclpy takes an array.array as a whole; older versions check any other sequence byte by byte.
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(image).data)
    message.data = data
    return message


def velocity_message(velocity: Velocity, *, stamped: bool, stamp_ns: int, frame_id: str) -> Any:
    """Build the Twist, or TwistStamped, for a velocity."""
    twist = Twist()
    twist.linear.x, twist.linear.y, twist.angular.z = velocity.x, velocity.y, velocity.yaw_rate
    if not stamped:
        return twist
    message = TwistStamped(twist=twist)
    message.header.stamp = to_stamp(stamp_ns)
    message.header.frame_id = frame_id
    return message


def velocity_type(stamped: bool) -> type:
    """Return the message type of velocity topics: TwistStamped everywhere or Twist everywhere."""
    return TwistStamped if stamped else Twist


def velocity_of(message: Any) -> Velocity:
    """Return the planar velocity of a Twist or TwistStamped."""
    twist = message.twist if isinstance(message, TwistStamped) else message
    return Velocity(twist.linear.x, twist.linear.y, twist.angular.z)


def stream_status(stream: Stream, now_ns: int) -> StreamStatus:
    """Build the status message of one input stream."""
    age_s, counters = stream.age_s(now_ns), stream.counters
    return StreamStatus(
        name=stream.name,
        topic=stream.topic,
        required=stream.required,
        age_s=-1.0 if age_s is None else age_s,
        rate_hz=stream.rate_hz(now_ns),
        received=counters.received,
        late=counters.late,
        missing=counters.missing,
        repeated=counters.repeated,
        refused=counters.refused,
        last_refusal=counters.last_refusal,
        problem=stream.problem(now_ns),
    )
