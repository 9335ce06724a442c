"""Sampling without ROS: what a clock does that somebody sets while an episode is recorded."""

import numpy as np
import pytest
from robot import CONTRACT

from mobile_vla_collect.sampler import Sampler
from mobile_vla_data.action import Velocity
from mobile_vla_data.observation import ObservationBuilder

PERIOD_NS = CONTRACT.period_ns


@pytest.mark.parametrize("jump_s", [-3600, -0.5, 3600])
def test_ticks_only_rise_when_the_system_clock_is_set(jump_s):
    builder = ObservationBuilder(CONTRACT)
    sampler = Sampler(builder, "/cmd_vel", 0.3)
    stamp_ns = mono_ns = 10**18
    image = np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8)
    steps = []
    for tick in range(40):
        mono_ns += PERIOD_NS
        stamp_ns += PERIOD_NS + (round(jump_s * 1e9) if tick == 20 else 0)
        for camera in CONTRACT.cameras:
            builder.put_image(camera, stamp_ns, stamp_ns, image.tobytes(), "rgb8", 224, 224, 672)
        builder.put_odometry(stamp_ns, stamp_ns, 0.0, 0.0, "odom")
        builder.put_gripper(stamp_ns, stamp_ns, 0.0)
        sampler.take_velocity(mono_ns, stamp_ns, Velocity())
        if tick == 0:
            sampler.begin(mono_ns, tuple(CONTRACT.cameras), policy_drives=False)
        step = sampler.tick(mono_ns, stamp_ns, 0)
        steps += [step] if step else []
    stamps = [step.stamp_ns for step in steps]
    assert stamps == sorted(set(stamps))
    assert len(steps) + sampler.dropped_ticks == 39, "none is lost without being counted"
    if jump_s < 0:
        assert "the system clock was set back by" in sampler.last_drop
        assert len(steps) == (19 if jump_s == -3600 else 34)
    else:
        assert len(steps) == 39
