"""Each defect that ruins a policy without breaking the schema is found, and nothing else is."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from mobile_vla_data.action import displacement, gripper, position
from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode import jpeg

MS = 1_000_000


def the_one(path, code):
    findings = check_episode(path)
    assert [finding.code for finding in findings] == [code], [str(finding) for finding in findings]
    return findings[0]


def with_stamp(stream, shift):
    def change(index, step):
        stamps = {**step["stamps_ns"], stream: step["stamps_ns"][stream] + shift(index)}
        return {**step, "stamps_ns": stamps}

    return change


def test_an_honest_recording_has_no_findings(record):
    for seed in range(4):
        assert check_episode(record(seed=seed, steps=60, category="combined")) == []
    assert check_episode(record(seed=9, steps=60, encoding="raw")) == []


def test_a_rate_that_is_not_the_declared_one_is_named(record):
    def slow(demonstration):
        demonstration.stamps = demonstration.stamps[0] + (demonstration.stamps - demonstration.stamps[0]) * 5 // 4

    assert "ticks come at 8.0" in the_one(record(edit=slow), "rate").message


def test_too_many_missing_ticks_are_named_with_the_longest_gap(record):
    def gap(demonstration):
        demonstration.stamps[12:] += 500 * MS

    finding = the_one(record(edit=gap), "dropped-ticks")
    assert finding.step == 12 and "20% of the ticks are missing" in finding.message and "0.60 s" in finding.message


def test_ticks_that_come_late_are_not_missing(record):
    def late(demonstration):
        demonstration.stamps[3::5] += 70 * MS

    assert check_episode(record(edit=late)) == []


def test_dropped_ticks_that_the_recorder_counted_are_named(record):
    the_one(record(dropped_ticks=10), "dropped-ticks")


def test_a_few_dropped_ticks_are_allowed(record):
    assert check_episode(record(dropped_ticks=2)) == []


def test_a_camera_that_fell_silent_is_named_with_the_step(record):
    def silent(index, step):
        if index <= 20:
            silent.stamp = step["stamps_ns"]["static"]
        return {**step, "stamps_ns": {**step["stamps_ns"], "static": silent.stamp}}

    findings = {finding.code: finding for finding in check_episode(record(steps=40, change_step=silent))}
    assert set(findings) == {"stale-input", "camera-slow"}
    assert findings["stale-input"].step in (23, 24) and "'static' is up to 1.9" in findings["stale-input"].message


def test_a_camera_at_half_the_rate_is_named(record):
    def half(index, step):
        images = step["images"]
        if index % 2:
            step = {**step, "stamps_ns": {**step["stamps_ns"], "static": half.stamp}}
            images = {**images, "static": half.image}
        half.stamp, half.image = step["stamps_ns"]["static"], images["static"]
        return {**step, "images": images}

    finding = the_one(record(steps=40, change_step=half), "camera-slow")
    assert "camera 'static' delivered 5." in finding.message


def test_a_capture_after_its_tick_is_named(record):
    path = record(change_step=with_stamp("odom", lambda index: 250 * MS if index >= 7 else 0))
    assert "'odom' was captured 0.2" in the_one(path, "stamp-ahead").message


def test_a_clock_that_went_back_is_named(record):
    finding = the_one(
        record(change_step=with_stamp("gripper_state", lambda index: -200 * MS if index == 11 else 0)),
        "stamp-backwards",
    )
    assert finding.step == 11


def test_stamps_that_were_computed_are_named(record):
    def computed(demonstration):
        demonstration.stamps = demonstration.stamps[0] + np.arange(len(demonstration)) * 100 * MS
        demonstration._lags[:] = 0

    path = record(steps=30, edit=computed, cameras=("static",))
    assert "computed, not measured" in the_one(path, "stamps-computed").message


@pytest.mark.parametrize("encoding", ["jpeg", "raw"])
def test_a_frozen_camera_is_named_while_the_robot_moves(record, make_demonstration, encoding):
    frozen = make_demonstration(60).image("gripper", 20)

    def freeze(index, step):
        return {**step, "images": {**step["images"], "gripper": frozen}} if index >= 20 else step

    finding = the_one(record(steps=60, change_step=freeze, encoding=encoding), "camera-frozen")
    assert finding.step == 20 and "camera 'gripper' shows the same image for 3.9 s" in finding.message


def test_a_robot_that_waits_may_see_the_same_picture(record, make_demonstration):
    def wait(demonstration):
        displacement(demonstration.actions)[10:] = 0
        demonstration.states[11:] = demonstration.states[11]
        gripper(demonstration.actions)[10:] = gripper(demonstration.actions)[11]

    path = record(steps=40, edit=wait)
    assert check_episode(path) == []


@pytest.mark.parametrize("encoding", ["jpeg", "raw"])
@pytest.mark.parametrize("shade", [0, 255])
def test_a_black_or_blank_camera_is_named(record, encoding, shade):
    def cover(index, step):
        return {**step, "images": {**step["images"], "static": np.full((224, 224, 3), shade, np.uint8)}}

    the_one(record(change_step=cover, encoding=encoding), "camera-blank")


def test_a_damaged_image_is_named_with_its_step(record):
    path = record()
    with h5py.File(path, "r+") as file:
        images = file["/observations/images/static"]
        images[6] = images[6][:-500]
    assert the_one(path, "image-damaged").step == 6


def test_an_image_of_the_wrong_size_is_named(record):
    path = record()
    with h5py.File(path, "r+") as file:
        file["/observations/images/static"][6] = np.frombuffer(
            jpeg.encode(np.zeros((64, 64, 3), np.uint8), 90), np.uint8
        )
    assert "holds an image of [64, 64], expected [224, 224]" in the_one(path, "shape").message


def test_actions_beyond_the_limit_are_named(record):
    def fast(demonstration):
        displacement(demonstration.actions)[9] = 0.09, 0.05

    finding = the_one(record(edit=fast), "action-limit")
    assert finding.step == 9 and "1.03 m/s, the contract's limit is 0.8 m/s" in finding.message


def test_a_gripper_action_between_open_and_closed_is_named(record):
    def half_open(demonstration):
        gripper(demonstration.actions)[3] = 0.5

    assert the_one(record(edit=half_open), "action-gripper").step == 3


def test_an_episode_in_which_nothing_was_commanded_is_named(record):
    def still(demonstration):
        demonstration.actions[:] = 0
        demonstration.states[:] = 0

    the_one(record(edit=still), "actions-zero")


def keep_open(demonstration):
    gripper(demonstration.actions)[:] = gripper(demonstration.states)[:] = 0


@pytest.mark.parametrize(
    ("category", "outcome", "severity"),
    [("manipulation", "success", "error"), ("combined", "success", "error"), ("combined", "failure", "warning")],
)
def test_a_gripper_that_never_moves_in_a_manipulation_is_named(record, category, outcome, severity):
    path = record(edit=keep_open, category=category, outcome=outcome)
    assert the_one(path, "gripper-still").severity == severity


def test_a_robot_without_a_gripper_may_well_keep_it_still(record, contract):
    def without_gripper(index, step):
        return {**step, "stamps_ns": {name: ns for name, ns in step["stamps_ns"].items() if name != "gripper_state"}}

    bare = Contract.from_dict({**contract.model_dump(mode="json"), "gripper": "none"})
    path = record(edit=keep_open, category="manipulation", with_contract=bare, change_step=without_gripper)
    assert check_episode(path) == []


def test_navigation_needs_no_gripper(record):
    assert check_episode(record(edit=keep_open)) == []


def test_a_position_that_jumps_is_named_with_the_step(record):
    def jump(demonstration):
        demonstration.states[14:, 0] += 0.4

    finding = the_one(record(edit=jump), "state-jump")
    assert finding.step == 14


@pytest.mark.parametrize("factor", [0.1, 3.0])
def test_odometry_that_disagrees_with_the_actions_is_named(record, factor):
    def scale(demonstration):
        position(demonstration.states)[:] *= factor

    findings = {finding.code: finding for finding in check_episode(record(steps=60, edit=scale))}
    assert "actions sum to a drive of 2.3" in findings["odometry-disagrees"].message


@pytest.mark.parametrize(("shift", "said"), [(7, "0.7 s after"), (-5, "0.5 s before")])
def test_odometry_that_moves_at_another_time_than_the_actions_is_named(record, shift, said):
    def shifted(demonstration):
        # Stop and go, as people drive; a constant speed shows no lag.
        going = (np.sin(np.arange(len(demonstration)) / 4 + np.sin(np.arange(len(demonstration)) / 9)) > 0).astype(
            np.float32
        )
        displacement(demonstration.actions)[:] *= going[:, None]
        moved = np.roll(displacement(demonstration.actions), shift, axis=0)
        position(demonstration.states)[1:] = np.cumsum(moved[:-1], axis=0)

    findings = {finding.code: finding for finding in check_episode(record(steps=80, edit=shifted), images=False)}
    assert set(findings) == {"misaligned"} and said in findings["misaligned"].message


@pytest.mark.parametrize("shift", [0, 3])
def test_a_robot_that_follows_a_little_later_is_not_misaligned(record, shift):
    def shifted(demonstration):
        going = (np.sin(np.arange(len(demonstration)) / 4 + np.sin(np.arange(len(demonstration)) / 9)) > 0).astype(
            np.float32
        )
        displacement(demonstration.actions)[:] *= going[:, None]
        position(demonstration.states)[1:] = np.cumsum(
            np.roll(displacement(demonstration.actions), shift, axis=0)[:-1], axis=0
        )

    assert check_episode(record(steps=80, edit=shifted)) == []


def test_noisy_odometry_of_a_resting_robot_is_no_disagreement(record):
    def rest(demonstration):
        noise = np.random.default_rng(0).normal(0, 0.01, (len(demonstration), 2))
        displacement(demonstration.actions)[5:] = 0
        position(demonstration.states)[6:] = position(demonstration.states)[6]
        position(demonstration.states)[:] += noise

    assert check_episode(record(steps=200, edit=rest)) == []


def test_a_few_steps_are_no_demonstration(record):
    assert "has 3 steps" in the_one(record(steps=3), "too-short").message


def test_the_recorder_may_leave_out_the_images(record):
    def cover(index, step):
        return {**step, "images": {**step["images"], "static": np.zeros((224, 224, 3), np.uint8)}}

    path = record(change_step=cover)
    assert check_episode(path, images=False) == [] and check_episode(path) != []
