"""Kills recorders at random moments and looks at what is left; for the test of it, and for the benchmark's 200 times.

Several recorders listen to one robot, each in a namespace and on its own folder, so that their starts overlap.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

from recorder_client import Recording, fake_robot, recorder_process

from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode
from mobile_vla_msgs.msg import RecorderStatus
from mobile_vla_ros.run import LAUNCH_PID
from mobile_vla_ros.testing import WITHOUT_SHARED_MEMORY, Probe

#: Findings that say nothing about durability: the episode ends wherever the recorder was killed, and on a machine that
#: starts several recorders at once ticks are late.
_NOT_OF_KILLING = {"too-short", "dropped-ticks", "rate", "camera-slow"}


@dataclass(frozen=True)
class Kill:
    """What one kill did."""

    open_s: float
    """How long the episode had been open [s]."""
    lost_s: float
    """Between the last recovered step and the kill, or the stop that the kill cut off [s]."""
    lost_steps: int
    """Steps that the recorder's status had reported and that are in no file."""
    committed_before: int
    committed_after: int
    findings: tuple[str, ...]
    """Of every episode in the folder, recovered one included."""

    @property
    def lost_nothing_committed(self) -> bool:
        return self.committed_after >= self.committed_before


def kill_once(probe: Probe, name: str, folder: Path, rng: random.Random) -> Kill:
    """Record, kill at a random moment (start, recording, or commit), start again and see.

    The restarted recorder must come up unattended and record an episode of its own.
    """
    committed = len(Dataset.open(folder).episode_paths) if folder.is_dir() else 0
    recorder = recorder_process(folder, name)
    recording = Recording(probe, f"{name}/")
    ended_ns = 0
    try:
        recording.start()
        began_ns = probe.now_ns()
        if rng.random() < 0.3:
            # In the middle of a commit: asked to stop, and killed within the time that takes.
            time.sleep(rng.uniform(0.2, 1.0))
            ended_ns = probe.now_ns()
            recording.ask_to_stop()
            time.sleep(rng.uniform(0.0, 0.05))
        else:
            time.sleep(rng.uniform(0.0, 2.0))
    finally:
        recorder.stop(signal.SIGKILL)
        ended_ns = ended_ns or probe.now_ns()
        said = recording.status
        recording.close()
    with recorder_process(folder, name), Recording(probe, f"{name}/") as recording:
        recording.start()
        recording.until_steps(2)
        recording.stop()
    return _look(folder, committed, began_ns, ended_ns, said)


def _look(folder: Path, committed: int, began_ns: int, ended_ns: int, said: RecorderStatus) -> Kill:
    findings = []
    last_ns = recovered = 0
    paths = Dataset.open(folder).episode_paths
    for path in paths:
        findings += [str(found) for found in check_episode(path) if found.code not in _NOT_OF_KILLING]
        with Episode.open(path) as episode:
            last_ns = max([last_ns, *(int(ns) for ns in episode.timestamps_ns if ns <= ended_ns)])
            recovered = episode.num_steps if episode.episode_id == said.episode_id else recovered
    open_s = (ended_ns - began_ns) * 1e-9
    # Without a step of this episode, all the time it was open is what was lost.
    lost_s = (ended_ns - max(last_ns, began_ns)) * 1e-9
    return Kill(open_s, lost_s, said.steps - recovered, committed, len(paths) - 1, tuple(findings))


def kill_many(folder: Path, count: int, seed: int, at_once: int = 5) -> list[Kill]:
    """Kill ``count`` recorders, ``at_once`` at a time."""
    times = [len(range(number, count, at_once)) for number in range(at_once)]
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, WITHOUT_SHARED_MEMORY))
        fake_robot(stack.enter_context(Probe("robot")))
        # A process each, as robots have it: many participants that come and go within one process can lock DDS up.
        pool = stack.enter_context(ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn")))
        done = pool.map(_kill_times, [folder] * at_once, times, [seed] * at_once, range(at_once))
        return [kill for kills in done for kill in kills]


def _kill_times(folder: Path, times: int, seed: int, number: int) -> list[Kill]:
    rng = random.Random(f"{seed}/{number}")
    # Its recorders end with this process, however that ends.
    os.environ[LAUNCH_PID] = str(os.getpid())
    with Probe(f"human_{number}") as probe:
        return [kill_once(probe, f"recorder_{number}", folder / str(number), rng) for _ in range(times)]


if __name__ == "__main__":
    # kills.py FOLDER COUNT SEED AT_ONCE: the kills as one JSON list.
    numbers = [int(word) for word in sys.argv[2:]]
    print(json.dumps([asdict(kill) for kill in kill_many(Path(sys.argv[1]), *numbers)]))
