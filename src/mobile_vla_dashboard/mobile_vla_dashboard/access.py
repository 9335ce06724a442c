"""Access to the page: host names, origins and the token. An ASGI middleware around the whole application.

A browser sends a foreign web site's request to ``http://robot:8080``, too. So:

* the ``Host`` must be an address, this machine's name, or a name from ``allowed_hosts``; a foreign name that resolves
  to this machine (DNS rebinding) is refused;
* an ``Origin``, which browsers send with every WebSocket and every POST, must be this page's own;
* where a token is set, it must come once as ``/?token=...`` and from then on as a cookie, or, from programs, as
  ``?token=...`` with each request. One address may try a few wrong ones per second; a STOP is answered even then.

Not starlette's TrustedHostMiddleware: it takes a list of names, and this robot is reached by whatever address DHCP gave
it, IPv6 in brackets included.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from mobile_vla_dashboard.buckets import Buckets
from mobile_vla_dashboard.wording import Words, say

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Its name ends with the port: browsers send a cookie to every port of a host, and each robot there has its own token.
COOKIE = "mobile_vla_token"

#: Reachable without a token: they say only whether the server runs, and whether the robot can be stopped through it.
LIVE_PATH, READY_PATH = "/healthz", "/readyz"
STOP_PATH = "/api/stop"

#: Wrong tokens per second of one address, and how many may come at once. A page with an old token tries every second.
WRONG_TOKENS_HZ, WRONG_TOKENS_BURST = 10.0, 50


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
        self._wrong = Buckets(WRONG_TOKENS_HZ, WRONG_TOKENS_BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "").lower()
        if not host_is_ours(host, self._allowed_hosts):
            line = f"'{host:.80}' is not a name of this robot; if it is, add it to allowed_hosts"
            await refuse(scope, send, 403, line)
        elif not origin_is_ours(headers.get("origin", ""), host):
            await refuse(scope, send, 403, "requests from other web sites are refused")
        elif not self._token or scope["path"] in (LIVE_PATH, READY_PATH):
            await self._app(scope, receive, send)
        else:
            await self._with_token(scope, receive, send, headers)

    async def _with_token(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        name, wrong = cookie_name(headers.get("host", "")), self._wrong.of(address_of(scope))
        if wrong.empty and scope["path"] != STOP_PATH:
            await refuse(scope, send, 429, "too many wrong tokens from this address", say("reply.toomany"))
        elif self._matches(_cookie(headers, name)):
            await self._app(scope, receive, send)
        elif self._matches(parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]):
            await self._welcome(scope, receive, send, name)
        else:
            wrong.take()
            line = "open the address with ?token=... that the dashboard printed when it started"
            await refuse(scope, send, 403, line, say("reply.token"))

    def _matches(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())

    async def _welcome(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        # Lax, not Strict: with Strict, a browser that followed a link from elsewhere would not send it at once.
        cookie = f"{name}={quote(self._token, safe='')}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"
        if scope["type"] == "http" and scope["path"] == "/":
            # A redirect, so that the token does not stay in the address bar and in the history.
            headers = [(b"location", b"/"), (b"set-cookie", cookie.encode("latin-1"))]
            await send({"type": "http.response.start", "status": 303, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)


def address_of(scope: Scope) -> str:
    """Return the address that a connection comes from."""
    return str(scope["client"][0]) if scope.get("client") else ""


def cookie_name(host: str) -> str:
    """Return the name of the cookie of a page, by its ``Host`` header: that has the port as the browser sees it."""
    port = host.rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isdigit() else COOKIE


def _cookie(headers: dict[str, str], name: str) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return unquote(morsel.value) if morsel else ""


async def refuse(scope: Scope, send: Send, status: int, line: str, words: Words | None = None) -> None:
    """Refuse a connection in one line, as every other refusal of the page: JSON, with ``words`` of its table."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4000 + status, "reason": line})
        return
    content = {"ok": False, "message": line, **({"words": words} if words else {})}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})
