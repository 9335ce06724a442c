"""Entry points say in one line which Python module is missing."""

import subprocess
import sys
from pathlib import Path

import pytest


def started(module: str, entry: str, tmp_path: Path, *missing: str) -> subprocess.CompletedProcess[str]:
    """Run an entry point as if the modules ``missing`` were not installed."""
    script = tmp_path / "program"
    script.write_text(
        "import sys\n"
        "def without(find):\n"
        f"    return lambda name, *more: None if name.split('.')[0] in {missing!r} else find(name, *more)\n"
        "for finder in sys.meta_path:\n"
        "    finder.find_spec = without(finder.find_spec)\n"
        f"from {module} import {entry}\n"
        f"{entry}()\n"
    )
    command = [sys.executable, str(script), "--help"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("module", "entry", "missing", "advice"),
    [
        ("mobile_vla_data.cli.start", "data", "h5py", "pip install h5py"),
        ("mobile_vla_data.cli.start", "data", "yaml", "pip install pyyaml"),
        ("mobile_vla_policy.start", "policy", "transformers", "pip install transformers"),
        ("mobile_vla_policy.start", "policy_node", "peft", "pip install peft"),
        ("mobile_vla_policy.start", "policy_node", "torch", "pip install torch"),
        ("mobile_vla_control.start", "command_gate_node", "rclpy", "source a ROS 2 distribution"),
        ("mobile_vla_collect.start", "recorder_node", "mobile_vla_msgs", "source a ROS 2 distribution"),
        ("mobile_vla_sim.start", "sim", "mujoco", "make setup EXTRAS=sim"),
        ("mobile_vla_collect.start", "raw_recorder_node", "mcap", "make setup EXTRAS=rosbag"),
    ],
)
def test_a_missing_module_is_named_in_one_line(
    module: str, entry: str, missing: str, advice: str, tmp_path: Path
) -> None:
    pytest.importorskip(module.partition(".")[0])
    if module == "mobile_vla_collect.start":
        pytest.importorskip("rclpy")  # which is missed first where there is no ROS
    done = started(module, entry, tmp_path, missing)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"program: the Python module '{missing}' is not installed; ") and advice in line


def test_nothing_is_said_when_nothing_is_missing(tmp_path: Path) -> None:
    done = started("mobile_vla_data.cli.start", "data", tmp_path)
    assert done.returncode == 0 and "Usage" in done.stdout and done.stderr == ""
