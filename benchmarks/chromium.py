"""A headless Chromium driven over its DevTools protocol: a real browser for measurements, without a driver package."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from typing import Any

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: No GPU, no first-run pages, nothing that talks to the outside.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--window-size=1360,900",
)


class BrowserError(RuntimeError):
    """The browser is missing, did not start, or refused a command; one line."""


class Chromium:
    """One browser with one page."""

    def __init__(self, url: str) -> None:
        """Open ``url``. Raises :class:`BrowserError`."""
        program = next((path for name in NAMES if (path := shutil.which(name))), None)
        if program is None:
            raise BrowserError("no Chromium on the path; install it (Debian: apt-get install chromium) and run again")
        self._profile = tempfile.TemporaryDirectory(prefix="mobile_vla_browser_", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self._profile.name}", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # Its own group, so that freezing or killing it takes the renderer along.
            start_new_session=True,
        )
        self._ids = itertools.count(1)
        try:
            # A context manager in newer releases of websockets, the connection itself in older ones: enter either.
            self._connection = connect(self._page_address(), max_size=None)
            self._socket = self._connection.__enter__()
        except BaseException:
            self.kill()
            raise

    def _page_address(self) -> str:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"DevTools listening on ws://([^/]+)/", line):
                break
        else:
            raise BrowserError("Chromium ended before it listened; run it by hand to see why")
        deadline_s = time.monotonic() + 20.0
        while time.monotonic() < deadline_s:
            with urllib.request.urlopen(f"http://{found[1]}/json/list", timeout=5) as answer:
                for target in json.load(answer):
                    if target["type"] == "page":
                        return str(target["webSocketDebuggerUrl"])
            time.sleep(0.1)
        raise BrowserError("Chromium opened no page within 20 s")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one DevTools command and wait for its result. Raises :class:`BrowserError`."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == number:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']['message']}")
                return dict(message["result"])

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression; promises are waited for."""
        result = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise BrowserError(f"{expression:.80}: {result['exceptionDetails']['text']}")
        return result["result"].get("value")

    def wait_until(self, expression: str, timeout_s: float = 20.0) -> None:
        """Poll until a JavaScript expression is true."""
        deadline_s = time.monotonic() + timeout_s
        while not self.evaluate(expression):
            if time.monotonic() > deadline_s:
                raise BrowserError(f"waited {timeout_s:g} s for {expression}")
            time.sleep(0.05)

    def press(self, selector: str) -> float:
        """Press the mouse on an element, as a hand would; returns when, on :func:`time.time` [s]."""
        box = self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])("
            f"document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        place = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        at_s = time.time()
        self.command("Input.dispatchMouseEvent", type="mousePressed", **place)
        self.command("Input.dispatchMouseEvent", type="mouseReleased", **place)
        return at_s

    def key(self, kind: str, key: str, code: str) -> float:
        """Send ``keyDown`` or ``keyUp``; returns when, on :func:`time.time` [s]."""
        at_s = time.time()
        self.command("Input.dispatchKeyEvent", type=kind, key=key, code=code)
        return at_s

    def freeze(self) -> float:
        """Freeze every process of the browser; return the time of that, on :func:`time.time` [s]."""
        at_s = time.time()
        os.killpg(self._process.pid, signal.SIGSTOP)
        return at_s

    def kill(self) -> float:
        """Kill every process of the browser; return the time of that, on :func:`time.time` [s]."""
        at_s = time.time()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._profile.cleanup()
        return at_s

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
