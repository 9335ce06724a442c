"""Velocity, acceleration and jerk, step by step."""

import math
from itertools import cycle, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobile_vla_control.limiter import VelocityLimiter
from mobile_vla_data.action import Velocity, clamp
from mobile_vla_data.contract import Contract

LIMITS = Contract.load(Path(__file__).parents[3] / "config" / "robot.yaml").limits
SOFT = LIMITS.model_copy(update={"linear_jerk_m_s3": 8.0, "angular_jerk_rad_s3": 16.0})
ABRUPT = LIMITS.model_copy(update={"linear_jerk_m_s3": None, "angular_jerk_rad_s3": None})
PERIOD = 0.02


def followed(limits, targets, each=1, period=PERIOD):
    """Velocities sent, from rest on, when every target stands for ``each`` steps."""
    limiter = VelocityLimiter(limits)
    return [Velocity(), *(limiter.follow(target, period) for target in targets for _ in range(each))]


def changes(vectors, period=PERIOD):
    return [((b[0] - a[0]) / period, (b[1] - a[1]) / period) for a, b in pairwise(vectors)]


targets = st.builds(
    lambda speed, angle, yaw_rate: Velocity(speed * math.cos(angle), speed * math.sin(angle), yaw_rate),
    st.floats(0, LIMITS.linear_m_s),
    st.floats(-math.pi, math.pi),
    st.floats(-LIMITS.angular_rad_s, LIMITS.angular_rad_s),
)


@settings(deadline=None)
@given(st.lists(targets, min_size=1, max_size=6), st.sampled_from([SOFT, LIMITS]), st.integers(1, 40))
def test_acceleration_is_never_exceeded_and_jerk_only_where_speed_is_at_its_limit(wanted, limits, each):
    sent = followed(limits, wanted, each)
    for vectors, speed, acceleration, jerk in (
        ([(v.x, v.y) for v in sent], limits.linear_m_s, limits.linear_acceleration_m_s2, limits.linear_jerk_m_s3),
        (
            [(v.yaw_rate, 0.0) for v in sent],
            limits.angular_rad_s,
            limits.angular_acceleration_rad_s2,
            limits.angular_jerk_rad_s3,
        ),
    ):
        accelerations = changes(vectors)
        assert max(math.hypot(*a) for a in accelerations) <= acceleration + 1e-6
        at_limit = [math.hypot(*v) > speed - 1e-6 for v in vectors]
        jerks = changes([(0.0, 0.0), *accelerations])
        free = [math.hypot(*j) for j, *there in zip(jerks, at_limit, at_limit[1:], strict=False) if not any(there)]
        # The last 1e-9 m/s to a target are taken in one step, which is a jerk of 2.5e-6 more.
        assert max(free, default=0) <= jerk + 1e-5


@settings(deadline=None)
@given(
    st.lists(st.tuples(targets, st.sampled_from([0.02, 0.05, 0.1])), min_size=1, max_size=60),
    st.sampled_from([SOFT, LIMITS]),
)
def test_no_turn_of_direction_is_ever_faster_than_the_limit(steps, limits):
    limiter = VelocityLimiter(limits)
    for target, elapsed_s in steps:
        sent = limiter.follow(target, elapsed_s)
        assert math.hypot(sent.x, sent.y) <= limits.linear_m_s * (1 + 1e-6)
        assert abs(sent.yaw_rate) <= limits.angular_rad_s * (1 + 1e-6)


def test_a_base_that_changes_direction_while_it_accelerates_keeps_to_its_largest_speed():
    full, limiter = LIMITS.linear_m_s, VelocityLimiter(SOFT)
    ahead, aside = Velocity(full), Velocity(full * math.cos(0.4), full * math.sin(0.4))
    sent = [limiter.follow(target, PERIOD) for target in [ahead] * 20 + [aside] * 60]
    assert max(math.hypot(v.x, v.y) for v in sent) <= full * (1 + 1e-6)
    assert sent[-1] == aside


@settings(deadline=None)
@given(targets, st.sampled_from([SOFT, LIMITS, ABRUPT]))
def test_every_target_is_reached_and_kept(target, limits):
    sent = followed(limits, [target], 100)
    assert sent[-1] == sent[-2] == target


@pytest.mark.parametrize("limits", [SOFT, LIMITS, ABRUPT])
def test_a_target_is_approached_without_overshooting(limits):
    for speed in (0.013, 0.1, 0.33, 0.8):
        assert max(v.x for v in followed(limits, [Velocity(speed)], 80)) <= speed + 1e-9


@settings(deadline=None)
@given(
    targets,
    targets,
    st.lists(st.floats(0.001, 0.1), min_size=1, max_size=20),
    st.sampled_from([SOFT, LIMITS, ABRUPT]),
)
def test_braking_never_overshoots_however_late_or_early_the_ticks_are(first, second, periods, limits):
    limiter = VelocityLimiter(limits)
    for _ in range(200):
        now = limiter.follow(first, PERIOD)
    assert now == first
    span = (second.x - first.x, second.y - first.y)
    length = math.hypot(*span)
    for _, elapsed_s in zip(range(400), cycle(periods), strict=False):
        sent = limiter.follow(second, elapsed_s)
        along = ((sent.x - first.x) * span[0] + (sent.y - first.y) * span[1]) / length if length else 0.0
        assert along <= length + 1e-9
        least, most = sorted((first.yaw_rate, second.yaw_rate))
        assert least - 1e-9 <= sent.yaw_rate <= most + 1e-9


def test_a_robot_that_brakes_to_a_stand_never_rolls_back_when_a_tick_is_late():
    limiter = VelocityLimiter(LIMITS)
    for _ in range(100):
        limiter.follow(Velocity(0.8), PERIOD)
    sent = [limiter.follow(Velocity(), elapsed_s).x for elapsed_s in [PERIOD, 2 * PERIOD, 0.25 * PERIOD] * 20]
    assert min(sent) == sent[-1] == 0.0


def test_without_a_jerk_limit_acceleration_alone_counts():
    speeds = [v.x for v in followed(ABRUPT, [Velocity(0.5)], 6, period=0.05)]
    assert speeds == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5])


def test_a_jerk_limit_rounds_the_corners_of_the_speed():
    speeds = [v.x for v in followed(SOFT, [Velocity(0.5)], 60)]
    steps = [b - a for a, b in pairwise(speeds)]
    assert steps[0] == pytest.approx(8.0 * PERIOD**2)
    assert 0.9 * 2.0 * PERIOD < max(steps) <= 2.0 * PERIOD
    assert speeds.index(0.5) > 0.5 / (2.0 * PERIOD) + 5


def test_after_halt_it_begins_from_rest():
    limiter = VelocityLimiter(SOFT)
    for _ in range(50):
        limiter.follow(Velocity(0.8, 0.0, 1.0), PERIOD)
    limiter.halt()
    assert limiter.follow(Velocity(), PERIOD) == Velocity()
    assert limiter.follow(Velocity(0.8), PERIOD).x == pytest.approx(8.0 * PERIOD**2)


def test_clamping_keeps_the_direction_of_travel():
    clamped = clamp(Velocity(3.0, 4.0, -9.0), LIMITS, can_strafe=True)
    assert (clamped.x, clamped.y, clamped.yaw_rate) == pytest.approx((0.48, 0.64, -1.5))
    assert clamp(Velocity(0.3, 0.4), LIMITS, can_strafe=False) == Velocity(0.3)
