"""make bench-interop: round trips through other formats, what they cost, and what other programs say about exports.

Rates are frames per second of processor time on one thread, so that other work on the machine does not change them.
LEROBOT_PYTHON and ROBOMIMIC_PYTHON name Pythons with LeRobot 0.6 or later, and robomimic; without them the figures of
those programs are left out (benchmarks/judge_interop.py says how to get them).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Figure
from other_python import run_json
from parts import parser_of, run_parts

from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.hdf5.robomimic import RobomimicExport, export_robomimic, import_robomimic
from mobile_vla_data.convert.labels import Defaults
from mobile_vla_data.convert.lerobot.export import LeRobotExport, export_lerobot
from mobile_vla_data.convert.lerobot.importing import LeRobotImport, import_lerobot
from mobile_vla_data.convert.lerobot.shard import VideoSettings
from mobile_vla_data.convert.lerobot.video import DEFAULT_CRF
from mobile_vla_data.convert.rosbag.export import BagExport, export_rosbag
from mobile_vla_data.convert.rosbag.importing import BagImport, import_rosbags
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import split_dataset
from mobile_vla_data.episode.reader import Episode
from mobile_vla_sim.headless.collect import CollectConfig, collect
from mobile_vla_sim.tasks.catalogue import TASKS, load_plan

_CONTRACT = ROOT / "config" / "robot.yaml"
_JUDGES = ROOT / "test" / "interop"
_NUMBERS = ("states", "actions", "timestamps_ns", "takeover")
_H264 = LeRobotExport(VideoSettings("h264", DEFAULT_CRF["h264"]))
_IMAGES = LeRobotExport(None)
#: Frames that LeRobot is asked for.
_JUDGED_FRAMES = 24


class Stage:
    """A dataset of simulated episodes in a folder that goes away."""

    def __init__(self, folder: Path, episodes: int) -> None:
        self.folder, self.dataset = folder, folder / "dataset"
        plan = load_plan(_CONTRACT.with_name("collection_plan.yaml"))
        config = CollectConfig(self.dataset, Contract.load(_CONTRACT), plan, seed=0, tasks=tuple(TASKS))
        for _ in collect(config, episodes):
            pass
        split_dataset(self.dataset)
        self.frames = 0
        for path in Dataset(self.dataset).episode_paths:
            with Episode.open(path) as episode:
                self.frames += episode.num_steps * len(episode.cameras)

    def rate(self, work: Callable[[], Any]) -> float:
        """Frames of the dataset per second of processor time that ``work`` takes."""
        began_s = time.process_time()
        work()
        return self.frames / (time.process_time() - began_s)


def lerobot(stage: Stage) -> Iterator[Figure]:
    """LeRobotDataset v3.0, with video and with images."""
    for kind, options, goal in (("H.264 video", _H264, ">= 150"), ("images", _IMAGES, "")):
        name = kind.split()[0]
        target, back = stage.folder / f"lerobot_{name}", stage.folder / f"from_lerobot_{name}"
        rate = stage.rate(lambda target=target, options=options: export_lerobot(stage.dataset, target, options))
        yield Figure(f"LeRobot export, {kind}", rate, "frames/s", goal)
        rate = stage.rate(lambda target=target, back=back: import_lerobot(target, back, LeRobotImport()))
        yield Figure(f"LeRobot import, {kind}", rate, "frames/s")
        yield from _round_trip(f"LeRobot, {kind}", stage.dataset, back, exact=options is _IMAGES)
        size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
        yield Figure(f"LeRobot export, {kind}: size of a frame", size / stage.frames / 1000, "kB")


def rosbag(stage: Stage) -> Iterator[Figure]:
    """rosbag2 in MCAP."""
    bags, back = stage.folder / "bags", stage.folder / "from_bags"
    yield Figure("MCAP export", stage.rate(lambda: export_rosbag(stage.dataset, bags, BagExport())), "frames/s")
    folders = sorted(bags.iterdir())
    rate = stage.rate(lambda: import_rosbags(folders, back, BagImport()))
    yield Figure("MCAP import", rate, "frames/s", ">= 300")
    yield from _round_trip("MCAP", stage.dataset, back, exact=False, numbers=("states", "timestamps_ns", "takeover"))


def robomimic(stage: Stage) -> Iterator[Figure]:
    """robomimic's HDF5."""
    file, back = stage.folder / "robomimic.hdf5", stage.folder / "from_robomimic"
    export = stage.rate(lambda: export_robomimic(stage.dataset, file, RobomimicExport()))
    yield Figure("robomimic export", export, "frames/s")
    yield Figure("robomimic import", stage.rate(lambda: import_robomimic(file, back, Defaults())), "frames/s")
    yield from _round_trip("robomimic", stage.dataset, back, exact=False)


def memory(stage: Stage, many: int) -> Iterator[Figure]:
    """Peak memory of exports: of 100 episodes, and of many."""
    peaks = {}
    for count in (100, many):
        dataset = stage.folder / f"dataset_{count}"
        dataset.mkdir()
        sources = Dataset(stage.dataset).episode_paths
        for number in range(count):
            os.link(sources[number % len(sources)], dataset / f"episode_{number:06d}.h5")
        peaks[count] = _peak_mb("export", "lerobot", str(dataset), str(stage.folder / f"export_{count}"))
        yield Figure(f"LeRobot export of {count} episodes: peak memory", peaks[count], "MB", "<= 600")
    yield Figure(f"LeRobot export: memory that {many - 100} more episodes take", peaks[many] - peaks[100], "MB")


def judges(stage: Stage) -> Iterator[Figure]:
    """Figures about reading exports with LeRobot and robomimic themselves."""
    python = os.environ.get("LEROBOT_PYTHON")
    if python:
        expected = _expected(stage)
        for kind, options in (("video", _H264), ("images", _IMAGES)):
            target = stage.folder / f"judged_{kind}"
            export_lerobot(stage.dataset, target, options)
            found = run_json(python, _JUDGES / "lerobot_judge.py", target, expected, "--train")
            who = f"LeRobot {found['version']}, {kind}"
            yield Figure(f"{who}: numbers equal", float(found["numbers_equal"]), "", "== 1")
            yield Figure(f"{who}: frames", found["frames"], "steps", f"== {stage.frames // 2}")
            yield Figure(f"{who}: worst of {_JUDGED_FRAMES} frames", found["psnr_min_db"], "dB", ">= 33")
            first, second = found["loss"]
            yield Figure(f"{who}: ACT's loss after one step over the first", second / first, "x", "<= 1")
    else:
        print(
            "no LEROBOT_PYTHON: LeRobot was not asked; benchmarks/judge_interop.py says how to get it", file=sys.stderr
        )
    python = os.environ.get("ROBOMIMIC_PYTHON")
    if python:
        target = stage.folder / "judged.hdf5"
        export_robomimic(stage.dataset, target, RobomimicExport())
        found = run_json(python, _JUDGES / "robomimic_judge.py", target)
        given, expected_samples = (sum(counts[index] for counts in found["samples"].values()) for index in (0, 1))
        yield Figure(f"robomimic {found['version']}: samples loaded", given, "steps", f"== {expected_samples}")
    else:
        print("no ROBOMIMIC_PYTHON: robomimic was not asked", file=sys.stderr)


def _round_trip(
    name: str, before: Path, after: Path, *, exact: bool, numbers: tuple[str, ...] = _NUMBERS
) -> Iterator[Figure]:
    differing = missing = 0
    worst_db, largest = np.inf, 0.0
    for path in Dataset(before).episode_paths:
        with Episode.open(path) as first, Episode.open(after / path.name) as second:
            differing += sum(getattr(first, item).tobytes() != getattr(second, item).tobytes() for item in numbers)
            missing += abs(first.num_steps - second.num_steps)
            largest = max(largest, float(np.abs(first.actions - second.actions).max()))
            for camera in first.cameras:
                for step in range(first.num_steps):
                    worst_db = min(worst_db, _psnr_db(first.image(camera, step), second.image(camera, step)))
    yield Figure(f"{name}: arrays that differ after the round trip", differing, "", "== 0")
    yield Figure(f"{name}: frames too many or too few", missing, "", "== 0")
    if "actions" not in numbers:
        yield Figure(f"{name}: largest change of an action", largest, "m", "<= 0.001")
    if exact:
        yield Figure(f"{name}: images to the byte", float(worst_db == np.inf), "", "== 1")
    else:
        yield Figure(f"{name}: worst image", worst_db, "dB", ">= 33")


def _psnr_db(first: np.ndarray, second: np.ndarray) -> float:
    error = ((first.astype(np.float32) - second.astype(np.float32)) ** 2).mean()
    return float(10 * np.log10(255**2 / error)) if error else np.inf


def _peak_mb(*arguments: str) -> float:
    """Peak resident memory of a command."""
    script = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000); sys.exit(done.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "mobile-vla-data", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def _expected(stage: Stage) -> Path:
    """Write the values that LeRobot must find, for lerobot_judge.py."""
    order = [*(Dataset(stage.dataset).splits() or {}).values()]
    ids = [episode_id for split in order for episode_id in split]
    ids += [episode_id for episode_id in Dataset(stage.dataset).episode_ids if episode_id not in ids]
    states, actions, numbers, images = [], [], [], {}
    chosen = np.sort(np.random.default_rng(0).choice(stage.frames // 2, _JUDGED_FRAMES, replace=False))
    first = 0
    for number, episode_id in enumerate(ids):
        with Episode.open(stage.dataset / f"{episode_id}.h5") as episode:
            states.append(episode.states)
            actions.append(episode.actions)
            numbers.append(np.full(episode.num_steps, number))
            for step in chosen[(chosen >= first) & (chosen < first + episode.num_steps)] - first:
                for camera in episode.cameras:
                    images.setdefault(f"image/{camera}", []).append(episode.image(camera, int(step)))
            first += episode.num_steps
    path = stage.folder / "expected.npz"
    np.savez(
        path,
        state=np.concatenate(states),
        action=np.concatenate(actions),
        episode_index=np.concatenate(numbers),
        frames=chosen,
        **{name: np.stack(found) for name, found in images.items()},
    )
    return path


def main() -> int:
    """Measure every part, or those of --only, into out/bench/interop.json."""
    names = ("lerobot", "rosbag", "robomimic", "memory", "judges")
    given = parser_of(__doc__, names).parse_args()
    with tempfile.TemporaryDirectory(prefix="bench_interop_") as folder:
        stage = Stage(Path(folder), 4 if given.quick else 16)
        parts = {
            "lerobot": lambda: lerobot(stage),
            "rosbag": lambda: rosbag(stage),
            "robomimic": lambda: robomimic(stage),
            "memory": lambda: memory(stage, 200 if given.quick else 1000),
            "judges": lambda: judges(stage),
        }
        return run_parts("interop", parts, given.only, quick=given.quick)


if __name__ == "__main__":
    sys.exit(main())
