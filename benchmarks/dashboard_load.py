"""What several browsers cost the dashboard, for bench_dashboard: three of them, stalled ones, playback, a long day."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from statistics import median
from types import TracebackType

from chromium import Chromium
from common import Figure, resident_mb
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from mobile_vla_dashboard.sockets import FRAME_HEADER
from mobile_vla_ros.testing import NodeProcess, wait_for

CLIENTS, CAMERAS = 3, 2
CLIENT_RATE_HZ = 25.0
#: A session of the long day stands for this much of it: who reloads a page more often than every ten minutes?
SESSION_STANDS_FOR_S = 600.0
#: How much faster the long day passes; more, and one page alone sends more requests than one address may.
PACE = 206.0


class Viewer(AbstractContextManager["Viewer"]):
    """Reads images as a browser does, without drawing them, which is not the dashboard's work."""

    def __init__(self, port: int, view: str = "collect", *, acknowledges: bool = True) -> None:
        """``acknowledges``: every image, as a page does; one that hangs does not, while its browser answers pings."""
        self.sequences: list[list[int]] = [[] for _ in range(CAMERAS)]
        """Sequence numbers that arrived, of each camera."""
        self.open = True
        self._acknowledges = acknowledges
        self._socket = open_socket(port, "view")
        self._socket.send(json.dumps({"view": view}))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for message in self._socket:
                if isinstance(message, bytes):
                    camera, sequence, _ = FRAME_HEADER.unpack_from(message)
                    self.sequences[camera].append(sequence)
                    if self._acknowledges:
                        self._socket.send(json.dumps({"camera": camera, "ack": sequence}))
        except ConnectionClosed:
            pass
        self.open = False

    def forget(self) -> None:
        """Count from now on."""
        for sequences in self.sequences:
            sequences.clear()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()
        self._thread.join()


class Unread(AbstractContextManager["Unread"]):
    """A client that acknowledges images which it never reads, so that TCP holds the dashboard up within a second.

    It sees no pings, so the dashboard closes it after some seconds; it connects again at once.
    """

    def __init__(self, port: int) -> None:
        self.connections = 0
        self._port = port
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.is_set():
            with contextlib.suppress(OSError), socket.socket() as connection:
                # Small, so that it is full at once.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", self._port))
                connection.sendall(
                    f"GET /ws/view HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
                )
                connection.recv(16)
                self.connections += 1
                number = 0
                while not self._done.wait(1.0 / CLIENT_RATE_HZ):
                    number += 1
                    for camera in range(CAMERAS):
                        connection.sendall(_masked(json.dumps({"camera": camera, "ack": number})))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()


def _masked(text: str) -> bytes:
    """Return a short text as a frame of a WebSocket's client, with a mask of zeros."""
    payload = text.encode()
    assert len(payload) < 126
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def open_socket(port: int, name: str) -> ClientConnection:
    """Connect to one of the page's two WebSockets."""
    return connect(f"ws://127.0.0.1:{port}/ws/{name}", max_size=None, close_timeout=1)


def viewers_of(port: int) -> int:
    """Return how many browsers the dashboard has, as it says itself."""
    (line,) = [
        line
        for line in ask(port, "/metrics")[1].decode().splitlines()
        if line.startswith("mobile_vla_dashboard_viewers")
    ]
    return int(float(line.split()[1]))


def ask(port: int, path: str, body: object = None, source: str = "127.0.0.1") -> tuple[int, bytes]:
    """GET a path, or POST a body to it, from an address of this machine; return status and content."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
    with contextlib.closing(connection):
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def several_clients(
    dashboard: NodeProcess,
    port: int,
    idle_share: float,
    share: Callable[[NodeProcess, float], float],
    duration_s: float,
) -> Iterator[Figure]:
    """Figures of three clients alone, and beside two that are stalled: one hangs, one has stopped reading."""
    with ExitStack() as stack:
        viewers = [stack.enter_context(Viewer(port)) for _ in range(CLIENTS)]
        wait_for(lambda: all(len(one) > 20 for viewer in viewers for one in viewer.sequences), 60.0, "images")
        used, rate_hz, shown = _watch(viewers, lambda: share(dashboard, duration_s))
        hangs = stack.enter_context(Viewer(port, acknowledges=False))
        unread = stack.enter_context(Unread(port))
        time.sleep(2.0)
        connected: list[int] = []
        _, beside_hz, beside = _watch(viewers, lambda: _count(port, connected, duration_s))
        assert hangs.open, "the client that hangs was closed"
    goal_hz = f">= {0.96 * CLIENT_RATE_HZ:g}"
    yield Figure("CPU that three clients add, share of one core", used - idle_share, "%", "<= 60")
    yield Figure("images of each camera to each of three clients", rate_hz, "Hz", goal_hz)
    yield Figure("images to three clients, of those that arrived", shown, "%", ">= 95")
    yield Figure("images of each camera beside two stalled clients", beside_hz, "Hz", goal_hz)
    yield Figure("images beside two stalled clients, of those that arrived", beside, "%", ">= 95")
    yield Figure("time with both stalled clients connected", 100.0 * _share(connected, CLIENTS + 2), "%", ">= 90")
    yield Figure("connections of the one that stopped reading", unread.connections, "")


def _count(port: int, connected: list[int], duration_s: float) -> float:
    """Note twice a second how many clients are connected."""
    until_s = time.monotonic() + duration_s
    while time.monotonic() < until_s:
        connected.append(viewers_of(port))
        time.sleep(0.5)
    return 0.0


def _share(connected: list[int], wanted: int) -> float:
    return sum(number >= wanted for number in connected) / len(connected)


def _watch(viewers: list[Viewer], measure: Callable[[], float]) -> tuple[float, float, float]:
    """Return what ``measure()`` returns, images per second of the slowest stream, and the share that was sent [%]."""
    for viewer in viewers:
        viewer.forget()
    begin_s = time.monotonic()
    measured = measure()
    elapsed_s = time.monotonic() - begin_s
    streams = [list(one) for viewer in viewers for one in viewer.sequences]
    arrived = sum(max(one) - min(one) + 1 for one in streams)
    return measured, min(len(one) for one in streams) / elapsed_s, 100.0 * sum(map(len, streams)) / arrived


#: Fetches of images since the last look, and how many of them the browser had already.
_FETCHED = """
(() => {
  const found = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/frames/"));
  performance.clearResourceTimings();
  return [found.length, found.filter(({ transferSize }) => transferSize === 0).length];
})()
"""


def playback(browser: Chromium, port: int, times: int) -> Iterator[Figure]:
    """Figures of the player: from the press on an episode to its first image on the screen, without a cache."""
    browser.command("Network.enable")
    browser.command("Network.setCacheDisabled", cacheDisabled=True)
    browser.open(f"http://127.0.0.1:{port}/#collect")
    browser.wait_until("document.querySelectorAll('#episodes button').length > 1", 60.0)
    browser.evaluate("window.plays = []; document.addEventListener('playback', (e) => plays.push(e.detail.ms)); true")
    asked = cached = 0
    for number in range(times):
        browser.evaluate(f"document.querySelectorAll('#episodes button')[{number % 3}].click(); true")
        browser.wait_until(f"plays.length > {number}", 30.0)
        # The images after the first come meanwhile; nobody presses the next episode at once.
        time.sleep(1.5)
        of_this, had = browser.evaluate(_FETCHED)
        asked, cached = asked + of_this, cached + had
    delays_ms = sorted(browser.evaluate("plays"))
    yield Figure("episode pressed to its first image, p50", delays_ms[len(delays_ms) // 2], "ms")
    yield Figure(f"episode pressed to its first image, worst of {times}", delays_ms[-1], "ms", "<= 300")
    yield Figure("blocks of images that the dashboard sent for them", asked, "")
    yield Figure("blocks of images that came from the browser's cache instead", cached, "", "== 0")


def episodes(folder: Path, count: int) -> Path:
    """Collect episodes of the simulator to play back."""
    dataset = folder / "episodes"
    command = ["mobile-vla-sim", "collect", "--episodes", str(count), "--output", str(dataset), "--workers", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return dataset


def long_day(dashboard: NodeProcess, port: int, hours: float) -> Iterator[Figure]:
    """Figures of hours of people coming and going, :data:`PACE` times as fast, beside a page that stays open."""
    sessions = round(hours * 3600.0 / SESSION_STANDS_FOR_S)
    after_hour = round(3600.0 / SESSION_STANDS_FOR_S)
    resident, heap = [], []
    answers: Counter[tuple[str, int]] = Counter()
    with Chromium(f"http://127.0.0.1:{port}/#collect") as browser:
        browser.wait_until("document.querySelectorAll('#episodes button').length > 1", 60.0)
        for number in range(sessions):
            _session(browser, port, number, time.monotonic() + SESSION_STANDS_FOR_S / PACE, answers)
            resident.append(resident_mb(dashboard.process.pid))
            heap.append(_heap_mb(browser))
        failures = len(browser.failures)
    yield Figure("sessions of the long day", sessions, "")
    yield Figure("requests of the long day", sum(answers.values()), "")
    # Without a policy, an instruction and a trial are refused.
    strange = [f"{path}: {status}" for (path, status) in answers.elements() if status not in (200, 409)]
    print(*strange, sep="\n", file=sys.stderr)
    yield Figure("requests of the long day that failed", len(strange), "", "== 0")
    yield Figure("memory after its first hour", resident[after_hour - 1], "MB")
    grown = 100.0 * resident[-1] / resident[after_hour - 1]
    yield Figure("memory at its end, of that after its first hour", grown, "%", "<= 105")
    # The list of trials grows to its twenty entries first.
    third = sessions // 3
    early_mb, late_mb = median(heap[third : third + after_hour]), median(heap[-after_hour:])
    yield Figure("JavaScript heap of a page after a third of it", early_mb, "MB")
    yield Figure("JavaScript heap at its end, of that after a third of it", 100.0 * late_mb / early_mb, "%", "<= 110")
    yield Figure("scripts of the page that failed", failures, "", "== 0")


def _heap_mb(browser: Chromium) -> float:
    """Return what the page's scripts hold, after the garbage is gone [MB]."""
    browser.command("HeapProfiler.collectGarbage")
    return float(browser.command("Runtime.getHeapUsage")["usedSize"]) / 1e6


def _session(browser: Chromium, port: int, number: int, until_s: float, answers: Counter[tuple[str, int]]) -> None:
    """Three more browsers come: one drives, one watches the policy, one corrects episodes; then they leave."""
    source = f"127.0.0.{number % 200 + 2}"

    def asked(path: str, body: object = None) -> bytes:
        status, content = ask(port, path, body, source)
        answers[path, status] += 1
        return content

    with ExitStack() as stack:
        for view in ("collect", "run", "trials"):
            stack.enter_context(Viewer(port, view))
        wheel = stack.enter_context(open_socket(port, "drive"))
        for path in ("/", "/app.js", "/words.json", "/api/plan", "/api/instructions", "/metrics", "/readyz"):
            asked(path)
        cards = json.loads(asked("/api/episodes"))["episodes"]
        _use_page(browser, [card["version"] for card in cards], number % len(cards))
        _correct(asked, cards[(number + 1) % len(cards)]["episode_id"])
        _try(asked)
        for path in ("/api/stop", "/api/resume"):
            asked(path, {})
        asked("/api/policy/execute", {"instruction": "go to the kitchen"})
        while time.monotonic() < until_s:
            wheel.send(json.dumps({"x": 0.0, "y": 0.0, "turn": 0.2}))
            time.sleep(0.05)


def _use_page(browser: Chromium, versions: list[str], episode: int) -> None:
    """In the page that stays open: look at every view, play an episode and relabel it.

    Its list shows the ``versions`` of the episodes once it has followed the corrections of the session before.
    """
    for view in ("run", "trials", "collect"):
        browser.evaluate(f"location.hash = '{view}'; true")
        browser.wait_until(f"document.body.dataset.view === '{view}'")
    browser.evaluate(
        "window.played = false; document.addEventListener('playback', () => { played = true; }, { once: true }); true"
    )
    listed = "[...document.querySelectorAll('#episodes img')].map((image) => image.src.split('v=')[1]).join()"
    browser.wait_until(f"{listed} === '{','.join(versions)}'")
    browser.evaluate(f"document.querySelectorAll('#episodes button')[{episode}].click(); true")
    browser.wait_until("played", 30.0)
    for outcome in ("failure", "success"):
        browser.evaluate(f"document.querySelector('[data-relabel={outcome}]').click(); true")
        browser.wait_until(
            f"document.querySelector('[data-relabel={outcome}]').getAttribute('aria-pressed') === 'true'"
        )
    browser.evaluate("document.querySelector('#closeplayer').click(); true")


def _correct(asked: Callable[..., bytes], episode: str) -> None:
    """Play an episode back, and make and take back every correction."""
    address = f"/api/episodes/{episode}"
    for path in ("", "/steps", "/thumbnail", "/frames/static?count=16", "/frames/gripper?count=16"):
        asked(f"{address}{path}")
    for outcome in ("failure", "success"):
        asked(f"{address}/relabel", {"outcome": outcome})
    asked(f"{address}/target", {"column": 100, "row": 100})
    asked(f"{address}/unmark", {})
    for path, body in (("trim", {"first": 1, "last": 20}), ("discard", {})):
        undo = json.loads(asked(f"{address}/{path}", body)).get("undo")
        if undo:
            asked("/api/restore", undo)


def _try(asked: Callable[..., bytes]) -> None:
    """Make a series of trials, which no policy follows, and end it."""
    asked("/api/trials")
    series = json.loads(asked("/api/trials", {"instructions": ["go to the kitchen"]}))["series"]["id"]
    for action in ("prepare", "begin", "close"):
        asked(f"/api/trials/{series}/{action}", {})
    for path in ("", "/report"):
        asked(f"/api/trials/{series}{path}")


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for what a part needs."""
    return tempfile.TemporaryDirectory(prefix="mobile_vla_bench_")
