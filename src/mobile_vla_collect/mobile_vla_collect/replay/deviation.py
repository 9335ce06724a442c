"""Compare a driven path with the recorded one, step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Path2D = npt.NDArray[np.float64]
"""float64 ``[N, 2]``: x, y [m]."""

#: A path that stays nearer to its start than this has no direction to be turned by [m].
_NO_DIRECTION_M = 0.05


@dataclass(frozen=True)
class Deviation:
    """Distances between two paths after :func:`aligned` has put one over the other [m, rad]."""

    steps: int
    """Steps compared."""
    turned_rad: float
    """Turn of the recorded path that fits the driven one best."""
    mean_m: float
    """Mean distance of the two positions at the same step."""
    max_m: float
    """Largest distance at the same step."""
    max_step: int
    """Step of the largest distance."""
    end_m: float
    """Distance at the last step."""
    across_mean_m: float
    """Mean distance from the recorded path, whenever it was there: a delay does not count."""
    across_max_m: float
    """Largest distance from the recorded path, whenever it was there."""
    recorded_length_m: float
    """Length of the recorded path."""
    driven_length_m: float
    """Length of the driven path."""

    def __str__(self) -> str:
        return (
            f"{self.mean_m:.3f} m from the recorded position on average, {self.max_m:.3f} m at most (step "
            f"{self.max_step}), {self.end_m:.3f} m at the end of {self.recorded_length_m:.2f} m; at most "
            f"{self.across_max_m:.3f} m beside the path"
        )


def aligned(recorded: Path2D, driven: Path2D) -> tuple[Path2D, float]:
    """Return the recorded path moved to the start of the driven one and turned to fit it best, and the turn [rad].

    Episodes do not hold the robot's heading, so the turn about the start is fitted (least squares over all steps).
    """
    along, apart = recorded - recorded[0], driven - driven[0]
    reach_m = min(float(np.linalg.norm(path, axis=1).max()) for path in (along, apart))
    turn = 0.0
    if reach_m >= _NO_DIRECTION_M:
        crossed = along[:, 0] * apart[:, 1] - along[:, 1] * apart[:, 0]
        turn = math.atan2(float(crossed.sum()), float((along * apart).sum()))
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return along @ rotation.T + driven[0], turn


def compare_paths(recorded: Path2D, driven: Path2D) -> Deviation:
    """Compare two paths of the same number of steps, at least one."""
    expected, turn = aligned(recorded, driven)
    distances = np.linalg.norm(driven - expected, axis=1)
    across = _distances_to(expected, driven)
    return Deviation(
        steps=len(driven),
        turned_rad=turn,
        mean_m=float(distances.mean()),
        max_m=float(distances.max()),
        max_step=int(distances.argmax()),
        end_m=float(distances[-1]),
        across_mean_m=float(across.mean()),
        across_max_m=float(across.max()),
        recorded_length_m=_length(recorded),
        driven_length_m=_length(driven),
    )


def _length(path: Path2D) -> float:
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def _distances_to(path: Path2D, points: Path2D) -> npt.NDArray[np.float64]:
    """Return the distance of each point from a path of straight pieces [m]."""
    if len(path) < 2:
        return np.asarray(np.linalg.norm(points - path[0], axis=1))
    begin, piece = path[:-1], np.diff(path, axis=0)
    offset = points[:, None] - begin
    length2 = np.maximum((piece**2).sum(axis=1), 1e-12)
    share = np.clip((offset * piece).sum(axis=2) / length2, 0.0, 1.0)
    return np.asarray(np.linalg.norm(offset - share[..., None] * piece, axis=2).min(axis=1))
