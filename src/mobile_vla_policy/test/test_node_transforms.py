"""policy_node on a robot that localises itself: its position is that in the map."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import Twist
from robot_fixtures import CONTRACT

from mobile_vla_ros.testing import NodeProcess, changed_contract, transforms_node, wait_for

pytestmark = pytest.mark.alone


def test_the_policy_is_given_the_place_in_the_map(
    probe: Any, robot: Any, start_node: Any, statuses: Any, build_messages: Any, tmp_path: Path
) -> None:
    environment = build_messages("tf2_msgs")
    file = changed_contract(tmp_path, CONTRACT, state={"pose": "tf", "odometry_frame": "map"})
    velocities = probe.collect(Twist, "cmd_vel_policy")
    node = start_node("echo-x", env=environment, contract=str(file), instruction="go to the kitchen")
    wait_for(lambda: statuses and "nothing has arrived on '/tf'" in statuses[-1].message, 60, "the missing transforms")
    with NodeProcess("", "", env=environment, command=[sys.executable, transforms_node.PATH]):
        # 1.5 m in the map; it is 1 m in odom, and 0 m in the odometry that the robot also publishes.
        wait_for(
            lambda: velocities and velocities[-1].linear.x == pytest.approx(0.15, abs=1e-3), 60, "the place in the map"
        )
    assert node.process.poll() is None, node.output
