"""What one address may send: tested on the middleware alone, so that no test waits for a second to pass."""

from __future__ import annotations

import asyncio
import json

from mobile_vla_dashboard.buckets import Bucket
from mobile_vla_dashboard.limits import MOST_BYTES, MOST_SOCKETS, REQUESTS_BURST, Limits


async def _page(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


def _post(limits: Limits, *, path: str = "/api/resume", said: bytes = b"0", chunks: int = 1, address: str = "a") -> int:
    sent: list[dict] = []
    bodies = [{"type": "http.request", "body": bytes(40_000), "more_body": True}] * (chunks - 1)
    bodies.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return bodies.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": [(b"content-length", said)], "client": (address, 1)}
    asyncio.run(limits(scope, receive, send))
    return int(sent[0]["status"])


def test_a_bucket_fills_with_time_up_to_its_burst() -> None:
    now_s = [0.0]
    bucket = Bucket(2.0, 3.0, lambda: now_s[0])
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now_s[0] = 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    now_s[0] = 100.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_a_large_request_is_refused_by_its_header_and_by_what_comes() -> None:
    limits = Limits(_page)
    assert _post(limits, chunks=2) == 200
    assert _post(limits, said=str(MOST_BYTES + 1).encode()) == 413
    assert _post(limits, said=b"-1") == 413
    assert _post(limits, chunks=3) == 413


def test_one_address_that_floods_is_refused_another_is_not_and_stop_never_is() -> None:
    limits = Limits(_page)
    answers = [_post(limits) for _ in range(2 * REQUESTS_BURST)]
    assert answers[:REQUESTS_BURST] == [200] * REQUESTS_BURST
    assert answers[-1] == 429
    assert _post(limits, path="/api/stop") == 200
    assert _post(limits, address="b") == 200


def test_files_of_the_page_do_not_count() -> None:
    limits = Limits(_page)
    for path in ("/", "/app.js", "/stop.js", "/words.json", "/favicon.ico"):
        assert [_post(limits, path=path) for _ in range(2 * REQUESTS_BURST)] == [200] * (2 * REQUESTS_BURST)
    assert _post(limits) == 200


def test_a_refusal_is_json_in_the_words_of_the_page() -> None:
    limits = Limits(_page)
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    async def flood():
        scope = {"type": "http", "path": "/metrics", "headers": [(b"content-length", b"-1")], "client": ("a", 1)}
        while not sent or sent[-2]["status"] != 429:
            await limits(scope, None, send)

    asyncio.run(flood())
    assert json.loads(sent[1]["body"]) == {"ok": False, "message": f"a request may have {MOST_BYTES} bytes"}
    refused = json.loads(sent[-1]["body"])
    assert not refused["ok"] and refused["words"] == {"key": "reply.toomany"} and "per second" in refused["message"]


def test_no_more_websockets_are_open_than_allowed() -> None:
    async def several() -> list[dict]:
        end, sent = asyncio.Event(), []

        async def serve(scope, receive, send):
            await end.wait()

        async def send(message):
            sent.append(message)

        limits, scope = Limits(serve), {"type": "websocket", "path": "/ws/view", "headers": []}
        tasks = [asyncio.create_task(limits(scope, None, send)) for _ in range(MOST_SOCKETS)]
        await asyncio.sleep(0)
        await limits(scope, None, send)
        end.set()
        await asyncio.gather(*tasks)
        await limits(scope, None, send)
        return sent

    (refused,) = asyncio.run(several())
    assert refused["type"] == "websocket.close" and refused["code"] == 4429
