"""Checks the images of the cameras: each is decoded small and grey, enough to find damaged, blank and frozen ones."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

import numpy as np
import numpy.typing as npt

from mobile_vla_data.action import gripper, position
from mobile_vla_data.checks.findings import Finding
from mobile_vla_data.checks.signals import Signals
from mobile_vla_data.episode import jpeg, schema
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.image import Image, ImageError

#: An image whose grey values spread less than this (of 255) shows nothing: lens cap, dead sensor, no light.
BLANK_SPREAD = 4
#: Share of blank images above which an episode is useless.
MAX_BLANK = 0.1
#: A camera counts as frozen when its image stays exactly equal for this long ...
FROZEN_S = 1.0
#: ... while the robot moves this far or the gripper moves: then a living camera sees a change, even without noise.
MOVED_M, MOVED_GRIPPER = 0.15, 0.3


def check_images(episode: Episode, signals: Signals) -> list[Finding]:
    """Findings about every camera of a well-formed episode."""
    return [finding for camera in episode.cameras for finding in _check(episode, signals, camera)]


def _check(episode: Episode, signals: Signals, camera: str) -> Iterator[Finding]:
    size = signals.contract.cameras[camera]
    marks, blank = [], []
    for index in range(episode.num_steps):
        data = episode.jpeg(camera, index)
        if data is None:
            image = episode.image(camera, index)
            marks.append(crc32(image.tobytes()))
            blank.append(is_blank(image[::8, ::8]))
            continue
        try:
            shape, thumbnail = jpeg.size(data), jpeg.decode_thumbnail(data)
        except ImageError as error:
            yield signals.finding("image-damaged", f"{schema.image_path(camera)}: {error}", step=index)
            return
        if shape != (size.height, size.width):
            yield signals.finding(
                "shape",
                f"{schema.image_path(camera)} holds an image of {list(shape)}, expected {[size.height, size.width]}",
                step=index,
            )
            return
        marks.append(crc32(data))
        blank.append(is_blank(thumbnail))
    if np.mean(blank) > MAX_BLANK:
        yield signals.finding(
            "camera-blank",
            f"{np.mean(blank):.0%} of the images of camera '{camera}' show a single shade",
            "check lens cap, light and exposure, and record it again",
            int(np.argmax(blank)),
        )
    else:
        yield from _frozen(signals, camera, np.array(marks, dtype=np.int64))


def is_blank(image: Image) -> bool:
    """Return whether an image ``[h, w, c]`` shows a single shade."""
    return bool(np.ptp(image.astype(np.int16), axis=(0, 1)).max() < BLANK_SPREAD)


def _frozen(signals: Signals, camera: str, marks: npt.NDArray[np.int64]) -> Iterator[Finding]:
    """Name the first run of equal images that lasts while the robot moves."""
    changes = np.flatnonzero(np.diff(marks)) + 1
    for start, end in zip([0, *changes], [*changes, len(marks)], strict=True):
        duration_s = (signals.ticks_ns[end - 1] - signals.ticks_ns[start]) * 1e-9
        if duration_s < FROZEN_S:
            continue
        moved_m = float(np.hypot(*np.ptp(position(signals.states)[start:end], axis=0)))
        if moved_m > MOVED_M or np.ptp(gripper(signals.states)[start:end]) > MOVED_GRIPPER:
            yield signals.finding(
                "camera-frozen",
                f"camera '{camera}' shows the same image for {duration_s:.1f} s while the robot moves {moved_m:.2f} m",
                "restart the camera and record it again, or cut the episode with 'mobile-vla-data trim'",
                int(start),
            )
            return
