"""Keys to motion, on times given by hand."""

import pytest

from mobile_vla_collect.teleop.keyboard import DriveSettings, HoldToMove, KeyDecoder
from mobile_vla_data.action import Velocity


@pytest.fixture
def hold():
    return HoldToMove(DriveSettings(0.4, 0.8, True, 0.6, 0.2, 0.3))


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
    hold = HoldToMove(DriveSettings(0.4, 0.8, False, 0.6, 0.2, 0.3))
    hold.press("a", 10.0)
    assert hold.velocity(10.0) == Velocity(0.0, 0.0, 0.8)


def test_arrows_are_understood_even_in_pieces():
    decoder = KeyDecoder()
    assert decoder.feed(b"w\x1b[A\x1bOB\x1b[") == ["w", "up", "down"]
    assert decoder.feed(b"Cx\n") == ["right", "x", "\r"]
    assert decoder.feed(b"\x1b[3~W") == ["w"]
