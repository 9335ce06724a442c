from __future__ import annotations

import asyncio
import json
import socket

import pytest

from mobile_vla_dashboard.access import (
    COOKIE,
    WRONG_TOKENS_BURST,
    Access,
    choose_token,
    host_is_ours,
    is_loopback,
    origin_is_ours,
)


async def _page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


def _get(access: Access, path: str = "/", query: str = "", kind: str = "http", **headers: str) -> list[dict]:
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in {"host": "localhost:8080", **headers}.items()]
    scope = {"type": kind, "path": path, "query_string": query.encode(), "headers": raw}
    asyncio.run(access(scope, None, send))
    return sent


def test_addresses_and_this_machines_names_are_ours_and_a_rebound_name_is_not():
    own = socket.gethostname().lower().split(".")[0]
    for host in ("127.0.0.1:8080", "192.168.1.7:8080", "[::1]:8080", "localhost", f"{own}.local:8080", "orin.lab:8080"):
        assert host_is_ours(host, ["orin.lab"]), host
    for host in ("evil.example:8080", "", "localhost.evil.example"):
        assert not host_is_ours(host, ["orin.lab"]), host


def test_an_origin_must_be_the_pages_own():
    assert origin_is_ours("", "robot:8080")
    assert origin_is_ours("http://robot:8080", "robot:8080")
    assert not origin_is_ours("http://robot:9090", "robot:8080")
    assert not origin_is_ours("null", "robot:8080")


def test_a_foreign_web_site_is_refused_on_both_kinds_of_connection():
    access = Access(_page)
    assert _get(access, origin="http://localhost:8080")[0]["status"] == 200
    assert _get(access, origin="http://evil.example")[0]["status"] == 403
    assert _get(access, kind="websocket", origin="http://evil.example")[0]["type"] == "websocket.close"
    assert _get(access, host="evil.example")[0]["status"] == 403


def test_a_token_opens_the_page_once_and_is_a_cookie_from_then_on():
    access = Access(_page, token="secret")
    assert _get(access)[0]["status"] == 403
    assert _get(access, query="token=wrong")[0]["status"] == 403
    welcome = _get(access, query="token=secret")[0]
    assert welcome["status"] == 303
    cookie = dict(welcome["headers"])[b"set-cookie"].decode()
    assert cookie.startswith(f"{COOKIE}_8080=secret;")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert _get(access, cookie=f"{COOKIE}_8080=secret")[0]["status"] == 200
    assert _get(access, cookie=f"{COOKIE}_8080=other")[0]["status"] == 403
    assert _get(access, path="/healthz")[0]["status"] == 200


def test_two_robots_on_one_host_each_have_their_own_cookie():
    first, second = Access(_page, token="first"), Access(_page, token="second")
    cookies = f"{COOKIE}_8080=first; {COOKIE}_8082=second; {COOKIE}=other"
    assert _get(first, host="127.0.0.1:8080", cookie=cookies)[0]["status"] == 200
    assert _get(second, host="127.0.0.1:8082", cookie=cookies)[0]["status"] == 200
    assert _get(second, host="127.0.0.1:8080", cookie=cookies)[0]["status"] == 403
    assert _get(Access(_page, token="other"), host="127.0.0.1", cookie=cookies)[0]["status"] == 200


def test_an_old_token_is_refused_in_words_of_the_page():
    start, body = _get(Access(_page, token="new"), path="/api/stop", cookie=f"{COOKIE}_8080=old")
    assert start["status"] == 403
    assert json.loads(body["body"])["words"] == {"key": "reply.token"}


def test_tokens_cannot_be_tried_without_end_and_a_stop_is_answered_even_then():
    access = Access(_page, token="secret")
    tried = [_get(access, path="/app.js", query=f"token={number}")[0]["status"] for number in range(80)]
    assert tried[:WRONG_TOKENS_BURST] == [403] * WRONG_TOKENS_BURST and tried[-1] == 429
    assert _get(access, path="/app.js", query="token=secret")[0]["status"] == 429
    assert _get(access, path="/api/stop", query="token=secret")[0]["status"] == 200


@pytest.mark.parametrize(
    ("address", "loopback"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False)]
)
def test_a_token_is_made_up_only_where_others_can_reach_the_page(address, loopback):
    assert is_loopback(address) is loopback
    assert (choose_token("auto", address) == "") is loopback
    assert choose_token("mine", address) == "mine"
    assert choose_token("", address) == ""
