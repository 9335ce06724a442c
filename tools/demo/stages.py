"""Stages of the demo: each is one command that a user could type, and leaves its result in a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class DemoError(RuntimeError):
    """A stage failed; one line that names the log to read."""


@dataclass(frozen=True)
class Demo:
    """The folders and sizes of one demo run."""

    root: Path
    """Everything the demo writes goes below this folder."""
    live_episodes: int = 6
    """Episodes recorded through the launched graph, in real time."""
    episodes: int = 520
    """Episodes in all; the rest is collected headless, faster than real time."""
    trials: int = 12
    """Drives of the trained policy under the launched graph, on floor plans that are in no episode."""
    untrained_trials: int = 3
    train_steps: int = 1250
    """Of stage 1, in which the network learns to look: nine minutes on two free cores, longer on a busy machine."""
    head_steps: int = 1000
    """Of stage 2, in which its LSTM learns to drive on what it sees: less than a minute."""
    train_minutes: float = 30.0
    """At most for each stage, whatever the machine."""
    trial_seed: int = 90_000

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def looks(self) -> Path:
        return self.root / "looks"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def untrained(self) -> Path:
        return self.root / "checkpoint_untrained"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def stages_file(self) -> Path:
        return self.root / "stages.json"


class Stages:
    """Runs stages once: a stage that finished is not run again when the demo is started a second time."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        demo.logs.mkdir(parents=True, exist_ok=True)
        self._done: dict[str, dict[str, Any]] = {}
        if demo.stages_file.exists():
            self._done = json.loads(demo.stages_file.read_text())

    @property
    def wall_time_s(self) -> dict[str, float]:
        """Duration of each finished stage [s]."""
        return {name: stage["wall_time_s"] for name, stage in self._done.items()}

    @property
    def commits(self) -> list[str]:
        """The versions of the repository that the stages ran with; more than one after a resumed run."""
        return sorted({stage["commit"] for stage in self._done.values()})

    def run(self, name: str, title: str, work: Callable[[], None]) -> None:
        """Run ``work`` unless it was done before, and remember how long it took [s]."""
        if name in self._done:
            stage = self._done[name]
            print(f"  done before  {title} ({stage['wall_time_s']:.0f} s, at {stage['commit']})", flush=True)
            return
        print(f"\n== {title}", flush=True)
        started = time.monotonic()
        work()
        self._done[name] = {"wall_time_s": round(time.monotonic() - started, 1), "commit": commit()}
        self._demo.stages_file.write_text(json.dumps(self._done, indent=2))


def command(arguments: Sequence[str | Path]) -> str:
    """Run a command to its end and return its stdout.

    Raises:
        DemoError: it exited with a status other than 0.
    """
    line = [str(argument) for argument in arguments]
    print("$ " + " ".join(line), flush=True)
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise DemoError(f"'{' '.join(line[:2])}' exited with status {done.returncode}: {done.stdout.strip()[-400:]}")
    return done.stdout


def launch(
    arguments: Sequence[str], log: Path, count: Callable[[], int], total: int, unit: str, timeout_s: float
) -> None:
    """Run ``ros2 launch mobile_vla_bringup …`` to its end under a progress bar fed by ``count``.

    Raises:
        DemoError: the launch failed or did not end within ``timeout_s``; the message names the log.
    """
    line = ["ros2", "launch", "mobile_vla_bringup", *arguments]
    print("$ " + " ".join(line), flush=True)
    with log.open("w") as stream, _Progress(unit, total) as progress:
        # A session of its own: Ctrl-C reaches the demo first, which then ends the whole graph in order.
        graph = subprocess.Popen(line, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + timeout_s
        try:
            while graph.poll() is None:
                if time.monotonic() > deadline:
                    raise DemoError(f"the launch did not end within {timeout_s:.0f} s; read {log}")
                progress.update(count())
                time.sleep(0.5)
            progress.update(count())
        finally:
            _end(graph)
    if graph.returncode != 0:
        raise DemoError(f"the launch exited with status {graph.returncode}; read {log}")


def commit() -> str:
    """The version of the repository, as git describes it."""
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def read_json(path: Path) -> Any:
    """Parse a result file of a stage."""
    return json.loads(path.read_text())


def _end(graph: subprocess.Popen[bytes]) -> None:
    if graph.poll() is not None:
        return
    graph.send_signal(signal.SIGINT)
    try:
        graph.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(graph.pid, signal.SIGKILL)
        graph.wait()


class _Progress:
    """A bar on a terminal; in a log file a line whenever the count has changed."""

    def __init__(self, unit: str, total: int) -> None:
        self._unit, self._total, self._shown = unit, total, -1
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(*columns, TimeElapsedColumn(), disable=not sys.stdout.isatty())
        self._task = self._bar.add_task(unit, total=total)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, done: int) -> None:
        """Show that ``done`` of the total are done."""
        self._bar.update(self._task, completed=done)
        if self._bar.disable and done != self._shown:
            print(f"  {done}/{self._total} {self._unit}", flush=True)
        self._shown = done
