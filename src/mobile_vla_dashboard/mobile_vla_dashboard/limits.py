"""Limits on what one address may send: size of a request, requests per second, WebSockets. No rclpy.

Files of the page do not count: one load of the page asks for thirty, and through an SSH tunnel all browsers have the
same address.
"""

from __future__ import annotations

from mobile_vla_dashboard.access import STOP_PATH, App, Receive, Scope, Send, address_of, refuse
from mobile_vla_dashboard.buckets import Buckets
from mobile_vla_dashboard.pages import FILES
from mobile_vla_dashboard.wording import say

#: Largest body of a request [bytes]; the longest instruction has 2 kB.
MOST_BYTES = 65_536
#: Requests per second of one address, and how many may come at once. The page itself sends a few per second.
REQUESTS_HZ, REQUESTS_BURST = 30.0, 120
#: Messages per second on one WebSocket, and how many may come at once. The page sends at most 20 commands, and an
#: acknowledgement of each image.
MESSAGES_HZ, MESSAGES_BURST = 300.0, 600
#: WebSockets at the same time, of all addresses together. A page has one, and one more while it drives.
MOST_SOCKETS = 64

_FILES = {"/", *(f"/{name}" for name in FILES)}


class _TooLargeError(Exception):
    """A body is larger than it says."""


class Limits:
    """ASGI middleware: answers 413 to a large request and 429 to one too many. STOP is never limited."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._requests = Buckets(REQUESTS_HZ, REQUESTS_BURST)
        self._sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] != "http" or scope["path"] == STOP_PATH:
            await self._app(scope, receive, send)
        elif scope["path"] in _FILES or self._requests.of(address_of(scope)).take():
            await self._request(scope, receive, send)
        else:
            line = f"more than {REQUESTS_HZ:g} requests per second from this address"
            await refuse(scope, send, 429, line, say("reply.toomany"))

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sockets >= MOST_SOCKETS:
            await refuse(scope, send, 429, f"{MOST_SOCKETS} connections are open; close some pages")
            return
        self._sockets += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._sockets -= 1

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = dict(scope["headers"]).get(b"content-length", b"0")
        too_large = f"a request may have {MOST_BYTES} bytes"
        if not said.isdigit() or int(said) > MOST_BYTES:
            await refuse(scope, send, 413, too_large)
            return
        try:
            await self._app(scope, _counted(receive), send)
        except _TooLargeError:
            await refuse(scope, send, 413, too_large)


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
