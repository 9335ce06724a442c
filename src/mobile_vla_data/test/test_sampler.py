"""Sampling without ROS: late ticks, silent cameras, and a system clock that is set while an episode is recorded."""

from pathlib import Path

import numpy as np
import pytest

from mobile_vla_data.action import Velocity, displacement
from mobile_vla_data.contract import Contract
from mobile_vla_data.observation import ObservationBuilder
from mobile_vla_data.sampling.commands import CommandTrack
from mobile_vla_data.sampling.sampler import Sampler

CONTRACT = Contract.load(Path(__file__).resolve().parents[3] / "config" / "robot.yaml")
PERIOD_NS = CONTRACT.period_ns


class Stage:
    """A sampler whose inputs are fresh at every tick."""

    def __init__(self, pre_trigger_s=0.0):
        self.builder = ObservationBuilder(CONTRACT)
        self.sampler = Sampler(self.builder, CommandTrack(CONTRACT, "/cmd_vel", 0.3), pre_trigger_s)
        self.now_ns = 10**18
        self._rng = np.random.default_rng(0)

    def tick(self, cameras=tuple(CONTRACT.cameras), missed=0):
        self.now_ns += (1 + missed) * PERIOD_NS
        for camera in cameras:
            image = self._rng.integers(0, 255, (224, 224, 3), dtype=np.uint8)
            self.builder.put_image(camera, self.now_ns, self.now_ns, image.tobytes(), "rgb8", 224, 224, 672)
        self.builder.put_odometry(self.now_ns, self.now_ns, 0.0, 0.0, "odom")
        self.builder.put_gripper(self.now_ns, self.now_ns, 0.0)
        self.sampler.commands.take_velocity(self.now_ns, self.now_ns, Velocity(0.2, 0.0, 0.0))
        return self.sampler.tick(self.now_ns, self.now_ns, missed)

    def begin(self):
        return self.sampler.begin(self.now_ns, tuple(CONTRACT.cameras), policy_drives=False)


def test_a_step_whose_next_tick_was_missed_is_dropped_since_its_action_would_be_that_of_several_periods():
    stage = Stage()
    stage.tick()
    ticks, _ = stage.begin()
    steps = [step for number in range(10) if (step := stage.tick(missed=2 if number == 5 else 0))]
    assert ticks.dropped == 3 and len(steps) == 8
    assert "too late for 2 ticks" in ticks.last_drop
    forward = {round(float(displacement(step.action)[0]), 4) for step in steps}
    assert forward == {round(0.2 * CONTRACT.period_s, 4)}


def test_what_came_before_the_start_has_no_gap_where_an_optional_camera_was_silent():
    (optional,) = (name for name, camera in CONTRACT.cameras.items() if not camera.required)
    others = tuple(name for name in CONTRACT.cameras if name != optional)
    silent_ticks = round(CONTRACT.cameras[optional].max_age_s / CONTRACT.period_s) + 2
    stage = Stage(pre_trigger_s=3.0)
    for cameras in [tuple(CONTRACT.cameras)] * 5 + [others] * silent_ticks + [tuple(CONTRACT.cameras)] * 6:
        stage.tick(cameras)
    _, before = stage.begin()
    assert before and set(np.diff([step.stamp_ns for step in before])) == {PERIOD_NS}
    assert stage.tick().stamp_ns - before[-1].stamp_ns == PERIOD_NS


@pytest.mark.parametrize("jump_s", [-3600, -0.5, 3600])
def test_ticks_only_rise_when_the_system_clock_is_set(jump_s):
    builder = ObservationBuilder(CONTRACT)
    sampler = Sampler(builder, CommandTrack(CONTRACT, "/cmd_vel", 0.3))
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
        sampler.commands.take_velocity(mono_ns, stamp_ns, Velocity())
        if tick == 0:
            ticks, _ = sampler.begin(mono_ns, tuple(CONTRACT.cameras), policy_drives=False)
        step = sampler.tick(mono_ns, stamp_ns, 0)
        steps += [step] if step else []
    stamps = [step.stamp_ns for step in steps]
    assert stamps == sorted(set(stamps))
    assert len(steps) + ticks.dropped == 39, "none is lost without being counted"
    if jump_s < 0:
        assert "the system clock was set back by" in ticks.last_drop
        assert len(steps) == (19 if jump_s == -3600 else 34)
    else:
        assert len(steps) == 39
