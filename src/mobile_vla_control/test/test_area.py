"""The area the robot is kept in."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobile_vla_control.area import KeepIn
from mobile_vla_control.gate import ZERO, CommandGate, GateSettings, Source
from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract

CONTRACT = Contract.load(Path(__file__).parents[3] / "config" / "robot.yaml")
#: An L: the corner at (2, 2) points inwards.
L_SHAPE = [[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [2.0, 2.0], [2.0, 4.0], [0.0, 4.0]]
INSIDE = CONTRACT.model_copy(update={"keep_in": L_SHAPE})
PERIOD = 0.02


def keep_in(x=1.0, y=1.0, yaw=0.0, frame="odom", at_s=100.0, received_s=100.0) -> KeepIn:
    area = KeepIn(INSIDE)
    area.put(x, y, yaw, frame, at_s, received_s)
    return area


def test_far_from_every_edge_nothing_is_changed():
    assert keep_in().apply(Velocity(0.8, 0.0, 1.0), 100.0, PERIOD) == (Velocity(0.8, 0.0, 1.0), "")


def test_a_contract_without_an_area_limits_nothing_and_needs_no_odometry():
    assert KeepIn(CONTRACT).apply(Velocity(0.8), 100.0, PERIOD) == (Velocity(0.8), "")


def test_ahead_of_the_edge_the_robot_is_slowed_down_keeping_its_direction():
    velocity, why = keep_in(x=3.9).apply(Velocity(0.6, 0.2, 0.5), 100.0, PERIOD)
    assert 0.0 < velocity.x < 0.6 and velocity.y == pytest.approx(velocity.x / 3) and velocity.yaw_rate == 0.5
    assert why == "the edge of keep_in is ahead"
    assert keep_in(x=3.9).apply(Velocity(-0.6), 100.0, PERIOD) == (Velocity(-0.6), "")


def test_directions_are_those_of_the_robot_and_edges_those_of_the_room():
    facing_the_edge, facing_away = keep_in(x=3.9, yaw=0.0), keep_in(x=3.9, yaw=math.pi)
    assert facing_the_edge.apply(Velocity(0.8), 100.0, PERIOD)[1]
    assert not facing_away.apply(Velocity(0.8), 100.0, PERIOD)[1]


@pytest.mark.parametrize(("x", "y"), [(3.0, 2.5), (-1.0, 1.0), (5.0, 4.0), (3.0, -0.01)])
def test_outside_only_motion_back_inside_is_let_through(x, y):
    for degrees in range(0, 360, 10):
        velocity = Velocity(0.4 * math.cos(math.radians(degrees)), 0.4 * math.sin(math.radians(degrees)), 0.3)
        let_through, why = keep_in(x, y).apply(velocity, 100.0, PERIOD)
        area = keep_in(x, y)._polygon
        here = math.dist(area.nearest((x, y)), (x, y))
        there = (x + 1e-6 * velocity.x, y + 1e-6 * velocity.y)
        if math.dist(area.nearest(there), there) < here - 0.04e-6:
            assert (let_through, why) == (velocity, "")
        else:
            assert let_through == Velocity(0.0, 0.0, 0.3) and "only motion back inside" in why


@pytest.mark.parametrize(
    ("area", "said"),
    [
        (KeepIn(INSIDE), "unknown: nothing has arrived on 'odom'"),
        (keep_in(at_s=99.5, received_s=99.5), "unknown: 'odom' is silent"),
        (keep_in(at_s=99.5), "arrive on 'odom', but their stamps are not this machine's time; synchronise the clocks"),
        (keep_in(at_s=100.5), "arrive on 'odom', but their stamps are not this machine's time; synchronise the clocks"),
        (keep_in(at_s=-7100.0, received_s=99.0), "but their stamps are not this machine's time"),
        (keep_in(at_s=-7100.0, received_s=90.0), "unknown: 'odom' is silent"),
        (keep_in(x=math.nan), "messages on 'odom' are refused: the position is not finite"),
        (keep_in(yaw=None), "messages on 'odom' are refused: the orientation is not a unit quaternion"),
        (keep_in(frame="map"), "messages on 'odom' are refused: frame_id is 'map', the contract says 'odom'"),
        (keep_in(frame="map", received_s=97.0), "unknown: 'odom' is silent"),
    ],
)
def test_without_a_fresh_position_the_robot_stands(area, said):
    for velocity in (Velocity(0.1), Velocity(yaw_rate=0.1)):
        let_through, why = area.apply(velocity, 100.0, PERIOD)
        assert let_through == ZERO and said in why
    assert said in area.problem(100.0)


def test_the_reason_of_an_earlier_fault_does_not_stay_attached():
    area = keep_in(frame="map")
    area.put(1.0, 1.0, 0.0, "odom", 101.0, 101.0)
    assert area.problem(101.1) == ""
    assert area.problem(101.5) == "the distance to the edge of keep_in is unknown: 'odom' is silent"


@settings(deadline=None)
@given(
    st.floats(-math.pi, math.pi), st.floats(0.1, 0.8), st.floats(0.2, 1.8), st.floats(0.2, 1.8), st.floats(-1.5, 1.5)
)
def test_a_robot_that_does_as_it_is_told_never_leaves(angle, speed, x, y, yaw_rate):
    gate = CommandGate(INSIDE, GateSettings(0.5, 0.3, 1.0, 0.5, PERIOD))
    now, yaw, wanted = 100.0, 0.0, Velocity(speed * math.cos(angle), speed * math.sin(angle), yaw_rate)
    gate.tick(now)
    for _ in range(250):
        gate.keep_in.put(x, y, yaw, "robot1/odom", now, now)
        gate.offer_velocity(Source.POLICY, wanted, now)
        now += PERIOD
        velocity = gate.tick(now).velocity
        x += PERIOD * (velocity.x * math.cos(yaw) - velocity.y * math.sin(yaw))
        y += PERIOD * (velocity.x * math.sin(yaw) + velocity.y * math.cos(yaw))
        yaw += PERIOD * velocity.yaw_rate
        area = gate.keep_in._polygon
        assert area.contains((x, y)) or math.dist(area.nearest((x, y)), (x, y)) < 1e-6, (x, y)


@pytest.mark.parametrize("start", [(-0.5, 0.1), (0.5, -1.0), (-0.3, -0.3)])
def test_a_robot_that_comes_back_in_does_not_leave_again_on_the_other_side(start):
    narrow = CONTRACT.model_copy(update={"keep_in": [[0.0, 0.0], [0.1, 0.0], [0.1, 0.2], [0.0, 0.2]]})
    gate = CommandGate(narrow, GateSettings(0.5, 0.3, 1.0, 0.5, PERIOD))
    now, (x, y) = 100.0, start
    angle = math.atan2(0.1 - y, 0.05 - x)
    gate.tick(now)
    entered = False
    for _ in range(600):
        gate.keep_in.put(x, y, 0.0, "odom", now, now)
        gate.offer_velocity(Source.TELEOP, Velocity(0.8 * math.cos(angle), 0.8 * math.sin(angle)), now)
        now += PERIOD
        velocity = gate.tick(now).velocity
        x, y = x + PERIOD * velocity.x, y + PERIOD * velocity.y
        inside = -1e-6 <= x <= 0.1 + 1e-6 and -1e-6 <= y <= 0.2 + 1e-6
        assert inside or not entered, (x, y)
        entered = entered or inside
    assert entered


def test_a_robot_stands_at_the_edge_and_may_drive_back():
    gate = CommandGate(INSIDE, GateSettings(0.5, 0.3, 1.0, 0.5, PERIOD))
    now = 100.0
    gate.keep_in.put(4.0, 1.0, 0.0, "odom", now, now)
    for speed in (0.5, -0.5):
        for _ in range(50):
            gate.offer_velocity(Source.TELEOP, Velocity(speed), now)
            gate.keep_in.put(4.0, 1.0, 0.0, "odom", now, now)
            now += PERIOD
            output = gate.tick(now)
        assert output.velocity.x == pytest.approx(0.0 if speed > 0 else -0.5, abs=1e-3)
        assert ("keep_in" in output.reason) == (speed > 0)
