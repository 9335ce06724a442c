"""Captures on a thread of its own: the newest picture wins, a lost source is opened again with growing pauses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mobile_vla_collect.camera.image_source import ImageSource, SourceEndedError, SourceError
from mobile_vla_data.image import Image

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0


@dataclass(frozen=True)
class Picture:
    """What was captured."""

    image: Image
    """RGB uint8 ``[height, width, 3]``."""
    stamp_ns: int
    """When it was captured."""
    identical_s: float
    """For how long every picture has been the same to the byte [s]; 0 when it differs from the one before."""


class Capture:
    """Reads a source until closed and hands every picture to ``on_picture``, on its own thread.

    Args:
        open_source: opens the source; called again after it was lost.
        now_ns: the clock of the stamps.
        on_picture: takes a picture; whatever it takes long for, pictures of a device are skipped meanwhile, not queued.
        on_change: takes one line whenever the source is lost (level "error") or found (level "info").
    """

    def __init__(
        self,
        open_source: Callable[[], ImageSource],
        now_ns: Callable[[], int],
        on_picture: Callable[[Picture], None],
        on_change: Callable[[str, str], None],
    ) -> None:
        self._open_source, self._now_ns = open_source, now_ns
        self._on_picture, self._on_change = on_picture, on_change
        self._stopping = threading.Event()
        self.problem = "not opened yet"
        """Why no pictures come; empty while they do."""
        self.ended = False
        """Whether a file that is not repeated is through."""
        self.pictures = 0
        self.reconnects = 0
        self.identical_s = 0.0
        self._last_s = float("-inf")
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self, source: ImageSource | None = None) -> None:
        """Begin; ``source`` is one that was opened already."""
        self._first = source
        self._thread.start()

    @property
    def silent_s(self) -> float:
        """Time since the last picture [s]; infinite before the first. A driver can hang without any error."""
        return time.monotonic() - self._last_s

    def close(self) -> None:
        """End capturing. A device that hangs is left to the end of the process."""
        self._stopping.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        source, self._first = self._first, None
        while not self._stopping.is_set() and not self.ended:
            before = self.pictures
            try:
                source = source or self._open_source()
                self._read(source)
            except SourceEndedError as error:
                self.ended = True
                self._lose(str(error), "info")
            except Exception as error:  # whatever a driver throws, the thread must live to try again
                self._lose(str(error) if isinstance(error, SourceError) else repr(error), "error")
            finally:
                if source is not None:
                    source.close()
                    source = None
            if self.pictures > before:
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
                self._on_change("info", f"pictures of {image.shape[1]}x{image.shape[0]} arrive")
            self.pictures += 1
            self._last_s = now_s
            self._on_picture(Picture(image, stamp_ns, self.identical_s))

    def _lose(self, why: str, level: str) -> None:
        if why != self.problem:
            self.problem = why
            self._on_change(level, why)
