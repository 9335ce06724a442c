"""A headless Chromium driven over its DevTools protocol, for measurements, tests and images of the page."""

from __future__ import annotations

import base64
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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
    "--lang=en-US",
    # A mouse, which a headless browser has not: pages show what is for mouse and keys.
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
)

#: The browser has this long to listen and to open its page [s].
START_S = 20.0


class BrowserError(RuntimeError):
    """The browser is missing, did not start, or refused a command; one line."""


class NoBrowserError(BrowserError):
    """No browser is installed."""


class Chromium:
    """One browser with one page."""

    def __init__(self, url: str = "about:blank") -> None:
        """Open ``url``. Raises :class:`BrowserError`."""
        program = next((path for name in NAMES if (path := shutil.which(name))), None)
        if program is None:
            raise NoBrowserError("no Chromium on the path; install it (Debian: apt-get install chromium) and run again")
        self._resources = ExitStack()
        """The profile folder, what the browser says, and the connection."""
        profile = self._resources.enter_context(
            tempfile.TemporaryDirectory(prefix="mobile_vla_browser_", ignore_cleanup_errors=True)
        )
        # Not a pipe: the browser would stop at the first line of its log that does not fit.
        self._said = self._resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", url],
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            # Its own group, so that freezing or killing it takes the renderer along.
            start_new_session=True,
        )
        self._ids = itertools.count(1)
        self.failures: list[str] = []
        """Exceptions that no script of the page caught, and messages of the console at level error."""
        try:
            # A context manager in newer releases of websockets, the connection itself in older ones: enter either.
            self._socket = self._resources.enter_context(connect(self._page_address(), max_size=None))
            self.command("Runtime.enable")
            self.command("Page.enable")
        except BaseException:
            self.kill()
            raise

    def _page_address(self) -> str:
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                raise BrowserError("Chromium ended before it opened a page; run it by hand to see why")
            if (port := self._port()) is not None:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                    for target in json.load(answer):
                        if target["type"] == "page":
                            return str(target["webSocketDebuggerUrl"])
            time.sleep(0.1)
        raise BrowserError(f"Chromium opened no page within {START_S:g} s")

    def _port(self) -> int | None:
        """Return the DevTools port, which the browser says; None before that."""
        # Not from its profile: a browser from a snap has a /tmp of its own. The browser's place in the file stays.
        said = os.pread(self._said.fileno(), 1 << 20, 0)
        found = re.search(rb"DevTools listening on ws://[^/]*:(\d+)/", said)
        return int(found[1]) if found else None

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one DevTools command and wait for its result. Raises :class:`BrowserError`."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            self._note(message)
            if message.get("id") == number:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']['message']}")
                return dict(message["result"])

    def _note(self, message: dict[str, Any]) -> None:
        details = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            thrown = details["exceptionDetails"]
            self.failures.append(thrown.get("exception", {}).get("description", thrown["text"]))
        elif message.get("method") == "Runtime.consoleAPICalled" and details["type"] == "error":
            self.failures.append(" ".join(str(item.get("value", "")) for item in details["args"]))

    def open(self, url: str, *, at_start: str = "") -> None:
        """Go to ``url``; ``at_start`` is a script that runs before those of this page and of every later one."""
        if at_start:
            self.command("Page.addScriptToEvaluateOnNewDocument", source=at_start)
        # An address that differs only behind # would not load the page again.
        self.command("Page.navigate", url="about:blank")
        self.wait_until("location.href === 'about:blank'")
        self.command("Page.navigate", url=url)
        self.wait_until(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def resize(self, width: int, height: int, *, phone: bool = False, scale: float = 1.0) -> None:
        """Show the page at a size in CSS pixels; ``phone``: with fingers instead of a mouse."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale}
        self.command("Emulation.setDeviceMetricsOverride", mobile=phone, **size)
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)

    @contextmanager
    def phone(self, width: int, height: int) -> Iterator[None]:
        """Show the page as a phone of this size does, for a while."""
        self.resize(width, height, phone=True)
        try:
            yield
        finally:
            self.restore_size()

    def restore_size(self) -> None:
        """End what :meth:`resize` began."""
        self.command("Emulation.clearDeviceMetricsOverride")
        self.command("Emulation.setTouchEmulationEnabled", enabled=False)

    def screenshot(self) -> bytes:
        """Return what the page shows, as WebP."""
        taken = self.command("Page.captureScreenshot", format="webp", quality=80)
        return base64.b64decode(taken["data"])

    def write(self, text: str) -> None:
        """Type text into the element that has the focus."""
        self.command("Input.insertText", text=text)

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression; promises are waited for."""
        result = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise BrowserError(f"{expression:.80}: {details.get('exception', {}).get('description', details['text'])}")
        return result["result"].get("value")

    def wait_until(self, expression: str, timeout_s: float = 20.0) -> None:
        """Poll until a JavaScript expression is true; one that raises is not, such as while a page is loaded."""
        deadline_s = time.monotonic() + timeout_s
        problem = ""
        while True:
            try:
                if self.evaluate(expression):
                    return
            except BrowserError as error:
                problem = f": {error}"
            if time.monotonic() > deadline_s:
                raise BrowserError(f"waited {timeout_s:g} s for {expression}{problem}")
            time.sleep(0.05)

    def place(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> dict[str, float]:
        """Return the place ``at`` these shares of an element's width and height, in the window [px]."""
        box = self.evaluate(
            "(({ x, y, width, height }) => [x, y, width, height])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        return {"x": box[0] + at[0] * box[2], "y": box[1] + at[1] * box[3]}

    def touch(self, kind: str, *fingers: dict[str, float]) -> None:
        """Send ``touchStart``, ``touchMove`` or ``touchEnd`` with the places of all fingers."""
        self.command("Input.dispatchTouchEvent", type=kind, touchPoints=[*fingers])

    def press(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> float:
        """Press the mouse on an element, as a hand would; returns when, on :func:`time.time` [s]."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{ block: 'nearest' }}); true")
        place = {**self.place(selector, at), "button": "left", "clickCount": 1}
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
        """Kill every process of the browser, then clean up; return the time of the kill, on :func:`time.time` [s]."""
        at_s = time.time()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._resources.close()
        return at_s

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
