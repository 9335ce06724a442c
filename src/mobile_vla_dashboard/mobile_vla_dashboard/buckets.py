"""Token buckets: how often something may happen, also for each address apart. No rclpy, no web framework."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

#: Addresses that are remembered; the one that was quiet for longest is forgotten first.
_MOST_ADDRESSES = 256


class Bucket:
    """A token bucket: ``rate_hz`` per second, at most ``burst`` at once."""

    def __init__(self, rate_hz: float, burst: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._rate_hz, self._burst, self._clock_s = rate_hz, burst, clock_s
        self._left, self._at_s = burst, clock_s()

    @property
    def empty(self) -> bool:
        """True if none is left."""
        now_s = self._clock_s()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._rate_hz)
        self._at_s = now_s
        return self._left < 1.0

    def take(self) -> bool:
        """Take one; return False if there is none left."""
        if self.empty:
            return False
        self._left -= 1.0
        return True


class Buckets:
    """One bucket for each address."""

    def __init__(self, rate_hz: float, burst: float) -> None:
        self._rate_hz, self._burst = rate_hz, burst
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, address: str) -> Bucket:
        """Return the bucket of an address."""
        bucket = self._buckets.pop(address, None) or Bucket(self._rate_hz, self._burst)
        self._buckets[address] = bucket
        if len(self._buckets) > _MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return bucket
