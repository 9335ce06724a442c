from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mobile_vla_data.compatibility import Comparison
from mobile_vla_data.contract import Contract, ContractError, GripperThresholds


def test_the_shipped_contract_loads_and_survives_both_forms(contract, tmp_path):
    assert contract.period_s == 0.1 and contract.period_ns == 100_000_000 and next(iter(contract.cameras)) == "static"
    assert Contract.from_json(contract.to_json()) == contract
    (tmp_path / "robot.yaml").write_text(contract.to_yaml())
    assert Contract.load(tmp_path / "robot.yaml") == contract


def changed(contract, path, value):
    data = yaml.safe_load(contract.to_yaml())
    *parents, last = path.split(".")
    target = data
    for parent in parents:
        target = target[parent]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return data


CAMERA = {"topic": "x", "required": False, "height": 1, "width": 1, "max_age_s": 1.0}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("base", "tracked", "base: Input should be 'holonomic' or 'differential' (got 'tracked')"),
        ("control_rate_hz", 0.0, "control_rate_hz"),
        ("control_rate_hz", float("nan"), "control_rate_hz"),
        ("control_rate_hz", "10", "control_rate_hz"),
        ("limits.linear_m_s", ..., "limits.linear_m_s: Field required"),
        ("limits.speed", 1.0, "limits.speed: Extra inputs are not permitted"),
        ("cameras.rear view", CAMERA, "camera 'rear view': use letters, digits and underscores"),
        ("cameras.a/b", CAMERA, "camera 'a/b': use letters"),
        ("cameras.odom", CAMERA, "camera 'odom' has the name of another stream"),
        ("cameras.static.required", False, "the first camera, 'static', must be required"),
        ("cameras.static", ..., "the first camera, 'gripper', must be required"),
        ("cameras", {}, "a robot needs at least one camera"),
        ("gripper.open_below", 0.7, "open_below 0.7 is above close_above 0.6"),
        ("contract_version", 2, "contract_version"),
        ("limits.linear_jerk_m_s3", 0.0, "limits.linear_jerk_m_s3"),
        ("keep_in", [[0, 0], [1, 0]], "keep_in: an area needs at least 3 corners, got 2"),
        ("keep_in", [[0, 0], [1, 1], [2, 2]], "keep_in: the corners lie on one line"),
        ("keep_in", [[0, 0], [1, 1], [1, 0], [0, 2]], "cross; name the corners in order around it"),
        ("keep_in", [[0, 0], [1, 0, 0], [1, 1]], "keep_in.1"),
        ("keep_in", [[0, 0], [float("inf"), 0], [1, 1]], "keep_in.1.0"),
    ],
)
def test_a_wrong_field_is_one_line_that_names_it(contract, path, value, words):
    with pytest.raises(ContractError) as error:
        Contract.from_dict(changed(contract, path, value), "robot.yaml")
    assert words in str(error.value) and str(error.value).startswith("robot.yaml: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [1", "not valid YAML, line"),
        ("- 1", "a contract must be a mapping of fields, got list"),
        ("", "got NoneType"),
    ],
)
def test_a_file_that_is_no_contract_is_one_line(tmp_path, content, words):
    (tmp_path / "robot.yaml").write_text(content)
    with pytest.raises(ContractError) as error:
        Contract.load(tmp_path / "robot.yaml")
    assert words in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ContractError, match=r"robot.yaml: no such contract file"):
        Contract.load(tmp_path / "robot.yaml")


def test_topics_may_differ_between_training_and_driving_but_meaning_may_not(contract):
    rewired = Contract.from_dict(changed(contract, "cameras.static.topic", "ceiling/image_raw"))
    rewired.require_same(contract, "the robot", "the checkpoint")
    second = Contract.from_dict(changed(contract, "action.frame", "robot2/base_link"))
    second = Contract.from_dict(changed(second, "state.odometry_frame", "robot2/odom"))
    second.require_same(contract, "the second robot", "the checkpoint of the first")
    other = Contract.from_dict(changed(contract, "control_rate_hz", 5.0))
    assert other.differences(contract) == ["control_rate_hz: 5.0 != 10.0"]
    with pytest.raises(ContractError, match=r"the robot differs from the one of the checkpoint: control_rate_hz: 5.0"):
        other.require_same(contract, "the robot", "the checkpoint")


def test_a_camera_that_one_side_lacks_is_a_difference(contract):
    without = Contract.from_dict(changed(contract, "cameras.gripper", ...))
    assert any(line.startswith("cameras.gripper.height: absent != 224") for line in without.differences(contract))


SQUARE = [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]]
NOTCHED = [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [1.0, 0.5], [0.0, 2.0]]


@pytest.mark.parametrize(
    ("field", "trained", "stricter", "looser"),
    [
        ("limits.linear_m_s", 0.8, 0.4, 1.2),
        ("limits.angular_rad_s", 1.5, 1.0, 2.0),
        ("limits.linear_acceleration_m_s2", 2.0, 1.0, 3.0),
        ("limits.angular_acceleration_rad_s2", 4.0, 1.0, 5.0),
        ("limits.linear_jerk_m_s3", 40.0, 1.0, None),
        ("limits.angular_jerk_rad_s3", 80.0, 10.0, None),
        ("cameras.static.max_age_s", 0.2, 0.1, 0.5),
        ("state.odometry_max_age_s", 0.2, 0.1, 0.5),
        ("state.gripper_max_age_s", 0.5, 0.1, 2.0),
        ("cameras.gripper.required", False, True, None),
        ("keep_in", SQUARE, [[0.5, 0.5], [1.5, 0.5], [1.5, 1.5]], [[0.5, 0.5], [3.0, 0.5], [1.5, 1.5]]),
        ("keep_in", NOTCHED, [[0.5, 0.1], [1.5, 0.1], [1.0, 0.4]], SQUARE),
        ("keep_in", SQUARE, NOTCHED, None),
    ],
)
def test_what_only_limits_may_differ_and_says_in_which_direction(contract, field, trained, stricter, looser):
    under = Contract.from_dict(changed(contract, field, trained))
    tighter = Contract.from_dict(changed(contract, field, stricter))
    assert tighter.compare(under) == Comparison(stricter=(f"{field}: {stricter} != {trained}",))
    assert tighter.require_same(under, "this robot", "the checkpoint").stricter
    assert under.compare(tighter) == Comparison(looser=(f"{field}: {trained} != {stricter}",))
    if field != "cameras.gripper.required":
        wider = Contract.from_dict(changed(contract, field, looser))
        assert wider.compare(under) == Comparison(looser=(f"{field}: {looser} != {trained}",))
    assert under.compare(under) == Comparison()


def test_obstacles_may_differ_and_a_robot_without_them_or_with_others_is_a_warning(contract):
    guard = {
        "footprint": [[0.2, 0.2], [-0.2, 0.2], [-0.2, -0.2], [0.2, -0.2]],
        "stop_distance_m": 0.1,
        "sensors": [{"topic": "scan", "max_age_s": 0.3}],
    }
    guarded = Contract.from_dict(changed(contract, "obstacles", guard))
    nearer = Contract.from_dict(changed(contract, "obstacles", {**guard, "stop_distance_m": 0.05}))
    with_guard = guarded.compare(contract)
    assert with_guard.stricter[0].startswith("obstacles: ") and not with_guard.looser + with_guard.conflicts
    for here, there in ((contract, guarded), (nearer, guarded), (guarded, nearer)):
        found = here.compare(there)
        assert found.looser[0].startswith("obstacles: ") and not found.stricter + found.conflicts
    assert guarded.compare(guarded) == Comparison()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base", "differential"),
        ("control_rate_hz", 5.0),
        ("cameras.static.width", 320),
        ("cameras.static.resize", "crop"),
        ("state.odometry_frame", "map"),
        ("action.frame", "base_footprint"),
        ("action.yaw", True),
        ("gripper.close_above", 0.7),
    ],
)
def test_what_gives_numbers_their_meaning_must_match(contract, field, value):
    other = Contract.from_dict(changed(contract, field, value))
    found = other.compare(contract)
    assert len(found.conflicts) == 1 and found.conflicts[0].startswith(f"{field}: {value} != ")
    assert not found.stricter and not found.looser


def test_the_order_of_cameras_gives_stacked_images_their_meaning(contract):
    data = json.loads(contract.to_json())
    data["cameras"] = dict(reversed(data["cameras"].items()))
    data["cameras"]["gripper"]["required"] = True
    assert Contract.from_dict(data).compare(contract).conflicts == (
        "cameras: gripper, static != static, gripper (the order counts)",
    )


@given(value=st.floats(0, 1), closed=st.booleans())
def test_the_gripper_keeps_its_state_between_the_thresholds(value, closed):
    decided = GripperThresholds(close_above=0.6, open_below=0.4).decide(value, closed)
    assert decided == (True if value > 0.6 else False if value < 0.4 else closed)


def test_a_robot_without_a_gripper_needs_no_topic_of_one(contract):
    data = contract.model_dump(mode="json")
    for field in ("gripper_topic", "gripper_max_age_s"):
        del data["state"][field]
    bare = Contract.from_dict({**data, "gripper": "none"})
    assert not bare.has_gripper
    assert bare.state_streams == ("odom",)
    assert Contract.from_json(bare.to_json()) == bare
    assert any(line.startswith("gripper: none != ") for line in bare.differences(contract))
