"""Data side of bench-collect, without ROS: the writer against three others, and validation of a whole collection.

All writers get the same images and the same steps of two 224x224 images, on the same cores, in turns, and make one
file (or folder) of every 75 steps:

* ours: ``EpisodeWriter``, JPEG of quality 95 into HDF5. A step that was added survives SIGKILL; a committed episode is
  flushed to the disk, file and folder, before it gets its name.
* MCAP: the ``mcap`` writer with the very same JPEGs, encoded side by side on threads in the same way, as a rosbag2 of
  compressed images would hold them; checksums on, as is its default. At its end the file is flushed, renamed and the
  folder flushed as ours is. While it is open it is not as safe: up to a chunk (1 MB) waits in memory.
* PNG folder: ``PIL.Image.save`` at PIL's own compression (6) on four threads a camera, then a wait for the threads.
  That is the first half of what LeRobot 0.4 does with a dataset of images; nothing is flushed to the disk.
* LeRobot's own writer, when ``LEROBOT_PYTHON`` names a Python that has it (lerobot_writer.py says how); the goal of 30
  times is held against this one, and against the PNG folder where there is no LeRobot.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
from common import ROOT, Figure, say
from mcap.writer import CompressionType, Writer
from PIL import Image

from mobile_vla_data.contract import Contract
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_data.storage.durable import publish

STEPS = 75
CAMERAS = ("static", "gripper")
QUALITY = 95
PERIOD_NS = 100_000_000


class Pictures:
    """The two cameras over one episode: a furnished floor with grain, and a robot that moves over it."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        self.images = {camera: self._drive(rng, zoom) for camera, zoom in zip(CAMERAS, (1, 3), strict=True)}
        sizes = [len(jpeg.encode(image, QUALITY)) for images in self.images.values() for image in images]
        self.jpeg_bytes = statistics.mean(sizes)

    @staticmethod
    def _drive(rng: np.random.Generator, zoom: int) -> list[np.ndarray]:
        floor = cv2.resize(
            rng.integers(70, 190, (5, 5, 3), dtype=np.uint8), (224, 224), interpolation=cv2.INTER_NEAREST
        )
        for _ in range(14):
            left, top, width, height = (int(value) for value in rng.integers(8, 200, 4))
            colour = tuple(int(value) for value in rng.integers(20, 230, 3))
            cv2.rectangle(floor, (left, top), (left + width // 4, top + height // 4), colour, -1)
        grain = rng.normal(0, 3, floor.shape)
        floor = np.clip(floor + grain, 0, 255).astype(np.uint8)
        images = []
        for step in range(STEPS):
            image = floor.copy()
            cv2.circle(image, (20 + 2 * step, 40 + step), 6 * zoom, (220, 30, 40), -1, cv2.LINE_AA)
            images.append(image)
        return images


def steps_of(number: int) -> list[dict]:
    """Values of the steps of one episode, without images, as keyword arguments of ``EpisodeWriter.add_step``."""
    start = 1_790_000_000_000_000_000 + number * 60_000_000_000
    jitter = np.random.default_rng(number).integers(0, 3_000_000, (STEPS, 5))
    position = np.array([0.01 * (number % 50), 0.0, 0.0], dtype=np.float32)
    action = np.array([0.03, 0.02 * np.sin(number), 0.0], dtype=np.float32)
    steps = []
    for step in range(STEPS):
        stamp = start + step * PERIOD_NS + int(jitter[step, 0])
        stamps = {name: stamp - 20_000_000 - int(jitter[step, column]) for column, name in enumerate(CAMERAS, 1)}
        stamps["odom"] = stamps["gripper_state"] = stamp - int(jitter[step, 3])
        steps.append({"stamp_ns": stamp, "state": position, "action": action, "stamps_ns": stamps})
        position = position + action * np.array([1, 1, 0], dtype=np.float32)
    return steps


def write_ours(folder: Path, pictures: Pictures, contract: Contract, number: int, steps: list[dict]) -> None:
    """One episode through the project's writer."""
    metadata = EpisodeMetadata(f"go to the kitchen, {number % 9}", f"task_{number % 4}", "navigation", "expert")
    writer = EpisodeWriter(folder, contract, metadata, cameras=CAMERAS, jpeg_quality=QUALITY)
    for index, step in enumerate(steps):
        writer.add_step(images={camera: pictures.images[camera][index] for camera in CAMERAS}, **step)
    writer.commit("success")


def write_mcap(folder: Path, pictures: Pictures, contract: Contract, number: int, steps: list[dict]) -> None:
    """One episode as MCAP, with the same JPEGs encoded side by side in the same way."""
    part = folder / f".episode_{number:06d}.mcap.part"
    with open(part, "wb") as file, ThreadPoolExecutor(1) as second:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start()
        schema = writer.register_schema("sensor_msgs/msg/CompressedImage", "ros2msg", b"")
        channels = {camera: writer.register_channel(camera, "cdr", schema) for camera in CAMERAS}
        vector = writer.register_channel("state_and_action", "json", 0)
        for index, step in enumerate(steps):
            stamp = step["stamp_ns"]
            other = second.submit(jpeg.encode, pictures.images["gripper"][index], QUALITY)
            encoded = {"static": jpeg.encode(pictures.images["static"][index], QUALITY), "gripper": other.result()}
            for camera, data in encoded.items():
                writer.add_message(channels[camera], step["stamps_ns"][camera], data, stamp, index)
            row = {**step, "state": step["state"].tolist(), "action": step["action"].tolist()}
            writer.add_message(vector, stamp, json.dumps(row).encode(), stamp, index)
        writer.finish()
    publish(part, folder / f"episode_{number:06d}.mcap")


def write_png(folder: Path, pictures: Pictures, contract: Contract, number: int, steps: list[dict]) -> None:
    """One episode as a folder of PNG files written by PIL on threads."""
    target = folder / f"episode_{number:06d}"
    target.mkdir()
    with ThreadPoolExecutor(4 * len(CAMERAS)) as threads:
        for step in range(STEPS):
            for camera in CAMERAS:
                image = Image.fromarray(pictures.images[camera][step])
                threads.submit(image.save, target / f"{camera}_{step:06d}.png", compress_level=6)


class LeRobot:
    """LeRobot's own writer in its own Python; see lerobot_writer.py."""

    def __init__(self, python: str, folder: Path, pictures: Pictures) -> None:
        archive = folder / "pictures.npz"
        np.savez(archive, **{camera: np.stack(images) for camera, images in pictures.images.items()})
        # Nothing of this environment may reach the other one.
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [python, str(ROOT / "benchmarks" / "lerobot_writer.py"), str(archive), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"LEROBOT_PYTHON: {python} cannot run lerobot_writer.py; run it by hand to see why")

    def episode_s(self) -> float:
        """Write one episode; returns how long it took [s]."""
        self._process.stdin.write("episode\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


Write = Callable[[Path, Pictures, Contract, int, list[dict]], None]


def write_episodes(
    write: Write, episodes: int, pictures: Pictures, contract: Contract, turn: int
) -> tuple[float, float]:
    """Time and processor time that some episodes took after a first one [s]."""
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        steps = [steps_of(turn * episodes + number) for number in range(episodes + 1)]
        write(Path(folder), pictures, contract, 0, steps[0])
        begin, cpu_begin = time.perf_counter(), time.process_time()
        for number in range(1, episodes + 1):
            write(Path(folder), pictures, contract, number, steps[number])
        return time.perf_counter() - begin, time.process_time() - cpu_begin


def writers(quick: bool) -> Iterator[Figure]:
    """Steps per second of all, taken in turns so that a busy moment of the machine meets all of them."""
    contract, pictures = Contract.load(ROOT / "config" / "robot.yaml"), Pictures()
    ways: dict[str, tuple[Write, int]] = {"ours": (write_ours, 4), "mcap": (write_mcap, 4), "png": (write_png, 1)}
    rates: dict[str, list[float]] = {name: [] for name in (*ways, "lerobot")}
    python, cpu_s, turns = os.environ.get("LEROBOT_PYTHON"), 0.0, 3 if quick else 12
    with tempfile.TemporaryDirectory(prefix="bench_") as home, ExitStack() as stack:
        lerobot = LeRobot(python, Path(home), pictures) if python else None
        if lerobot is not None:
            stack.callback(lerobot.close)
            lerobot.episode_s()
        for turn in range(turns):
            say(f"writers, turn {turn + 1} of {turns}")
            # Each begins as often as the others, and with an episode that does not count: what stood before it leaves
            # pages to give back and to fetch.
            for name in (*list(ways)[turn % len(ways) :], *list(ways)[: turn % len(ways)]):
                elapsed_s, spent_s = write_episodes(*ways[name], pictures, contract, turn)
                cpu_s += spent_s if name == "ours" else 0.0
                rates[name].append(ways[name][1] * STEPS / elapsed_s)
            if lerobot is not None:
                rates["lerobot"].append(STEPS / lerobot.episode_s())
    ours, mcap, png = (statistics.median(rates[name]) for name in ways)
    yield Figure("JPEG of one 224x224 image, mean", pictures.jpeg_bytes / 1000, "kB")
    yield Figure("writer, steps of two images", ours, "steps/s", ">= 1,500")
    yield Figure("writer, best turn", max(rates["ours"]), "steps/s")
    yield Figure("writer, processor time of a step", 1e6 * cpu_s / (len(rates["ours"]) * 4 * STEPS), "us")
    yield Figure("MCAP with the same JPEGs", mcap, "steps/s")
    yield Figure("writer against MCAP", ours / mcap, "times", ">= 0.9")
    yield Figure("PNG folder by PIL on threads", png, "steps/s")
    yield Figure("writer against PNG folder", ours / png, "times", "" if lerobot else ">= 30")
    if lerobot is not None:
        theirs = statistics.median(rates["lerobot"])
        yield Figure("LeRobot's own writer, a dataset of images", theirs, "steps/s")
        yield Figure("writer against LeRobot's own", ours / theirs, "times", ">= 30")


def validation(quick: bool) -> Iterator[Figure]:
    """Time and memory of ``mobile-vla-data validate`` over a whole collection, all its processes together."""
    episodes = 100 if quick else 1000
    contract, pictures = Contract.load(ROOT / "config" / "robot.yaml"), Pictures()
    folder = Path(tempfile.mkdtemp(prefix="bench_"))
    try:
        say(f"validate: writing {episodes} episodes")
        for number in range(episodes):
            write_ours(folder, pictures, contract, number, steps_of(number))
        say("validate: validating them")
        command = [
            sys.executable,
            "-c",
            "from mobile_vla_data.cli.main import main; main()",
            "validate",
            str(folder),
            "--json",
        ]
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        peak = _PeakMemory(process.pid)
        output, _ = process.communicate()
        elapsed = time.perf_counter() - begin
        verdict = json.loads(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    yield Figure(f"validate {episodes:,} episodes of {STEPS} steps", elapsed, "s", f"<= {60 * episodes / 1000:g}")
    yield Figure("validate, peak memory of all its processes", peak.megabytes(), "MB", "<= 500")
    yield Figure("validate, findings in a good dataset", len(verdict["findings"]), "", "== 0")


class _PeakMemory:
    """Samples the proportional memory of a process and its children until they end."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak_kb = pid, 0
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def megabytes(self) -> float:
        """The peak [MB]."""
        self._thread.join(5.0)
        return self._peak_kb / 1000

    def _sample(self) -> None:
        while Path(f"/proc/{self._pid}").exists():
            total = sum(_pss_kb(pid) for pid in _family(self._pid))
            if not total:
                return
            self._peak_kb = max(self._peak_kb, total)
            time.sleep(0.1)


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _pss_kb(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
