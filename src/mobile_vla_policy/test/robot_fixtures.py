"""For the tests of policy_node: a robot that publishes what the contract asks for, and the node in a process."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
CONTRACT = REPOSITORY / "config" / "robot.yaml"
SCRIPTED = Path(__file__).with_name("scripted_policy_node.py")

# ROS is imported where it is needed: the model's tests in this folder run without it.


class Robot:
    """Publishes both cameras, odometry and the gripper's state at 30 Hz; each stream can be silenced."""

    def __init__(self, probe: Any) -> None:
        from nav_msgs.msg import Odometry
        from sensor_msgs.msg import Image

        from mobile_vla_msgs.msg import GripperState
        from mobile_vla_ros.qos import SENSOR_OFFERED

        self.silent: set[str] = set()
        self.clock_offset_ns = 0
        """Added to every stamp."""
        self.x = 0.0
        """Where odometry says that it is [m]."""
        self.gripper = 0.0
        """Where the gripper is, 0 open .. 1 closed."""
        self.last_ns: dict[str, int] = {}
        """Stream -> stamp of its newest message."""
        self._probe = probe
        self._types = {"static": Image, "gripper": Image, "odom": Odometry, "gripper_state": GripperState}
        topics = {
            "static": "static_camera/image_raw",
            "gripper": "gripper_camera/image_raw",
            "odom": "odom",
            "gripper_state": "gripper/state",
        }
        self._publishers = {
            name: probe.node.create_publisher(self._types[name], topic, SENSOR_OFFERED)
            for name, topic in topics.items()
        }
        self._image = np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8)
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._running = False
        self._thread.join()
        for publisher in self._publishers.values():
            self._probe.node.destroy_publisher(publisher)

    def _run(self) -> None:
        from mobile_vla_ros.convert import image_message, to_stamp

        due_s = time.monotonic()
        while self._running:
            stamp_ns = self._probe.now_ns() + self.clock_offset_ns
            for name, publisher in self._publishers.items():
                if name in self.silent:
                    continue
                if name in ("static", "gripper"):
                    message = image_message(self._image, stamp_ns, f"{name}_camera")
                else:
                    message = self._types[name]()
                    message.header.stamp = to_stamp(stamp_ns)
                    if name == "odom":
                        message.header.frame_id = "odom"
                        message.pose.pose.position.x = self.x
                    else:
                        message.position = self.gripper
                publisher.publish(message)
                self.last_ns[name] = stamp_ns
            due_s = max(due_s + 1 / 30, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))


@pytest.fixture(scope="module")
def probe() -> Iterator[Any]:
    from mobile_vla_ros.testing import Probe, unique_domain

    with unique_domain(), Probe() as probe:
        yield probe


@pytest.fixture
def robot(probe: Any) -> Iterator[Robot]:
    robot = Robot(probe)
    yield robot
    robot.close()


@pytest.fixture
def stamped() -> bool:
    """Whether velocities are TwistStamped. One process cannot listen to both types on a topic: a module decides."""
    return False


@pytest.fixture
def start_node(probe: Any, tmp_path: Path, stamped: bool) -> Iterator[Callable[..., Any]]:
    """Start policy_node with a scripted policy: ``start_node("slow=0.1", instruction="go to the kitchen")``."""
    from mobile_vla_ros.testing import NodeProcess

    with ExitStack() as stack:

        def start(behaviour: str, **parameters: Any) -> Any:
            merged = {"contract": str(CONTRACT), "checkpoint": str(tmp_path), "autostart": True, "stamped": stamped}
            merged |= parameters
            command = [sys.executable, str(SCRIPTED), behaviour]
            return stack.enter_context(NodeProcess("", "", merged, command=command))

        yield start
