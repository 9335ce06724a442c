"""inference.launch.py while the robot moves: what is left on cmd_vel at its end, and a policy on another machine."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from geometry_msgs.msg import Twist
from launch_commands import LITE, ROOT, Launched, alive

from mobile_vla_msgs.msg import GateStatus, PolicyStatus
from mobile_vla_ros.qos import EVERY_STATUS, LATCHED
from mobile_vla_ros.testing import NodeProcess, Probe, StampedVelocities, require_timeouts, wait_for

CONTRACT = ROOT / "config/robot.yaml"
SCRIPTED_POLICY = ROOT / "src/mobile_vla_policy/test/scripted_policy_node.py"
INSTRUCTION = "go to the kitchen"
#: policy_timeout_s of the gate in config/inference.yaml.
POLICY_TIMEOUT_S = 0.3

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
        velocities = StampedVelocities(probe, "cmd_vel")
        gate = probe.collect(GateStatus, "gate/status", EVERY_STATUS)
        policy = probe.collect(PolicyStatus, "policy/status", LATCHED)
        launched = start(
            LITE, "launch", "mobile_vla_bringup", "inference.launch.py", "sim:=true", "dashboard:=false",
            "inference_host:=remote", "stamped:=true",
        )  # fmt: skip
        wait_for(lambda: gate or launched.process.poll() is not None, 60, "the gate")
        assert len(launched.pids()) == 2, launched.output
        parameters = {
            "contract": str(CONTRACT), "checkpoint": str(tmp_path), "instruction": INSTRUCTION, "autostart": True,
            "images": "compressed", "command_rate_hz": 50.0, "stamped": True,
        }  # fmt: skip
        command = [sys.executable, str(SCRIPTED_POLICY), "steady"]
        with NodeProcess("", "", parameters, command=command) as remote:
            wait_for(lambda: velocities.moving, 60, "motion")
            streams = wait_for(lambda: policy and policy[-1].streams, what="the policy's status")
            cameras = {stream.name: stream for stream in streams}
            assert cameras["static"].topic == "/static_camera/image_raw/compressed"
            remote.process.kill()
            wait_for(lambda: gate[-1].driver == GateStatus.DRIVER_NONE and gate[-1].timeouts, what="the status")
            wait_for(lambda: velocities.still, what="zeros")
            require_timeouts(gate, velocities, POLICY_TIMEOUT_S)
        launched.signal(signal.SIGTERM)
        assert launched.wait(20) == 0
