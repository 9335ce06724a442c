from __future__ import annotations

import math
from pathlib import Path

import pytest

from mobile_vla_dashboard.teleop import DeadMan, Operator, StickError, Wheel, velocity_of_stick
from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract

CONTRACT = Contract.load(Path(__file__).parents[3] / "config" / "robot.yaml")
DIFFERENTIAL = CONTRACT.model_copy(update={"base": "differential"})
FORWARD = Velocity(0.4)


def test_fresh_commands_are_published_and_a_lost_operator_gives_one_zero_and_then_silence():
    dead_man = DeadMan(fresh_s=0.25)
    assert dead_man.due(0.0) is None
    assert dead_man.command(FORWARD, 9.9)
    assert not dead_man.command(FORWARD, 10.0)
    assert dead_man.due(10.0) == FORWARD
    assert dead_man.due(10.25) == FORWARD
    assert dead_man.due(10.26) == Velocity()
    assert dead_man.due(10.3) is None


def test_letting_go_is_one_zero_at_once():
    dead_man = DeadMan()
    dead_man.command(FORWARD, 10.0)
    dead_man.release()
    assert dead_man.due(10.01) == Velocity()
    assert dead_man.due(10.02) is None


def test_letting_go_of_a_stick_nobody_held_publishes_nothing():
    dead_man = DeadMan()
    dead_man.release()
    assert dead_man.due(1.0) is None


def test_a_full_stick_is_the_contracts_limit_and_a_diagonal_is_no_faster():
    limit = CONTRACT.limits.linear_m_s
    assert velocity_of_stick(1, 0, 0, CONTRACT) == Velocity(limit, 0.0)
    diagonal = velocity_of_stick(1.0, -1.0, 0, CONTRACT)
    assert math.hypot(diagonal.x, diagonal.y) == pytest.approx(limit)
    assert velocity_of_stick(50, 0, 0, CONTRACT) == Velocity(limit, 0.0)


def test_sideways_turns_a_base_that_cannot_strafe():
    assert velocity_of_stick(0.0, 0.5, 0, DIFFERENTIAL) == Velocity(0.0, 0.0, 0.5 * CONTRACT.limits.angular_rad_s)


@pytest.mark.parametrize("contract", [CONTRACT, DIFFERENTIAL])
def test_either_base_turns_on_the_spot_up_to_its_limit(contract):
    limit = CONTRACT.limits.angular_rad_s
    assert velocity_of_stick(0, 0, -0.5, contract) == Velocity(0.0, 0.0, -0.5 * limit)
    assert velocity_of_stick(0, 0.9, 0.9, DIFFERENTIAL).yaw_rate == limit


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400, "1", None, True, [1]])
def test_a_stick_that_is_no_number_is_refused(value):
    with pytest.raises(StickError, match="x must be a number from -1 to 1"):
        velocity_of_stick(value, 0.0, 0.0, CONTRACT)


def test_the_wheel_belongs_to_one_operator_until_they_leave_or_fall_silent():
    wheel, first, second = Wheel(timeout_s=3.0), Operator(1, "10.0.0.1"), Operator(2, "10.0.0.1")
    assert wheel.take(first, 0.0)
    assert not wheel.take(second, 1.0)
    assert wheel.take(first, 2.0)
    assert wheel.operator(5.0) == first
    assert wheel.take(second, 5.1)
    assert not wheel.leave(first)
    assert wheel.leave(second)
    assert wheel.operator(5.2) is None
