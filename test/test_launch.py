"""The launch files, as a user starts them: real processes over DDS."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from geometry_msgs.msg import Twist
from launch_commands import ROS2, Launched, alive

from mobile_vla_msgs.msg import GateStatus, RecorderStatus
from mobile_vla_policy.engine.choices import BACKENDS, PRECISIONS
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import Probe, wait_for

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parents[1]
#: Every name that people rely on; see docs/explanation/architecture.md.
ARGUMENTS = {
    "collect.launch.py": {
        "sim", "teleop", "dataset", "contract", "dashboard", "dashboard_port", "namespace", "record_raw",
    },
    "inference.launch.py": {
        "sim", "teleop", "contract", "dashboard", "dashboard_port", "checkpoint", "instruction", "device", "namespace",
        "inference_host", "dataset", "plan", "backend", "precision", "shadow", "trace",
    },
    "policy.launch.py": {
        "contract", "checkpoint", "instruction", "device", "images", "namespace",
        "backend", "precision", "shadow", "trace",
    },
    "replay.launch.py": {
        "episode", "mode", "speed", "repeat", "output", "max_deviation_m", "sim", "teleop", "contract",
    },
    "sim.launch.py": {"contract", "namespace"},
}  # fmt: skip


@pytest.mark.parametrize("file", ARGUMENTS)
def test_show_args_lists_every_fixed_argument_with_a_description(ros2: str, file: str) -> None:
    shown = subprocess.run(
        [ros2, "launch", "mobile_vla_bringup", file, "--show-args"], capture_output=True, text=True, check=True
    ).stdout
    names = {line.strip()[1:-2] for line in shown.splitlines() if line.startswith("    '")}
    assert names >= ARGUMENTS[file]
    assert "no description given" not in shown


def ends() -> Iterator[object]:
    """Every command with every signal that ends it.

    The real ros2 launch leaves on SIGTERM, and both on SIGKILL, without a word to the nodes: they notice by themselves.
    """
    for command in ROS2:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            yield pytest.param(*command.values, number, marks=command.marks, id=f"{command.id}-{number.name}")


@pytest.mark.parametrize(("command", "number"), list(ends()))
def test_collecting_in_simulation_starts_records_and_leaves_a_zero_and_nothing_else_behind(
    command: str, start: Callable[..., Launched], tmp_path: Path, number: int
) -> None:
    dataset = tmp_path / "episodes"
    # By path with Ctrl-C, by package with SIGTERM: both ways to name a launch file.
    by_package = ["mobile_vla_bringup", "collect.launch.py"]
    named = [ROOT / "launch/collect.launch.py"] if number == signal.SIGINT else by_package
    with Probe() as probe:
        statuses = probe.collect(RecorderStatus, "/robot1/recorder/status", LATCHED)
        velocities = probe.collect(Twist, "/robot1/cmd_vel")
        launched = start(
            command, "launch", *named, "sim:=true", "teleop:=expert", f"dataset:={dataset}",
            "dashboard:=false", "namespace:=robot1",
        )  # fmt: skip
        wait_for(lambda: any(item.steps >= 12 for item in statuses) or launched.process.poll() is not None, 60)
        wait_for(
            lambda: (velocities and velocities[-1] != Twist()) or launched.process.poll() is not None, 30, "motion"
        )
        assert launched.process.poll() is None, launched.output
        pids = launched.pids()
        assert len(pids) == 4
        asked = time.monotonic()
        launched.signal(number)
        status = launched.wait(30)
        wait_for(lambda: not any(alive(pid) for pid in pids), 20, "the end of every node")
        took_s = time.monotonic() - asked
        wait_for(lambda: velocities[-1] == Twist(), what="a zero, which is the last word of the gate")
    # The recorder keeps what was recorded, and no half-written file is left.
    assert list(dataset.glob("episode_*.h5")), launched.output
    assert not list(dataset.glob("*.part"))
    assert status == 0 or number == signal.SIGKILL or not Path(command).is_relative_to(ROOT)
    # Whoever does not end within 5 s is killed by either launch; that none had to be says it, however busy the machine.
    assert "SIGKILL" not in launched.output and took_s < 10.0, launched.output


@pytest.fixture
def foreign_joy_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package ``joy`` whose node, like the real one, knows nothing of this project's launch files."""
    prefix = tmp_path / "joy"
    node, marker = prefix / "lib/joy/joy_node", prefix / "share/ament_index/resource_index/packages/joy"
    for file in (node, marker):
        file.parent.mkdir(parents=True)
    marker.touch()
    node.write_text("#!/bin/sh\nexec sleep 1000\n")
    node.chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}:{os.environ['AMENT_PREFIX_PATH']}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_joystick_node_that_is_not_ours_ends_with_its_launch_too(
    ros2: str, start: Callable[..., Launched], tmp_path: Path, number: int, foreign_joy_node: None
) -> None:
    del foreign_joy_node  # is found by its name
    launched = start(
        ros2, "launch", "mobile_vla_bringup", "inference.launch.py", "inference_host:=remote", "teleop:=joy",
        "dashboard:=false",
    )  # fmt: skip
    wait_for(lambda: len(launched.pids()) == 3 or launched.process.poll() is not None, 60, "gate, joystick, teleop")
    pids = launched.pids()
    assert len(pids) == 3, launched.output
    # Not before it has become what it is to be: the launch has forked, and the kernel has been asked.
    wait_for(lambda: any("sleep" in Path(f"/proc/{pid}/cmdline").read_text() for pid in pids), what="joy_node")
    launched.signal(number)
    launched.wait(30)
    wait_for(lambda: not any(alive(pid) for pid in pids), 20, "the end of every node")


def test_every_backend_and_precision_that_the_policy_knows_can_be_chosen(ros2: str) -> None:
    words = ["launch", "mobile_vla_bringup", "policy.launch.py", "--show-args"]
    shown = subprocess.run([ros2, *words], capture_output=True, text=True, check=True).stdout
    for names in (BACKENDS, PRECISIONS):
        assert str(["", *names]) in shown


@pytest.mark.parametrize(
    ("file", "argument", "said"),
    [
        ("policy.launch.py", "backend:=tensorrt", "'eager', 'torchscript', 'onnxruntime', 'aoti'"),
        ("inference.launch.py", "shadow:=yes", "'true', 'false'"),
        ("inference.launch.py", "trace:=/nowhere/trace.json", "trace '/nowhere/trace.json' cannot be written"),
        ("policy.launch.py", "trace:=/tmp", "trace '/tmp' cannot be written: name a file in a folder that exists"),
    ],
)
def test_a_wrong_value_is_one_clear_line_before_anything_starts(
    ros2: str, tmp_path: Path, file: str, argument: str, said: str
) -> None:
    words = ["launch", "mobile_vla_bringup", file, f"checkpoint:={tmp_path}", argument]
    ended = subprocess.run([ros2, *words], capture_output=True, text=True, timeout=30)
    printed = ended.stdout + ended.stderr
    assert ended.returncode == 1
    assert any(said in line and argument.split(":=")[1] in line for line in printed.splitlines()), printed
    assert "process started" not in printed


def test_what_is_about_the_policy_is_refused_where_none_is_started(ros2: str) -> None:
    words = ["launch", "mobile_vla_bringup", "inference.launch.py", "inference_host:=remote", "precision:=int8"]
    ended = subprocess.run([ros2, *words], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert "give precision to policy.launch.py there" in ended.stdout + ended.stderr


def test_a_missing_argument_is_one_clear_line_before_anything_starts(ros2: str, tmp_path: Path) -> None:
    for file, argument, said in (
        ("collect.launch.py", "sim:=true", "argument 'dataset' is missing"),
        ("collect.launch.py", f"dataset:={tmp_path}", "contract"),
        ("inference.launch.py", "sim:=true", "argument 'checkpoint' is missing"),
        ("inference.launch.py", f"checkpoint:={tmp_path}/none", "is not a folder"),
        ("policy.launch.py", "device:=cpu", "argument 'checkpoint' is missing"),
        ("replay.launch.py", "mode:=actions", "argument 'episode' is missing"),
    ):
        words = [argument, "contract:=/nowhere.yaml"] if said == "contract" else [argument]
        ended = subprocess.run(
            [ros2, "launch", "mobile_vla_bringup", file, *words], capture_output=True, text=True, timeout=30
        )
        printed = ended.stdout + ended.stderr
        assert ended.returncode == 1
        assert said in printed
        assert "process started" not in printed


def test_the_launch_fails_when_the_gate_cannot_start(ros2: str, start: Callable[..., Launched], tmp_path: Path) -> None:
    contract = tmp_path / "robot.yaml"
    contract.write_text("contract_version: 1\n")
    launched = start(
        ros2, "launch", "mobile_vla_bringup", "collect.launch.py", f"dataset:={tmp_path}", f"contract:={contract}",
        "dashboard:=false",
    )  # fmt: skip
    assert launched.wait(40) == 1
    assert "robot.yaml" in launched.output
    assert not [pid for pid in launched.pids() if alive(pid)]


def test_a_real_robot_gets_a_camera_node_for_each_camera_that_is_named(
    ros2: str, start: Callable[..., Launched], tmp_path: Path
) -> None:
    import cv2
    import numpy as np

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(3):
        cv2.imwrite(str(pictures / f"{index}.png"), np.full((48, 64, 3), 80 * index, np.uint8))
    with Probe() as probe:
        gate = probe.collect(GateStatus, "/gate/status", LATCHED)
        launched = start(
            ros2, "launch", "mobile_vla_bringup", "collect.launch.py", f"dataset:={tmp_path / 'd'}",
            f"static_camera:={pictures}", "dashboard:=false",
        )  # fmt: skip
        wait_for(lambda: gate or launched.process.poll() is not None, 40)
        wait_for(lambda: "static_camera_node" in probe.node.get_node_names(), 20, "static_camera_node")
        assert "gripper_camera_node" not in probe.node.get_node_names()
        wait_for(lambda: "keyboard_teleop_node" in launched.output, what="how to drive")
    launched.signal(signal.SIGTERM)
    launched.wait(30)
