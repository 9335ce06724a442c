"""trial_node in a launched graph: how the end of policy/execute becomes the end of a trial."""

import json
import sys

import pytest
from launch_commands import ROOT

from mobile_vla_ros.testing import NodeProcess, unique_domain

CONTRACT = ROOT / "config/robot.yaml"
SCRIPTED_POLICY = ROOT / "src/mobile_vla_policy/test/scripted_policy_node.py"


@pytest.mark.alone
def test_a_policy_that_stops_in_the_wrong_place_misses_the_trial_and_the_next_trial_begins(tmp_path):
    contract = {"contract": str(CONTRACT)}
    policy = {**contract, "checkpoint": str(tmp_path), "autostart": True, "done_after_s": 0.5}
    output = tmp_path / "trials.json"
    trials = {**contract, "trials": 2, "tasks": "go_to_kitchen", "time_limit_s": 5.0, "output": str(output)}
    with (
        unique_domain(),
        NodeProcess("mobile_vla_sim", "sim_node", contract),
        NodeProcess("mobile_vla_control", "command_gate_node", contract),
        NodeProcess("", "", policy, command=[sys.executable, str(SCRIPTED_POLICY), "arrives"]),
        NodeProcess("mobile_vla_sim", "trial_node", trials) as judge,
    ):
        assert judge.wait(90) == 0, judge.output
    first, second = json.loads(output.read_text())["trials"]
    assert first["message"].startswith("arrived") and not first["success"] and first["duration_s"] < 4.5
    assert not second["success"]


@pytest.mark.alone
def test_a_policy_without_its_images_is_named_before_the_first_trial(tmp_path):
    contract = {"contract": str(CONTRACT)}
    policy = {**contract, "checkpoint": str(tmp_path), "autostart": True}
    elsewhere = {"static_camera/image_raw": "elsewhere"}
    with (
        unique_domain(),
        NodeProcess("mobile_vla_sim", "sim_node", contract),
        NodeProcess("mobile_vla_control", "command_gate_node", contract),
        NodeProcess("", "", policy, command=[sys.executable, str(SCRIPTED_POLICY), "arrives"], remap=elsewhere),
        NodeProcess("mobile_vla_sim", "trial_node", {**contract, "wait_s": 10.0}) as judge,
    ):
        assert judge.wait(60) == 1
        assert "active policy_node with its inputs: nothing has arrived on '/elsewhere'" in judge.output, judge.output
