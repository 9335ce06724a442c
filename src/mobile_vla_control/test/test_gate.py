"""The gate's rules, each on times given by hand."""

import math
from pathlib import Path

import pytest

from mobile_vla_control.gate import ZERO, CommandGate, Driver, GateSettings, Source
from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract

CONTRACT = Contract.load(Path(__file__).parents[3] / "config" / "robot.yaml")
PERIOD = 0.05


class Clocked:
    """A gate with a clock that only this test moves."""

    def __init__(self, contract: Contract = CONTRACT) -> None:
        self.gate = CommandGate(contract, GateSettings(0.5, 0.3, 1.0, 0.5, PERIOD))
        self.now = 100.0
        self.gate.tick(self.now)

    def tick(self, count: int = 1):
        for _ in range(count):
            self.now += PERIOD
            output = self.gate.tick(self.now)
        return output

    def drive(self, source: Source, velocity: Velocity, seconds: float):
        """Command at every tick for a while; returns the last output."""
        for _ in range(round(seconds / PERIOD)):
            self.gate.offer_velocity(source, velocity, self.now)
            output = self.tick()
        return output


@pytest.fixture
def clocked() -> Clocked:
    return Clocked()


def test_without_a_command_zeros_go_out(clocked):
    output = clocked.tick()
    assert (output.velocity, output.driver, output.gripper) == (ZERO, Driver.NONE, None)


def test_a_command_is_reached_within_the_acceleration_limit(clocked):
    speeds = [clocked.drive(Source.POLICY, Velocity(0.5), PERIOD).velocity.x for _ in range(10)]
    assert speeds[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert speeds == sorted(speeds) and speeds[-1] == 0.5


def test_speed_in_the_plane_is_clamped_keeping_its_direction(clocked):
    velocity = clocked.drive(Source.POLICY, Velocity(3.0, 4.0), 2.0).velocity
    assert (velocity.x, velocity.y) == pytest.approx((0.48, 0.64))
    assert clocked.gate.counters.clamped > 0


def test_a_command_exactly_at_the_limit_is_not_counted_as_clamped(clocked):
    for angle in range(360):
        clocked.drive(Source.POLICY, Velocity(0.8 * math.cos(angle), 0.8 * math.sin(angle)), PERIOD)
    assert clocked.gate.counters.clamped == 0


def test_yaw_rate_is_clamped_and_its_change_is_limited(clocked):
    first = clocked.drive(Source.TELEOP, Velocity(yaw_rate=-9.0), PERIOD).velocity.yaw_rate
    assert first == pytest.approx(-0.2)
    assert clocked.drive(Source.TELEOP, Velocity(yaw_rate=-9.0), 2.0).velocity.yaw_rate == pytest.approx(-1.5)


def test_a_differential_base_is_never_told_to_strafe():
    clocked = Clocked(CONTRACT.model_copy(update={"base": "differential"}))
    velocity = clocked.drive(Source.TELEOP, Velocity(0.3, 0.4), 1.0).velocity
    assert (velocity.x, velocity.y) == pytest.approx((0.3, 0.0))


def test_a_silent_driver_times_out_to_zero_at_once(clocked):
    assert clocked.drive(Source.POLICY, Velocity(0.8), 1.0).velocity.x == pytest.approx(0.8)
    assert clocked.tick(5).velocity.x == pytest.approx(0.8)
    output = clocked.tick(2)
    assert (output.velocity, output.driver) == (ZERO, Driver.NONE)
    assert clocked.gate.counters.timeouts == 1


def test_a_driver_that_ends_on_zeros_is_not_counted_as_a_timeout(clocked):
    clocked.drive(Source.TELEOP, Velocity(0.3), 0.5)
    clocked.drive(Source.TELEOP, ZERO, 0.5)
    assert clocked.tick(40).driver is Driver.NONE
    assert clocked.gate.counters.timeouts == 0


def test_teleop_takes_over_and_hands_back_after_the_release_time(clocked):
    clocked.drive(Source.POLICY, Velocity(0.5), 1.0)
    clocked.gate.offer_velocity(Source.TELEOP, Velocity(-0.1), clocked.now)
    output = clocked.drive(Source.POLICY, Velocity(0.5), 0.45)
    assert (output.driver, output.velocity.x) == (Driver.TELEOP, pytest.approx(-0.1))
    released = clocked.drive(Source.POLICY, Velocity(0.5), 0.5)
    assert (released.driver, released.velocity) == (Driver.NONE, ZERO)
    assert "release" in released.reason
    assert clocked.drive(Source.POLICY, Velocity(0.5), 1.0).driver is Driver.POLICY


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_velocity_that_is_not_finite_stops_its_source_at_once(clocked, bad):
    clocked.drive(Source.POLICY, Velocity(0.5), 1.0)
    assert "not finite" in clocked.gate.offer_velocity(Source.POLICY, Velocity(0.1, bad), clocked.now)
    output = clocked.tick()
    assert (output.velocity, output.driver) == (ZERO, Driver.POLICY)
    assert clocked.drive(Source.POLICY, Velocity(0.5), 1.0).velocity.x == pytest.approx(0.5)
    assert clocked.gate.counters.refused == 1


@pytest.mark.parametrize("position", [math.nan, math.inf, -0.1, 1.1])
def test_a_bad_gripper_value_lets_no_half_of_the_command_through(clocked, position):
    clocked.gate.offer_gripper(Source.POLICY, 1.0, clocked.now)
    clocked.drive(Source.POLICY, Velocity(0.5), 1.0)
    assert clocked.gate.offer_gripper(Source.POLICY, position, clocked.now)
    output = clocked.drive(Source.POLICY, Velocity(0.5), 1.0)
    assert (output.velocity, output.gripper) == (ZERO, 1.0)
    clocked.gate.offer_gripper(Source.POLICY, 0.0, clocked.now)
    output = clocked.drive(Source.POLICY, Velocity(0.5), 1.0)
    assert (output.velocity.x, output.gripper) == (pytest.approx(0.5), 0.0)


def test_who_is_refused_is_told_until_a_good_command_or_silence(clocked):
    assert clocked.gate.refused_now(clocked.now) == ""
    clocked.gate.offer_velocity(Source.TELEOP, Velocity(math.nan), clocked.now)
    assert clocked.gate.refused_now(clocked.now).startswith("teleop: velocity (nan")
    clocked.tick(20)
    assert clocked.gate.refused_now(clocked.now) == "", "who has gone sends nothing that could be refused"
    clocked.gate.offer_gripper(Source.POLICY, 2.0, clocked.now)
    assert "policy: gripper position 2.0" in clocked.gate.refused_now(clocked.now)
    clocked.gate.offer_gripper(Source.POLICY, 1.0, clocked.now)
    assert clocked.gate.refused_now(clocked.now) == ""


def test_a_human_with_a_broken_joystick_still_stops_the_policy(clocked):
    clocked.drive(Source.POLICY, Velocity(0.5), 1.0)
    clocked.gate.offer_velocity(Source.TELEOP, Velocity(math.nan), clocked.now)
    output = clocked.drive(Source.POLICY, Velocity(0.5), 0.3)
    assert (output.velocity, output.driver) == (ZERO, Driver.TELEOP)


@pytest.mark.parametrize("age_s", [0.6, -0.6, math.nan])
def test_a_stale_or_future_stamp_is_refused(clocked, age_s):
    assert "stamp" in clocked.gate.offer_velocity(Source.POLICY, Velocity(0.5), clocked.now, age_s)
    assert clocked.tick().velocity == ZERO


def test_a_gripper_command_with_a_stale_stamp_lets_no_half_of_the_command_through(clocked):
    clocked.drive(Source.POLICY, Velocity(0.5), 1.0)
    assert "stamp is 0.60 s old" in clocked.gate.offer_gripper(Source.POLICY, 1.0, clocked.now, 0.6)
    output = clocked.drive(Source.POLICY, Velocity(0.5), 1.0)
    assert (output.velocity, output.gripper) == (ZERO, None)


def test_stop_holds_until_resume_and_old_commands_do_not_come_back(clocked):
    clocked.drive(Source.POLICY, Velocity(0.5), 1.0)
    clocked.gate.stop("button")
    output = clocked.drive(Source.POLICY, Velocity(0.5), 1.0)
    assert (output.velocity, output.driver, output.reason) == (ZERO, Driver.STOPPED, "button")
    clocked.gate.resume()
    assert clocked.tick().velocity == ZERO
    assert clocked.drive(Source.POLICY, Velocity(0.5), 1.0).velocity.x == pytest.approx(0.5)


def test_the_gripper_holds_through_timeout_and_stop(clocked):
    clocked.gate.offer_gripper(Source.TELEOP, 1.0, clocked.now)
    assert clocked.tick(100).gripper == 1.0
    clocked.gate.stop("button")
    clocked.gate.offer_gripper(Source.TELEOP, 0.0, clocked.now)
    assert clocked.tick().gripper == 1.0


def test_a_gripper_order_of_the_policy_during_a_takeover_is_forgotten(clocked):
    clocked.gate.offer_gripper(Source.TELEOP, 1.0, clocked.now)
    clocked.gate.offer_gripper(Source.POLICY, 0.0, clocked.now)
    output = clocked.drive(Source.POLICY, ZERO, 3.0)
    assert (output.driver, output.gripper) == (Driver.POLICY, 1.0)


def test_after_a_stalled_timer_velocity_still_changes_by_two_periods_at_most(clocked):
    clocked.now += 5.0
    clocked.gate.offer_velocity(Source.TELEOP, Velocity(0.8), clocked.now)
    assert clocked.gate.tick(clocked.now).velocity.x == pytest.approx(2 * PERIOD * 2.0)
