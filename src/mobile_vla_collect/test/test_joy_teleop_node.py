"""The joystick teleop: the map, and the node over DDS."""

import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
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


def test_deflection_is_scaled_turbo_doubles_and_small_ones_count_as_zero(joystick):
    assert joystick.velocity([0.05, 0.5, 0.0, -1.0], buttons(DEADMAN)) == Velocity(0.2, 0.0, -0.8)
    assert joystick.velocity([0.0, 0.5, 0.0, 0.0], buttons(DEADMAN, TURBO)).x == pytest.approx(0.4)


def test_a_pad_with_too_few_axes_does_not_turn(joystick):
    assert joystick.velocity([0.0, 1.0], buttons(DEADMAN)) == Velocity(0.4)


def test_a_button_acts_once_per_press_and_not_when_held_from_the_start(joystick):
    held = [joystick.pressed(buttons(*now)) for now in ((0,), (0,), (), (0,), (0,))]
    assert held == [[], [], [], ["close"], []]


@pytest.mark.parametrize(
    ("axes", "held", "missing"),
    [
        (
            4,
            4,
            ["button_deadman is 4, this joystick has buttons 0-3", "button_turbo is 5, this joystick has buttons 0-3"],
        ),
        (
            4,
            0,
            [
                "button_deadman is 4, this joystick has no buttons",
                "button_turbo is 5, this joystick has no buttons",
                "button_close is 0, this joystick has no buttons",
            ],
        ),
        (3, 9, ["axis_turn is 3, this joystick has axes 0-2"]),
        (
            0,
            9,
            [
                "axis_forward is 1, this joystick has no axes",
                "axis_left is 0, this joystick has no axes",
                "axis_turn is 3, this joystick has no axes",
            ],
        ),
        (4, 6, []),
    ],
)
def test_buttons_and_axes_that_the_joystick_does_not_have_are_named(joystick, axes, held, missing):
    assert joystick.missing([0.0] * axes, [0] * held) == missing
    assert joystick.has_deadman([0] * held) == (held > DEADMAN)


def test_a_button_that_is_switched_off_is_not_missing():
    joystick = Joystick(JoyMap(1, 0, -1, DEADMAN, -1, 0.4, 0.8, 2.0, 0.1, {"resume": -1}))
    assert joystick.missing([0.0, 0.0], [0] * 5) == []


def test_a_pad_without_the_deadman_button_is_an_error_in_log_and_diagnostics(probe):
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    with NodeProcess("mobile_vla_collect", "joy_teleop_node", {"contract": str(CONTRACT_PATH)}) as node:
        publisher = probe.publisher(Joy, "joy")
        timer = probe.node.create_timer(0.05, lambda: publisher.publish(Joy(axes=[0.0] * 4, buttons=[0] * 4)))
        said = "button_deadman is 4, this joystick has buttons 0-3"

        def errors():
            statuses = [status for array in diagnostics for status in array.status]
            return [status for status in statuses if status.level == DiagnosticStatus.ERROR and said in status.message]

        assert "without its deadman button it cannot drive the robot" in wait_for(errors, what="an ERROR")[0].message
        wait_for(lambda: f"{said}; set the parameter to one of those, or to -1" in node.output, what="a line")
        assert node.output.count(said) == 1, "said once"
        timer.cancel()


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
