"""Statistics in LeRobot's form: min, max, mean, std, count and five quantiles of every feature.

LeRobot estimates quantiles from histograms with 5,000 bins, and those of a dataset as the mean of its episodes'. Here
they are exact: over all values for numbers, and from the 256 counts of each channel for images.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mobile_vla_data.image import Image

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
NAMES = ("min", "max", "mean", "std", "count", *QUANTILES)

_LEVELS = 256
_CHANNELS = 3


def vector_statistics(values: npt.NDArray[Any]) -> dict[str, list[float] | list[int]]:
    """Statistics of ``[N, D]`` values: lists of D numbers, ``count`` a list of one."""
    exact = np.asarray(values, dtype=np.float64)
    rows = np.quantile(exact, list(QUANTILES.values()), axis=0)
    return {
        "min": exact.min(0).tolist(),
        "max": exact.max(0).tolist(),
        "mean": exact.mean(0).tolist(),
        "std": exact.std(0).tolist(),
        "count": [len(exact)],
        **{name: row.tolist() for name, row in zip(QUANTILES, rows, strict=True)},
    }


def sampled_steps(num_steps: int) -> frozenset[int]:
    """Steps whose images are used for statistics: LeRobot's rule, all of up to 100, then num_steps ** 0.75."""
    count = min(num_steps, max(100, min(int(num_steps**0.75), 10_000)))
    return frozenset(np.round(np.linspace(0, num_steps - 1, count)).astype(int).tolist())


class ImageStatistics:
    """Counts of each value in each channel of some images; takes 6 kB for any number of images."""

    def __init__(self, counts: npt.NDArray[np.int64] | None = None, images: int = 0) -> None:
        self.counts = np.zeros((_CHANNELS, _LEVELS), dtype=np.int64) if counts is None else counts
        """int64 ``[3, 256]``."""
        self.images = images

    def add(self, image: Image) -> None:
        """Take an image, RGB uint8 ``[h, w, 3]``."""
        for channel in range(_CHANNELS):
            counted = cv2.calcHist([image], [channel], None, [_LEVELS], [0, _LEVELS])
            self.counts[channel] += counted[:, 0].astype(np.int64)
        self.images += 1

    def add_all(self, other: ImageStatistics) -> None:
        """Take all images of another."""
        self.counts += other.counts
        self.images += other.images

    def summary(self) -> dict[str, Any]:
        """Statistics of values in 0 .. 1, shaped ``[3][1][1]``; ``count`` is the number of images."""
        levels = np.arange(_LEVELS) / (_LEVELS - 1)
        total = self.counts.sum(1, keepdims=True)
        shares = self.counts / total
        mean = shares @ levels
        std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(1))
        seen = self.counts > 0
        reached = np.cumsum(self.counts, axis=1)
        rows = {
            "min": levels[seen.argmax(1)],
            "max": levels[_LEVELS - 1 - seen[:, ::-1].argmax(1)],
            "mean": mean,
            "std": std,
            **{name: levels[(reached >= share * total).argmax(1)] for name, share in QUANTILES.items()},
        }
        return {**{name: row.reshape(_CHANNELS, 1, 1).tolist() for name, row in rows.items()}, "count": [self.images]}
