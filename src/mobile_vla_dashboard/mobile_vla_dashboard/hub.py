"""The newest of everything, handed from the ROS thread to the web server's event loop. No rclpy, no web framework.

The ROS thread puts; each browser takes when it is ready for more. Nothing queues: what a slow browser did not take
in time is replaced by what came after it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2

from mobile_vla_data.image import Image

#: Good enough to judge a scene by, at about 8 kB for 224x224.
JPEG_QUALITY = 85


@dataclass
class Frame:
    """One camera picture; encoded at most once, and only if a browser takes it."""

    camera: int
    """Place of the camera in the contract's order."""
    sequence: int
    """Counts the camera's pictures from 1."""
    stamp_ns: int
    """When it was captured, on the robot's clock."""
    image: Image
    """RGB uint8 ``[height, width, 3]``."""
    _jpeg: bytes | None = field(default=None, repr=False)

    def jpeg(self) -> bytes:
        """The picture as JPEG."""
        if self._jpeg is None:
            bgr = cv2.cvtColor(self.image, cv2.COLOR_RGB2BGR)
            _, buffer = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            self._jpeg = buffer.tobytes()
        return self._jpeg


@dataclass(frozen=True)
class Heard:
    """The newest message of a status topic and when it arrived."""

    message: Any
    received_s: float
    """On :func:`time.monotonic` [s]."""


class Hub:
    """Holds the newest frame of each camera and the newest message of each status. Thread-safe."""

    def __init__(self, cameras: Mapping[str, str]) -> None:
        """``cameras`` maps each camera's name to its topic, in the contract's order."""
        self.cameras = dict(cameras)
        self._frames: list[Frame | None] = [None] * len(self.cameras)
        self._arrivals_s: list[list[float]] = [[] for _ in self.cameras]
        self._refusals: list[str] = [""] * len(self.cameras)
        self._heard: dict[str, Heard] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakers: set[Callable[[], None]] = set()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the event loop whose viewers are to be woken."""
        self._loop = loop

    def watch(self, waker: Callable[[], None]) -> Callable[[], None]:
        """Have ``waker`` called on the event loop whenever a frame came in; returns what ends that."""
        self._wakers.add(waker)
        return lambda: self._wakers.discard(waker)

    @property
    def watched(self) -> bool:
        """Whether any browser is looking."""
        return bool(self._wakers)

    def put_frame(self, camera: int, stamp_ns: int, image: Image) -> None:
        """Take a camera's newest picture."""
        now_s = time.monotonic()
        with self._lock:
            last = self._frames[camera]
            self._frames[camera] = Frame(camera, last.sequence + 1 if last else 1, stamp_ns, image)
            arrivals_s = self._arrivals_s[camera]
            arrivals_s.append(now_s)
            self._arrivals_s[camera] = [at_s for at_s in arrivals_s if now_s - at_s <= 2.0]
            self._refusals[camera] = ""
        self._wake()

    def refuse_frame(self, camera: int, why: str) -> None:
        """Note that a picture could not be shown, and why."""
        with self._lock:
            self._refusals[camera] = why

    def frame(self, camera: int) -> Frame | None:
        """The newest picture of a camera, None before the first."""
        with self._lock:
            return self._frames[camera]

    def camera_rate(self, camera: int) -> tuple[float | None, float, str]:
        """Seconds since the last picture (None before the first), pictures per second, and why one was refused."""
        now_s = time.monotonic()
        with self._lock:
            recent = [at_s for at_s in self._arrivals_s[camera] if now_s - at_s <= 2.0]
            silent_s = now_s - self._arrivals_s[camera][-1] if self._arrivals_s[camera] else None
            return silent_s, len(recent) / 2.0, self._refusals[camera]

    def put(self, name: str, message: Any) -> None:
        """Take the newest message of the status called ``name``."""
        with self._lock:
            self._heard[name] = Heard(message, time.monotonic())
        self._wake()

    def heard(self, name: str) -> Heard | None:
        """The newest message of a status, None before the first."""
        with self._lock:
            return self._heard.get(name)

    def _wake(self) -> None:
        loop = self._loop
        if loop is None or not self._wakers:
            return
        try:
            loop.call_soon_threadsafe(self._wake_all)
        except RuntimeError:
            # The loop has just been closed: the server is going down, and nobody is looking any more.
            self._loop = None

    def _wake_all(self) -> None:
        for waker in tuple(self._wakers):
            waker()
