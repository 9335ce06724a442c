"""A robot for tests: publishes every stream of the contract, with images that say which they are."""

from pathlib import Path

import numpy as np
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image

from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import GripperState
from mobile_vla_msgs.srv import StartEpisode
from mobile_vla_ros.convert import image_message, to_stamp
from mobile_vla_ros.qos import COMMAND, SENSOR_OFFERED

CONTRACT_PATH = Path(__file__).parents[3] / "config" / "robot.yaml"
CONTRACT = Contract.load(CONTRACT_PATH)


def numbered_image(number: int, camera: str) -> np.ndarray:
    """RGB uint8 [224, 224, 3] that encodes ``number``, differs between cameras, and has texture everywhere."""
    rows, columns = np.mgrid[0:224, 0:224]
    image = np.stack([rows + number, columns + 3 * number, rows ^ columns], axis=-1).astype(np.uint8)
    if camera != "static":
        image = 255 - image
    image[0, 0] = [number >> 16 & 255, number >> 8 & 255, number & 255]
    return image


def image_number(image: np.ndarray) -> int:
    red, green, blue = (int(value) for value in image[0, 0])
    return red << 16 | green << 8 | blue


class FakeRobot:
    """Publishes at 30 Hz what a robot would. ``sent[stream][stamp_ns]`` holds what went out.

    Streams in ``silent`` are left out; ``cmd_vel`` is published, too, as if a gate drove with ``self.velocity``.
    """

    def __init__(self, probe, cameras=("static", "gripper"), gate=True, rate_hz=30.0):
        self.probe, self.cameras = probe, cameras
        self.silent: set[str] = set()
        self.sent = {name: {} for name in (*cameras, "odom", "gripper_state")}
        self.velocity, self.gripper, self.number = (0.3, -0.1), 0.0, 0
        node = probe.node
        self.publishers = {
            name: node.create_publisher(Image, CONTRACT.cameras[name].topic, SENSOR_OFFERED) for name in cameras
        }
        self.publishers["odom"] = node.create_publisher(Odometry, "odom", SENSOR_OFFERED)
        self.publishers["gripper_state"] = node.create_publisher(GripperState, "gripper/state", SENSOR_OFFERED)
        self.gate = node.create_publisher(Twist, "cmd_vel", COMMAND) if gate else None
        self.timer = node.create_timer(1.0 / rate_hz, self.publish)

    def publish(self):
        self.number += 1
        stamp_ns = self.probe.now_ns()
        for camera in self.cameras:
            self.send_image(camera, self.image(camera), stamp_ns)
        if "odom" not in self.silent:
            message = self.odometry(stamp_ns)
            self.publishers["odom"].publish(message)
            self.sent["odom"][stamp_ns] = (message.pose.pose.position.x, message.pose.pose.position.y)
        if "gripper_state" not in self.silent:
            message = GripperState(position=self.gripper)
            message.header.stamp = to_stamp(stamp_ns)
            self.publishers["gripper_state"].publish(message)
            self.sent["gripper_state"][stamp_ns] = self.gripper
        if self.gate is not None and "command" not in self.silent:
            twist = Twist()
            twist.linear.x, twist.linear.y = self.velocity
            self.gate.publish(twist)

    def image(self, camera):
        return numbered_image(self.number, camera)

    def send_image(self, camera, image, stamp_ns):
        if camera not in self.silent:
            self.sent[camera][stamp_ns] = image
            self.publishers[camera].publish(image_message(image, stamp_ns, camera))

    def odometry(self, stamp_ns):
        message = Odometry()
        message.header.stamp, message.header.frame_id = to_stamp(stamp_ns), "odom"
        message.pose.pose.position.x, message.pose.pose.position.y = 0.01 * self.number, -0.005 * self.number
        return message


def start_request(**fields):
    given = {"language": "go to the kitchen", "task": "go_to_kitchen", "category": "navigation", **fields}
    return StartEpisode.Request(**given)
