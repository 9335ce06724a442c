"""A robot for tests: publishes every stream of a contract, with numbered images."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image as ImageMessage

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.image import Image
from mobile_vla_data.observation import GRIPPER_STATE, ODOMETRY
from mobile_vla_msgs.msg import GripperState
from mobile_vla_ros.command_publisher import CommandPublisher
from mobile_vla_ros.convert import image_message, to_stamp
from mobile_vla_ros.qos import SENSOR_OFFERED
from mobile_vla_ros.testing.probe import Probe

#: Name of the stream of ``cmd_vel`` in :attr:`FakeRobot.silent`.
COMMAND = "command"


@cache
def _texture(place: int) -> Image:
    rows, columns = np.mgrid[0:224, 0:224]
    image = np.stack([rows, columns, rows ^ columns], axis=-1).astype(np.uint8)
    return np.asarray(image ^ np.uint8((0, 255, 85, 170)[place % 4]), dtype=np.uint8)


def numbered_image(number: int, place: int = 0) -> Image:
    """Return RGB uint8 ``[224, 224, 3]`` that encodes ``number`` and has texture everywhere.

    ``place`` is the camera's place in the contract: images of different cameras differ.
    """
    image = _texture(place) + np.array([number, 3 * number, 0]).astype(np.uint8)
    image[0, 0] = [number >> 16 & 255, number >> 8 & 255, number & 255]
    return np.asarray(image, dtype=np.uint8)


def image_number(image: Image) -> int:
    """Return the number that :func:`numbered_image` put into an image."""
    red, green, blue = (int(value) for value in image[0, 0])
    return red << 16 | green << 8 | blue


class FakeRobot:
    """Publishes what a robot with ``contract`` would, from the probe's thread, until closed.

    Tests change its public attributes and replace :meth:`image`, :meth:`odometry` and :meth:`tamper` to break it.

    Args:
        probe: publishes for it.
        contract: names cameras and topics.
        cameras: cameras that it has; None means those of the contract.
        rate_hz: rate of every stream [Hz].
        commands: publishes :attr:`velocity` on ``cmd_vel``, too, as if a gate drove the robot.
    """

    def __init__(
        self,
        probe: Probe,
        contract: Contract,
        *,
        cameras: Collection[str] | None = None,
        rate_hz: float = 30.0,
        commands: bool = False,
    ) -> None:
        self.cameras = [name for name in contract.cameras if cameras is None or name in cameras]
        self.silent: set[str] = set()
        """Streams that publish nothing: cameras, ``odom``, ``gripper_state``, ``command``."""
        self.every = 1
        """Cameras publish in every n-th period only."""
        self.clock: Callable[[], int] = probe.now_ns
        """Returns the time of its stamps [ns]."""
        self.clock_offset_ns = 0
        """Added to every stamp."""
        self.camera_clock_offset_ns = 0
        """Added to the stamps of images, too."""
        self.x = self.y = 0.0
        """Position that odometry reports [m]."""
        self.step_m = (0.0, 0.0)
        """Added to the position in every period [m]."""
        self.gripper = 0.0
        """Position of the gripper, 0 open .. 1 closed."""
        self.velocity = Velocity(0.3, -0.1)
        """Commanded velocity."""
        self.number = 0
        """Periods so far, and the number in their images."""
        self.sent: dict[str, dict[int, Any]] = {name: {} for name in (*self.cameras, ODOMETRY, GRIPPER_STATE)}
        """Stream -> stamp [ns] -> number of the image, (x, y) or gripper position."""
        self._places = {name: place for place, name in enumerate(contract.cameras)}
        self._frame = contract.state.odometry_frame
        self._commands = CommandPublisher(probe.node, "", contract.action.frame, stamped=False) if commands else None
        self.probe = probe
        state, node = contract.state, probe.node
        self.publishers = {
            name: node.create_publisher(ImageMessage, contract.cameras[name].topic, SENSOR_OFFERED)
            for name in self.cameras
        }
        self.publishers[ODOMETRY] = node.create_publisher(Odometry, state.odometry_topic, SENSOR_OFFERED)
        if contract.has_gripper:
            self.publishers[GRIPPER_STATE] = node.create_publisher(GripperState, state.gripper_topic, SENSOR_OFFERED)
        else:
            self.silent.add(GRIPPER_STATE)
        self._timer = node.create_timer(1.0 / rate_hz, self.publish)

    def pause(self) -> None:
        """Publish only when :meth:`publish` is called."""
        self._timer.cancel()

    def close(self) -> None:
        """Leave the graph."""
        self.probe.node.destroy_timer(self._timer)
        for publisher in self.publishers.values():
            self.probe.node.destroy_publisher(publisher)
        if self._commands is not None:
            self._commands.close()

    def last_ns(self, stream: str) -> int:
        """Return the stamp of the newest message of a stream [ns]."""
        return next(reversed(self.sent[stream]))

    def publish(self) -> None:
        """Publish one message on every stream that is not silent."""
        self.number += 1
        self.x, self.y = self.x + self.step_m[0], self.y + self.step_m[1]
        stamp_ns = self.clock() + self.clock_offset_ns
        for camera in self.cameras:
            if camera not in self.silent and self.number % self.every == 0:
                self._send_image(camera, stamp_ns + self.camera_clock_offset_ns)
        if ODOMETRY not in self.silent:
            odometry = self.odometry(stamp_ns)
            position = odometry.pose.pose.position
            self.sent[ODOMETRY][stamp_ns] = (position.x, position.y)
            self.publishers[ODOMETRY].publish(odometry)
        if GRIPPER_STATE not in self.silent:
            gripper = GripperState(position=self.gripper)
            gripper.header.stamp = to_stamp(stamp_ns)
            self.sent[GRIPPER_STATE][stamp_ns] = self.gripper
            self.publishers[GRIPPER_STATE].publish(gripper)
        if self._commands is not None and COMMAND not in self.silent:
            self._commands.send(self.velocity)

    def image(self, camera: str, number: int) -> Image:
        """Return the image that a camera publishes in period ``number``."""
        return numbered_image(number, self._places[camera])

    def odometry(self, stamp_ns: int) -> Odometry:
        """Return the next odometry message."""
        message = Odometry()
        message.header.stamp, message.header.frame_id = to_stamp(stamp_ns), self._frame
        message.pose.pose.position.x, message.pose.pose.position.y = self.x, self.y
        message.pose.pose.orientation.w = 1.0
        return message

    def tamper(self, message: ImageMessage) -> None:
        """Change an image message before it is published; does nothing unless a test replaces it."""

    def _send_image(self, camera: str, stamp_ns: int) -> None:
        message = image_message(self.image(camera, self.number), stamp_ns, f"{camera}_camera")
        self.tamper(message)
        self.sent[camera][stamp_ns] = self.number
        self.publishers[camera].publish(message)
