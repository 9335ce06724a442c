"""Sees, while recording, that a camera shows one picture although the robot moves, or shows nothing at all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.checks.images import BLANK_SPREAD, FROZEN_S, MAX_BLANK, MOVED_GRIPPER, MOVED_M
from mobile_vla_data.image import Image
from mobile_vla_data.observation import Observation


@dataclass
class _Shown:
    """One picture, and between which states the robot was while it was shown."""

    image: Image
    since_ns: int
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]


class CameraWatch:
    """Feed it every observation; the limits are those of validation's ``camera-frozen`` and ``camera-blank``.

    A picture may well stay the same to the byte while nothing moves: simulated cameras have no noise. So only a picture
    that stays while the odometry or the gripper moves is called frozen.
    """

    def __init__(self) -> None:
        self._shown: dict[str, _Shown] = {}
        self._blank: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()

    def clear(self) -> None:
        """Begin afresh."""
        self._shown = {}
        self._blank.clear()
        self._seen.clear()

    def blank(self) -> list[str]:
        """One line for each camera that showed nothing in too many observations since :meth:`clear`."""
        return [
            f"camera '{camera}' shows nothing but one shade in {count / self._seen[camera]:.0%} of its images; "
            "check lens cap, light and exposure"
            for camera, count in self._blank.items()
            if count > MAX_BLANK * self._seen[camera]
        ]

    def frozen(self, observation: Observation) -> list[str]:
        """Take an observation; one line for each camera that is frozen at it."""
        for camera, image in observation.images.items():
            self._seen[camera] += 1
            self._blank[camera] += bool(np.ptp(image[::8, ::8].astype(np.int16), axis=(0, 1)).max() < BLANK_SPREAD)
        return [why for camera in observation.images if (why := self._judge(camera, observation))]

    def _judge(self, camera: str, observation: Observation) -> str:
        image, state = observation.images[camera], observation.state
        shown = self._shown.get(camera)
        if shown is None or not np.array_equal(shown.image, image):
            self._shown[camera] = _Shown(image, observation.stamp_ns, state, state)
            return ""
        shown.low, shown.high = np.minimum(shown.low, state), np.maximum(shown.high, state)
        duration_s = (observation.stamp_ns - shown.since_ns) * 1e-9
        moved = shown.high - shown.low
        moved_m = float(np.hypot(moved[0], moved[1]))
        if duration_s < FROZEN_S or (moved_m <= MOVED_M and moved[2] <= MOVED_GRIPPER):
            return ""
        return f"camera '{camera}' is frozen: one picture for {duration_s:.1f} s while the robot moved {moved_m:.2f} m"
