"""The newest images and statuses, from the ROS thread to the web server's event loop. No rclpy, no web framework.

The ROS thread stores them; each browser fetches them when it is ready for more. There is no queue: an image that a slow
browser does not fetch in time is replaced by the next one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2

from mobile_vla_data.image import Image

#: Good enough to judge a scene by, at about 8 kB for 224x224.
JPEG_QUALITY = 85


#: Every status comes at 2 Hz; after six missing ones the node counts as silent [s].
SILENT_S = 3.0


@dataclass
class Frame:
    """One image of a camera; encoded at most once, and only if a browser takes it."""

    camera: int
    """Place of the camera in the contract."""
    sequence: int
    """Counts the camera's images from 1."""
    stamp_ns: int
    """When it was captured, on the robot's clock."""
    image: Image | None
    """RGB uint8 ``[height, width, 3]``; None if it came as JPEG."""
    _jpeg: bytes = field(default=b"", repr=False)

    def jpeg(self) -> bytes:
        """Return the image as JPEG."""
        if not self._jpeg and self.image is not None:
            bgr = cv2.cvtColor(self.image, cv2.COLOR_RGB2BGR)
            _, buffer = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            self._jpeg = buffer.tobytes()
        return self._jpeg


@dataclass(frozen=True)
class ReceivedStatus:
    """The newest message of a status topic, and when it arrived."""

    message: Any
    received_s: float
    """On :func:`time.monotonic` [s]."""

    @property
    def fresh(self) -> bool:
        """True unless it is so old that its node counts as silent."""
        return time.monotonic() - self.received_s <= SILENT_S


@dataclass(frozen=True)
class CameraReception:
    """State of a camera's stream."""

    silent_s: float | None
    """Since the newest image [s]; None before the first."""
    rate_hz: float
    """Images per second over the last two seconds [Hz]."""
    refusal: str
    """Why the newest image cannot be shown; empty if it can."""


class Latest:
    """Holds the newest frame of each camera and the newest message of each status. Thread-safe."""

    def __init__(self, cameras: Mapping[str, str]) -> None:
        """``cameras`` maps each camera's name to its topic, in the contract's order."""
        self.cameras = dict(cameras)
        self._frames: list[Frame | None] = [None] * len(self.cameras)
        self._arrivals_s: list[list[float]] = [[] for _ in self.cameras]
        self._refusals: list[str] = [""] * len(self.cameras)
        self._statuses: dict[str, ReceivedStatus] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakers: set[Callable[[], None]] = set()
        self.run_viewers = 0
        """Browsers that show the Run view."""
        self._keepers = 0
        self.edits = 0
        """Corrections of episodes so far; a page that sees another number loads its list again."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the event loop of the viewers to wake."""
        self._loop = loop

    def watch(self, waker: Callable[[], None]) -> Callable[[], None]:
        """Call ``waker`` on the event loop for every new frame or status; return a function that ends this."""
        self._wakers.add(waker)
        return lambda: self._wakers.discard(waker)

    @property
    def viewers(self) -> int:
        """Browsers that show the page."""
        return len(self._wakers)

    @property
    def watched(self) -> bool:
        """True while a browser shows the page, or something keeps the cameras."""
        return bool(self._wakers) or self._keepers > 0

    @contextmanager
    def keep_cameras(self) -> Iterator[None]:
        """Keep the cameras subscribed, although no browser may show the page."""
        self._keepers += 1
        try:
            yield
        finally:
            self._keepers -= 1

    def put_frame(self, camera: int, stamp_ns: int, image: Image | None, jpeg: bytes = b"") -> None:
        """Take a camera's newest image, or its JPEG."""
        now_s = time.monotonic()
        with self._lock:
            last = self._frames[camera]
            self._frames[camera] = Frame(camera, last.sequence + 1 if last else 1, stamp_ns, image, jpeg)
            arrivals_s = self._arrivals_s[camera]
            arrivals_s.append(now_s)
            self._arrivals_s[camera] = [at_s for at_s in arrivals_s if now_s - at_s <= 2.0]
            self._refusals[camera] = ""
        self._wake()

    def refuse_frame(self, camera: int, why: str) -> None:
        """Note why an image cannot be shown."""
        with self._lock:
            self._refusals[camera] = why

    def frame(self, camera: int) -> Frame | None:
        """Return the newest frame of a camera, None before the first."""
        with self._lock:
            return self._frames[camera]

    def reception(self, camera: int) -> CameraReception:
        """Return what arrives from a camera."""
        now_s = time.monotonic()
        with self._lock:
            recent = [at_s for at_s in self._arrivals_s[camera] if now_s - at_s <= 2.0]
            silent_s = now_s - self._arrivals_s[camera][-1] if self._arrivals_s[camera] else None
            return CameraReception(silent_s, len(recent) / 2.0, self._refusals[camera])

    def put_status(self, name: str, message: Any) -> None:
        """Take the newest message of a status, such as gate, policy or chunk."""
        with self._lock:
            self._statuses[name] = ReceivedStatus(message, time.monotonic())
        self._wake()

    def status(self, name: str) -> ReceivedStatus | None:
        """Return the newest message of a status, None before the first."""
        with self._lock:
            return self._statuses.get(name)

    def fresh(self, name: str) -> Any | None:
        """Return the newest message of a status, None if there is none or its node counts as silent."""
        received = self.status(name)
        return received.message if received is not None and received.fresh else None

    def _wake(self) -> None:
        loop = self._loop
        if loop is None or not self._wakers:
            return
        try:
            loop.call_soon_threadsafe(self._wake_all)
        except RuntimeError:
            # The loop has just been closed: the server is ending, and no browser shows the page any more.
            self._loop = None

    def _wake_all(self) -> None:
        for waker in tuple(self._wakers):
            waker()
