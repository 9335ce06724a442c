"""How fast frames come out of JPEG episodes for training: real episodes, one core; beside LeRobot's loader.

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
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_policy.training.episodes import EpisodeData
from mobile_vla_policy.training.frames import FramesOnDisk, decode_frames

_CONTRACT = Path(__file__).resolve().parents[1] / "config" / "robot.yaml"
_CHILD = Path(__file__).with_name("lerobot_loader.py")
_STEPS = 75


def measure(quick: bool, lerobot_python: str | None = None) -> list[Figure]:
    """Decode every frame of some episodes in windows of 8, as a training epoch does; then the same with LeRobot."""
    episodes = 4 if quick else 16
    lerobot_python = lerobot_python or os.environ.get("LEROBOT_PYTHON")
    with tempfile.TemporaryDirectory(prefix="bench_loader_") as name:
        folder = Path(name)
        data = [_episode(folder, seed) for seed in range(episodes)]
        frames = FramesOnDisk(data, ["static"], 224)
        best = _rate(frames, episodes)
        theirs = _lerobot(lerobot_python, folder, data) if lerobot_python else None
        # Once more behind it: if the machine changed its pace meanwhile, that is not LeRobot's fault.
        best = max(best, _rate(frames, episodes))
    figures = [Figure("loader, 224x224 JPEG frames on one core", best, "frames/s", ">= 3,000")]
    if theirs is None:
        print("no LeRobot: its rows are left out; benchmarks/model_loader.py says how to get them", file=sys.stderr)
        return figures
    version, rate = theirs
    figures.append(Figure(f"LeRobot {version}'s loader, the same frames (PNG) on one core", rate, "frames/s"))
    figures.append(Figure("loader over LeRobot's", best / rate, "x", ">= 4"))
    return figures


def _rate(frames: FramesOnDisk, episodes: int) -> float:
    best = 0.0
    for _ in range(3):
        began = time.perf_counter()
        for episode in range(episodes):
            for first in range(0, _STEPS, 8):
                frames.get(episode, range(first, min(first + 8, _STEPS)))
        best = max(best, episodes * _STEPS / (time.perf_counter() - began))
    return best


def _lerobot(python: str, folder: Path, data: list[EpisodeData]) -> tuple[str, float]:
    """LeRobot's version, and frames/s of its loader on the first episodes' frames."""
    # PNGs of noise-free pictures are slow to write; four episodes are enough to load from.
    pictures = np.stack([decode_frames(episode, range(_STEPS), ["static"], 224)[:, 0] for episode in data[:4]])
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


def _episode(folder: Path, seed: int) -> EpisodeData:
    """An episode of smooth random pictures: JPEGs of about the size that cameras deliver."""
    contract, random = Contract.load(_CONTRACT), np.random.default_rng(seed)
    metadata = EpisodeMetadata("go to the kitchen", "go_to_kitchen", "navigation", "expert", {})
    writer = EpisodeWriter(folder, contract, metadata, cameras=["static"])
    coarse = random.integers(0, 255, (15, 15, 3)).astype(np.uint8)
    picture = np.asarray(coarse.repeat(15, axis=0).repeat(15, axis=1)[:224, :224])
    state = np.zeros(3, dtype=np.float32)
    for step in range(_STEPS):
        stamp = 1_000_000_000 + step * contract.period_ns
        image = np.ascontiguousarray(np.roll(picture, step, axis=1))
        stamps = {"static": stamp, "odom": stamp, "gripper_state": stamp}
        writer.add_step(stamp_ns=stamp, images={"static": image}, state=state, action=state, stamps_ns=stamps)
    path = writer.commit("success")
    arrays = np.zeros((_STEPS, 3), dtype=np.float32)
    return EpisodeData(path, "go to the kitchen", "go_to_kitchen", "navigation", arrays, arrays)
