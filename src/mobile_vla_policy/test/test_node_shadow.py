"""Shadow mode over DDS: policy_node looks on and says how far it is from what the robot is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from robot_fixtures import CONTRACT, GO

from mobile_vla_msgs.msg import GateStatus, GripperCommand
from mobile_vla_ros.convert import to_stamp
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import NodeProcess, wait_for

pytestmark = pytest.mark.alone

#: Of the scripted policy [m/s], and whom it is compared with.
POLICY, HUMAN = (0.3, -0.1), (0.1, 0.05)
APART_M_S = math.dist(POLICY, HUMAN)


@pytest.fixture
def stamped() -> bool:
    return True


@pytest.fixture
def tell(probe: Any) -> Iterator[Callable[..., None]]:
    """Publish a velocity and a gripper's position at 40 Hz on two topics, until the test ends."""
    timers = []

    def start(velocity_topic: str, gripper_topic: str, gripper: float) -> None:
        velocities = probe.publisher(TwistStamped, velocity_topic)
        grippers = probe.publisher(GripperCommand, gripper_topic)

        def command() -> None:
            velocity, order = TwistStamped(), GripperCommand(position=gripper)
            velocity.header.stamp = order.header.stamp = to_stamp(probe.now_ns())
            velocity.twist.linear.x, velocity.twist.linear.y = HUMAN
            velocity.twist.angular.z = 0.2
            velocities.publish(velocity)
            grippers.publish(order)

        timers.append(probe.node.create_timer(0.025, command))

    yield start
    for timer in timers:
        timer.cancel()


def test_the_difference_to_a_known_velocity_is_measured(probe, robot, start_node, statuses, tell):
    health = probe.collect(DiagnosticArray, "/diagnostics")
    start_node("steady", instruction=GO, shadow=True, command_rate_hz=20.0)
    wait_for(lambda: statuses and statuses[-1].shadow and statuses[-1].steps > 5)
    assert statuses[-1].shadow_samples == 0 and math.isnan(statuses[-1].shadow_velocity_difference_mean_m_s)
    assert math.isnan(statuses[-1].shadow_gripper_agreement)
    tell("cmd_vel", "gripper/command", gripper=1.0)
    status = wait_for(lambda: statuses[-1] if statuses[-1].shadow_gripper_samples > 40 else None)
    assert status.shadow_samples >= status.shadow_gripper_samples
    assert status.shadow_velocity_difference_mean_m_s == pytest.approx(APART_M_S, abs=1e-3)
    assert status.shadow_velocity_difference_p95_m_s == pytest.approx(APART_M_S, abs=1e-3)
    assert status.shadow_yaw_rate_difference_mean_rad_s == pytest.approx(0.2)
    assert status.shadow_yaw_rate_difference_p95_rad_s == pytest.approx(0.2)
    assert status.shadow_gripper_agreement == 1.0, "both hold it closed"

    def said() -> dict[str, str]:
        newest = [status for array in health for status in array.status if status.name == "policy_node"][-1]
        return {item.key: item.value for item in newest.values}

    key = "shadow: velocity difference mean [m/s]"
    wait_for(lambda: float(said().get(key, "nan")) == pytest.approx(APART_M_S, abs=1e-3))
    assert said()["shadow: gripper agreement"] == "1.0" and "temperature [deg C]" in said()


def test_a_policy_is_compared_with_an_operator_and_not_with_a_gate_without_driver(
    probe, robot, start_node, statuses, tell
):
    drivers = probe.collect(GateStatus, "gate/status", LATCHED)
    with NodeProcess("mobile_vla_control", "command_gate_node", {"contract": str(CONTRACT), "stamped": True}):
        wait_for(lambda: drivers)
        start_node("steady", instruction=GO, shadow=True, command_rate_hz=20.0)
        wait_for(lambda: statuses and statuses[-1].shadow and statuses[-1].steps > 10)
        assert statuses[-1].shadow_samples == 0, "zeros in nobody's name are no wish"
        tell("cmd_vel_teleop", "gripper/command_teleop", gripper=0.0)
        status = wait_for(lambda: statuses[-1] if statuses[-1].shadow_samples > 100 else None)
        assert status.shadow_velocity_difference_mean_m_s == pytest.approx(APART_M_S, abs=0.03), "but for the start"
        assert status.shadow_gripper_samples and status.shadow_gripper_agreement == 0.0


def test_what_a_gate_sends_before_it_has_said_who_drives_is_not_compared(probe, robot, start_node, statuses, tell):
    gate = probe.node.create_publisher(GateStatus, "gate/status", LATCHED)
    start_node("steady", instruction=GO, shadow=True, command_rate_hz=20.0)
    tell("cmd_vel", "gripper/command", gripper=0.0)
    wait_for(lambda: statuses and statuses[-1].shadow and statuses[-1].steps > 10)
    assert statuses[-1].shadow_samples == 0
    gate.publish(GateStatus(driver=GateStatus.DRIVER_TELEOP))
    wait_for(lambda: statuses[-1].shadow_samples > 0)


def test_a_policy_that_drives_compares_nothing(probe, robot, start_node, statuses, tell):
    start_node("steady", instruction=GO, shadow=False)
    velocities = probe.collect(TwistStamped, "cmd_vel_policy")
    wait_for(lambda: velocities and statuses[-1].steps > 5)
    assert statuses[-1].shadow_samples == 0
    assert not probe.node.get_subscriptions_info_by_topic("/cmd_vel"), "it does not even listen"
