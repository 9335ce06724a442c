"""Properties of the chunk scheduler that hold for any sequence of chunks, delays and ticks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobile_vla_data.contract import GripperThresholds
from mobile_vla_policy.runtime.scheduler import ChunkRefusedError, ChunkScheduler, SchedulerOptions

# On a busy machine an example may take as long as it likes.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

PERIOD_NS = 100_000_000
THRESHOLDS = GripperThresholds(close_above=0.6, open_below=0.4)


def make(**options: float) -> ChunkScheduler:
    return ChunkScheduler(PERIOD_NS, THRESHOLDS, SchedulerOptions(**{"blend": 0.0, **options}))


def chunk(*delta_x: float, gripper: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    return np.array([[x, 0.0] for x in delta_x]), np.full(len(delta_x), gripper)


def test_turns_are_blended_and_slowed_down_as_the_displacement_is() -> None:
    scheduler = make(blend=0.5)
    turning = np.array([[0.04, 0.0, 0.2]] * 4), np.zeros(4)
    scheduler.offer(0, *turning, 0)
    first = scheduler.action(0)
    assert first is not None
    assert (first.delta_x, first.delta_yaw) == (0.04, pytest.approx(0.2))
    scheduler.offer(PERIOD_NS, turning[0] / 2, turning[1], PERIOD_NS)
    blended = scheduler.action(PERIOD_NS)
    assert blended is not None
    # The newer chunk weighs 1, the older one 0.5.
    assert blended.delta_yaw == pytest.approx((0.1 + 0.5 * 0.2) / 1.5)
    assert blended.delta_yaw / blended.delta_x == pytest.approx(0.2 / 0.04)
    slow = make(max_stretch=2.0)
    slow.offer(0, *turning, 0, next_in_ns=8 * PERIOD_NS)
    halved = slow.action(0)
    assert halved is not None
    assert (halved.delta_x, halved.delta_yaw) == (pytest.approx(0.02), pytest.approx(0.1))


def test_chunks_without_turns_turn_nowhere() -> None:
    scheduler = make()
    scheduler.offer(0, *chunk(0.01), 0)
    action = scheduler.action(0)
    assert action is not None
    assert action.delta_yaw == 0.0


chunks = st.lists(
    st.tuples(
        st.integers(0, 400_000_000),  # after the capture of the one before [ns]
        st.integers(0, 900_000_000),  # delay from capture to arrival [ns]
        st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=8),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=12,
)
options = st.builds(
    SchedulerOptions,
    horizon=st.integers(0, 8),
    blend=st.floats(0, 0.95),
    max_stretch=st.floats(1, 4),
)


@given(chunks, options, st.integers(0, 300_000_000))
def test_actions_are_finite_never_faster_than_predicted_and_end_in_time(drives, chosen, tick_ns):
    scheduler = ChunkScheduler(PERIOD_NS, THRESHOLDS, chosen)
    now = 10**18
    captured = now
    fastest, last_end = 0.0, now
    for gap, delay, deltas, gripper in drives:
        captured += gap
        now = max(now, captured + delay)
        scheduler.offer(captured, *chunk(*deltas, gripper=gripper), now, tick_ns)
        fastest = max(fastest, *map(abs, deltas))
        last_end = max(last_end, captured + round(len(deltas) * PERIOD_NS * chosen.max_stretch))
        action = scheduler.action(now)
        if action is not None:
            assert math.isfinite(action.delta_x) and abs(action.delta_x) <= fastest + 1e-12
            assert action.delta_y == 0.0 and action.stamp_ns <= now
            assert 1 <= scheduler.depth(now) <= 8
        now += tick_ns
    assert scheduler.action(last_end + delay_limit(drives)) is None, "a dry queue stops the robot"


def delay_limit(drives: list) -> int:
    """Stretched time only runs slower after the arrival, so no chunk ends later than this after its natural end."""
    return 4 * max(delay for _, delay, _, _ in drives) + 1


@given(st.integers(0, 499_999_999), st.lists(st.floats(-0.1, 0.1), min_size=5, max_size=5))
def test_the_action_is_the_one_whose_period_it_is(delay_ns, deltas):
    scheduler = make()
    assert scheduler.offer(0, *chunk(*deltas), delay_ns)
    assert scheduler.action(delay_ns).delta_x == pytest.approx(deltas[delay_ns // PERIOD_NS])
    assert scheduler.depth(delay_ns) == 5 - delay_ns // PERIOD_NS


@given(st.floats(0.01, 0.9), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1))
def test_overlap_is_weighted_exponentially_by_age_and_the_gripper_follows_the_newest(blend, old, new):
    scheduler = make(blend=blend)
    scheduler.offer(0, *chunk(*[old] * 5, gripper=1.0), 0)
    scheduler.offer(2 * PERIOD_NS, *chunk(*[new] * 5, gripper=0.0), 2 * PERIOD_NS)
    action = scheduler.action(3 * PERIOD_NS)
    weight = blend**2
    assert action.delta_x == pytest.approx((new + weight * old) / (1 + weight), abs=1e-12)
    assert not action.gripper_closed


@given(st.integers(0, 4), st.sampled_from(["x", "y", "gripper"]), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_chunk_with_one_number_that_is_not_finite_is_refused_whole(index, where, value):
    scheduler = make()
    scheduler.offer(0, *chunk(0.1, 0.1, 0.1, 0.1, 0.1, gripper=1.0), 0)
    deltas, gripper = chunk(0.2, 0.2, 0.2, 0.2, 0.2, gripper=0.0)
    if where == "gripper":
        gripper[index] = value
    else:
        deltas[index, "xy".index(where)] = value
    with pytest.raises(ChunkRefusedError, match=f"of action {index} is not finite"):
        scheduler.offer(PERIOD_NS, deltas, gripper, PERIOD_NS)
    action = scheduler.action(PERIOD_NS)
    assert action.delta_x == 0.1 and action.gripper_closed


def test_probabilities_outside_0_to_1_and_wrong_shapes_are_refused():
    scheduler = make()
    with pytest.raises(ChunkRefusedError, match=r"outside 0 .. 1"):
        scheduler.offer(0, *chunk(0.1, gripper=1.5), 0)
    with pytest.raises(ChunkRefusedError, match=r"not \[n, 2 or 3\]"):
        scheduler.offer(0, np.zeros((5, 4)), np.zeros(5), 0)
    with pytest.raises(ChunkRefusedError):
        scheduler.offer(0, np.zeros((0, 2)), np.zeros(0), 0)


@pytest.mark.parametrize(
    ("probabilities", "decisions"),
    [([0.5, 0.5], [None, None]), ([0.7, 0.5, 0.3], [True, True, False]), ([0.5, 0.3, 0.5], [None, False, False])],
)
def test_an_undecided_gripper_keeps_its_position(probabilities, decisions):
    scheduler = make()
    for _ in range(2):
        scheduler.offer(0, np.zeros((len(probabilities), 2)), np.array(probabilities), 0)
        told = [scheduler.action(index * PERIOD_NS).gripper_closed for index in range(len(probabilities))]
        assert told == decisions
        scheduler.reset()


def test_running_dry_is_counted_and_waiting_for_the_first_chunk_is_not():
    scheduler = make()
    assert scheduler.action(0) is None and scheduler.starved_ticks == 0
    scheduler.offer(0, *chunk(0.1, 0.1), 0)
    assert scheduler.action(PERIOD_NS) is not None
    assert scheduler.action(2 * PERIOD_NS) is None and scheduler.starved_ticks == 1
    scheduler.reset()
    assert scheduler.action(2 * PERIOD_NS) is None and scheduler.starved_ticks == 1


def test_reset_forgets_the_plan():
    scheduler = make(blend=0.5)
    scheduler.offer(0, *chunk(0.1, 0.1, 0.1), 0)
    scheduler.reset()
    assert scheduler.action(0) is None
    scheduler.offer(PERIOD_NS, *chunk(-0.1, -0.1), PERIOD_NS)
    assert scheduler.action(PERIOD_NS).delta_x == pytest.approx(-0.1)


def test_a_chunk_that_comes_after_its_last_action_is_dropped_and_counted():
    scheduler = make()
    assert not scheduler.offer(0, *chunk(0.1, 0.1), 2 * PERIOD_NS)
    assert scheduler.late_chunks == 1 and scheduler.action(2 * PERIOD_NS) is None


def test_a_chunk_older_than_the_newest_changes_nothing():
    scheduler = make()
    scheduler.offer(PERIOD_NS, *chunk(0.1, 0.1, 0.1), PERIOD_NS)
    assert not scheduler.offer(0, *chunk(0.2, 0.2, 0.2, 0.2, 0.2), PERIOD_NS)
    assert scheduler.action(PERIOD_NS).delta_x == 0.1


def test_when_the_clock_is_set_back_nothing_planned_before_is_executed():
    scheduler = make()
    scheduler.offer(10**12, *chunk(*[0.1] * 5), 10**12)
    earlier = 10**12 - 3600 * 10**9
    assert scheduler.action(earlier) is None
    scheduler.offer(earlier, *chunk(*[0.2] * 5), earlier)
    assert scheduler.action(earlier).delta_x == 0.2
    assert scheduler.action(10**12) is None


def test_a_chunk_that_must_last_longer_is_driven_slower_and_covers_no_more_ground():
    scheduler = make(max_stretch=2.0)
    scheduler.offer(0, *chunk(*[0.1] * 5), 3 * PERIOD_NS, next_in_ns=3 * PERIOD_NS)
    tick_ns = PERIOD_NS // 10
    times = range(3 * PERIOD_NS, 8 * PERIOD_NS, tick_ns)
    actions = [scheduler.action(now) for now in times]
    assert all(action is not None for action in actions[:29])
    covered = sum(action.delta_x / 10 for action in actions if action is not None)
    assert covered == pytest.approx(0.2, rel=0.05), "the two actions that were still ahead"


def test_replanning_waits_until_few_actions_are_left():
    scheduler = make(replan_threshold=2)
    assert scheduler.replan_ns(0, delay_ns=0) == 0
    scheduler.offer(0, *chunk(*[0.1] * 5), 0)
    assert scheduler.replan_ns(0, delay_ns=PERIOD_NS) == 2 * PERIOD_NS
    assert make().replan_ns(0, delay_ns=0) == 0


@pytest.mark.parametrize(
    "wrong", [{"blend": 1.0}, {"blend": -0.1}, {"horizon": -1}, {"replan_threshold": -1}, {"max_stretch": 0.5}]
)
def test_options_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(**wrong)
