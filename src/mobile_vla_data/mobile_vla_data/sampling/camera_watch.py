"""Detect, while recording, a camera that shows one image although the robot moves, or that shows nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import gripper, position
from mobile_vla_data.checks.images import FROZEN_S, MAX_BLANK, MOVED_GRIPPER, MOVED_M, is_blank
from mobile_vla_data.image import Image
from mobile_vla_data.observation import Observation


@dataclass
class _Shown:
    """One image, since when it has been shown, and the range of the robot's state meanwhile."""

    image: Image
    since_ns: int
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]


class CameraWatch:
    """Watches the cameras of one episode, with the limits of validation's ``camera-frozen`` and ``camera-blank``.

    An image may stay the same to the byte while nothing moves: simulated cameras have no noise. So a camera is frozen
    only if its image stays while the odometry or the gripper moves.
    """

    def __init__(self) -> None:
        self._shown: dict[str, _Shown] = {}
        self._blank: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()

    def blank(self) -> list[str]:
        """Return one line for each camera that showed nothing in too many observations."""
        return [
            f"camera '{camera}' shows a single shade in {count / self._seen[camera]:.0%} of its images; "
            "check lens cap, light and exposure"
            for camera, count in self._blank.items()
            if count > MAX_BLANK * self._seen[camera]
        ]

    def frozen(self, observation: Observation) -> list[str]:
        """Take an observation; return one line for each camera that is frozen."""
        for camera, image in observation.images.items():
            self._seen[camera] += 1
            self._blank[camera] += is_blank(image[::8, ::8])
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
        moved_m = float(np.hypot(*position(moved)))
        if duration_s < FROZEN_S or (moved_m <= MOVED_M and gripper(moved) <= MOVED_GRIPPER):
            return ""
        return f"camera '{camera}' is frozen: one image for {duration_s:.1f} s while the robot moved {moved_m:.2f} m"
