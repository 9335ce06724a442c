"""Access to the page: host names, origins and the token. An ASGI middleware around the whole application.

A browser sends a foreign web site's request to ``http://robot:8080``, too. So:

* the ``Host`` must be an address, this machine's name, or a name from ``allowed_hosts``; a foreign name that resolves
  to this machine (DNS rebinding) is refused;
* an ``Origin``, which browsers send with every WebSocket and every POST, must be this page's own;
* where a token is set, it must come once as ``/?token=...`` and from then on as a cookie.

Not starlette's TrustedHostMiddleware: it takes a list of names, and this robot is reached by whatever address DHCP gave
it, IPv6 in brackets included.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "mobile_vla_token"

#: Reachable without a token: they say only whether the server runs, and whether the robot can be stopped through it.
LIVE_PATH, READY_PATH = "/healthz", "/readyz"


def is_loopback(address: str) -> bool:
    """Return True if only this machine can reach ``address``."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def choose_token(setting: str, address: str) -> str:
    """Return the token: ``auto`` generates one unless only this machine can reach the page; empty means none."""
    if setting != "auto":
        return setting
    return "" if is_loopback(address) else secrets.token_urlsafe(12)


def host_is_ours(host: str, allowed: Iterable[str]) -> bool:
    """Return True if a ``Host`` header is this machine: an IP address, localhost, its name, or one of ``allowed``."""
    name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        pass
    own = socket.gethostname().lower().split(".")[0]
    return name in {"localhost", own, f"{own}.local", *(item.lower() for item in allowed)}


def origin_is_ours(origin: str, host: str) -> bool:
    """Return True if an ``Origin`` header belongs to the page of ``host``, or is missing: then it is not a browser."""
    return not origin or urlsplit(origin).netloc.lower() == host.lower()


class Access:
    """Refuses requests that do not come from users of this page."""

    def __init__(self, app: App, *, token: str = "", allowed_hosts: Iterable[str] = ()) -> None:
        self._app, self._token, self._allowed_hosts = app, token, tuple(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "").lower()
        if not host_is_ours(host, self._allowed_hosts):
            await _refuse(scope, send, f"'{host:.80}' is not a name of this robot; if it is, add it to allowed_hosts")
        elif not origin_is_ours(headers.get("origin", ""), host):
            await _refuse(scope, send, "requests from other web sites are refused")
        elif not self._token or scope["path"] in (LIVE_PATH, READY_PATH) or self._matches(_cookie(headers)):
            await self._app(scope, receive, send)
        elif self._matches(parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]):
            await self._welcome(scope, receive, send)
        else:
            await _refuse(scope, send, "open the address with ?token=... that the dashboard printed when it started")

    def _matches(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())

    async def _welcome(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Lax, not Strict: with Strict, a browser that followed a link from elsewhere would not send it at once.
        cookie = f"{COOKIE}={quote(self._token, safe='')}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"
        if scope["type"] == "http" and scope["path"] == "/":
            # A redirect, so that the token does not stay in the address bar and in the history.
            headers = [(b"location", b"/"), (b"set-cookie", cookie.encode("latin-1"))]
            await send({"type": "http.response.start", "status": 303, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)


def _cookie(headers: dict[str, str]) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return unquote(morsel.value) if morsel else ""


async def _refuse(scope: Scope, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4403, "reason": why})
        return
    await answer_text(send, 403, why)


async def answer_text(send: Send, status: int, line: str) -> None:
    """Answer a request with one line."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{line}\n".encode()})
