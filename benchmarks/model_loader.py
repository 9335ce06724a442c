"""How fast frames come out of JPEG episodes for training, on one core; beside the decoder alone, and LeRobot's loader.

The episodes are those that ``mobile-vla-sim collect`` makes, both cameras: what ``make demo`` trains on.

LeRobot needs an environment of its own. To make one, with Python 3.10 to 3.12 and nothing of ROS in the environment::

    python3 -m venv lerobot && . lerobot/bin/activate
    pip install "lerobot==0.4.4"

and where that brings a torch that is too large, by hand: ``pip install --no-deps lerobot==0.4.4 torchvision``, then a
CPU torch, ``datasets`` 4, ``huggingface-hub`` below 0.36, ``accelerate``, ``diffusers`` below 0.36, ``draccus`` 0.10.0,
``einops``, ``av`` below 16, ``jsonlines``, ``gymnasium``, ``deepdiff``, ``imageio[ffmpeg]``, ``termcolor``, ``pandas``,
``opencv-python-headless``. Then ``bench_model.py --lerobot-python lerobot/bin/python``, or LEROBOT_PYTHON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import Figure

from mobile_vla_data.contract import Contract
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.reader import Episode
from mobile_vla_policy.samples.episodes import EpisodeData, open_dataset
from mobile_vla_policy.samples.frames import FramesOnDisk, decode_frames
from mobile_vla_sim.headless.collect import CollectConfig, collect
from mobile_vla_sim.tasks.catalogue import TASKS, load_plan

_CONTRACT = Path(__file__).resolve().parents[1] / "config" / "robot.yaml"
_CHILD = Path(__file__).with_name("lerobot_loader.py")
_CAMERAS = ("static", "gripper")
_TURNS = 5
#: LeRobot's PNGs are slow to write: so many episodes, so many steps of each, are enough to load from.
_THEIR_EPISODES, _THEIR_STEPS = 3, 50


def measure(quick: bool, lerobot_python: str | None = None) -> list[Figure]:
    """Decode every frame of some episodes in windows of 8, as a training epoch does; then the same with LeRobot."""
    lerobot_python = lerobot_python or os.environ.get("LEROBOT_PYTHON")
    with tempfile.TemporaryDirectory(prefix="bench_loader_") as name:
        folder = Path(name)
        data = _episodes(folder / "dataset", 6 if quick else 16)
        blobs = _jpegs(data)
        ours, alone = _rates(data, blobs)
        theirs = _lerobot(lerobot_python, folder, data) if lerobot_python else None
        # Once more behind it: if the machine changed its pace meanwhile, that is not LeRobot's fault.
        again = _rates(data, blobs)
        ours, alone = max(ours, again[0]), max(alone, again[1])
    figures = [
        Figure("loader, 224x224 JPEG frames on one core", ours, "frames/s", ">= 3,000"),
        Figure("the JPEG decoder alone, the same frames", alone, "frames/s"),
        Figure("loader: share of that limit", 100 * ours / alone, "%"),
        Figure("JPEG of one frame, mean", sum(map(len, blobs)) / len(blobs) / 1000, "kB"),
    ]
    if theirs is None:
        print("no LeRobot: its rows are left out; benchmarks/model_loader.py says how to get them", file=sys.stderr)
        return figures
    version, rate = theirs
    figures.append(Figure(f"LeRobot {version}'s loader, the same frames (PNG) on one core", rate, "frames/s"))
    figures.append(Figure("loader over LeRobot's", ours / rate, "x", ">= 4"))
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
    """Frames/s of the loader and of the decoder alone, in turns; the best of each."""
    frames, out = FramesOnDisk(data, _CAMERAS, 224), np.empty((224, 224, 3), np.uint8)
    ours, alone = 0.0, 0.0
    for _ in range(_TURNS):
        began = time.perf_counter()
        for number, episode in enumerate(data):
            for first in range(0, episode.num_steps, 8):
                frames.get(number, range(first, min(first + 8, episode.num_steps)))
        between = time.perf_counter()
        for blob in blobs:
            jpeg.decode_into(blob, out)
        ours = max(ours, len(blobs) / (between - began))
        alone = max(alone, len(blobs) / (time.perf_counter() - between))
    return ours, alone


def _lerobot(python: str, folder: Path, data: list[EpisodeData]) -> tuple[str, float]:
    """LeRobot's version, and frames/s of its loader on the first episodes' frames, either camera's as an episode."""
    chosen, steps = data[:_THEIR_EPISODES], range(_THEIR_STEPS)
    pictures = np.concatenate([decode_frames(episode, steps, _CAMERAS, 224).swapaxes(0, 1) for episode in chosen])
    np.save(folder / "frames.npy", pictures)
    # What ROS's Python sets for its children must not reach another environment's Python.
    ours = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [python, str(_CHILD), str(folder / "frames.npy"), str(folder / "lerobot")],
        env={**environment, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    result = json.loads(done.stdout.splitlines()[-1])
    return result["version"], result["frames_per_s"]
