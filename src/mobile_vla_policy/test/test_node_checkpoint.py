"""policy_node with a real checkpoint: the installed executable, the real model, over DDS."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Twist

from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import ActionChunk, PolicyStatus
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import NodeProcess, wait_for

pytestmark = pytest.mark.alone

CONTRACT = Path(__file__).resolve().parents[3] / "config" / "robot.yaml"

#: In its own process: torch's threads and its memory are not wanted in the one that listens.
MAKE_CHECKPOINT = Path(__file__).with_name("make_checkpoint.py")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy") / "checkpoint"
    subprocess.run([sys.executable, str(MAKE_CHECKPOINT), str(folder), str(CONTRACT)], check=True)
    return folder


def parameters(checkpoint: Path, **more: Any) -> dict[str, Any]:
    return {"contract": str(CONTRACT), "checkpoint": str(checkpoint), "autostart": True, "device": "cpu", **more}


def test_a_real_checkpoint_drives_from_the_first_frame_under_a_namespace(probe, robot, checkpoint):
    del robot  # publishes outside the namespace; these topics are remapped to it
    statuses = probe.collect(PolicyStatus, "robot1/policy/status", LATCHED)
    commands = probe.collect(Twist, "robot1/cmd_vel_policy")
    chunks = probe.collect(ActionChunk, "robot1/policy/action_chunk")
    topics = ("static_camera/image_raw", "gripper_camera/image_raw", "odom", "gripper/state")
    with NodeProcess(
        "mobile_vla_policy",
        "policy_node",
        parameters(checkpoint, instruction="go to the kitchen", command_rate_hz=20.0),
        namespace="/robot1",
        remap={topic: f"/{topic}" for topic in topics},
    ):
        wait_for(lambda: any(status.state == PolicyStatus.STATE_LOADING for status in statuses), 30.0, "state LOADING")
        wait_for(lambda: len(chunks) > 20, 120.0)
        assert len(chunks[0].delta_x) == 5 and np.isfinite([*chunks[-1].delta_x, *chunks[-1].gripper]).all()
        assert any(command.linear.x != 0.0 for command in commands)
        wait_for(lambda: statuses[-1].state == PolicyStatus.STATE_RUNNING)
        stages = [item.stage for item in statuses[-1].latency]
        assert stages[:5] == ["transport", "preprocess", "vision", "text", "head"]
        assert statuses[-1].checkpoint == str(checkpoint) and statuses[-1].memory_bytes > 0


def test_a_checkpoint_of_another_robot_is_refused_by_the_names_of_the_fields(probe, checkpoint, tmp_path):
    other = CONTRACT.read_text().replace("control_rate_hz: 10.0", "control_rate_hz: 5.0")
    other = other.replace("base: holonomic", "base: differential")
    file = tmp_path / "robot.yaml"
    file.write_text(other)
    assert Contract.load(file).control_rate_hz == 5.0
    with NodeProcess("mobile_vla_policy", "policy_node", {**parameters(checkpoint), "contract": str(file)}) as node:
        assert node.wait(120.0) == 1
        lines = [line for line in node.output.splitlines() if "cannot configure" in line]
        assert len(lines) == 1 and "Traceback" not in node.output
        assert "base: holonomic != differential" in lines[0] and "control_rate_hz: 10.0 != 5.0" in lines[0]


def test_limits_may_differ_from_training_and_the_log_says_in_which_direction(probe, checkpoint, tmp_path):
    data = Contract.load(CONTRACT).model_dump(mode="json")
    data["limits"]["linear_m_s"] /= 2
    data["limits"]["angular_rad_s"] *= 2
    data["cameras"]["gripper"]["required"] = True
    file = tmp_path / "robot.yaml"
    file.write_text(Contract.from_dict(data).to_yaml())
    statuses = probe.collect(PolicyStatus, "policy/status", LATCHED)
    with NodeProcess("mobile_vla_policy", "policy_node", {**parameters(checkpoint), "contract": str(file)}) as node:
        wait_for(lambda: any(status.state == PolicyStatus.STATE_WAITING for status in statuses), 120.0)
        lines = node.output.splitlines()
    (stricter,) = [line for line in lines if "stricter here than in training" in line]
    (looser,) = [line for line in lines if "looser here than in training" in line]
    assert "INFO" in stricter and "limits.linear_m_s: 0.4 != 0.8" in stricter and "gripper.required" in stricter
    assert "WARN" in looser and "limits.angular_rad_s" in looser and "linear_m_s" not in looser


def test_a_damaged_checkpoint_is_refused_by_the_name_of_the_file(probe, checkpoint, tmp_path):
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(
            file.read_bytes()[:50] if file.suffix == ".safetensors" else file.read_bytes()
        )
    with NodeProcess("mobile_vla_policy", "policy_node", parameters(tmp_path)) as node:
        assert node.wait(120.0) == 1
        lines = [line for line in node.output.splitlines() if "cannot configure" in line]
        assert len(lines) == 1 and "model.safetensors" in lines[0] and "Traceback" not in node.output


def test_an_exported_checkpoint_drives_and_the_wrong_backend_is_refused(probe, robot, checkpoint, tmp_path):
    exported = tmp_path / "exported"
    command = [sys.executable, "-m", "mobile_vla_policy.cli", "export", str(checkpoint), str(exported)]
    subprocess.run([*command, "--format", "torchscript"], check=True)
    chunks = probe.collect(ActionChunk, "policy/action_chunk")
    commands = probe.collect(Twist, "cmd_vel_policy")
    with NodeProcess("mobile_vla_policy", "policy_node", parameters(exported, instruction="go to the kitchen")):
        wait_for(lambda: len(chunks) > 5, 120.0)
        assert np.isfinite([*chunks[-1].delta_x, *chunks[-1].gripper]).all()
        wait_for(lambda: any(command.linear.x != 0.0 for command in commands))
    with NodeProcess("mobile_vla_policy", "policy_node", parameters(exported, backend="onnxruntime")) as node:
        assert node.wait(120.0) == 1
        lines = [line for line in node.output.splitlines() if "cannot configure" in line]
        assert len(lines) == 1 and "is an export for torchscript; backend onnxruntime cannot run it" in lines[0]
    with NodeProcess("mobile_vla_policy", "policy_node", parameters(exported, precision="fp8")) as node:
        assert node.wait(120.0) == 1
        assert "precision is 'fp8'; it must be one of auto, fp32, bf16, fp16, int8" in node.output


def test_a_signal_while_torch_is_being_imported_ends_the_node_without_a_traceback(probe, checkpoint):
    statuses = probe.collect(PolicyStatus, "policy/status", LATCHED)
    with NodeProcess("mobile_vla_policy", "policy_node", parameters(checkpoint)) as node:
        wait_for(lambda: any(status.state == PolicyStatus.STATE_LOADING for status in statuses))
        assert node.stop() == 0
    assert "Traceback" not in node.output
