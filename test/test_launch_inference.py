"""inference.launch.py while the robot moves: what is left on cmd_vel at its end, and a policy on another machine."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from geometry_msgs.msg import Twist
from launch_commands import LITE, ROOT, Launched, alive

from mobile_vla_msgs.msg import GateStatus, PolicyStatus
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import NodeProcess, Probe, wait_for

CONTRACT = ROOT / "config/robot.yaml"
SCRIPTED_POLICY = ROOT / "src/mobile_vla_policy/test/scripted_policy_node.py"
INSTRUCTION = "go to the kitchen"
#: policy_timeout_s of the gate in config/inference.yaml, two of its ticks, and what a busy machine adds.
GATE_STOPS_S = 0.3 + 0.04 + 0.3

#: In a process of its own, as torch takes memory.
MAKE_CHECKPOINT = ROOT / "src/mobile_vla_policy/test/make_checkpoint.py"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy") / "checkpoint"
    subprocess.run([sys.executable, str(MAKE_CHECKPOINT), str(folder), str(CONTRACT)], check=True)
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_launch_that_is_ended_while_the_policy_drives_leaves_a_zero_as_the_last_message(
    ros2: str, start: Callable[..., Launched], checkpoint: Path, number: int
) -> None:
    with Probe() as probe:
        velocities = probe.collect(Twist, "cmd_vel")
        launched = start(
            ros2, "launch", "mobile_vla_bringup", "inference.launch.py", "sim:=true", "dashboard:=false",
            f"checkpoint:={checkpoint}", f"instruction:={INSTRUCTION}", "device:=cpu",
        )  # fmt: skip
        wait_for(lambda: moves(velocities) or launched.process.poll() is not None, 90, "motion")
        pids = launched.pids()
        assert len(pids) == 3, launched.output
        launched.signal(number)
        wait_for(lambda: not any(alive(pid) for pid in pids), 20, "the end of every node")
        assert velocities[-1] == Twist()


def moves(velocities: list[Twist]) -> bool:
    return bool(velocities) and velocities[-1] != Twist()


def test_a_policy_on_another_machine_drives_by_jpegs_and_when_it_is_gone_the_robot_stands(
    start: Callable[..., Launched], tmp_path: Path
) -> None:
    with Probe() as probe:
        velocities = probe.collect(Twist, "cmd_vel")
        gate = probe.collect(GateStatus, "gate/status", LATCHED)
        policy = probe.collect(PolicyStatus, "policy/status", LATCHED)
        launched = start(
            LITE, "launch", "mobile_vla_bringup", "inference.launch.py", "sim:=true", "dashboard:=false",
            "inference_host:=remote",
        )  # fmt: skip
        wait_for(lambda: gate or launched.process.poll() is not None, 60, "the gate")
        assert len(launched.pids()) == 2, launched.output
        parameters = {
            "contract": str(CONTRACT), "checkpoint": str(tmp_path), "instruction": INSTRUCTION, "autostart": True,
            "images": "compressed", "command_rate_hz": 50.0,
        }  # fmt: skip
        command = [sys.executable, str(SCRIPTED_POLICY), "steady"]
        with NodeProcess("", "", parameters, command=command) as remote:
            wait_for(lambda: moves(velocities), 60, "motion")
            cameras = {stream.name: stream for stream in policy[-1].streams}
            assert cameras["static"].topic == "/static_camera/image_raw/compressed"
            remote.process.kill()
            killed_at = time.monotonic()
            wait_for(lambda: velocities[-1] == Twist(), 10, "zeros")
            assert time.monotonic() - killed_at < GATE_STOPS_S
            wait_for(lambda: gate[-1].driver == GateStatus.DRIVER_NONE and gate[-1].timeouts == 1, 10, "the status")
        launched.signal(signal.SIGTERM)
        assert launched.wait(20) == 0
