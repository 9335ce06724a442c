"""The gate of a robot that localises itself: keep_in is an area of its map."""

import sys
from pathlib import Path

import pytest
from gate_process import Sender, start_gate, twist
from geometry_msgs.msg import Twist
from std_msgs.msg import Float64

from mobile_vla_msgs.msg import GateStatus
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import NodeProcess, changed_contract, transforms_node, wait_for

pytestmark = pytest.mark.alone

CONTRACT = Path(__file__).parents[3] / "config" / "robot.yaml"
#: The robot is at (1.5, 4) and looks along y: half a metre is left.
AREA = [[0.5, 3.0], [2.5, 3.0], [2.5, 4.5], [0.5, 4.5]]


def test_keep_in_holds_in_the_map_and_the_status_names_the_transform_that_is_missing(probe, build_messages, tmp_path):
    environment = build_messages("tf2_msgs")
    file = changed_contract(tmp_path, CONTRACT, state={"pose": "tf", "odometry_frame": "map"}, keep_in=AREA)
    statuses, velocities = probe.collect(GateStatus, "gate/status", LATCHED), probe.collect(Twist, "cmd_vel")
    travelled = probe.collect(Float64, "travelled")

    def robot(behaviour):
        return NodeProcess("", "", env=environment, command=[sys.executable, transforms_node.PATH, behaviour])

    def stands(reason):
        wait_for(lambda: statuses and reason in statuses[-1].reason and velocities[-1] == Twist(), what=reason)

    with start_gate(env=environment, contract=str(file)):
        Sender(probe, Twist, "cmd_vel_teleop", lambda: twist(0.5))
        stands("keep_in is unknown: nothing has arrived on '/tf'")
        with robot("lost"):
            stands("'/tf' are refused: no transform from 'map' to 'base_link': 'odom' has no parent")
        with robot("drives"):
            wait_for(lambda: statuses[-1].reason == "teleop drives: the edge of keep_in is ahead", what="the edge")
            wait_for(lambda: velocities[-1].linear.x < 0.02 and travelled[-1].data > 0.4, what="standing at it")
            assert travelled[-1].data < 0.52
        with robot("stale"):
            stands("'/tf' are refused: the transform from 'map' to 'odom' is older than 0.2 s: it is not renewed")
