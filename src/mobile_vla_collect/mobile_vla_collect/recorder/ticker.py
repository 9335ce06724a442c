"""Tick at exact multiples of a period on the monotonic clock, or on a simulated one, on its own thread."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable

#: By default Python switches threads every 5 ms; a tick would be late by that.
_SWITCH_INTERVAL_S = 0.0005
#: A simulated clock cannot be waited for; it is read again after this long [s].
_POLL_S = 0.002


class Ticker:
    """Calls ``on_tick(missed)`` at ``t0 + k * period``; ``missed`` is the number of ticks before it that were skipped.

    A late tick does not shift the next ones. ``lateness_s`` holds the lateness of the last ticks [s].

    ``clock_ns`` is another clock than the monotonic one: a simulated clock, which may stand still (no ticks), run at
    any speed, or be set back (ticks begin again at once). Before it has started it reads 0.
    """

    def __init__(
        self, period_s: float, on_tick: Callable[[int], None], clock_ns: Callable[[], int] | None = None
    ) -> None:
        self._period_ns = round(period_s * 1e9)
        self._on_tick = on_tick
        self._clock_ns, self._steady = clock_ns or time.monotonic_ns, clock_ns is None
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
        start_ns, index = self._clock_ns(), 0
        newest_ns = start_ns
        while True:
            due_ns = start_ns + index * self._period_ns
            wait_s = max(0, due_ns - self._clock_ns()) * 1e-9
            if self._stopping.wait(wait_s if self._steady else min(wait_s, _POLL_S)):
                return
            now_ns = self._clock_ns()
            if now_ns < newest_ns or start_ns == 0:
                start_ns, index, due_ns = now_ns, 0, now_ns
            newest_ns = now_ns
            if now_ns < due_ns or now_ns == 0:
                self._stopping.wait(0.0 if now_ns else _POLL_S)
                continue
            late_ns = now_ns - due_ns
            missed = late_ns // self._period_ns
            self.lateness_s.append(late_ns * 1e-9)
            self._on_tick(missed)
            index += missed + 1
