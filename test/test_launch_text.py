"""Text of the user in launch arguments: it arrives as it was given, and is never evaluated."""

import os
import pty
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launch_commands import ROOT, Launched

from mobile_vla_ros.testing import Probe, wait_for

pytestmark = pytest.mark.alone

AWKWARD = """o'brien's "first" $HOME {x} #1"""
PIPELINE = """v4l2src device=/dev/video9 ! video/x-raw,format=BGR ! identity name="o'brien's" ! appsink drop=true"""


@pytest.fixture
def moved_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The installed launch and config files below a folder with an awkward name."""
    prefix = tmp_path / AWKWARD / "install"
    marker = prefix / "share/ament_index/resource_index/packages/mobile_vla_bringup"
    marker.parent.mkdir(parents=True)
    marker.touch()
    for name in ("launch", "config"):
        shutil.copytree(ROOT / name, prefix / "share/mobile_vla_bringup" / name)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}:{os.environ['AMENT_PREFIX_PATH']}")
    return prefix / "share/mobile_vla_bringup"


def test_quotes_pipelines_and_an_awkward_workspace_path_reach_the_nodes_unchanged(
    ros2: str, start: Callable[..., Launched], moved_workspace: Path, tmp_path: Path
) -> None:
    plan = moved_workspace / "config/collection_plan.yaml"
    dataset = tmp_path / AWKWARD / "episodes"
    with Probe() as probe:
        launched = start(
            ros2, "launch", "mobile_vla_bringup", "collect.launch.py", f"dataset:={dataset}", "dashboard:=false",
            f"static_camera:={PIPELINE}", "images:=compressed", "use_sim_time:=true",
        )  # fmt: skip
        wait_for(lambda: len(launched.pids()) == 3 or launched.process.poll() is not None, 60, "three nodes")
        assert launched.process.poll() is None, launched.output
        assert probe.parameters("recorder_node", "dataset", "plan") == [str(dataset), str(plan)]
        assert probe.parameters("recorder_node", "images") == ["compressed"]
        for node in ("recorder_node", "command_gate_node", "static_camera_node"):
            assert probe.parameters(node, "use_sim_time") == [True], node
        source, contract = probe.parameters("static_camera_node", "source", "contract")
        assert source == PIPELINE
        assert contract == str(moved_workspace / "config/robot.yaml")
        assert "no contract:=FILE: this robot has topics and limits of the simulated one" in launched.output


@pytest.fixture
def terminal() -> Iterator[int]:
    """The far end of a pseudo-terminal, for a node that reads keys."""
    near, far = pty.openpty()
    yield far
    os.close(near)
    os.close(far)


def test_the_home_folder_is_expanded_and_the_printed_keyboard_line_runs_in_a_shell(
    ros2: str, start: Callable[..., Launched], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: int
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    contract = tmp_path / AWKWARD / "robot: 1.yaml"
    contract.parent.mkdir()
    shutil.copy(ROOT / "config/robot.yaml", contract)
    shutil.copy(ROOT / "config/collection_plan.yaml", tmp_path / "plan.yaml")
    with Probe() as probe:
        launched = start(
            ros2, "launch", "mobile_vla_bringup", "collect.launch.py", "dataset:=~/episodes", "plan:=~/plan.yaml",
            f"contract:=~/{AWKWARD}/robot: 1.yaml", "static_camera:=~/images", "dashboard:=false", "namespace:=/robot1",
            "use_sim_time:=true",
        )  # fmt: skip
        dataset, plan, given = probe.parameters("/robot1/recorder_node", "dataset", "plan", "contract")
        assert "no contract:=FILE" not in launched.output
        assert [dataset, plan, given] == [str(tmp_path / "episodes"), str(tmp_path / "plan.yaml"), str(contract)]
        assert probe.parameters("/robot1/static_camera_node", "source") == [str(tmp_path / "images")]
        line = next(line for line in launched.output.splitlines() if "keyboard_teleop_node" in line)
        command = line.partition("terminal: ")[2]
        words = shlex.split(command)
        assert "-r" in words and Path(words[words.index("--params-file") + 1]).name == "collect.yaml", command
        teleop = subprocess.Popen(["bash", "-c", f"exec {command}"], stdin=terminal)
        try:
            # Its stamps are compared with the gate's time.
            parameters = probe.parameters("/robot1/keyboard_teleop_node", "contract", "use_sim_time")
            assert parameters == [str(contract), True]
        finally:
            teleop.terminate()
            teleop.wait(30)


def test_no_launch_file_evaluates_text() -> None:
    files = [*ROOT.glob("launch/*.py"), *ROOT.glob("src/mobile_vla_bringup/mobile_vla_bringup/*.py")]
    assert len(files) >= 7
    assert not [file.name for file in files if "PythonExpression" in file.read_text() or "eval(" in file.read_text()]
