"""Capture on its own thread: the newest image wins, and a lost source is opened again with growing pauses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mobile_vla_collect.camera.device import Granted
from mobile_vla_collect.camera.image_source import ImageSource, SourceEndedError, SourceError
from mobile_vla_data.image import Image

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0


@dataclass(frozen=True)
class CapturedImage:
    """An image as it was captured."""

    image: Image
    """RGB uint8 ``[height, width, 3]``."""
    stamp_ns: int
    """When it was captured."""


class Capture:
    """Reads a source until closed and hands every image to ``on_image``, on its own thread.

    Args:
        open_source: opens the source; called again after it was lost.
        now_ns: the clock of the stamps.
        on_image: takes an image. While it is busy, images of a device are skipped, not queued.
        on_change: takes a level and one line: the source was lost ("error") or found ("info"), or a driver did not
            grant a setting ("warning").
    """

    def __init__(
        self,
        open_source: Callable[[], ImageSource],
        now_ns: Callable[[], int],
        on_image: Callable[[CapturedImage], None],
        on_change: Callable[[str, str], None],
    ) -> None:
        self._open_source = open_source
        self._now_ns = now_ns
        self._on_image = on_image
        self._on_change = on_change
        self._stopping = threading.Event()
        self.problem = "not opened yet"
        """Why no images come; empty while they do."""
        self.ended = False
        """True after a file that is not repeated."""
        self.granted: Granted | None = None
        """Settings that the driver of the open device granted; None for other sources."""
        self.images = 0
        self.reconnects = 0
        self.identical_s = 0.0
        """For how long every image has been the same to the byte [s]; 0 if it differs from the one before."""
        self._last_s = float("-inf")
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self, source: ImageSource | None = None) -> None:
        """Begin; ``source`` is one that is already open."""
        self._first = source
        self._thread.start()

    @property
    def silent_s(self) -> float:
        """Time since the last image [s]; infinite before the first. A driver can hang without any error."""
        return time.monotonic() - self._last_s

    def close(self) -> None:
        """End capturing. A device that hangs stays open until the process ends."""
        self._stopping.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        source, self._first = self._first, None
        while not self._stopping.is_set() and not self.ended:
            before = self.images
            try:
                source = source or self._open_source()
                self._note_granted(source)
                self._read(source)
            except SourceEndedError as error:
                self.ended = True
                self._lose(str(error), "info")
            except Exception as error:  # whatever a driver raises, the thread must live to try again
                self._lose(str(error) if isinstance(error, SourceError) else repr(error), "error")
            finally:
                if source is not None:
                    source.close()
                    source = None
            if self.images > before:
                pause_s = _FIRST_PAUSE_S
            if self.ended or self._stopping.wait(pause_s):
                return
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            self.reconnects += 1

    def _read(self, source: ImageSource) -> None:
        last: Image | None = None
        same_since_s = 0.0
        while not self._stopping.is_set():
            image, age_s = source.read()
            stamp_ns, now_s = self._now_ns() - round(age_s * 1e9), time.monotonic()
            if last is None or image.shape != last.shape or not np.array_equal(image, last):
                same_since_s = now_s
            last, self.identical_s = image, now_s - same_since_s
            if self.problem:
                self.problem = ""
                self._on_change("info", f"images of {image.shape[1]}x{image.shape[0]} arrive")
            self.images += 1
            self._last_s = now_s
            self._on_image(CapturedImage(image, stamp_ns))

    def _note_granted(self, source: ImageSource) -> None:
        before, self.granted = self.granted, source.granted
        if self.granted is None or self.granted == before:
            return
        self._on_change("info", f"the driver grants {self.granted.text}")
        if self.granted.refused:
            self._on_change("warning", f"the driver does not grant everything: {'; '.join(self.granted.refused)}")

    def _lose(self, why: str, level: str) -> None:
        if why != self.problem:
            self.problem = why
            self._on_change(level, why)
