"""Limits on what one address may send: size of a request, requests and messages per second. No rclpy."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from mobile_vla_dashboard.access import App, Receive, Scope, Send, answer_text

#: Largest body of a request [bytes]; the longest instruction has 2 kB.
MOST_BYTES = 65_536
#: Requests per second of one address, and how many may come at once. The page itself sends a few per second.
REQUESTS_HZ, REQUESTS_BURST = 30.0, 120
#: Messages per second on one WebSocket, and how many may come at once. The page sends at most 20 commands and two
#: acknowledgements for each image.
MESSAGES_HZ, MESSAGES_BURST = 300.0, 600
#: Addresses that are remembered; the one that was quiet for longest is forgotten first.
_MOST_ADDRESSES = 256

#: Never limited: the robot must stop however wildly a button is pressed, and monitoring must not hide that.
_ALWAYS = {"/api/stop"}


class Bucket:
    """A token bucket: ``rate_hz`` per second, at most ``burst`` at once."""

    def __init__(self, rate_hz: float, burst: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._rate_hz, self._burst, self._clock_s = rate_hz, burst, clock_s
        self._left, self._at_s = burst, clock_s()

    def take(self) -> bool:
        """Take one; return False if there is none left."""
        now_s = self._clock_s()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._rate_hz)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class _TooLargeError(Exception):
    """A body is larger than it says."""


class Limits:
    """ASGI middleware: answers 413 to a large request and 429 to one too many."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        if not self._bucket(scope).take():
            await answer_text(send, 429, f"more than {REQUESTS_HZ:g} requests per second from this address")
            return
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if not said.isdigit() or int(said) > MOST_BYTES:
            await answer_text(send, 413, f"a request may have {MOST_BYTES} bytes")
            return
        try:
            await self._app(scope, _counted(receive), send)
        except _TooLargeError:
            await answer_text(send, 413, f"a request may have {MOST_BYTES} bytes")

    def _bucket(self, scope: Scope) -> Bucket:
        address = scope["client"][0] if scope.get("client") else ""
        bucket = self._buckets.pop(address, None) or Bucket(REQUESTS_HZ, REQUESTS_BURST)
        self._buckets[address] = bucket
        if len(self._buckets) > _MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return bucket


def _counted(receive: Receive) -> Receive:
    """Return ``receive`` that raises when the body becomes too large, whatever its header said."""
    received = 0

    async def counting() -> dict[str, object]:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MOST_BYTES:
            raise _TooLargeError
        return message

    return counting
