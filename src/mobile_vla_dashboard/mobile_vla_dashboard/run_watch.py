"""What the Run view shows besides statuses: chunks, heatmaps, and where they lie in the image.

Subscribed only while a browser shows that view: the policy computes heatmaps only for subscribers.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from mobile_vla_dashboard.latest import Latest
from mobile_vla_dashboard.place import ImagePlace, Pose, peak
from mobile_vla_dashboard.run_card import Prediction, SeenMap
from mobile_vla_data.contract import Contract
from mobile_vla_data.transforms import yaw_of
from mobile_vla_msgs.msg import ActionChunk
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.pose_input import PoseInput, tf_message
from mobile_vla_ros.qos import SENSOR

#: Poses that are remembered, to find the one at the time of an image.
_POSES = 100


class RunWatch:
    """Puts ``chunk``, ``target_map`` and ``robot_map`` into ``latest``. On the ROS thread.

    Raises:
        StartError: the pose comes from transforms and tf2_msgs is not installed.
    """

    def __init__(self, node: Any, latest: Latest, contract: Contract) -> None:
        self._node, self._latest, self._contract = node, latest, contract
        self._subscriptions: list[Any] = []
        self._pose: PoseInput | None = None
        self._place = ImagePlace()
        self._poses: deque[tuple[int, Pose]] = deque(maxlen=_POSES)
        if contract.state.pose == "tf":
            # Now, not when a browser comes.
            tf_message()

    def follow(self, wanted: bool) -> None:
        """Subscribe if a browser shows the Run view, and end that if none does."""
        if wanted and not self._subscriptions:
            node = self._node
            self._subscriptions = [
                node.create_subscription(ActionChunk, "policy/action_chunk", self._on_chunk, 10),
                node.create_subscription(Image, "policy/target_map", partial(self._on_map, "target_map"), SENSOR),
                node.create_subscription(Image, "policy/robot_map", self._on_robot, SENSOR),
            ]
            self._pose = PoseInput(node, self._contract, self._on_pose, lambda _why: None)
        elif not wanted and self._subscriptions:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []
            if self._pose is not None:
                self._pose.destroy()

    def _on_pose(
        self, stamp_ns: int, x: float, y: float, rotation: tuple[float, float, float, float], _frame: str
    ) -> None:
        if (yaw := yaw_of(rotation)) is not None:
            self._poses.append((stamp_ns, Pose(x, y, yaw)))

    def _on_map(self, name: str, message: Image) -> SeenMap | None:
        if message.encoding != "mono8" or message.step * message.height != len(message.data) or not message.data:
            return None
        grid = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, : message.width]
        seen = SeenMap(message.header.frame_id, grid.shape[1], grid.shape[0], grid.tobytes(), peak(grid))
        self._latest.put_status(name, seen)
        return seen

    def _on_robot(self, message: Image) -> None:
        seen, stamp_ns = self._on_map("robot_map", message), to_ns(message.header.stamp)
        if seen is not None and self._poses:
            _, pose = min(self._poses, key=lambda item: abs(item[0] - stamp_ns))
            self._place.add(pose, seen.peak)

    def _on_chunk(self, chunk: ActionChunk) -> None:
        turns = chunk.delta_yaw if chunk.delta_yaw else [0.0] * len(chunk.delta_x)
        steps = [*zip(chunk.delta_x, chunk.delta_y, turns, strict=False)]
        robot, path = self._latest.status("robot_map"), None
        if robot is not None and self._poses and robot.fresh:
            path = self._place.path(self._poses[-1][1], robot.message.peak, steps)
        self._latest.put_status("chunk", Prediction(steps, list(chunk.gripper), chunk.inference_s, path))
