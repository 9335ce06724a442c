"""Runs in LeRobot's Python, not in ours: times LeRobot's own loader on an export, on one thread.

    PYTHON lerobot_loader.py EXPORT   ->   {"frames_per_s": ..., "version": ...}

Every step is read once, in order, in batches of 8, which is the most favourable order. A frame is one image of one
camera. The rate is per second of processor time, of all threads.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # a file that it does not find must not be looked for elsewhere

import lerobot
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

_TURNS = 3


def main() -> None:
    """Load, time; print one JSON document."""
    torch.set_num_threads(1)
    dataset = LeRobotDataset("bench/frames", root=Path(sys.argv[1]))
    cameras, best = dataset.meta.camera_keys, 0.0
    for _ in range(_TURNS):
        began, seen = time.process_time(), 0
        for batch in torch.utils.data.DataLoader(dataset, batch_size=8, num_workers=0):
            seen += sum(len(batch[camera]) for camera in cameras)
        best = max(best, seen / (time.process_time() - began))
    print(json.dumps({"frames_per_s": best, "version": lerobot.__version__}))


if __name__ == "__main__":
    main()
