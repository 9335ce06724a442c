"""That the scheduler's parameters do something, seen from outside the node."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Twist
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from robot_fixtures import CONTRACT, GO

from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import ActionChunk, GripperCommand
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.testing import FakeRobot, changed_contract, wait_for

pytestmark = pytest.mark.alone


def set_integer(probe: Any, name: str, number: int) -> Any:
    value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=number)
    request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
    return probe.call(SetParameters, "policy_node/set_parameters", request).results[0]


def test_horizon_limits_the_actions_used_of_a_chunk(probe, robot, start_node, statuses):
    start_node("steady", instruction=GO)
    wait_for(lambda: statuses and max(status.queue_depth for status in statuses) >= 4)
    assert set_integer(probe, "horizon", 2).successful
    heard = len(statuses)
    wait_for(lambda: len(statuses) > heard + 8)
    depths = {status.queue_depth for status in statuses[heard + 2 :]}
    assert max(depths) == 2, depths
    refused = set_integer(probe, "horizon", 6)
    assert not refused.successful and refused.reason.startswith("horizon is 6; the loaded policy predicts 5 actions")
    assert set_integer(probe, "horizon", 5).successful


def test_a_horizon_beyond_the_policys_is_refused_when_it_is_loaded(probe, start_node):
    node = start_node("steady", horizon=6)
    assert node.wait() == 1
    lines = [line for line in node.output.splitlines() if "horizon is 6" in line]
    assert len(lines) == 1 and "predicts 5 actions" in lines[0] and "Traceback" not in node.output


def test_replan_threshold_limits_how_often_the_policy_runs(probe, robot, start_node, statuses):
    chunks = probe.collect(ActionChunk, "policy/action_chunk")

    def interval_s(count: int = 12) -> float:
        heard = len(chunks)
        wait_for(lambda: len(chunks) > heard + count)
        stamps_ns = [to_ns(chunk.header.stamp) for chunk in chunks[heard:]]
        return float(np.median([after - before for before, after in pairwise(stamps_ns)])) * 1e-9

    start_node("steady", instruction=GO)
    often_s = interval_s()
    assert set_integer(probe, "replan_threshold", 2).successful
    # Every control period, and with three of five actions used.
    assert interval_s() > 2 * often_s


def test_chunks_that_come_too_late_are_reported(probe, robot, start_node, statuses):
    start_node("slow=0.6", instruction=GO)
    wait_for(lambda: statuses and statuses[-1].late_chunks >= 2)
    wait_for(lambda: "takes longer than its chunk" in statuses[-1].message)


def test_a_robot_without_a_gripper_is_driven_without_its_state_and_gets_no_command_for_it(
    probe, start_node, statuses, tmp_path
):
    file = changed_contract(tmp_path, CONTRACT, gripper="none")
    robot = FakeRobot(probe, Contract.load(file))
    commands = probe.collect(GripperCommand, "gripper/command_policy")
    velocities = probe.collect(Twist, "cmd_vel_policy")
    start_node("steady", instruction=GO, contract=str(file))
    wait_for(lambda: sum(velocity != Twist() for velocity in velocities) > 20, what="motion")
    assert {stream.name for stream in statuses[-1].streams} == {"static", "gripper", "odom"}
    assert not commands
    robot.close()
