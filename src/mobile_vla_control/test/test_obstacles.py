"""The guard against obstacles, with points instead of messages."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobile_vla_control.gate import CommandGate, Driver, GateSettings, Source
from mobile_vla_control.obstacles import ObstacleGuard
from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract

STOP_M, HALF_M, TICK_S = 0.1, 0.2, 0.05
SQUARE = [[HALF_M, HALF_M], [-HALF_M, HALF_M], [-HALF_M, -HALF_M], [HALF_M, -HALF_M]]
LIMITS = (0.05, 8.0)


@pytest.fixture(scope="module")
def bare(request):
    return Contract.load(request.config.rootpath / "config" / "robot.yaml")


def with_obstacles(bare, *sensors, **changes):
    sensors = sensors or ({"topic": "scan", "max_age_s": 0.3},)
    values = {"sensors": list(sensors), "footprint": SQUARE, "stop_distance_m": STOP_M, "reaction_s": 0.0, **changes}
    return Contract.from_dict({**bare.model_dump(mode="json"), "obstacles": values})


class Course:
    """A robot among points in the world, which does at once what the guard lets through."""

    def __init__(self, contract, points):
        self.guard = ObstacleGuard(contract)
        self.points = np.array(points, dtype=float).reshape(-1, 2)
        self.x = self.y = self.yaw = self.now_s = 0.0
        self.past = []

    def seen(self, place=None):
        """Points in the robot's frame; ``place`` is an earlier x, y and yaw."""
        x, y, yaw = place or (self.x, self.y, self.yaw)
        cosine, sine = math.cos(yaw), math.sin(yaw)
        return (self.points - (x, y)) @ np.array([[cosine, -sine], [sine, cosine]])

    def look(self, ticks_ago=0):
        """Measure what was to be seen so many ticks ago, or at the start."""
        self.past.append((self.now_s, (self.x, self.y, self.yaw)))
        measured_s, place = self.past[max(0, len(self.past) - 1 - ticks_ago)]
        seen = self.seen(place)
        # One ray for each point: the increment is of no meaning, so every point is a scan of its own direction.
        ranges, angles = np.hypot(*seen.T), np.arctan2(seen[:, 1], seen[:, 0])
        sensor = self.guard._sensors[0]
        sensor.newest.accept(measured_s, self.now_s)
        sensor.points = np.column_stack([ranges * np.cos(angles), ranges * np.sin(angles)])

    def tick(self, wanted):
        sent, reason = self.guard.apply(wanted, self.now_s, TICK_S)
        self.guard.sent(sent, self.now_s)
        for _ in range(5):
            step_s = TICK_S / 5
            cosine, sine = math.cos(self.yaw), math.sin(self.yaw)
            self.x += (cosine * sent.x - sine * sent.y) * step_s
            self.y += (sine * sent.x + cosine * sent.y) * step_s
            self.yaw += sent.yaw_rate * step_s
        self.now_s += TICK_S
        return sent, reason

    def clearance_m(self):
        """Distance of the nearest point from the square robot."""
        outside = np.maximum(np.abs(self.seen()) - HALF_M, 0.0)
        return float(np.hypot(*outside.T).min())


def wall(x=1.5):
    return [(x, y) for y in np.arange(-2, 2, 0.02)]


def test_a_robot_slows_down_before_a_wall_and_stands_at_the_stop_distance(bare):
    course = Course(with_obstacles(bare), wall())
    speeds, reasons = [], []
    for _ in range(200):
        course.look()
        sent, reason = course.tick(Velocity(0.8))
        speeds.append(sent.x)
        reasons.append(reason)
    assert speeds[0] == 0.8 and speeds[-1] == 0.0
    assert speeds == sorted(speeds, reverse=True)
    assert reasons[-1] == "an obstacle is ahead, seen on 'scan'"
    assert STOP_M - 1e-6 <= course.clearance_m() < STOP_M + 0.03


def test_the_time_to_the_stop_distance_is_never_less_than_the_contract_says(bare):
    course = Course(with_obstacles(bare, slow_time_s=2.0), wall())
    for _ in range(100):
        course.look()
        room_m = course.clearance_m() - STOP_M
        sent, _ = course.tick(Velocity(0.8))
        assert sent.x <= room_m / 2.0 + 1e-6 or sent.x == 0.8 <= room_m / 2.0


def test_what_was_covered_since_the_last_measurement_counts(bare):
    course = Course(with_obstacles(bare, {"topic": "scan", "max_age_s": 1.0}), wall(1.0))
    course.look()
    for _ in range(19):
        course.tick(Velocity(0.8))
    assert course.clearance_m() >= STOP_M - 1e-6


@pytest.mark.parametrize("wanted", [Velocity(0.8), Velocity(0.6, 0.4), Velocity(0.7, 0.0, 0.5)])
@pytest.mark.parametrize("slow_time_s", [0.1, 1.0])
def test_a_wall_that_is_seen_late_is_not_touched_on_any_way_to_it(bare, wanted, slow_time_s):
    course = Course(with_obstacles(bare, slow_time_s=slow_time_s), wall(1.0))
    for _ in range(100):
        course.look(ticks_ago=5)
        course.tick(wanted)
        assert course.clearance_m() > STOP_M - 0.015


@pytest.mark.parametrize(("slow_time_s", "nearest_m"), [(1.0, STOP_M), (0.1, STOP_M / 2)])
@settings(max_examples=60, deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)), min_size=1, max_size=30),
    x=st.floats(-0.8, 0.8), y=st.floats(-0.8, 0.8), turn=st.floats(-1.5, 1.5), ticks_ago=st.integers(0, 5),
)  # fmt: skip
def test_no_command_brings_any_point_nearer_than_the_stop_distance_or_creeping_than_half_of_it(
    bare, slow_time_s, nearest_m, points, x, y, turn, ticks_ago
):
    course = Course(with_obstacles(bare, slow_time_s=slow_time_s), points)
    if course.clearance_m() <= STOP_M:
        return
    for _ in range(60):
        course.look(ticks_ago)
        course.tick(Velocity(x, y, turn))
        # Half of a step between two looks, at most.
        assert course.clearance_m() > nearest_m - 0.015


@pytest.mark.parametrize("near_m", [0.02, 0.07])
def test_a_robot_that_is_too_near_may_back_away_and_go_along_but_come_no_nearer(bare, near_m):
    course = Course(with_obstacles(bare), wall(HALF_M + near_m))
    course.look()
    apply = course.guard.apply
    assert apply(Velocity(0.5), 0.0, TICK_S)[0] == Velocity()
    assert apply(Velocity(-0.5), 0.0, TICK_S) == (Velocity(-0.5), "")
    assert apply(Velocity(-0.3, 0.3), 0.0, TICK_S)[0] == Velocity(-0.3, 0.3)
    assert apply(Velocity(0.0, 0.5), 0.0, TICK_S)[0] == Velocity(0.0, 0.5)


def test_a_robot_that_is_blocked_ahead_may_turn_where_there_is_room(bare):
    course = Course(with_obstacles(bare), [(HALF_M + STOP_M, 0.0)])
    course.look()
    sent, reason = course.guard.apply(Velocity(0.5, 0.0, 1.0), 0.0, TICK_S)
    assert (sent.x, sent.y) == (0.0, 0.0) and sent.yaw_rate > 0.0
    assert "an obstacle is ahead" in reason
    course = Course(with_obstacles(bare), [(HALF_M + 0.02, HALF_M - 0.05)])
    course.look()
    assert course.guard.apply(Velocity(0.0, 0.0, -1.0), 0.0, TICK_S)[0] == Velocity(), "its corner would come nearer"


def test_an_arc_is_slowed_as_a_whole(bare):
    course = Course(with_obstacles(bare), wall(1.0))
    course.look()
    sent, _ = course.guard.apply(Velocity(0.8, 0.0, 0.4), 0.0, TICK_S)
    assert 0.0 < sent.x < 0.8 and sent.yaw_rate / sent.x == pytest.approx(0.5)


def scan(guard, ranges, *, now_s=0.0, sensor=0, age_s=0.0):
    guard.put_scan(sensor, ranges, (-math.pi, 2 * math.pi / len(ranges)), LIMITS, now_s - age_s, now_s)


def test_a_sensor_is_where_the_contract_says(bare):
    sensor = {"topic": "rear", "max_age_s": 0.3, "x_m": -0.2, "y_m": 0.1, "yaw_rad": math.pi}
    guard = ObstacleGuard(with_obstacles(bare, sensor))
    guard.put_scan(0, [0.5], (0.0, 0.1), LIMITS, 0.0, 0.0)
    np.testing.assert_allclose(guard._sensors[0].points, [(-0.7, 0.1)], atol=1e-9)


def test_parts_of_the_robot_are_no_obstacles_and_no_return_is_free(bare):
    guard = ObstacleGuard(with_obstacles(bare))
    scan(guard, [0.1, math.inf, 0.15, math.nan])
    assert guard.apply(Velocity(0.8, 0.3, 1.0), 0.0, TICK_S) == (Velocity(0.8, 0.3, 1.0), "")


def test_minus_infinity_is_an_obstacle_that_is_too_near_to_be_measured(bare):
    sensor = {"topic": "front", "max_age_s": 0.3, "x_m": 0.25}
    guard = ObstacleGuard(with_obstacles(bare, sensor))
    guard.put_scan(0, [-math.inf], (0.0, 0.1), LIMITS, 0.0, 0.0)
    assert guard.apply(Velocity(0.5), 0.0, TICK_S)[0] == Velocity()


@pytest.mark.parametrize(("distance", "share"), [(0.5, "slower"), (0.02, "stands"), (8.0, "free"), (math.inf, "free")])
def test_a_distance_sensor_is_a_cone(bare, distance, share):
    sensor = {"topic": "sonar", "type": "range", "max_age_s": 0.3, "x_m": 0.25}
    guard = ObstacleGuard(with_obstacles(bare, sensor))
    guard.put_range(0, distance, 0.5, LIMITS, 0.0, 0.0)
    sent, reason = guard.apply(Velocity(0.8), 0.0, TICK_S)
    assert {"slower": 0.0 < sent.x < 0.8, "stands": sent.x == 0.0, "free": sent.x == 0.8}[share]
    assert bool(reason) == (share != "free")


@pytest.mark.parametrize("kind", ["scan", "range"])
@pytest.mark.parametrize("no_return", [8.0, math.inf])
def test_the_largest_range_and_infinity_are_free_space(bare, kind, no_return):
    guard = one_ray(bare, kind, no_return)
    assert guard.apply(Velocity(0.8), 0.0, TICK_S) == (Velocity(0.8), "")


@pytest.mark.parametrize("kind", ["scan", "range"])
@pytest.mark.parametrize("value", [9.0, 65.5])
def test_a_value_outside_the_limits_is_no_measurement_and_only_motion_towards_it_is_stopped(bare, kind, value):
    guard = one_ray(bare, kind, value)
    reason = "obstacles are unknown: too few of the values ahead on 'front' are measurements"
    assert guard.apply(Velocity(0.5, 0.2), 0.0, TICK_S) == (Velocity(), reason)
    for away in (Velocity(-0.5), Velocity(0.0, 0.5), Velocity(0.0, 0.0, 1.0)):
        assert guard.apply(away, 0.0, TICK_S) == (away, "")


def test_what_is_nearer_than_the_smallest_range_is_an_obstacle_unless_it_is_a_part_of_the_robot(bare):
    guard = ObstacleGuard(with_obstacles(bare))
    limits, ranges = (0.25, 8.0), np.full(360, math.inf)

    def look(distance, ahead):
        ranges[180 - ahead : 180 + ahead] = distance
        guard.put_scan(0, ranges, (-math.pi, math.tau / 360), limits, 0.0, 0.0)
        return guard.apply(Velocity(0.8), 0.0, TICK_S)

    assert look(HALF_M + 0.02, 5) == (Velocity(), "an obstacle is ahead, seen on 'scan'")
    assert look(HALF_M - 0.02, 5) == (Velocity(0.8), "")
    sent, reason = look(HALF_M - 0.02, 20)
    assert sent == Velocity() and "too few of the values ahead" in reason == guard.unseen
    assert guard.apply(Velocity(-0.8), 0.0, TICK_S) == (Velocity(-0.8), "") and guard.unseen == ""


@pytest.mark.parametrize("invalid_is_free", [False, True])
@pytest.mark.parametrize(
    ("ranges", "angles", "limits"),
    [
        ([], (0.0, 0.1), LIMITS),
        ([math.inf] * 8, (math.nan, 0.1), LIMITS),
        ([math.inf] * 8, (0.0, math.inf), LIMITS),
        ([0.3] * 8, (0.0, 0.1), (0.05, math.nan)),
    ],
)
def test_a_scan_without_values_angles_or_limits_is_refused(bare, ranges, angles, limits, invalid_is_free):
    sensor = {"topic": "scan", "max_age_s": 0.3, "invalid_is_free": invalid_is_free}
    guard = ObstacleGuard(with_obstacles(bare, sensor))
    guard.put_scan(0, ranges, angles, limits, 0.0, 0.0)
    sent, reason = guard.apply(Velocity(0.5), 0.0, TICK_S)
    assert sent == Velocity() and "'scan' are refused: it has no values, or no angles or limits" in reason


@pytest.mark.parametrize("kind", ["scan", "range"])
@pytest.mark.parametrize(("value", "free"), [(0.0, True), (math.nan, True), (-1.0, True), (9.0, True), (0.02, False)])
def test_a_driver_that_sends_invalid_values_for_no_return_is_named_in_the_contract(bare, kind, value, free):
    assert one_ray(bare, kind, value).apply(Velocity(0.5), 0.0, TICK_S)[0] == Velocity()
    sent, reason = one_ray(bare, kind, value, invalid_is_free=True).apply(Velocity(0.5), 0.0, TICK_S)
    assert (sent, reason) == (Velocity(0.5), "") if free else sent == Velocity()


def one_ray(bare, kind, value, **settings):
    """A guard with one sensor at the front, which has measured ``value``."""
    guard = ObstacleGuard(
        with_obstacles(bare, {"topic": "front", "type": kind, "max_age_s": 0.3, "x_m": 0.25, **settings})
    )
    if kind == "scan":
        guard.put_scan(0, [value], (0.0, 0.1), LIMITS, 0.0, 0.0)
    else:
        guard.put_range(0, value, 0.5, LIMITS, 0.0, 0.0)
    return guard


@pytest.mark.parametrize("covered", [0.0, math.nan, 0.01])
def test_a_sensor_that_is_covered_in_part_stops_motion_to_where_it_is_covered(bare, covered):
    guard = ObstacleGuard(with_obstacles(bare))
    angles = np.linspace(-math.pi, math.pi, 360, endpoint=False)
    # Covered to the left of straight ahead; elsewhere every tenth ray fails, as some always do.
    ranges = np.where((angles > 0.0) & (angles < 2.0), covered, math.inf)
    ranges[::10] = covered
    scan(guard, ranges)
    for unseen in (Velocity(0.5), Velocity(0.3, 0.3), Velocity(0.0, 0.5, 0.2)):
        sent, reason = guard.apply(unseen, 0.0, TICK_S)
        assert sent == Velocity() and "too few of the values ahead on 'scan'" in reason
    for seen in (Velocity(-0.5), Velocity(0.0, -0.5), Velocity(0.3, -0.6), Velocity(0.0, 0.0, 1.0)):
        assert guard.apply(seen, 0.0, TICK_S) == (seen, "")


def test_every_sensor_counts_and_the_nearest_obstacle_is_named_by_its_topic(bare):
    sensors = [{"topic": topic, "max_age_s": 0.3} for topic in ("left_scan", "right_scan")]
    guard = ObstacleGuard(with_obstacles(bare, *sensors))
    assert guard.problem(0.0) == (
        "obstacles are unknown: nothing has arrived on 'left_scan'; nothing has arrived on 'right_scan'"
    )
    scan(guard, [math.inf] * 8, sensor=0)
    assert guard.apply(Velocity(0.5), 0.0, TICK_S)[0] == Velocity()
    guard.put_scan(1, [0.5], (0.0, 0.1), LIMITS, 0.0, 0.0)
    sent, reason = guard.apply(Velocity(0.5), 0.0, TICK_S)
    assert 0.0 < sent.x < 0.5 and "'right_scan'" in reason


def test_a_sensor_that_is_silent_blind_or_on_another_clock_stops_the_robot(bare):
    guard = ObstacleGuard(with_obstacles(bare))
    scan(guard, [math.inf] * 8)
    assert guard.apply(Velocity(0.5), 0.3, TICK_S)[0] == Velocity(0.5)
    for wanted in (Velocity(0.5), Velocity(-0.5), Velocity(0.0, 0.0, 1.0)):
        assert guard.apply(wanted, 3.0, TICK_S) == (Velocity(), "obstacles are unknown: 'scan' is silent")
    scan(guard, [0.0, math.nan], now_s=3.0)
    assert "messages on 'scan' are refused: no value in it is a distance" in guard.problem(3.0)
    scan(guard, [math.inf], now_s=3.1, age_s=7200.0)
    assert "synchronise the clocks" in guard.problem(3.1)
    scan(guard, [math.inf], now_s=3.2)
    assert guard.problem(3.2) == ""


def test_a_contract_without_obstacles_changes_nothing(bare):
    guard = ObstacleGuard(bare)
    assert not guard.limited and guard.problem(0.0) == ""
    assert guard.apply(Velocity(9.0), 0.0, TICK_S) == (Velocity(9.0), "")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"stop_distance_m": 0.0}, "obstacles.stop_distance_m"),
        ({"footprint": [[0, 0], [1, 1]]}, "an area needs at least 3 corners"),
        ({"sensors": []}, "obstacles.sensors"),
        ({"sensors": [{"topic": "a", "max_age_s": 1.0}] * 2}, "two sensors have the same topic: a, a"),
        ({"sensors": [{"topic": "a", "type": "depth", "max_age_s": 1.0}]}, "obstacles.sensors.0.type"),
    ],
)
def test_a_wrong_contract_is_refused_by_field(bare, changes, complaint):
    with pytest.raises(ValueError, match=complaint.replace(".", r"\.")):
        with_obstacles(bare, **{"sensors": [{"topic": "scan", "max_age_s": 0.3}], **changes})


def test_what_the_gate_could_not_see_is_forgotten_with_the_command(bare):
    gate = CommandGate(with_obstacles(bare), GateSettings(0.5, 0.3, 1.0, 0.5, TICK_S))
    gate.obstacles.put_scan(0, [9.0], (0.0, 0.1), LIMITS, 0.0, 0.0)
    gate.offer_velocity(Source.POLICY, Velocity(0.5), 0.0)
    assert gate.tick(0.0).velocity == Velocity() and "too few of the values ahead" in gate.obstacles.unseen
    assert gate.tick(1.0).reason == "no fresh command" and gate.obstacles.unseen == ""


@pytest.mark.parametrize("source", list(Source))
def test_the_gate_stops_operator_and_policy_alike_and_both_may_back_away(bare, source):
    gate = CommandGate(with_obstacles(bare), GateSettings(0.5, 0.3, 1.0, 0.5, TICK_S))
    name, now_s, driver = source.value, 0.0, Driver[source.name]

    def drive(velocity, ticks, distance):
        nonlocal now_s
        for _ in range(ticks):
            now_s += TICK_S
            gate.obstacles.put_scan(0, [distance], (0.0, 0.1), LIMITS, now_s, now_s)
            gate.offer_velocity(source, velocity, now_s)
            output = gate.tick(now_s)
        return output

    assert drive(Velocity(0.5), 40, math.inf).velocity.x == pytest.approx(0.5)
    output = drive(Velocity(0.5), 1, HALF_M + STOP_M)
    assert output.velocity == Velocity() and output.driver is driver
    assert output.reason == f"{name} stands still: an obstacle is ahead, seen on 'scan'"
    assert drive(Velocity(-0.5), 40, HALF_M + STOP_M).velocity.x == pytest.approx(-0.5)
    now_s += 0.4
    gate.offer_velocity(source, Velocity(-0.5), now_s)
    output = gate.tick(now_s)
    assert output.velocity == Velocity()
    assert output.reason == f"{name} stands still: obstacles are unknown: 'scan' is silent"
