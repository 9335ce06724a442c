"""The deviation of a driven path from the recorded one."""

import numpy as np
import pytest

from mobile_vla_collect.replay.deviation import aligned, compare_paths

CURVE = np.stack([0.05 * np.arange(40), 0.3 * np.sin(np.arange(40) / 8)], axis=1)


def turned(path, angle):
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return path @ rotation.T


def test_the_same_path_elsewhere_and_turned_has_no_deviation():
    driven = turned(CURVE, 2.0) + np.array([3.0, -1.0])
    found = compare_paths(CURVE, driven)
    assert found.turned_rad == pytest.approx(2.0)
    assert found.max_m < 1e-9 and found.across_max_m < 1e-9
    assert found.driven_length_m == pytest.approx(found.recorded_length_m)
    np.testing.assert_allclose(aligned(CURVE, driven)[0], driven, atol=1e-12)


def test_a_delay_counts_more_at_the_same_step_than_beside_the_path():
    delayed = np.concatenate([CURVE[:1], CURVE[:1], CURVE[:-2]])
    found = compare_paths(CURVE, delayed)
    assert 0.08 < found.mean_m < 0.15
    # Not zero: the turn that fits best makes up for a part of the delay.
    assert found.across_mean_m < 0.4 * found.mean_m


def test_a_bump_is_found_at_its_step():
    driven = CURVE.copy()
    driven[17, 1] += 0.2
    found = compare_paths(CURVE, driven)
    assert found.max_step == 17 and found.max_m == pytest.approx(0.2, abs=0.02)
    assert found.end_m < 0.05


def test_a_robot_that_stands_is_not_turned_by_its_noise():
    noise = np.random.default_rng(0).normal(0, 1e-3, CURVE.shape)
    found = compare_paths(CURVE, noise - noise[0])
    assert found.turned_rad == 0.0 and found.end_m > 1.9
    assert compare_paths(CURVE[:1], CURVE[:1] + 1.0).max_m == 0.0
