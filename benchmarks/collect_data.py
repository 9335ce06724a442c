"""Data side of bench-collect, without ROS: the writer against two others, and validation of a whole collection.

All three writers get the same pictures and the same steps of two 224x224 images, and make one file (or folder) of
every 75 steps, flushed to the disk at its end:

* ours: ``EpisodeWriter``, JPEG of quality 95 into HDF5, with the journal that survives a crash;
* MCAP: the ``mcap`` writer with the very same JPEGs, as a rosbag2 of compressed images would hold;
* PNG folder: ``PIL.Image.save`` on four threads a camera, then a wait for the queue, which is LeRobot's way.
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
from pathlib import Path

import cv2
import numpy as np
from common import ROOT, Figure
from mcap.writer import CompressionType, Writer
from PIL import Image

from mobile_vla_data.contract import Contract
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter

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


def write_ours(folder: Path, pictures: Pictures, contract: Contract, number: int) -> None:
    """One episode through the project's writer."""
    metadata = EpisodeMetadata(f"go to the kitchen, {number % 9}", f"task_{number % 4}", "navigation", "expert")
    writer = EpisodeWriter(folder, contract, metadata, cameras=CAMERAS, jpeg_quality=QUALITY)
    start = 1_790_000_000_000_000_000 + number * 60_000_000_000
    jitter = np.random.default_rng(number).integers(0, 3_000_000, (STEPS, 5))
    position = np.array([0.01 * (number % 50), 0.0, 0.0], dtype=np.float32)
    action = np.array([0.03, 0.02 * np.sin(number), 0.0], dtype=np.float32)
    for step in range(STEPS):
        stamp = start + step * PERIOD_NS + int(jitter[step, 0])
        stamps = {name: stamp - 20_000_000 - int(jitter[step, column]) for column, name in enumerate(CAMERAS, 1)}
        stamps["odom"] = stamps["gripper_state"] = stamp - int(jitter[step, 3])
        images = {camera: pictures.images[camera][step] for camera in CAMERAS}
        writer.add_step(stamp_ns=stamp, images=images, state=position, action=action, stamps_ns=stamps)
        position = position + action * (1, 1, 0)
    writer.commit("success")


def write_mcap(folder: Path, pictures: Pictures, contract: Contract, number: int) -> None:
    """One episode as MCAP, with the same JPEGs encoded side by side in the same way."""
    path = folder / f"episode_{number:06d}.mcap"
    with open(path, "wb") as file, ThreadPoolExecutor(1) as second:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start()
        schema = writer.register_schema("sensor_msgs/msg/CompressedImage", "ros2msg", b"")
        channels = {camera: writer.register_channel(camera, "cdr", schema) for camera in CAMERAS}
        vector = writer.register_channel("state_and_action", "json", 0)
        for step in range(STEPS):
            stamp = 10**18 + step * PERIOD_NS
            other = second.submit(jpeg.encode, pictures.images["gripper"][step], QUALITY)
            encoded = {"static": jpeg.encode(pictures.images["static"][step], QUALITY), "gripper": other.result()}
            for camera, data in encoded.items():
                writer.add_message(channels[camera], stamp, data, stamp, step)
            row = json.dumps({"state": [0.1, 0.2, 0.0], "action": [0.03, 0.01, 0.0]}).encode()
            writer.add_message(vector, stamp, row, stamp, step)
        writer.finish()
        file.flush()
        os.fsync(file.fileno())


def write_png(folder: Path, pictures: Pictures, contract: Contract, number: int) -> None:
    """One episode as a folder of PNG files written by PIL on threads."""
    target = folder / f"episode_{number:06d}"
    target.mkdir()
    with ThreadPoolExecutor(4 * len(CAMERAS)) as threads:
        for step in range(STEPS):
            for camera in CAMERAS:
                image = Image.fromarray(pictures.images[camera][step])
                threads.submit(image.save, target / f"{camera}_{step:06d}.png")
    os.sync()


Write = Callable[[Path, Pictures, Contract, int], None]


def writers(quick: bool) -> Iterator[Figure]:
    """Steps per second of the three, taken in turns so that a busy moment of the machine meets all of them."""
    contract, pictures = Contract.load(ROOT / "config" / "robot.yaml"), Pictures()
    ways: dict[str, tuple[Write, int]] = {"ours": (write_ours, 4), "mcap": (write_mcap, 4), "png": (write_png, 1)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    cpu_s = 0.0
    for turn in range(3 if quick else 12):
        for name, (write, episodes) in ways.items():
            with tempfile.TemporaryDirectory(prefix="bench_") as folder:
                begin, cpu_begin = time.perf_counter(), time.process_time()
                for number in range(episodes):
                    write(Path(folder), pictures, contract, turn * episodes + number)
                cpu_s += time.process_time() - cpu_begin if name == "ours" else 0.0
                rates[name].append(episodes * STEPS / (time.perf_counter() - begin))
    ours, mcap, png = (statistics.median(rates[name]) for name in ways)
    yield Figure("JPEG of one 224x224 image, mean", pictures.jpeg_bytes / 1000, "kB")
    yield Figure("writer, steps of two images", ours, "steps/s", ">= 1,500")
    yield Figure("writer, best turn", max(rates["ours"]), "steps/s")
    yield Figure("writer, processor time of a step", 1e6 * cpu_s / (len(rates["ours"]) * 4 * STEPS), "us")
    yield Figure("MCAP with the same JPEGs", mcap, "steps/s")
    yield Figure("writer against MCAP", ours / mcap, "times", ">= 0.9")
    yield Figure("PNG folder by PIL on threads", png, "steps/s")
    yield Figure("writer against PNG folder", ours / png, "times", ">= 30")


def validation(quick: bool) -> Iterator[Figure]:
    """Time and memory of ``mobile-vla-data validate`` over a whole collection, all its processes together."""
    episodes = 100 if quick else 1000
    contract, pictures = Contract.load(ROOT / "config" / "robot.yaml"), Pictures()
    folder = Path(tempfile.mkdtemp(prefix="bench_"))
    try:
        for number in range(episodes):
            write_ours(folder, pictures, contract, number)
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


def measure(quick: bool) -> list[Figure]:
    """Every figure of the data side."""
    return [*writers(quick), *validation(quick)]
