"""Read a dataset with plain h5py, and plot its paths and one episode's actions.

python examples/read_dataset.py DATASET [--output paths.png]

Nothing of Mobile VLA is imported: an episode is an ordinary HDF5 file (docs/reference/episode-format.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import h5py
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def main() -> None:
    """Print one line per episode and write the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder with episode_*.h5")
    parser.add_argument("--output", type=Path, default=Path("paths.png"), help="image to write")
    arguments = parser.parse_args()
    files = sorted(arguments.dataset.glob("episode_*.h5"))
    if not files:
        raise SystemExit(f"{arguments.dataset}: no episodes; record some, or check the path")

    figure, (paths, actions, image) = plt.subplots(1, 3, figsize=(15, 4.5))
    for path in files:
        with h5py.File(path) as file:
            state = file["observations/state"][:]  # float32 [T, 3]: x [m], y [m], gripper 0..1
            rate_hz = 1e9 / np.median(np.diff(file["timestamps"][:]))
            print(f"{path.name}: {len(state)} steps at {rate_hz:.1f} Hz, '{file.attrs['language']}'")
            paths.plot(state[:, 0], state[:, 1], linewidth=0.8)

    with h5py.File(files[-1]) as file:
        seconds = (file["timestamps"][:] - file["timestamps"][0]) * 1e-9
        for name, values in zip(("delta_x [m]", "delta_y [m]", "gripper"), file["actions"][:].T, strict=False):
            actions.step(seconds, values, where="post", label=name)
        actions.legend()
        image.imshow(first_image(file["observations/images/static"]))
        image.set_title(file.attrs["language"])

    paths.set(title=f"{len(files)} episodes", xlabel="x [m]", ylabel="y [m]", aspect="equal")
    actions.set(title=files[-1].stem, xlabel="time [s]")
    image.axis("off")
    figure.tight_layout()
    figure.savefig(arguments.output, dpi=100)
    print(f"wrote {arguments.output}")


def first_image(images: h5py.Dataset) -> np.ndarray:
    """Return the first image, RGB uint8 [height, width, 3], of a camera that was stored as JPEG or raw."""
    first = images[0]
    if images.attrs["encoding"] == "raw":
        return first
    return cv2.cvtColor(cv2.imdecode(first, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


if __name__ == "__main__":
    main()
