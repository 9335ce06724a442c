"""Tick at exact multiples of a period on the monotonic clock, on its own thread."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable

#: By default Python switches threads every 5 ms; a tick would be late by that.
_SWITCH_INTERVAL_S = 0.0005


class Ticker:
    """Calls ``on_tick(missed)`` at ``t0 + k * period``; ``missed`` is the number of ticks before it that were skipped.

    A late tick does not shift the next ones. ``lateness_s`` holds the lateness of the last ticks [s].
    """

    def __init__(self, period_s: float, on_tick: Callable[[int], None]) -> None:
        self._period_ns = round(period_s * 1e9)
        self._on_tick = on_tick
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.lateness_s: deque[float] = deque(maxlen=10_000)

    def start(self) -> None:
        """Tick at once, and then every period."""
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL_S))
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop ticking; when this returns, no tick is running. Idempotent. Do not call it from ``on_tick``."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        start_ns, index = time.monotonic_ns(), 0
        while True:
            due_ns = start_ns + index * self._period_ns
            if self._stopping.wait(max(0, due_ns - time.monotonic_ns()) * 1e-9):
                return
            late_ns = time.monotonic_ns() - due_ns
            missed = late_ns // self._period_ns
            self.lateness_s.append(late_ns * 1e-9)
            self._on_tick(missed)
            index += missed + 1
