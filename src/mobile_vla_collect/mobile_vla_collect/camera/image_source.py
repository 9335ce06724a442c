"""Where a camera's pictures come from: a device, a GStreamer pipeline, a video file, a folder of images.

All give RGB and the picture's age through :meth:`ImageSource.read`, which blocks until the next picture is due or
raises :class:`SourceError`. Files are paced: a video by its own time stamps, a folder at the given rate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from mobile_vla_data.image import Image

#: What counts as a picture in a folder.
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


class SourceError(RuntimeError):
    """A source cannot be opened, or stopped delivering; one line naming it and what to do."""


class SourceEndedError(SourceError):
    """A file or folder that is not repeated has come to its end."""


@dataclass(frozen=True)
class SourceSettings:
    """What is asked of a source."""

    source: str
    """Device index (``0``), device path, GStreamer pipeline (contains ``!``), video file, or folder."""
    rate_hz: float
    """Asked of a device, and the pace of a folder [Hz]."""
    capture_width: int
    """Asked of a device [px]; 0 leaves it to the driver."""
    capture_height: int
    loop: bool
    """Whether a file or folder begins again at its end."""


class ImageSource(Protocol):
    """Delivers pictures."""

    def read(self) -> tuple[Image, float]:
        """Block until the next picture; returns RGB uint8 ``[height, width, 3]`` and how long ago it was captured [s].

        Raises:
            SourceError: there is none.
        """

    def close(self) -> None:
        """Release the device or file. Idempotent."""


def open_source(settings: SourceSettings) -> ImageSource:
    """Open what ``settings.source`` names. Raises :class:`SourceError`."""
    source = settings.source
    if "!" in source:
        return _Device(settings, source, cv2.CAP_GSTREAMER)
    if source.isdecimal():
        return _open_device(settings, Path(f"/dev/video{source}"))
    path = Path(source).expanduser()
    if path.is_dir():
        return _Folder(settings, path)
    if path.is_relative_to("/dev"):
        return _open_device(settings, path)
    if not path.is_file():
        raise SourceError(f"{source}: no such file or folder; a source is a device, a pipeline, a video or a folder")
    return _Video(settings, path)


def _open_device(settings: SourceSettings, path: Path) -> ImageSource:
    if not path.exists():
        raise SourceError(f"{path}: no such camera; plug it in, or choose one of {_devices()}")
    return _Device(settings, str(path), cv2.CAP_V4L2)


def _devices() -> str:
    by_id = sorted(str(path) for path in Path("/dev/v4l/by-id").glob("*")) if Path("/dev/v4l/by-id").is_dir() else []
    found = by_id or sorted(str(path) for path in Path("/dev").glob("video*"))
    return ", ".join(found) if found else "(none found: no /dev/video*)"


def _to_rgb(picture: Any) -> Image:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


class _Device:
    """A V4L2 device or a GStreamer pipeline: it sets the pace itself."""

    def __init__(self, settings: SourceSettings, name: str, backend: int) -> None:
        self._name, self._is_v4l2 = name, backend == cv2.CAP_V4L2
        self._capture = cv2.VideoCapture(name, backend)
        if not self._capture.isOpened():
            if backend == cv2.CAP_GSTREAMER and "GStreamer:                   NO" in cv2.getBuildInformation():
                raise SourceError(f"{name}: this OpenCV has no GStreamer; install the distribution's python3-opencv")
            raise SourceError(f"{name}: cannot be opened; is another program using it, or is it not a camera?")
        if backend == cv2.CAP_V4L2:
            # One buffer: an old picture in a queue would be published as a new one.
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            if settings.capture_width and settings.capture_height:
                self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.capture_width)
                self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.capture_height)
            self._capture.set(cv2.CAP_PROP_FPS, settings.rate_hz)

    def read(self) -> tuple[Image, float]:
        done, picture = self._capture.read()
        if not done:
            raise SourceError(f"{self._name}: stopped delivering; check the cable")
        # V4L2 says on the monotonic clock when the picture was taken; other backends say something else, or nothing.
        age_s = time.monotonic() - self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
        return _to_rgb(picture), age_s if self._is_v4l2 and 0.0 <= age_s < 1.0 else 0.0

    def close(self) -> None:
        self._capture.release()


class _Pace:
    """Waits until positions on a recording's own time line are due."""

    def __init__(self) -> None:
        self._start_s: float | None = None

    def wait(self, position_s: float) -> None:
        if self._start_s is None:
            self._start_s = time.monotonic() - position_s
        time.sleep(max(0.0, self._start_s + position_s - time.monotonic()))


class _Video:
    """A video file, paced by its own time stamps."""

    def __init__(self, settings: SourceSettings, path: Path) -> None:
        self._path, self._loop = path, settings.loop
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
        done, picture = self._capture.read()
        if not done:
            self._begin_again()
            done, picture = self._capture.read()
            if not done:
                raise SourceError(f"{self._path}: holds no picture that can be decoded")
        position_s = self._offset_s + self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
        # Some containers carry no stamps at all: then every position is zero.
        self._last_s = position_s if position_s > self._last_s else self._last_s + self._period_s
        self._pace.wait(self._last_s)
        return _to_rgb(picture), 0.0

    def close(self) -> None:
        self._capture.release()

    def _begin_again(self) -> None:
        if not self._loop:
            raise SourceEndedError(f"{self._path}: the video has ended; set loop to begin again")
        self._offset_s = self._last_s + self._period_s
        self._capture.release()
        self._capture = cv2.VideoCapture(str(self._path))


class _Folder:
    """Pictures of a folder in the order of their names, at a fixed rate."""

    def __init__(self, settings: SourceSettings, path: Path) -> None:
        self._path, self._loop, self._period_s = path, settings.loop, 1.0 / settings.rate_hz
        self._files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        if not self._files:
            raise SourceError(f"{path}: no pictures in this folder ({', '.join(sorted(PICTURES))})")
        self._pace = _Pace()
        self._count = 0

    def read(self) -> tuple[Image, float]:
        if self._count >= len(self._files) and not self._loop:
            raise SourceEndedError(f"{self._path}: all {len(self._files)} pictures were shown; set loop to begin again")
        file = self._files[self._count % len(self._files)]
        picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if picture is None:
            raise SourceError(f"{file}: cannot be decoded; remove it from the folder")
        self._pace.wait(self._count * self._period_s)
        self._count += 1
        return _to_rgb(picture), 0.0

    def close(self) -> None:
        pass
