"""What several browsers cost the dashboard, for bench_dashboard: three of them, a stalled one, playback, a long day."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType

from chromium import Chromium
from common import Figure, resident_mb
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from mobile_vla_dashboard.sockets import FRAME_HEADER
from mobile_vla_ros.testing import NodeProcess, wait_for

CLIENTS, CAMERAS = 3, 2
#: A session of the long day stands for this much of it: who reloads a page more often than every ten minutes?
SESSION_STANDS_FOR_S = 600.0
DAY_S = 12 * 3600.0


class Viewer(AbstractContextManager["Viewer"]):
    """Reads images as a browser does, acknowledging each; without drawing them, which is not the dashboard's work."""

    def __init__(self, port: int, view: str = "collect") -> None:
        self.sequences: list[list[int]] = [[] for _ in range(CAMERAS)]
        """Sequence numbers that arrived, of each camera."""
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
                    self._socket.send(json.dumps({"camera": camera, "ack": sequence}))
        except ConnectionClosed:
            pass

    def forget(self) -> None:
        """Count from now on."""
        for sequences in self.sequences:
            sequences.clear()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()
        self._thread.join()


def open_socket(port: int, name: str) -> ClientConnection:
    """Connect to one of the page's two WebSockets."""
    return connect(f"ws://127.0.0.1:{port}/ws/{name}", max_size=None, close_timeout=1)


def ask(port: int, path: str, body: dict[str, object] | None = None) -> bytes:
    """GET a path, or POST a body to it; a refusal is an answer, too."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        return bytes(error.read())


def several_clients(
    dashboard: NodeProcess,
    port: int,
    idle_share: float,
    share: Callable[[NodeProcess, float], float],
    duration_s: float,
) -> Iterator[Figure]:
    """Figures of three clients, without and with a fourth one that has stopped reading."""
    with ExitStack() as stack:
        viewers = [stack.enter_context(Viewer(port)) for _ in range(CLIENTS)]
        wait_for(lambda: all(len(one) > 20 for viewer in viewers for one in viewer.sequences), 60.0, "images")
        used, rate_hz, shown = _watch(viewers, lambda: share(dashboard, duration_s), duration_s)
        # Its receive buffer fills up, and it acknowledges nothing.
        stalled = stack.enter_context(open_socket(port, "view"))
        stalled.recv()
        time.sleep(2.0)
        _, beside_hz, beside = _watch(viewers, lambda: share(dashboard, duration_s), duration_s)
    yield Figure("CPU that three clients add, share of one core", used - idle_share, "%", "<= 60")
    yield Figure("images of each camera to each of three clients", rate_hz, "Hz")
    yield Figure("images to three clients, of those that arrived", shown, "%", ">= 95")
    yield Figure("images of each camera beside a stalled client", beside_hz, "Hz")
    yield Figure("images beside a stalled client, of those that arrived", beside, "%", ">= 95")


def _watch(viewers: list[Viewer], measure: Callable[[], float], duration_s: float) -> tuple[float, float, float]:
    """Return what ``measure()`` returns, images per second of the slowest stream, and the share that was sent [%]."""
    for viewer in viewers:
        viewer.forget()
    measured = measure()
    streams = [list(one) for viewer in viewers for one in viewer.sequences]
    arrived = sum(max(one) - min(one) + 1 for one in streams)
    return measured, min(len(one) for one in streams) / duration_s, 100.0 * sum(map(len, streams)) / arrived


def playback(browser: Chromium, port: int, times: int) -> Iterator[Figure]:
    """Figures of the player: from the press on an episode to its first image on the screen."""
    browser.open(f"http://127.0.0.1:{port}/#collect")
    browser.wait_until("document.querySelectorAll('#episodes button').length > 1", 60.0)
    browser.evaluate("window.plays = []; document.addEventListener('playback', (e) => plays.push(e.detail.ms)); true")
    for number in range(times):
        # In turn, so that each time the images come anew.
        browser.evaluate(f"document.querySelectorAll('#episodes button')[{number % 3}].click(); true")
        browser.wait_until(f"plays.length > {number}", 30.0)
        # The images after the first come meanwhile; nobody presses the next episode at once.
        time.sleep(1.5)
    delays_ms = sorted(browser.evaluate("plays"))
    yield Figure("episode pressed to its first image, p50", delays_ms[len(delays_ms) // 2], "ms")
    yield Figure(f"episode pressed to its first image, worst of {times}", delays_ms[-1], "ms", "<= 300")


def episodes(folder: Path, count: int) -> Path:
    """Collect episodes of the simulator to play back."""
    dataset = folder / "episodes"
    command = ["mobile-vla-sim", "collect", "--episodes", str(count), "--output", str(dataset), "--workers", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return dataset


def long_day(dashboard: NodeProcess, port: int, pace: float) -> Iterator[Figure]:
    """Figures of twelve hours of people coming and going, ``pace`` times as fast."""
    sessions = round(DAY_S / SESSION_STANDS_FOR_S)
    after_hour = round(3600.0 / SESSION_STANDS_FOR_S)
    resident = []
    for _ in range(sessions):
        until_s = time.monotonic() + SESSION_STANDS_FOR_S / pace
        _session(port, until_s)
        resident.append(resident_mb(dashboard.process.pid))
    tail = resident[after_hour:]
    yield Figure("sessions of the long day", sessions, "")
    yield Figure("memory after its first hour", resident[after_hour - 1], "MB")
    yield Figure(
        "memory at its end, of that after its first hour", 100.0 * tail[-1] / resident[after_hour - 1], "%", "<= 105"
    )


def _session(port: int, until_s: float) -> None:
    """Three browsers: one drives, one watches the policy, one looks at episodes; buttons are pressed; all leave."""
    with ExitStack() as stack:
        for view in ("collect", "run", "trials"):
            stack.enter_context(Viewer(port, view))
        wheel = stack.enter_context(open_socket(port, "drive"))
        for path in ("/", "/app.js", "/words.json", "/api/episodes", "/api/plan", "/api/instructions", "/metrics"):
            ask(port, path)
        ask(port, "/api/stop", {})
        ask(port, "/api/resume", {})
        ask(port, "/api/policy/execute", {"instruction": "go to the kitchen"})
        while time.monotonic() < until_s:
            wheel.send(json.dumps({"x": 0.0, "y": 0.0, "turn": 0.2}))
            time.sleep(0.05)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for what a part needs."""
    return tempfile.TemporaryDirectory(prefix="mobile_vla_bench_")
