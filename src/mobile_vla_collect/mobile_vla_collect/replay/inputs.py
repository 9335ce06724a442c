"""Publish the inputs of an episode as its robot published them: images, odometry, gripper state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo

from mobile_vla_data.action import gripper, position
from mobile_vla_data.contract import GRIPPER_STATE, ODOMETRY, Contract
from mobile_vla_data.episode.reader import Episode
from mobile_vla_msgs.msg import GripperState
from mobile_vla_ros.camera_publisher import CameraPublisher
from mobile_vla_ros.clock import now_ns
from mobile_vla_ros.convert import to_stamp
from mobile_vla_ros.graph import full_name
from mobile_vla_ros.qos import SENSOR_OFFERED
from mobile_vla_ros.transform_publisher import TransformPublisher

_JPEG_QUALITY = 95
#: Publishes what a step holds, with a stamp [ns].
Send = Callable[[int, int], None]


class InputReplay:
    """Publishes the inputs of ``episode`` under the topics of ``contract``; :meth:`send_until` does it piece by piece.

    Stamps are the present ones, so that nodes find the inputs fresh; distances between them are those of the recording,
    divided by ``speed``. An image that two steps share is published once. Orientation and intrinsics are not in an
    episode: odometry looks along x, and ``camera_info`` holds the size only, which means that it is not calibrated.
    Each camera also publishes ``image_raw/compressed``, with the recorded JPEG where there is one.
    """

    def __init__(self, node: Any, contract: Contract, episode: Episode, speed: float) -> None:
        self._node, self._contract, self._episode, self._speed = node, contract, episode, speed
        self._states = episode.states
        self._publishers: list[Any] = []
        streams = {camera: self._camera(camera) for camera in episode.cameras if camera in contract.cameras}
        streams[ODOMETRY] = self._transform() if contract.state.pose == "tf" else self._odometry()
        if contract.has_gripper:
            streams[GRIPPER_STATE] = self._gripper()
        self._due = _due(episode, streams)
        self._next = 0

    @property
    def sent(self) -> int:
        """Messages that have been published."""
        return self._next

    @property
    def done(self) -> bool:
        """True when all messages have been published."""
        return self._next == len(self._due)

    def restart(self) -> None:
        """Begin again with the first message."""
        self._next = 0

    def send_until(self, elapsed_s: float) -> None:
        """Publish what is due ``elapsed_s`` after the begin and has not been published."""
        until_ns = elapsed_s * self._speed * 1e9
        while self._next < len(self._due) and self._due[self._next][0] <= until_ns:
            _, step, send = self._due[self._next]
            send(now_ns(self._node), step)
            self._next += 1

    def other_publishers(self) -> str:
        """Return, in one line, which other node publishes one of the topics; empty if none does."""
        mine = self._node.get_fully_qualified_name()
        for topic in self._publishers:
            for info in self._node.get_publishers_info_by_topic(topic):
                if (name := full_name(info)) != mine:
                    return f"'{topic}' is also published by {name}: stop it, or choose another namespace"
        return ""

    def _camera(self, camera: str) -> Send:
        size, topic = self._contract.cameras[camera], self._contract.cameras[camera].topic
        info = CameraInfo(width=size.width, height=size.height)
        info.header.frame_id = f"{camera}_camera_optical_frame"
        publisher = CameraPublisher(self._node, topic, info, jpeg_quality=_JPEG_QUALITY)
        self._publishers.append(publisher.topic)

        def send(stamp_ns: int, step: int) -> None:
            publisher.publish(self._episode.image(camera, step), stamp_ns, self._episode.jpeg(camera, step))

        return send

    def _odometry(self) -> Send:
        state = self._contract.state
        publisher = self._node.create_publisher(Odometry, state.odometry_topic, SENSOR_OFFERED)
        self._publishers.append(publisher.topic_name)

        def send(stamp_ns: int, step: int) -> None:
            message = Odometry(child_frame_id=self._contract.action.frame)
            message.header.stamp, message.header.frame_id = to_stamp(stamp_ns), state.odometry_frame
            pose = message.pose.pose
            pose.position.x, pose.position.y = (float(value) for value in position(self._states)[step])
            pose.orientation.w = 1.0
            publisher.publish(message)

        return send

    def _transform(self) -> Send:
        publisher = TransformPublisher(self._node, self._contract)

        def send(stamp_ns: int, step: int) -> None:
            x, y = (float(value) for value in position(self._states)[step])
            publisher.publish(stamp_ns, x, y)

        return send

    def _gripper(self) -> Send:
        publisher = self._node.create_publisher(GripperState, self._contract.state.gripper_topic, SENSOR_OFFERED)
        self._publishers.append(publisher.topic_name)

        def send(stamp_ns: int, step: int) -> None:
            message = GripperState(position=float(gripper(self._states)[step]))
            message.header.stamp = to_stamp(stamp_ns)
            publisher.publish(message)

        return send


def _due(episode: Episode, streams: dict[str, Send]) -> list[tuple[int, int, Send]]:
    """Return the messages of an episode in order: when [ns after the first], step, function that publishes it."""
    found: list[tuple[int, int, Send]] = []
    for stream, send in streams.items():
        stamps = episode.stamps_ns.get(stream, episode.timestamps_ns)
        changed = np.flatnonzero(np.diff(stamps, prepend=stamps[0] - 1))
        found += [(int(stamps[step]), int(step), send) for step in changed]
    found.sort(key=lambda item: item[:2])
    first_ns = found[0][0]
    return [(stamp_ns - first_ns, step, send) for stamp_ns, step, send in found]
