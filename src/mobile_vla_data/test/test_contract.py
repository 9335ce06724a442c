from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

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
    [("a: [1", "not valid YAML, line"), ("- 1", "a contract is a mapping of fields, got list"), ("", "got NoneType")],
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
    other = Contract.from_dict(changed(contract, "control_rate_hz", 5.0))
    assert other.differences(contract) == ["control_rate_hz: 5.0 != 10.0"]
    with pytest.raises(ContractError, match=r"the robot differs from the one of the checkpoint: control_rate_hz: 5.0"):
        other.require_same(contract, "the robot", "the checkpoint")


def test_a_camera_that_one_side_lacks_is_a_difference(contract):
    without = Contract.from_dict(changed(contract, "cameras.gripper", ...))
    assert any(line.startswith("cameras.gripper.height: absent != 224") for line in without.differences(contract))


def test_where_the_robot_may_go_is_no_difference_nor_is_a_limit_that_one_side_leaves_open(contract):
    fenced = Contract.from_dict(changed(contract, "keep_in", [[0, 0], [1, 0], [1, 1]]))
    unlimited = Contract.from_dict(changed(contract, "limits.linear_jerk_m_s3", None))
    gentler = Contract.from_dict(changed(contract, "limits.linear_jerk_m_s3", 1.0))
    assert not fenced.differences(contract) and not unlimited.differences(contract)
    assert gentler.differences(contract) == ["limits.linear_jerk_m_s3: 1.0 != 40.0"]
    assert Contract.from_json(fenced.to_json()) == fenced


@given(value=st.floats(0, 1), closed=st.booleans())
def test_the_gripper_keeps_its_state_between_the_thresholds(value, closed):
    decided = GripperThresholds(close_above=0.6, open_below=0.4).decide(value, closed)
    assert decided == (True if value > 0.6 else False if value < 0.4 else closed)
