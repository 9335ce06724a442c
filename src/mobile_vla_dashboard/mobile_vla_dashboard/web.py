"""uvicorn on a thread of its own, on a socket that is bound before the node says that it runs. No rclpy."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import uvicorn

from mobile_vla_dashboard.access import App

#: How long a server may take to go down [s]: browsers keep their WebSockets open for ever otherwise.
_SHUTDOWN_S = 1


class AddressError(RuntimeError):
    """The page cannot be served at this address; one line saying why and what to do."""


def bind(address: str, port: int) -> socket.socket:
    """Listen at ``address:port``.

    Raises:
        AddressError: the port is taken, not allowed, or the address is not one of this machine.
    """
    try:
        family, kind, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError) as error:
        raise AddressError(f"address '{address}', port {port}: {error}") from None
    listener = socket.socket(family, kind)
    # A restart must not wait for the last browser's connection to time out.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(where)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise AddressError(
            f"cannot serve the page at {address}:{port}: {error.strerror}; "
            "stop what uses it, or set the parameters address and port"
        ) from None
    return listener


class WebServer:
    """Serves an ASGI application on its own thread until :meth:`close`."""

    def __init__(self, app: App, listener: socket.socket, started: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            # A page whose connection died without a word is found out within seconds, not at the next TCP time-out.
            ws_ping_interval=2.0,
            ws_ping_timeout=3.0,
            # Commands from a browser are a few dozen bytes.
            ws_max_size=4096,
            # JPEG does not shrink any further.
            ws_per_message_deflate=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )
        self._server = uvicorn.Server(config)
        self._listener = listener
        self._started = started
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the server still serves."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_SHUTDOWN_S + 2.0)
        self._listener.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._started(asyncio.get_running_loop())
        await self._server.serve(sockets=[self._listener])
