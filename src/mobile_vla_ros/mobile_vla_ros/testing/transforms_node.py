"""A robot with a map, for tests: map -> odom by its localisation, odom -> base_link by its wheels, a static camera.

It is in the map at (1.5, 4) and faces along y. On the command line:

``drives``: it follows ``cmd_vel`` forward, and publishes the distance on ``travelled``
``lost``: map -> odom is never published
``stale``: map -> odom keeps its first stamp

A separate process, because tf2_msgs may be built for the test.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import rclpy
from geometry_msgs.msg import Twist
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float64

from mobile_vla_ros.clock import now_ns
from mobile_vla_ros.convert import transform_message

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
    speed_m_s, x_m, began_ns = 0.0, 1.0, now_ns(node)

    def follow(command: Any) -> None:
        nonlocal speed_m_s
        speed_m_s = command.linear.x

    def send() -> None:
        nonlocal x_m
        x_m += speed_m_s * _PERIOD_S
        chain = [transform_message("odom", "base_link", now_ns(node), x_m, 0.5, 0.0)]
        if "lost" not in sys.argv:
            # A quarter turn: what is ahead in odom is to the left in the map.
            stamp_ns = began_ns if "stale" in sys.argv else now_ns(node)
            chain.append(transform_message("map", "odom", stamp_ns, 2.0, 3.0, math.pi / 2))
        travelled.publish(Float64(data=x_m - 1.0))
        moving.publish(TFMessage(transforms=chain))

    static.publish(TFMessage(transforms=[transform_message("base_link", "camera", began_ns, 0.1, 0.0, 0.0)]))
    if "drives" in sys.argv:
        node.create_subscription(Twist, "cmd_vel", follow, 10)
    node.create_timer(_PERIOD_S, send)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
