"""Rate of loading frames for training on one core, compared with the decoder alone and LeRobot's loader.

Rates are frames per second of processor time, so that other work on the machine does not change them.
The episodes are those that ``mobile-vla-sim collect`` makes, both cameras: what ``make demo`` trains on.

LeRobot loads the same frames from exports of the same episodes, as JPEG images and as H.264 video. It needs an
environment of its own, with Python 3.12 or later::

    python3.12 -m venv lerobot && lerobot/bin/pip install "lerobot[dataset]"

Then ``bench_model.py --lerobot-python lerobot/bin/python``, or LEROBOT_PYTHON.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import Figure
from other_python import run_json

from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.lerobot.export import LeRobotExport, export_lerobot
from mobile_vla_data.convert.lerobot.shard import VideoSettings
from mobile_vla_data.convert.lerobot.video import DEFAULT_CRF
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.reader import Episode
from mobile_vla_policy.samples.episodes import EpisodeData, open_dataset
from mobile_vla_policy.samples.frames import FramesOnDisk
from mobile_vla_sim.headless.collect import CollectConfig, collect
from mobile_vla_sim.tasks.catalogue import TASKS, load_plan

_CONTRACT = Path(__file__).resolve().parents[1] / "config" / "robot.yaml"
_CHILD = Path(__file__).with_name("lerobot_loader.py")
_CAMERAS = ("static", "gripper")
_TURNS = 5


def measure(quick: bool, lerobot_python: str | None = None) -> list[Figure]:
    """Decode every frame of some episodes in windows of 8, as a training epoch does; then the same with LeRobot."""
    lerobot_python = lerobot_python or os.environ.get("LEROBOT_PYTHON")
    with tempfile.TemporaryDirectory(prefix="bench_loader_") as name:
        folder = Path(name)
        data = _episodes(folder / "dataset", 6 if quick else 16)
        blobs = _jpegs(data)
        ours, alone = _rates(data, blobs)
        theirs = _lerobot(lerobot_python, folder) if lerobot_python else {}
        # Once more behind it: if the machine changed its pace meanwhile, that is not LeRobot's fault.
        again = _rates(data, blobs)
        ours, alone = max(ours, again[0]), max(alone, again[1])
    figures = [
        Figure("loader, 224x224 JPEG frames on one core", ours, "frames/s", ">= 3,000"),
        Figure("the JPEG decoder alone, the same frames", alone, "frames/s"),
        Figure("loader: share of that limit", 100 * ours / alone, "%"),
        Figure("JPEG of one frame, mean", sum(map(len, blobs)) / len(blobs) / 1000, "kB"),
    ]
    if not theirs:
        print("no LeRobot: its rows are left out; benchmarks/model_loader.py says how to get them", file=sys.stderr)
    for kind, (version, rate) in theirs.items():
        figures.append(Figure(f"LeRobot {version}'s loader on one core, {kind}", rate, "frames/s"))
        figures.append(Figure(f"loader over LeRobot's with {kind}", ours / rate, "x", ">= 4"))
    return figures


def _episodes(folder: Path, count: int) -> list[EpisodeData]:
    plan = load_plan(_CONTRACT.with_name("collection_plan.yaml"))
    config = CollectConfig(folder, Contract.load(_CONTRACT), plan, seed=0, tasks=tuple(TASKS))
    for _ in collect(config, count):
        pass
    data = open_dataset(folder, _CAMERAS, seed=0)
    return [episode for split in data.splits.values() for episode in split]


def _jpegs(data: list[EpisodeData]) -> list[bytes]:
    blobs = []
    for episode in data:
        with Episode.open(episode.path) as file:
            for camera in _CAMERAS:
                blobs += [bytes(blob) for blob in file.jpegs(camera, range(episode.num_steps))]
    return blobs


def _rates(data: list[EpisodeData], blobs: list[bytes]) -> tuple[float, float]:
    """Frames per second of processor time of the loader and of the decoder alone, in turns; the best of each."""
    frames, out = FramesOnDisk(data, _CAMERAS, 224), np.empty((224, 224, 3), np.uint8)
    ours, alone = 0.0, 0.0
    for _ in range(_TURNS):
        began = time.process_time()
        for number, episode in enumerate(data):
            for first in range(0, episode.num_steps, 8):
                frames.get(number, range(first, min(first + 8, episode.num_steps)))
        between = time.process_time()
        for blob in blobs:
            jpeg.decode_into(blob, out)
        ours = max(ours, len(blobs) / (between - began))
        alone = max(alone, len(blobs) / (time.process_time() - between))
    return ours, alone


def _lerobot(python: str, folder: Path) -> dict[str, tuple[str, float]]:
    """Kind of export -> LeRobot's version, and frames/s of its loader on it."""
    found = {}
    for kind, video in (("JPEG images", None), ("H.264 video", VideoSettings("h264", DEFAULT_CRF["h264"]))):
        target = folder / kind.replace(" ", "_")
        export_lerobot(folder / "dataset", target, LeRobotExport(video))
        result = run_json(python, _CHILD, target)
        found[kind] = result["version"], result["frames_per_s"]
    return found
