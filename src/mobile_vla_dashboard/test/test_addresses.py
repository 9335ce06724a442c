"""Every address of the dashboard refuses what does not come from a user of its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from episodes_stage import Server

from mobile_vla_dashboard.access import COOKIE

#: Path parameters -> a value of the right form.
_EXAMPLES = {"episode_id": "episode_000000", "camera": "static", "series_id": "series_20261129_093000", "trial": "0"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The web application, which asks for a token."""
    server = Server(tmp_path_factory.mktemp("guarded"), token="secret")
    yield server
    server.close()


def _addresses(server: Server) -> list[tuple[str, str]]:
    """Method and path of every address: those that are described, the page, and the two sockets."""
    paths = server.get("/api/openapi.json?token=secret")["paths"]
    found = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    described = [(method, re.sub(r"{(\w+)}", lambda name: _EXAMPLES[name[1]], path)) for method, path in found]
    assert len(described) > 25
    return [*described, ("GET", "/"), ("GET", "/app.js"), ("GET", "/ws/view"), ("GET", "/ws/drive")]


def _status(server: Server, method: str, path: str, **headers: str) -> int:
    if path.startswith("/ws/"):
        key = {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version": "13"}
        headers |= {"Connection": "Upgrade", "Upgrade": "websocket", **key}
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_every_address_refuses_another_web_site_another_host_and_a_request_without_the_token(guarded: Server) -> None:
    for method, path in _addresses(guarded):
        token = {"Cookie": f"{COOKIE}_{guarded.port}=secret"}
        assert _status(guarded, method, path, **token) != 403, path
        assert _status(guarded, method, path, **token, Origin="http://evil.example") == 403, path
        evil = {"Cookie": f"{COOKIE}=secret"}
        assert _status(guarded, method, path, **evil, Host="evil.example") == 403, path
        assert (_status(guarded, method, path) == 403) == (path not in ("/healthz", "/readyz")), path
