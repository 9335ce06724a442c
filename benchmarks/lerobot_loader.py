"""Runs in LeRobot's Python, not in ours: writes frames as a LeRobot v3.0 image dataset, and times LeRobot's loader.

    PYTHON lerobot_loader.py FRAMES.npy FOLDER   ->   {"frames_per_s": ..., "version": ...}

FRAMES.npy holds uint8 ``[episodes, T, 224, 224, 3]``. Images are PNG, as LeRobot stores them; every frame is asked for
once, in order, in batches of 8, on one thread: nothing is kinder to it.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # a file that it does not find must not be looked for elsewhere

import numpy as np
import pandas as pd
import torch
from PIL import Image

# A torchvision that was built for another torch lacks its operators, and LeRobot imports it without needing them.
if not hasattr(torch.ops.torchvision, "nms"):
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

_FPS = 10
_CAMERA = "observation.images.static"
_FILE = "chunk-000/file-000.parquet"


def main() -> None:
    """Write, load, time; print one JSON document."""
    frames, folder = np.load(sys.argv[1]), Path(sys.argv[2])
    write(frames, folder)
    import lerobot
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    torch.set_num_threads(1)
    dataset = LeRobotDataset("bench/frames", root=folder)
    last = (255 * dataset[len(dataset) - 1][_CAMERA]).round().byte().permute(1, 2, 0).numpy()
    assert (last == frames[-1, -1]).all(), "LeRobot does not give back the frames that were written"
    best = 0.0
    for _ in range(3):
        began, seen = time.perf_counter(), 0
        for batch in torch.utils.data.DataLoader(dataset, batch_size=8, num_workers=0):
            seen += len(batch[_CAMERA])
        best = max(best, seen / (time.perf_counter() - began))
    print(json.dumps({"frames_per_s": best, "version": lerobot.__version__}))


def write(frames: np.ndarray, folder: Path) -> None:
    """A v3.0 dataset by hand: what LeRobot reads, and nothing else."""
    episodes, steps = frames.shape[:2]
    for name in ("meta/episodes/chunk-000", "data/chunk-000"):
        (folder / name).mkdir(parents=True)
    vector = {"dtype": "float32", "shape": [3], "names": None}
    number = {"dtype": "int64", "shape": [1], "names": None}
    features: dict[str, Any] = {
        _CAMERA: {"dtype": "image", "shape": list(frames.shape[2:]), "names": ["height", "width", "channels"]},
        "observation.state": vector,
        "action": vector,
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), number),
    }
    info = {
        "codebase_version": "v3.0",
        "robot_type": "bench",
        "total_episodes": episodes,
        "total_frames": episodes * steps,
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 500,
        "fps": _FPS,
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features,
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    (folder / "meta/stats.json").write_text("{}")
    pd.DataFrame({"task_index": [0]}, index=["go to the kitchen"]).to_parquet(folder / "meta/tasks.parquet")
    pd.DataFrame(
        {
            "episode_index": range(episodes),
            "tasks": [["go to the kitchen"]] * episodes,
            "length": steps,
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": [steps * episode for episode in range(episodes)],
            "dataset_to_index": [steps * (episode + 1) for episode in range(episodes)],
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
    ).to_parquet(folder / "meta/episodes" / _FILE)
    rows = [_row(frames[episode, step], episode, step, steps) for episode in range(episodes) for step in range(steps)]
    pd.DataFrame(rows).to_parquet(folder / "data" / _FILE)


def _row(frame: np.ndarray, episode: int, step: int, steps: int) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "PNG")
    zeros = np.zeros(3, dtype=np.float32)
    return {
        _CAMERA: {"bytes": stream.getvalue(), "path": None},
        "observation.state": zeros,
        "action": zeros,
        "timestamp": np.float32(step / _FPS),
        "frame_index": step,
        "episode_index": episode,
        "index": episode * steps + step,
        "task_index": 0,
    }


if __name__ == "__main__":
    main()
