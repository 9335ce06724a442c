"""Keys to motion, on times given by hand."""

import pytest

from mobile_vla_collect.teleop.keyboard import HoldToMove, KeyDecoder, KeySettings
from mobile_vla_data.action import Velocity


@pytest.fixture
def hold():
    return HoldToMove(KeySettings(0.4, 0.8, True, 0.6, 0.2, 0.3))


def test_a_key_pressed_once_moves_for_the_first_hold_then_zeros_then_silence(hold):
    hold.press("w", 10.0)
    assert hold.velocity(10.5) == Velocity(0.4)
    assert hold.velocity(10.61) == Velocity()
    assert hold.velocity(10.91) is None


def test_a_held_key_moves_on_and_stops_soon_after_release(hold):
    for repetition in range(20):
        hold.press("up", 10.0 + 0.5 * (repetition > 0) + 0.03 * repetition)
    assert hold.velocity(11.07 + 0.15) == Velocity(0.4)
    assert hold.velocity(11.07 + 0.25) == Velocity()


def test_space_stands_at_once(hold):
    hold.press("w", 10.0)
    hold.press(" ", 10.1)
    assert hold.velocity(10.1) == Velocity()


def test_a_diagonal_is_no_faster_than_straight(hold):
    hold.press("7", 10.0)
    velocity = hold.velocity(10.0)
    assert (velocity.x**2 + velocity.y**2) ** 0.5 == pytest.approx(0.4)


def test_a_differential_base_turns_where_another_would_strafe():
    hold = HoldToMove(KeySettings(0.4, 0.8, False, 0.6, 0.2, 0.3))
    hold.press("a", 10.0)
    assert hold.velocity(10.0) == Velocity(0.0, 0.0, 0.8)


def test_arrows_are_understood_even_in_pieces():
    decoder = KeyDecoder()
    assert decoder.feed(b"w\x1b[A\x1bOB\x1b[") == ["w", "up", "down"]
    assert decoder.feed(b"Cx\n") == ["right", "x", "\r"]
    assert decoder.feed(b"\x1b[3~W") == ["w"]


def held(hold, delay_s, interval_s, began_s, duration_s=3.0):
    """Hold a key on a keyboard with this delay and this interval; return the times [s] without motion meanwhile."""
    presses = [0.0]
    while (next_s := presses[-1] + (interval_s if len(presses) > 1 else delay_s)) < duration_s:
        presses.append(next_s)
    still = []
    for tick in range(round(duration_s / 0.05)):
        now_s = began_s + tick * 0.05
        while presses and began_s + presses[0] <= now_s:
            hold.press("w", began_s + presses.pop(0))
        if hold.velocity(now_s) != Velocity(0.4):
            still.append(round(now_s - began_s, 2))
    return still


@pytest.mark.parametrize("delay_s", [0.66, 0.9, 1.2])
def test_a_keyboard_with_a_long_delay_stutters_once_and_then_no_more(hold, delay_s):
    first = held(hold, delay_s, 0.033, 100.0)
    assert first and max(first) <= delay_s
    assert hold.first_hold_s == pytest.approx(1.2 * delay_s)
    assert held(hold, delay_s, 0.033, 200.0) == []
    # The release of a held key is noticed as fast as before.
    last_s = 203.0
    assert hold.velocity(last_s + 0.25) == Velocity()


@pytest.mark.parametrize("interval_s", [0.25, 0.4])
def test_a_keyboard_that_repeats_slowly_does_not_stutter_for_long(hold, interval_s):
    assert len(held(hold, 0.5, interval_s, 100.0)) * 0.05 <= interval_s


@pytest.mark.parametrize("gap_s", [0.7, 1.0, 1.4])
def test_a_hand_that_taps_slowly_is_not_taken_for_a_keyboard(hold, gap_s):
    for tap in range(8):
        hold.press("w", 10.0 + tap * gap_s)
    assert hold.first_hold_s == 0.6


def test_a_fast_keyboard_changes_nothing(hold):
    assert held(hold, 0.3, 0.033, 100.0) == [] and hold.first_hold_s == 0.6
