"""uvicorn on its own thread, on a socket that is bound before the node reports its address. No rclpy."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import uvicorn

from mobile_vla_dashboard.access import App

#: How long a server may take to end [s]: browsers would keep their WebSockets open forever.
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
    # A restart must not wait until the last browser's connection has timed out.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(where)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise AddressError(
            f"cannot serve the page at {address}:{port}: {error.strerror}; "
            "end the program that uses it, or set the parameters address and port"
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
            # A connection that is lost without notice is detected within seconds, not at the next TCP timeout.
            ws_ping_interval=2.0,
            ws_ping_timeout=3.0,
            # Commands from a browser are a few dozen bytes.
            ws_max_size=4096,
            # JPEG cannot be compressed further.
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
        """True while the server runs."""
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
