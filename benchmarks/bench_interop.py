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
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from common import ROOT, Figure
from other_python import run_json
from parts import parser_of, run_parts
from rosbags.rosbag2 import StoragePlugin, Writer

from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.hdf5.aloha import AlohaExport, export_aloha, import_aloha
from mobile_vla_data.convert.hdf5.robomimic import RobomimicExport, export_robomimic, import_robomimic
from mobile_vla_data.convert.labels import Defaults
from mobile_vla_data.convert.lerobot.export import LeRobotExport, export_lerobot
from mobile_vla_data.convert.lerobot.importing import LeRobotImport, import_lerobot
from mobile_vla_data.convert.lerobot.shard import VideoSettings
from mobile_vla_data.convert.lerobot.video import DEFAULT_CRF
from mobile_vla_data.convert.rosbag import messages as ros
from mobile_vla_data.convert.rosbag.bag import CUSTOM_KEY, open_bag, typestore
from mobile_vla_data.convert.rosbag.export import BagExport, export_rosbag
from mobile_vla_data.convert.rosbag.importing import BagImport, import_rosbags
from mobile_vla_data.dataset.edit import Labels, relabel
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import split_dataset
from mobile_vla_data.episode import jpeg
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
#: Recordings that are imported with raw images; one second takes 18 MB.
_RAW_BAGS = 4
#: Memory that an export or import of 1,000 episodes may take [MB]. It must not grow with their number: a tenth of this
#: is allowed for labels and chance, where the images of 900 episodes would take more than half.
_MEMORY_MB = 600


class Stage:
    """A dataset of simulated episodes in a folder that goes away.

    The first episode counts as a failure that a policy drove, with a takeover: so no label is the same everywhere.
    """

    def __init__(self, folder: Path, episodes: int) -> None:
        self.folder, self.dataset = folder, folder / "dataset"
        plan = load_plan(_CONTRACT.with_name("collection_plan.yaml"))
        config = CollectConfig(self.dataset, Contract.load(_CONTRACT), plan, seed=0, tasks=tuple(TASKS))
        for _ in collect(config, episodes):
            pass
        _take_over(Dataset(self.dataset).episode_paths[0])
        split_dataset(self.dataset)
        self.frames = _frames(self.dataset, episodes)

    def rate(self, work: Callable[[], Any], frames: int | None = None) -> float:
        """Frames (by default those of the dataset) per second of processor time that ``work`` takes."""
        began_s = time.process_time()
        work()
        return (frames or self.frames) / (time.process_time() - began_s)


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
    yield from _round_trip("MCAP", stage.dataset, back, exact=True, numbers=("states", "timestamps_ns", "takeover"))
    raw = [stage.folder / f"raw_{folder.name}" for folder in folders[:_RAW_BAGS]]
    for folder, target in zip(folders, raw, strict=False):
        _with_raw_images(folder, target)
    rate = stage.rate(
        lambda: import_rosbags(raw, stage.folder / "from_raw", BagImport()), _frames(stage.dataset, len(raw))
    )
    yield Figure("MCAP import, raw images of 640 x 480", rate, "frames/s", ">= 300")


def hdf5(stage: Stage) -> Iterator[Figure]:
    """HDF5 of robomimic and of ACT / ALOHA."""
    for name, export, load in (
        ("robomimic", lambda to: export_robomimic(stage.dataset, to, RobomimicExport()), import_robomimic),
        ("ACT / ALOHA", lambda to: export_aloha(stage.dataset, to, AlohaExport()), import_aloha),
    ):
        target, back = stage.folder / name.split()[0], stage.folder / f"from_{name.split()[0]}"
        yield Figure(f"{name} export", stage.rate(partial(export, target)), "frames/s")
        yield Figure(f"{name} import", stage.rate(partial(load, target, back, Defaults())), "frames/s")
        yield from _round_trip(name, stage.dataset, back, exact=False)


def memory(stage: Stage, many: int) -> Iterator[Figure]:
    """Peak memory of a LeRobot export and of an import from MCAP: of 100 episodes, and of many."""
    sources, bags = Dataset(stage.dataset).episode_paths, stage.folder / "memory_bags"
    export_rosbag(stage.dataset, bags, BagExport())
    recordings = sorted(bags.iterdir())
    peaks: dict[str, list[float]] = {"LeRobot export": [], "MCAP import": []}
    for count in (100, many):
        dataset = stage.folder / f"dataset_{count}"
        dataset.mkdir()
        for number in range(count):
            os.link(sources[number % len(sources)], dataset / f"episode_{number:06d}.h5")
        target, back = stage.folder / f"export_{count}", stage.folder / f"import_{count}"
        peaks["LeRobot export"].append(_peak_mb("export", "lerobot", dataset, target))
        # The import reads every recording whole; those that it had before are then left out.
        repeated = [recordings[number % len(recordings)] for number in range(count)]
        peaks["MCAP import"].append(_peak_mb("import", "rosbag", *repeated, back))
    for name, (few_mb, many_mb) in peaks.items():
        yield Figure(f"{name} of 100 episodes: peak memory", few_mb, "MB", f"<= {_MEMORY_MB}")
        yield Figure(f"{name} of {many} episodes: peak memory", many_mb, "MB", f"<= {_MEMORY_MB}")
        grown = f"{name}: memory that {many - 100} more episodes take"
        yield Figure(grown, many_mb - few_mb, "MB", f"<= {_MEMORY_MB // 10}")


def judges(stage: Stage) -> Iterator[Figure]:
    """Figures about reading exports with LeRobot and robomimic themselves."""
    for variable, ask in (("LEROBOT_PYTHON", ask_lerobot), ("ROBOMIMIC_PYTHON", ask_robomimic)):
        if python := os.environ.get(variable):
            yield from ask(stage, python)
        else:
            print(f"no {variable}: not asked; benchmarks/judge_interop.py says how to get it", file=sys.stderr)


def ask_lerobot(stage: Stage, python: str) -> Iterator[Figure]:
    """Figures about reading exports with LeRobot, and training its ACT on them; ``python`` has LeRobot."""
    expected, splits, successes = _expected(stage)
    for kind, options in (("video", _H264), ("images", _IMAGES)):
        target = stage.folder / f"judged_{kind}"
        export_lerobot(stage.dataset, target, options)
        found = run_json(python, _JUDGES / "lerobot_judge.py", target, expected, "--train")
        who = f"LeRobot {found['version']}, {kind}"
        for column, differing in found["differing"].items():
            yield Figure(f"{who}: steps whose {column} differs", differing, "", "== 0")
        yield Figure(f"{who}: frames", found["frames"], "steps", f"== {stage.frames // 2}")
        yield Figure(f"{who}: tasks that differ, of {_JUDGED_FRAMES}", found["tasks_differing"], "", "== 0")
        yield Figure(f"{who}: splits that differ", len(found["splits"].items() ^ splits.items()), "", "== 0")
        yield Figure(f"{who}: outcomes that differ", len(set(found["successes"]) ^ successes), "", "== 0")
        yield Figure(f"{who}: worst of {_JUDGED_FRAMES} frames", found["psnr_min_db"], "dB", ">= 33")
        first, second = found["loss"]
        yield Figure(f"{who}: ACT's loss after one step over the first", second / first, "x", "<= 1")


def ask_robomimic(stage: Stage, python: str) -> Iterator[Figure]:
    """Figures about reading an export with robomimic; ``python`` has robomimic."""
    target = stage.folder / "judged.hdf5"
    export_robomimic(stage.dataset, target, RobomimicExport())
    found = run_json(python, _JUDGES / "robomimic_judge.py", target)
    given, expected_samples = (sum(counts[index] for counts in found["samples"].values()) for index in (0, 1))
    yield Figure(f"robomimic {found['version']}: samples loaded", given, "steps", f"== {expected_samples}")


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


def _peak_mb(*arguments: object) -> float:
    """Peak resident memory of a command."""
    script = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000); sys.exit(done.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "mobile-vla-data", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def _expected(stage: Stage) -> tuple[Path, dict[str, str], set[int]]:
    """Return a file with the values that LeRobot must find, for lerobot_judge.py; the splits; the successes."""
    splits = Dataset(stage.dataset).splits() or {}
    ids = [episode_id for members in splits.values() for episode_id in members]
    ranges, first = {}, 0
    for name, members in splits.items():
        if members:
            ranges[name] = f"{first}:{first + len(members)}"
        first += len(members)
    ids += [episode_id for episode_id in Dataset(stage.dataset).episode_ids if episode_id not in ids]
    columns: dict[str, list[Any]] = defaultdict(list)
    images: dict[str, list[Any]] = defaultdict(list)
    tasks, successes = [], set()
    chosen = np.sort(np.random.default_rng(0).choice(stage.frames // 2, _JUDGED_FRAMES, replace=False))
    first = 0
    for number, episode_id in enumerate(ids):
        with Episode.open(stage.dataset / f"{episode_id}.h5") as episode:
            columns["observation.state"].append(episode.states)
            columns["action"].append(episode.actions)
            columns["intervention"].append(episode.takeover)
            columns["stamp_ns.tick"].append(episode.timestamps_ns)
            columns["episode_index"].append(np.full(episode.num_steps, number))
            if episode.outcome == "success":
                successes.add(number)
            for step in chosen[(chosen >= first) & (chosen < first + episode.num_steps)] - first:
                tasks.append(episode.metadata.language)
                for camera in episode.cameras:
                    images[camera].append(episode.image(camera, int(step)))
            first += episode.num_steps
    path = stage.folder / "expected.npz"
    np.savez(
        path,
        frames=chosen,
        tasks=np.array(tasks),
        **{f"column/{name}": np.concatenate(found) for name, found in columns.items()},
        **{f"image/{name}": np.stack(found) for name, found in images.items()},
    )
    return path, ranges, successes


def _take_over(path: Path) -> None:
    """Make an episode one of a policy that failed and was taken over from."""
    relabel(path, Labels(outcome="failure"))
    with h5py.File(path, "r+") as file:
        file.attrs["source"] = "policy"
        file["takeover"][5:9] = True


def _frames(dataset: Path, episodes: int) -> int:
    """Images of the first episodes of a dataset."""
    frames = 0
    for path in Dataset(dataset).episode_paths[:episodes]:
        with Episode.open(path) as episode:
            frames += episode.num_steps * len(episode.cameras)
    return frames


def _with_raw_images(bag: Path, target: Path) -> None:
    """Write a recording of an export again, with raw images of 640 x 480."""
    store, connections = typestore(), {}
    with open_bag(bag) as source, Writer(target, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.set_custom_data(CUSTOM_KEY, source.custom_data[CUSTOM_KEY])
        for message in source.messages(source.types):
            topic, kind, content = message.topic, message.msgtype, source.decode(message)
            if kind == ros.COMPRESSED:
                image = cv2.resize(jpeg.decode(content.data.tobytes()), (640, 480))
                topic, kind = topic.removesuffix("/compressed"), ros.IMAGE
                content = store.types[kind](content.header, 480, 640, "rgb8", 0, 3 * 640, image.reshape(-1))
            if topic not in connections:
                connections[topic] = writer.add_connection(f"/{topic}", kind, typestore=store)
            writer.write(connections[topic], message.time_ns, store.serialize_cdr(content, kind))


def main() -> int:
    """Measure every part, or those of --only, into out/bench/interop.json."""
    names = ("lerobot", "rosbag", "hdf5", "memory", "judges")
    given = parser_of(__doc__, names).parse_args()
    with tempfile.TemporaryDirectory(prefix="bench_interop_") as folder:
        stage = Stage(Path(folder), 4 if given.quick else 16)
        parts = {
            "lerobot": lambda: lerobot(stage),
            "rosbag": lambda: rosbag(stage),
            "hdf5": lambda: hdf5(stage),
            "memory": lambda: memory(stage, 200 if given.quick else 1000),
            "judges": lambda: judges(stage),
        }
        return run_parts("interop", parts, given.only, quick=given.quick)


if __name__ == "__main__":
    sys.exit(main())
