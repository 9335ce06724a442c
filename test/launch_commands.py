"""The ros2 commands of this machine, and running one of them."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LITE = ROOT / "tools/ros2_lite/bin/ros2"
_FOUND = shutil.which("ros2") or ""
REAL = "" if Path(_FOUND).resolve() == LITE.resolve() else _FOUND
#: Parameters of a test: the stand-in, and the real ros2.
ROS2 = [
    pytest.param(str(LITE), id="ros2_lite"),
    pytest.param(REAL, id="real", marks=pytest.mark.skipif(not REAL, reason="no ros2 of a distribution here")),
]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Launched:
    """A running ``ros2`` command, with what it printed in a file."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """To the command alone, as `kill` does."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        return self.process.wait(timeout_s)

    def pids(self) -> list[int]:
        """Process ids of the nodes it has started."""
        words = self.output.split("started with pid [")[1:]
        return [int(word.split("]")[0]) for word in words]

    def close(self) -> None:
        for pid in [self.process.pid, *self.pids()]:
            try:
                os.killpg(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        self.process.wait()
