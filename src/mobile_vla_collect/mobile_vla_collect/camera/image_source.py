"""Sources of a camera's images: a device, a GStreamer pipeline, a video file, a folder of images.

All return RGB and the age of the image through :meth:`ImageSource.read`, which blocks until the next image is due or
raises :class:`SourceError`. Files are paced: a video by its own time stamps, a folder at the given rate.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from mobile_vla_collect.camera.device import DeviceSettings, Granted, negotiate
from mobile_vla_data.image import Image

#: Names of images in a folder end with one of these.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


class SourceError(RuntimeError):
    """A source cannot be opened, or sends no more images; one line naming it and what to do."""


class SourceEndedError(SourceError):
    """A file or folder that is not repeated has ended."""


@dataclass(frozen=True)
class SourceSettings:
    """A source and its settings. Zeros leave a setting to the driver."""

    source: str
    """Device index (``0``), device path, GStreamer pipeline (contains ``!``), video file, or folder."""
    rate_hz: float
    """Frame rate requested from a device, or used for a folder [Hz]."""
    device: DeviceSettings
    loop: bool
    """Repeat a file or folder."""


class ImageSource(Protocol):
    """Provides images."""

    granted: Granted | None
    """Settings that a device's driver granted; None for every other source."""

    def read(self) -> tuple[Image, float]:
        """Block until the next image; return it as RGB uint8 ``[height, width, 3]``, and its age [s].

        Raises:
            SourceError: there is none.
        """

    def close(self) -> None:
        """Release the device or file. Idempotent."""


def open_source(settings: SourceSettings) -> ImageSource:
    """Open the source that ``settings`` name. Raises :class:`SourceError`."""
    source = settings.source
    path = Path(os.path.expanduser(source))
    # os.path, not Path: texts that are too long for a file name are no file.
    if "!" in source and not os.path.exists(path):
        return _Device(settings, source, cv2.CAP_GSTREAMER)
    if source.isdecimal():
        return _open_device(settings, Path(f"/dev/video{source}"))
    if os.path.isdir(path):
        return _Folder(settings, path)
    if path.is_relative_to("/dev"):
        return _open_device(settings, path)
    if not os.path.isfile(path):
        raise SourceError(f"{source:.200}: no such file or folder; use a device, a pipeline, a video or a folder")
    return _Video(settings, path)


def _open_device(settings: SourceSettings, path: Path) -> ImageSource:
    if not path.exists():
        raise SourceError(f"{path}: no such camera; plug it in, or choose one of {_devices()}")
    return _Device(settings, str(path), cv2.CAP_V4L2)


def _devices() -> str:
    by_id = sorted(str(path) for path in Path("/dev/v4l/by-id").glob("*")) if Path("/dev/v4l/by-id").is_dir() else []
    found = by_id or sorted(str(path) for path in Path("/dev").glob("video*"))
    return ", ".join(found) if found else "(none found: no /dev/video*)"


def _to_rgb(image: Any) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


class _Device:
    """A V4L2 device or a GStreamer pipeline: it sets the pace."""

    def __init__(self, settings: SourceSettings, name: str, backend: int) -> None:
        self._name = name
        self._is_v4l2 = backend == cv2.CAP_V4L2
        self._capture = cv2.VideoCapture(name, backend)
        if not self._capture.isOpened():
            if backend == cv2.CAP_GSTREAMER and "GStreamer:                   NO" in cv2.getBuildInformation():
                raise SourceError(f"{name}: this OpenCV has no GStreamer; install the distribution's python3-opencv")
            raise SourceError(f"{name}: cannot be opened; is another program using it, or is it not a camera?")
        self.granted = negotiate(self._capture, settings.device, settings.rate_hz) if self._is_v4l2 else None

    def read(self) -> tuple[Image, float]:
        done, image = self._capture.read()
        if not done:
            raise SourceError(
                f"{self._name}: sends no images; check the cable. Two cameras on one USB hub need 'fourcc: MJPG'"
            )
        # V4L2 gives the capture time on the monotonic clock; other backends give another time, or none.
        age_s = time.monotonic() - self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
        return _to_rgb(image), age_s if self._is_v4l2 and 0.0 <= age_s < 1.0 else 0.0

    def close(self) -> None:
        self._capture.release()


class _Pace:
    """Waits until positions on a recording's time line are due."""

    def __init__(self) -> None:
        self._start_s: float | None = None

    def wait(self, position_s: float) -> None:
        if self._start_s is None:
            self._start_s = time.monotonic() - position_s
        time.sleep(max(0.0, self._start_s + position_s - time.monotonic()))


class _Video:
    """A video file, paced by its own time stamps."""

    granted: Granted | None = None

    def __init__(self, settings: SourceSettings, path: Path) -> None:
        self._path = path
        self._loop = settings.loop
        self._capture = cv2.VideoCapture(str(path))
        self._pace = _Pace()
        self._offset_s = 0.0
        self._period_s = 0.0
        if not self._capture.isOpened():
            raise SourceError(f"{path}: not a video that OpenCV can read")
        rate_hz = self._capture.get(cv2.CAP_PROP_FPS)
        self._period_s = 1.0 / rate_hz if rate_hz > 0 else 1.0 / settings.rate_hz
        self._last_s = -self._period_s

    def read(self) -> tuple[Image, float]:
        done, image = self._capture.read()
        if not done:
            self._begin_again()
            done, image = self._capture.read()
            if not done:
                raise SourceError(f"{self._path}: has no image that can be decoded")
        position_s = self._offset_s + self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
        # Some containers have no stamps: then every position is zero.
        self._last_s = position_s if position_s > self._last_s else self._last_s + self._period_s
        self._pace.wait(self._last_s)
        return _to_rgb(image), 0.0

    def close(self) -> None:
        self._capture.release()

    def _begin_again(self) -> None:
        if not self._loop:
            raise SourceEndedError(f"{self._path}: the video has ended; set loop to start again")
        self._offset_s = self._last_s + self._period_s
        self._capture.release()
        self._capture = cv2.VideoCapture(str(self._path))


class _Folder:
    """Images of a folder in the order of their names, at a fixed rate."""

    granted: Granted | None = None

    def __init__(self, settings: SourceSettings, path: Path) -> None:
        self._path = path
        self._loop = settings.loop
        self._period_s = 1.0 / settings.rate_hz
        self._files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not self._files:
            raise SourceError(f"{path}: no images in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
        self._pace = _Pace()
        self._count = 0

    def read(self) -> tuple[Image, float]:
        if self._count >= len(self._files) and not self._loop:
            raise SourceEndedError(f"{self._path}: all {len(self._files)} images were shown; set loop to start again")
        file = self._files[self._count % len(self._files)]
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise SourceError(f"{file}: cannot be decoded; remove it from the folder")
        self._pace.wait(self._count * self._period_s)
        self._count += 1
        return _to_rgb(image), 0.0

    def close(self) -> None:
        pass
