"""What shadow mode says about a policy and the human who drives."""

from __future__ import annotations

import math
import sys
from dataclasses import astuple
from types import SimpleNamespace

import numpy as np
import pytest

from mobile_vla_data.action import Velocity
from mobile_vla_policy.runtime.comparison import Comparison
from mobile_vla_policy.runtime.platform import gpu_bytes


def test_the_difference_is_a_length_in_the_plane_and_an_absolute_yaw_rate():
    comparison = Comparison()
    for number in range(100):
        told = Velocity(0.1, 0.2, 0.5) if number < 90 else Velocity()
        comparison.add(number * 0.1, Velocity(0.4, -0.2, -0.3), told)
    agreement = comparison.agreement(10.0)
    assert agreement.samples == 100
    assert agreement.velocity_mean_m_s == pytest.approx(0.9 * 0.5 + 0.1 * math.hypot(0.4, 0.2))
    assert agreement.velocity_p95_m_s == pytest.approx(0.5)
    assert agreement.yaw_rate_mean_rad_s == pytest.approx(0.9 * 0.8 + 0.1 * 0.3)
    assert agreement.yaw_rate_p95_rad_s == pytest.approx(0.8)


def test_the_gripper_counts_only_where_both_have_decided():
    comparison = Comparison()
    same, other = Velocity(), Velocity()
    for would, told in [(True, True), (False, True), (True, True), (None, True), (True, None), (False, False)]:
        comparison.add(0.0, same, other, would, told)
    agreement = comparison.agreement(0.0)
    assert (agreement.samples, agreement.gripper_samples, agreement.gripper_share) == (6, 4, 0.75)


def test_old_samples_are_forgotten_and_without_samples_there_are_no_figures():
    comparison = Comparison(window_s=60.0)
    comparison.add(0.0, Velocity(1.0), Velocity(), True, False)
    comparison.add(30.0, Velocity(0.1), Velocity(), True, True)
    assert comparison.agreement(59.0).samples == 2
    late = comparison.agreement(61.0)
    assert (late.samples, late.velocity_mean_m_s, late.gripper_share) == (1, 0.1, 1.0)
    nothing = comparison.agreement(100.0)
    assert nothing.samples == nothing.gripper_samples == 0
    assert np.isnan([value for value in astuple(nothing) if isinstance(value, float)]).all()


def test_gpu_memory_is_the_sum_over_all_devices(monkeypatch):
    cuda = SimpleNamespace(
        is_initialized=lambda: True, device_count=lambda: 2, memory_allocated=lambda device: 100 + device
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert gpu_bytes() == 201
    cuda.is_initialized = lambda: False
    assert gpu_bytes() == 0
