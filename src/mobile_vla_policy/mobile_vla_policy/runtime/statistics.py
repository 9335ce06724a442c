"""Rates and latencies over a sliding window, for policy/status."""

from __future__ import annotations

from collections import deque

import numpy as np

#: Forward passes for p50 and p99: half a minute at 10 Hz.
WINDOW_STEPS = 300

RATE_WINDOW_S = 2.0


class LatencyWindow:
    """The last ``steps`` durations of every stage."""

    def __init__(self, steps: int = WINDOW_STEPS) -> None:
        self._steps = steps
        self._stages: dict[str, deque[float]] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Take one duration of ``stage``."""
        self._stages.setdefault(stage, deque(maxlen=self._steps)).append(seconds)

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """Return stage -> (median, 99th percentile) [s], in the order in which the stages were first seen."""
        result = {}
        for stage, values in self._stages.items():
            p50, p99 = np.percentile(np.fromiter(values, dtype=float), (50, 99))
            result[stage] = (float(p50), float(p99))
        return result


class RateMeter:
    """Meter of events per second over the last two seconds."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque()

    def tick(self, now_s: float) -> None:
        """Count an event; ``now_s`` is from a monotonic clock."""
        self._times_s.append(now_s)
        self._trim(now_s)

    def rate_hz(self, now_s: float) -> float:
        """Return events per second, from the intervals between them; 0 without events in the window."""
        self._trim(now_s)
        if len(self._times_s) < 2:
            return len(self._times_s) / RATE_WINDOW_S
        return (len(self._times_s) - 1) / max(self._times_s[-1] - self._times_s[0], 1e-9)

    def _trim(self, now_s: float) -> None:
        while self._times_s and now_s - self._times_s[0] > RATE_WINDOW_S:
            self._times_s.popleft()
