"""LeRobot's own writer on the images of bench-collect. Runs in LeRobot's Python, which collect_data.py starts.

    LEROBOT_PYTHON=/path/to/venv/bin/python make bench-collect

for a virtual environment with ``pip install lerobot==0.4.4`` (0.4.4 is what Python 3.11 gets). The measured time is
what a user of LeRobot waits for: ``add_frame`` for every step and ``save_episode`` at the end, of a dataset of images
(``use_videos=False``) with four writer threads a camera, as LeRobot's recorder sets. It encodes PNG with PIL, waits for
the threads, computes statistics over the images and puts them into a Parquet file; it flushes nothing to the disk.

``lerobot_writer.py IMAGES.npz FOLDER`` answers every line on its input with the seconds that one episode took.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    # A torchvision built for another torch: two operators that no image here needs.
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from lerobot.datasets.lerobot_dataset import LeRobotDataset

THREADS_A_CAMERA = 4
RATE_HZ = 10


def main() -> None:
    """Write one episode for every line of standard input."""
    with np.load(sys.argv[1]) as archive:
        pictures = {camera: archive[camera] for camera in archive.files}
    image = {"dtype": "image", "shape": (224, 224, 3), "names": ["height", "width", "channel"]}
    vector = {"dtype": "float32", "shape": (3,), "names": ["x", "y", "gripper"]}
    dataset = LeRobotDataset.create(
        "bench/pictures",
        RATE_HZ,
        {
            **{f"observation.images.{camera}": image for camera in pictures},
            "observation.state": vector,
            "action": vector,
        },
        root=Path(sys.argv[2]) / "lerobot",
        use_videos=False,
        image_writer_threads=THREADS_A_CAMERA * len(pictures),
    )
    values = np.array([0.1, 0.2, 0.0], dtype=np.float32)
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        for step in range(len(next(iter(pictures.values())))):
            images = {f"observation.images.{camera}": frames[step] for camera, frames in pictures.items()}
            dataset.add_frame({**images, "observation.state": values, "action": values, "task": "go to the kitchen"})
        dataset.save_episode()
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main()
