"""Which Python and which ROS 2 make setup uses, and when it may remove an environment."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Stands for a Python of some version: knows its version and its folder, makes environments, and may have rclpy.
PYTHON = """#!/bin/sh
case "$*" in
  *base_prefix*) echo {base} ;;
  *version_info*) echo {version} ;;
  *rclpy*) {rclpy} ;;
  "-m venv"*) for venv; do :; done; mkdir -p "$venv/bin"; cp "$0" "$venv/bin/python"; cp "$0" "$venv/bin/python3" ;;
esac
"""
#: The steps of tools/setup.sh up to the environment; pip is left out.
SCRIPT = """set -euo pipefail
cd {root}
root=$PWD venv=$PWD/.venv
say() {{ echo "$*"; }}
fail() {{ echo "error: $*" >&2; exit 1; }}
. {tools}/system.sh
. {tools}/environment.sh
pip_install() {{ :; }}
uname() {{ echo x86_64; }}
find_ros
find_python
check_python_and_ros
prepare_venv
"""


@dataclass
class Machine:
    """A folder with this project, and what the shell of its user has."""

    root: Path
    bin: Path

    def install(self, name: str, version: str, rclpy: bool = False) -> Path:
        file = self.bin / name
        file.write_text(PYTHON.format(base=file, version=version, rclpy="true" if rclpy else "false"))
        file.chmod(0o755)
        return file

    def distribution(self, name: str) -> dict[str, str]:
        """Install a distribution; return what sourcing it adds to the environment."""
        prefix = self.root.parent / "ros" / name
        (prefix / "share/rclpy").mkdir(parents=True)
        (prefix / "share/rclpy/package.xml").touch()
        (prefix / "bin").mkdir()
        (prefix / "bin/ros2").write_text("#!/bin/sh\n")
        (prefix / "bin/ros2").chmod(0o755)
        sourced = {"ROS_DISTRO": name, "AMENT_PREFIX_PATH": str(prefix), "PATH": f"{prefix}/bin:{self.path}"}
        # As those of ROS do, it reads a variable that is not set.
        script = ': "$AMENT_TRACE_SETUP_FILES"\n' + "".join(f"export {k}='{v}'\n" for k, v in sourced.items())
        (prefix / "setup.bash").write_text(script)
        return sourced

    @property
    def path(self) -> str:
        return f"{self.bin}:/usr/bin:/bin"

    def setup(self, **asked: str) -> subprocess.CompletedProcess[str]:
        script = SCRIPT.format(root=self.root, tools=ROOT / "tools/setup")
        env = {"HOME": os.environ.get("HOME", "/"), "PATH": self.path, **asked}
        return subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60)

    def made_for(self, **asked: str) -> tuple[str, str]:
        """Set up; return the Python and the ROS 2 of the environment."""
        done = self.setup(**asked)
        assert done.returncode == 0, done.stderr
        root, python, ros = (self.root / ".venv/.origin").read_text().split()
        assert root == str(self.root)
        return python, ros

    def keeps(self, **asked: str) -> bool:
        """Set up; return whether the environment was kept."""
        mark = self.root / ".venv/mark"
        mark.touch()
        before = (self.root / ".venv/.origin").read_text()
        done = self.setup(**asked)
        assert done.returncode == 0, done.stderr
        kept = mark.exists()
        assert kept == ("Removing" not in done.stdout)
        assert not kept or (self.root / ".venv/.origin").read_text() == before
        return kept


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine whose python3 is 3.11, with 3.12 besides."""
    machine = Machine(tmp_path / "project", tmp_path / "bin")
    machine.root.mkdir()
    machine.bin.mkdir()
    machine.install("python3", "3.11")
    machine.install("python3.12", "3.12")
    return machine


def test_a_new_environment_has_python3_and_the_default_wheels(machine: Machine) -> None:
    assert machine.made_for() == ("3.11", "wheels-jazzy")


def test_the_wheels_get_a_python_that_they_are_for_if_there_is_one(machine: Machine) -> None:
    machine.install("python3", "3.10")
    assert machine.made_for() == ("3.12", "wheels-jazzy")
    (machine.bin / "python3.12").unlink()
    done = machine.setup(PYTHON="python3")
    assert done.returncode == 1 and "Python 3.11, 3.12 or 3.13 is needed" in done.stderr and "3.10" in done.stderr


def test_what_was_asked_for_once_stays_when_nothing_is_asked_for(machine: Machine) -> None:
    assert machine.made_for(PYTHON="python3.12", MOBILE_VLA_ROS="kilted") == ("3.12", "wheels-kilted")
    assert machine.keeps()
    assert machine.keeps(PYTHON="", MOBILE_VLA_ROS="")
    # In a shell in which the environment is active, and in one that names the wheels only, or the Python only.
    assert machine.keeps(PATH=f"{machine.root}/.venv/bin:{machine.path}")
    assert machine.keeps(MOBILE_VLA_ROS="kilted")
    assert machine.keeps(PYTHON="python3.12")


def test_another_python_keeps_the_wheels_and_other_wheels_are_built_anew(machine: Machine) -> None:
    machine.made_for(MOBILE_VLA_ROS="kilted")
    assert not machine.keeps(PYTHON="python3.12")
    assert machine.made_for() == ("3.12", "wheels-kilted")
    assert not machine.keeps(MOBILE_VLA_ROS="jazzy", PYTHON="python3.12")
    assert machine.made_for() == ("3.12", "wheels-jazzy")


def test_wheels_of_before_there_was_a_choice_are_kilted(machine: Machine) -> None:
    machine.made_for(MOBILE_VLA_ROS="kilted")
    (machine.root / ".venv/.origin").write_text(f"{machine.root} 3.11 wheels\n")
    assert machine.keeps()


def test_an_environment_of_a_distribution_is_kept_in_a_shell_that_has_not_sourced_it(machine: Machine) -> None:
    machine.install("python3.10", "3.10", rclpy=True)
    humble = machine.distribution("humble")
    assert machine.made_for(PYTHON="python3.10", **humble) == ("3.10", humble["AMENT_PREFIX_PATH"])
    assert machine.keeps() and machine.keeps(**humble)


def test_another_sourced_distribution_is_a_request(machine: Machine) -> None:
    assert machine.made_for(PYTHON="python3.12") == ("3.12", "wheels-jazzy")
    machine.install("python3", "3.10", rclpy=True)
    humble = machine.distribution("humble")
    assert machine.made_for(**humble) == ("3.10", humble["AMENT_PREFIX_PATH"])


def test_a_distribution_that_was_removed_is_named_and_nothing_is_deleted(machine: Machine) -> None:
    machine.install("python3", "3.10", rclpy=True)
    machine.made_for(**machine.distribution("humble"))
    shutil.rmtree(machine.root.parent / "ros")
    done = machine.setup()
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "MOBILE_VLA_ROS=jazzy" in done.stderr
    assert (machine.root / ".venv/.origin").exists()


def test_a_broken_environment_is_made_again_with_its_wheels(machine: Machine) -> None:
    machine.made_for(PYTHON="python3.12", MOBILE_VLA_ROS="kilted")
    (machine.root / ".venv/bin/python").unlink()
    assert not machine.keeps()
    assert machine.made_for() == ("3.11", "wheels-kilted")


def test_a_python_that_does_not_go_with_the_wheels_is_refused_before_anything_is_deleted(machine: Machine) -> None:
    machine.made_for()
    machine.install("python3.14", "3.14")
    done = machine.setup(PYTHON="python3.14")
    assert done.returncode == 1 and "3.11, 3.12 or 3.13 is needed" in done.stderr and done.stderr.count("\n") == 1
    assert (machine.root / ".venv/.origin").read_text().split()[1:] == ["3.11", "wheels-jazzy"]
