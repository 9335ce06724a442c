"""A robot that localises itself: map -> odom stands still, odom -> base_link moves, base_link -> camera is static."""

import math
import sys

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

rclpy.init()
node = rclpy.create_node("transforms")
moving = node.create_publisher(TFMessage, "/tf", 100)
static = node.create_publisher(
    TFMessage, "/tf_static", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
)


def transform(parent, child, x, y, yaw):
    made = TransformStamped(child_frame_id=child)
    made.header.frame_id, made.header.stamp = parent, node.get_clock().now().to_msg()
    made.transform.translation.x, made.transform.translation.y = x, y
    made.transform.rotation.z, made.transform.rotation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return made


def send():
    chain = [transform("odom", "base_link", 1.0, 0.5, 0.0)]
    if "lost" not in sys.argv:
        # A quarter turn: what is ahead in odom is to the left in the map.
        chain.append(transform("map", "odom", 2.0, 3.0, math.pi / 2))
    moving.publish(TFMessage(transforms=chain))


static.publish(TFMessage(transforms=[transform("base_link", "camera", 0.1, 0.0, 0.0)]))
node.create_timer(0.02, send)
rclpy.spin(node)
