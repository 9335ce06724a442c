"""When a policy counts as arrived: by its own actions only."""

from mobile_vla_policy.runtime.arrival import Arrival
from mobile_vla_policy.runtime.scheduler import Action

PERIOD_S = 0.1


def moves(closed: bool | None = False) -> Action:
    return Action(0.05, 0.0, closed, 1)


def stands(closed: bool | None = False) -> Action:
    return Action(0.001, 0.001, closed, 1)


def run(arrival: Arrival, *actions: Action | None, start_s: float = 10.0) -> list[bool]:
    """Feed one action per period."""
    return [arrival.update(start_s + PERIOD_S * index, action) for index, action in enumerate(actions)]


def test_a_policy_that_moved_and_then_stands_still_long_enough_has_arrived() -> None:
    found = run(Arrival(1.0, PERIOD_S), *[moves()] * 10, *[stands()] * 12)
    assert found.index(True) == 20
    assert all(found[20:])


def test_turning_on_the_spot_is_motion() -> None:
    turns, drifts = Action(0.0, 0.0, False, 1, 0.1), Action(0.0, 0.0, False, 1, 0.002)
    found = run(Arrival(1.0, PERIOD_S), *[turns] * 10, *[drifts] * 12)
    assert found.index(True) == 20
    assert not any(run(Arrival(1.0, PERIOD_S), *[drifts] * 50))


def test_a_policy_that_never_moved_has_not_arrived() -> None:
    assert not any(run(Arrival(1.0, PERIOD_S), *[stands()] * 50))
    # A twitch is no motion.
    assert not any(run(Arrival(1.0, PERIOD_S), moves(), moves(), *[stands()] * 50))


def test_ticks_without_an_action_are_not_standing_still() -> None:
    pauses = [*[moves()] * 10, *[stands()] * 8, None, *[stands()] * 8, None, *[None] * 40, *[stands()] * 8]
    assert not any(run(Arrival(1.0, PERIOD_S), *pauses))


def test_a_change_of_the_gripper_restarts_the_time_and_counts_as_having_begun() -> None:
    found = run(Arrival(1.0, PERIOD_S), *[stands(False)] * 20, *[stands(True)] * 12)
    assert found.index(True) == 31
    # Nothing decided about the gripper is no change.
    assert not any(run(Arrival(1.0, PERIOD_S), stands(True), stands(None), *[stands(True)] * 30))


def test_another_instruction_begins_from_the_start() -> None:
    arrival = Arrival(1.0, PERIOD_S)
    assert run(arrival, *[moves()] * 10, *[stands()] * 15)[-1]
    arrival.restart()
    assert not any(run(arrival, *[stands()] * 40, start_s=20.0))


def test_zero_seconds_mean_never() -> None:
    assert not any(run(Arrival(0.0, PERIOD_S), *[moves()] * 10, *[stands()] * 100))


def test_a_clock_that_is_set_back_takes_away_no_motion_and_restarts_the_standstill() -> None:
    arrival = Arrival(1.0, PERIOD_S)
    run(arrival, *[moves()] * 10, *[stands()] * 8, start_s=3600.0)
    found = run(arrival, *[stands()] * 12, start_s=5.0)
    assert found.index(True) == 10

    arrival = Arrival(1.0, PERIOD_S)
    run(arrival, *[moves()] * 10, start_s=3600.0)
    assert run(arrival, *[moves()] * 2, *[stands()] * 12, start_s=5.0)[-1], "it had moved before"
