"""A robot with a map, for tests: map -> odom by its localisation, odom -> base_link by its wheels, a static camera.

It is in the map at (1.5, 4) and looks along y. On the command line, ``drives``: it follows ``cmd_vel`` forward, and
publishes how far it has come on ``travelled``; ``lost``: map -> odom is never published; ``stale``: it keeps its first
stamp. A process of its own: tf2_msgs may be built for the test.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import rclpy
from geometry_msgs.msg import TransformStamped, Twist
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float64

#: Path of this file.
PATH = __file__
_PERIOD_S = 0.02


def main() -> None:
    """Run until killed."""
    from tf2_msgs.msg import TFMessage

    rclpy.init()
    node = rclpy.create_node("transforms")
    moving = node.create_publisher(TFMessage, "/tf", 100)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    travelled = node.create_publisher(Float64, "travelled", 10)
    static = node.create_publisher(TFMessage, "/tf_static", latched)
    speed_m_s, x_m, began = 0.0, 1.0, node.get_clock().now().to_msg()

    def transform(parent: str, child: str, x: float, y: float, yaw: float) -> TransformStamped:
        made = TransformStamped(child_frame_id=child)
        made.header.frame_id, made.header.stamp = parent, node.get_clock().now().to_msg()
        made.transform.translation.x, made.transform.translation.y = x, y
        made.transform.rotation.z, made.transform.rotation.w = math.sin(yaw / 2), math.cos(yaw / 2)
        return made

    def follow(command: Any) -> None:
        nonlocal speed_m_s
        speed_m_s = command.linear.x

    def send() -> None:
        nonlocal x_m
        x_m += speed_m_s * _PERIOD_S
        chain = [transform("odom", "base_link", x_m, 0.5, 0.0)]
        if "lost" not in sys.argv:
            # A quarter turn: what is ahead in odom is to the left in the map.
            chain.append(transform("map", "odom", 2.0, 3.0, math.pi / 2))
        if "stale" in sys.argv:
            chain[-1].header.stamp = began
        travelled.publish(Float64(data=x_m - 1.0))
        moving.publish(TFMessage(transforms=chain))

    static.publish(TFMessage(transforms=[transform("base_link", "camera", 0.1, 0.0, 0.0)]))
    if "drives" in sys.argv:
        node.create_subscription(Twist, "cmd_vel", follow, 10)
    node.create_timer(_PERIOD_S, send)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
