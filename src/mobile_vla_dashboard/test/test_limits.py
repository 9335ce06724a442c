"""What one address may send: tested on the middleware alone, so that no test waits for a second to pass."""

from __future__ import annotations

import asyncio

from mobile_vla_dashboard.limits import MOST_BYTES, REQUESTS_BURST, Bucket, Limits


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
