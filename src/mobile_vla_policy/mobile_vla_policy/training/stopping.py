"""Ctrl-C during training: the current step is finished first, so that nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_SAID = b"\nstopping after this step, to save it; Ctrl-C again stops at once\n"


class Stopping:
    """Remembers the first Ctrl-C; the second has its usual effect. A context manager."""

    def __init__(self) -> None:
        self.asked = False
        self._process = os.getpid()
        self._before: Callable[[int, FrameType | None], Any] | None = None

    def __enter__(self) -> Stopping:
        before = signal.getsignal(signal.SIGINT)
        # Not callable: SIGINT is ignored, as in a background job, and stays ignored.
        if callable(before) and threading.current_thread() is threading.main_thread():
            self._before = before
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A process that decodes images got the same Ctrl-C; the main process ends it.
            return
        if self.asked and self._before is not None:
            self._before(number, frame)
        self.asked = True
        # Not print: its buffer may be in use.
        os.write(2, _SAID)
