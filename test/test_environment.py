"""env.sh and make setup."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not (ROOT / ".venv/.ros").is_file(), reason="make setup was not run in this checkout"),
]
SHELLS = [
    pytest.param(shell, marks=pytest.mark.skipif(not shutil.which(shell), reason=f"no {shell} on this machine"))
    for shell in ("bash", "dash", "zsh")
]
CLEAN = {"HOME": os.environ.get("HOME", "/"), "PATH": "/usr/local/bin:/usr/bin:/bin"}


def sourced(shell: str, script: str, cwd: Path = ROOT, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([shell, "-c", script], cwd=cwd, env=CLEAN, capture_output=True, text=True, timeout=timeout_s)


@pytest.mark.parametrize("shell", SHELLS)
def test_env_makes_every_command_available(shell: str) -> None:
    done = sourced(
        shell, ". ./env.sh && for c in ros2 mobile-vla-data mobile-vla-policy mobile-vla-sim; do command -v $c; done"
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4, done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_sourcing_env_twice_is_sourcing_it_once(shell: str) -> None:
    once, twice = (sourced(shell, f"set -u; {'. ./env.sh; ' * count} env | sort").stdout for count in (1, 2))
    assert once and once == twice


@pytest.mark.parametrize("shell", [SHELLS[0], SHELLS[2]])
def test_env_can_be_sourced_from_any_directory(shell: str, tmp_path: Path) -> None:
    done = sourced(shell, f". {ROOT}/env.sh && python -c 'import mobile_vla_msgs.msg, mobile_vla_data'", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("dash"), reason="no dash on this machine")
def test_a_plain_shell_says_that_env_must_be_sourced_from_the_repository(tmp_path: Path) -> None:
    done = sourced("dash", f". {ROOT}/env.sh; echo $?", tmp_path)
    assert "cd into the repository" in done.stderr and done.stdout.strip() == "1"


def test_env_forgets_the_libraries_of_another_environment() -> None:
    script = (
        "export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1 LD_LIBRARY_PATH=/o/lib/python3.11/site-packages/ros_rcl.libs:/keep;"
        '. ./env.sh; echo "${_ROS_WHEELS_BOOTSTRAP_COMPLETE-unset} $LD_LIBRARY_PATH"; python -c "import rclpy"'
    )
    done = sourced("bash", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("unset ") and "/o/lib" not in done.stdout and "/keep" in done.stdout


def test_env_says_that_setup_was_not_run(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "env.sh", tmp_path)
    shutil.copy(ROOT / "tools/setup.sh", tmp_path / "tools")
    done = sourced("bash", f". {tmp_path}/env.sh; echo $?")
    assert "make -C" in done.stderr and len(done.stderr.splitlines()) == 1
    assert done.stdout.strip() == "1"


def test_setup_has_nothing_to_do_a_second_time() -> None:
    # `make test` has just set everything up. These tests run in that environment: ask for the Python and ROS 2 it has.
    origin = (ROOT / ".venv/.origin").read_text()
    wanted = f"PYTHON={ROOT}/.venv/bin/python"
    ros = origin.split()[-1]
    if ros.startswith("wheels-"):
        wanted += f" MOBILE_VLA_ROS={ros.removeprefix('wheels-')}"
    started = time.monotonic()
    done = sourced("bash", f". ./env.sh && {wanted} tools/setup.sh", timeout_s=300)
    assert done.returncode == 0, done.stderr
    assert (ROOT / ".venv/.origin").read_text() == origin
    if "==>" not in done.stdout:
        # 0.3 s on an idle machine; what it must not do is to look at every package again.
        assert time.monotonic() - started < 10.0


def test_setup_refuses_an_unsupported_python_in_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\necho 3.8\n")
    old.chmod(0o755)
    env = {**CLEAN, "PYTHON": str(old)}
    done = subprocess.run([ROOT / "tools/setup.sh"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "Python 3.10 to 3.14" in done.stderr and "3.8" in done.stderr
