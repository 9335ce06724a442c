"""How fast frames come out of JPEG episodes for training: real episodes, one core."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from common import Figure

from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_policy.training.episodes import EpisodeData
from mobile_vla_policy.training.frames import FramesOnDisk

_CONTRACT = Path(__file__).resolve().parents[1] / "config" / "robot.yaml"
_STEPS = 75


def measure(quick: bool) -> list[Figure]:
    """Decode every frame of some episodes in windows of 8, as a training epoch does."""
    episodes = 4 if quick else 16
    with tempfile.TemporaryDirectory(prefix="bench_loader_") as folder:
        data = [_episode(Path(folder), seed) for seed in range(episodes)]
        frames = FramesOnDisk(data, ["static"], 224)
        best = 0.0
        for _ in range(3):
            began = time.perf_counter()
            for episode in range(episodes):
                for first in range(0, _STEPS, 8):
                    frames.get(episode, range(first, min(first + 8, _STEPS)))
            best = max(best, episodes * _STEPS / (time.perf_counter() - began))
    return [Figure("loader, 224x224 JPEG frames on one core", best, "frames/s", ">= 3,000")]


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
