"""The joystick teleop: the map, and the node over DDS."""

import time

import pytest
from geometry_msgs.msg import Twist
from recorder_client import CONTRACT_PATH
from sensor_msgs.msg import Joy

from mobile_vla_collect.teleop.joystick import JoyMap, Joystick
from mobile_vla_data.action import Velocity
from mobile_vla_msgs.msg import GripperCommand
from mobile_vla_ros.testing import NodeProcess, wait_for

pytestmark = pytest.mark.alone

DEADMAN, TURBO = 4, 5


@pytest.fixture
def joystick():
    return Joystick(JoyMap(1, 0, 3, DEADMAN, TURBO, 0.4, 0.8, 2.0, 0.1, {"close": 0}))


def buttons(*held):
    return [int(index in held) for index in range(9)]


def test_without_the_deadman_button_nothing_moves(joystick):
    assert joystick.velocity([1.0, 1.0, 0.0, 1.0], buttons(TURBO)) is None


def test_deflection_is_scaled_turbo_doubles_and_small_ones_are_none(joystick):
    assert joystick.velocity([0.05, 0.5, 0.0, -1.0], buttons(DEADMAN)) == Velocity(0.2, 0.0, -0.8)
    assert joystick.velocity([0.0, 0.5, 0.0, 0.0], buttons(DEADMAN, TURBO)).x == pytest.approx(0.4)


def test_a_pad_with_too_few_axes_does_not_turn(joystick):
    assert joystick.velocity([0.0, 1.0], buttons(DEADMAN)) == Velocity(0.4)


def test_a_button_acts_once_per_press_and_not_when_held_from_the_start(joystick):
    held = [joystick.pressed(buttons(*now)) for now in ((0,), (0,), (), (0,), (0,))]
    assert held == [[], [], [], ["close"], []]


def test_the_robot_moves_while_joy_arrives_and_gets_zeros_when_it_dies(probe):
    with NodeProcess("mobile_vla_collect", "joy_teleop_node", {"contract": str(CONTRACT_PATH)}):
        velocities = probe.collect(Twist, "cmd_vel_teleop")
        grips = probe.collect(GripperCommand, "gripper/command_teleop")
        publisher = probe.publisher(Joy, "joy")
        state = {"buttons": buttons(DEADMAN)}
        timer = probe.node.create_timer(
            0.05, lambda: publisher.publish(Joy(axes=[0.0, 1.0, 0.0, 0.0], buttons=state["buttons"]))
        )
        wait_for(lambda: velocities and velocities[-1].linear.x == pytest.approx(0.4), what="motion")

        def closed():
            # The two may not have found each other on this topic yet; then a human presses again.
            state["buttons"] = buttons(DEADMAN) if state["buttons"][0] else buttons(DEADMAN, 0)
            time.sleep(0.2)
            return grips

        wait_for(closed, what="a close")
        assert {grip.position for grip in grips} == {1.0}
        timer.cancel()
        wait_for(lambda: velocities[-1].linear.x == 0.0, what="zeros")
