import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobile_vla_ros.testing import unique_domain

ROOT = Path(__file__).resolve().parents[1]
LITE = ROOT / "tools/ros2_lite/bin/ros2"


def ros2_commands() -> list[str]:
    """The stand-in, and the real ros2 where there is one."""
    found = shutil.which("ros2")
    return [str(LITE)] + ([found] if found and Path(found).resolve() != LITE.resolve() else [])


@pytest.fixture(params=ros2_commands(), ids=lambda path: "ros2_lite" if path == str(LITE) else "real")
def ros2(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def domain() -> Iterator[int]:
    with unique_domain() as domain_id:
        yield domain_id


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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Start commands in the background; whatever is left is killed at the end."""
    running: list[Launched] = []

    def starter(*command: object) -> Launched:
        running.append(Launched([str(word) for word in command], tmp_path / f"output{len(running)}.log"))
        return running[-1]

    yield starter
    for item in running:
        item.close()
