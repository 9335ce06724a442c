"""The launch API of the stand-in, with processes that need no ROS."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROS2 = Path(__file__).resolve().parents[1] / "bin/ros2"
HEADER = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, LogInfo, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace, SetRemap
from launch_ros.parameter_descriptions import ParameterValue
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and process groups of Linux")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An installed package `demo` with the executable `worker`, as ament lays it out."""
    (tmp_path / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (tmp_path / "share/ament_index/resource_index/packages/demo").touch()
    (tmp_path / "lib/demo").mkdir(parents=True)
    return tmp_path


def executable(workspace: Path, text: str, name: str = "worker") -> None:
    path = workspace / "lib/demo" / name
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)


def launch(workspace: Path, body: str, *words: str, wait: bool = True) -> "subprocess.Popen[str]":
    file = workspace / "it.launch.py"
    file.write_text(f"{HEADER}def generate_launch_description():\n    return LaunchDescription([{body}])\n")
    process = subprocess.Popen(
        [ROS2, "launch", file, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "AMENT_PREFIX_PATH": f"{workspace}:{os.environ.get('AMENT_PREFIX_PATH', '')}"},
    )
    if wait:
        process.wait(60)
    return process


def test_a_node_gets_its_name_parameters_and_namespace(workspace: Path) -> None:
    show = "print(open(word).read() if 'launch_params' in word else word)"
    executable(workspace, f"import sys\nfor word in sys.argv[1:]: {show}\n")
    process = launch(
        workspace,
        'DeclareLaunchArgument("n", default_value="3"), GroupAction([PushRosNamespace("a"), '
        'SetRemap(src="b", dst="/c"), '
        'Node(package="demo", '
        'executable="worker", name="w", output="screen", parameters=[{"count": '
        'LaunchConfiguration("n"), "word": ParameterValue(LaunchConfiguration("n"), value_type=str)}])])',
        "n:=5",
    )
    said = process.stdout.read() if process.stdout else ""
    assert process.returncode == 0
    for part in ("[worker-1] __node:=w", "__ns:=/a", "b:=/c", "count: 5", "word: '5'", "finished cleanly"):
        assert part in said


def test_a_node_that_ignores_signals_is_killed_within_five_seconds(workspace: Path) -> None:
    ignore = "for s in (2, 15): signal.signal(s, signal.SIG_IGN)"
    executable(workspace, f"import signal, time\n{ignore}\nprint('up', flush=True)\ntime.sleep(60)\n")
    process = launch(workspace, 'Node(package="demo", executable="worker", output="screen")', wait=False)
    assert process.stdout is not None
    while "up" not in process.stdout.readline():
        continue
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    # Five seconds, and what a busy machine needs to start and to end a Python.
    assert time.monotonic() - asked < 8.0
    assert "SIGKILL" in process.stdout.read()


def test_a_failing_exit_handler_ends_the_launch_with_status_1(workspace: Path) -> None:
    executable(workspace, "raise SystemExit(3)\n")
    executable(workspace, "import time\ntime.sleep(60)\n", "other")
    process = launch(
        workspace,
        'Node(package="demo", executable="other"), Node(package="demo", executable="worker", '
        'on_exit=lambda event, context: (_ for _ in ()).throw(RuntimeError(f"it ended with {event.returncode}")))',
    )
    said = process.stdout.read() if process.stdout else ""
    assert process.returncode == 1
    assert "it ended with 3" in said and "exit code 3" in said


def test_a_process_that_is_held_open_by_its_child_is_seen_to_end(workspace: Path) -> None:
    executable(workspace, "import subprocess\nsubprocess.Popen(['sleep', '30'])\n")
    began = time.monotonic()
    process = launch(workspace, 'Node(package="demo", executable="worker")')
    assert process.returncode == 0
    assert time.monotonic() - began < 20.0


def test_a_reader_that_goes_away_ends_the_launch_in_good_order(workspace: Path, tmp_path: Path) -> None:
    left = tmp_path / "left"
    work = "import signal, time\ntry:\n    while True: print('tick', flush=True); time.sleep(0.01)\n"
    executable(workspace, f"{work}except KeyboardInterrupt:\n    open({str(left)!r}, 'w').close()\n")
    process = launch(workspace, 'Node(package="demo", executable="worker", output="screen")', wait=False)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait(30)
    assert left.exists()


def test_shutdown_ends_the_launch_with_status_0(workspace: Path) -> None:
    executable(workspace, "")
    executable(workspace, "import time\ntime.sleep(60)\n", "other")
    process = launch(
        workspace,
        'Node(package="demo", executable="other"), Node(package="demo", executable="worker", '
        'on_exit=Shutdown(reason="all done"))',
    )
    assert process.returncode == 0
    assert process.stdout is not None and "all done" in process.stdout.read()


@pytest.mark.parametrize(
    ("body", "words", "said"),
    [
        ('Node(package="demo", executable="none")', [], "executable 'none' not found"),
        ('Node(package="nix", executable="none")', [], "package 'nix' not found"),
        ('DeclareLaunchArgument("a")', [], "Required launch argument 'a'"),
        ('DeclareLaunchArgument("a", choices=["x", "y"])', ["a:=z"], "'z' is not valid"),
        ('LogInfo(msg=LaunchConfiguration("b"))', [], "launch configuration 'b' does not exist"),
        ('OpaqueFunction(function=lambda context: 1 / 0)', [], "division by zero"),
        ("", ["novalue"], "malformed launch argument 'novalue'"),
        ('__import__("launch.actions").actions.TimerAction(period=1.0)', [], "implement launch.actions.TimerAction"),
        ('__import__("launch_ros.descriptions")', [], "does not implement launch_ros.descriptions"),
        ('Node(package="demo", executable="x", respawn=True)', [], "unexpected keyword argument 'respawn'"),
    ],
)  # fmt: skip
def test_what_is_wrong_or_not_implemented_is_said_by_name(
    workspace: Path, body: str, words: list[str], said: str
) -> None:
    process = launch(workspace, body, *words)
    assert process.returncode == 1
    assert process.stdout is not None and said in process.stdout.read()
