"""A human takes over from the policy and hands back: what was decided before is not done afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from geometry_msgs.msg import TwistStamped
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from robot_fixtures import CONTRACT, GO

from mobile_vla_msgs.msg import GateStatus, GripperCommand
from mobile_vla_ros.convert import to_stamp
from mobile_vla_ros.qos import EVERY_STATUS
from mobile_vla_ros.testing import NodeProcess, StampedVelocities, wait_for

pytestmark = pytest.mark.alone


@pytest.fixture
def stamped() -> bool:
    return True


@contextmanager
def human(probe: Any, speed_m_s: float, gripper: float) -> Iterator[None]:
    """Drives and holds the gripper at 40 Hz, through the gate."""
    velocities = probe.publisher(TwistStamped, "cmd_vel_teleop")
    grippers = probe.publisher(GripperCommand, "gripper/command_teleop")

    def command() -> None:
        velocity, order = TwistStamped(), GripperCommand(position=gripper)
        velocity.header.stamp = order.header.stamp = to_stamp(probe.now_ns())
        velocity.twist.linear.x = speed_m_s
        velocities.publish(velocity)
        grippers.publish(order)

    timer = probe.node.create_timer(0.025, command)
    try:
        yield
    finally:
        timer.cancel()
        for entity in (velocities, grippers):
            probe.node.destroy_publisher(entity)


def drive_on(velocities: StampedVelocities, count: int = 20) -> None:
    """Wait until so many commands more, of a robot that moves."""
    wait_for(lambda: velocities.moving)
    heard = len(velocities.heard)
    wait_for(lambda: velocities.moving and len(velocities.heard) > heard + count)


@pytest.mark.parametrize("release_s", [0.0, 1.0])
def test_an_object_that_the_operator_grasped_stays_grasped_at_the_hand_back(
    probe, robot, start_node, statuses, release_s
):
    gate = {"contract": str(CONTRACT), "stamped": True, "release_s": release_s}
    with NodeProcess("mobile_vla_control", "command_gate_node", gate):
        wheels = StampedVelocities(probe, "cmd_vel")
        told = probe.collect(GripperCommand, "gripper/command")
        drivers = probe.collect(GateStatus, "gate/status", EVERY_STATUS)
        start_node("undecided", instruction=GO, command_rate_hz=50.0)
        wait_for(lambda: told and told[-1].position == 0.0, what="the policy opening the gripper")
        wait_for(lambda: statuses[-1].steps > 8)
        with human(probe, 0.1, gripper=1.0):
            wait_for(lambda: drivers[-1].driver == GateStatus.DRIVER_TELEOP and told[-1].position == 1.0)
            # What it holds is thick: it measures as more open than closed.
            robot.gripper = 0.4
        held = len(told)
        wait_for(lambda: drivers[-1].driver == GateStatus.DRIVER_POLICY, what="the hand-back")
        drive_on(wheels, 50)
        assert all(command.position == 1.0 for command in told[held:]), "it is never told to open"


def test_decisions_made_in_shadow_mode_are_not_executed_when_driving_begins(probe, robot, start_node, statuses):
    told = probe.collect(GripperCommand, "gripper/command_policy")
    velocities = StampedVelocities(probe, "cmd_vel_policy")
    start_node("undecided", instruction=GO, shadow=True)
    wait_for(lambda: statuses and statuses[-1].steps > 8)
    value = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=False)
    request = SetParameters.Request(parameters=[Parameter(name="shadow", value=value)])
    assert probe.call(SetParameters, "policy_node/set_parameters", request).results[0].successful
    drive_on(velocities)
    assert not told, "it has not decided anything since"
