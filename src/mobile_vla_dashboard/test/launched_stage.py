"""A launch file as a user starts it, with the page of its dashboard in a real browser."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[3] / "test"))

from chromium import Chromium
from dashboard_stage import free_port
from launch_commands import LITE, Launched

from mobile_vla_ros.testing import wait_for


class LaunchedPage:
    """A launched robot with its page."""

    def __init__(self, folder: Path, browser: Chromium, file: str, *arguments: str) -> None:
        self.port, self.browser = free_port(), browser
        self.state = os.environ["XDG_STATE_HOME"]
        words = [str(LITE), "launch", "mobile_vla_bringup", file, *arguments, f"dashboard_port:={self.port}"]
        self.launched = Launched(words, folder / "launch.log")
        try:
            wait_for(self._serving, 90, "the page")
            self.open()
        except BaseException:
            self.close()
            raise

    def _serving(self) -> bool:
        assert self.launched.process.poll() is None, self.launched.output
        return "dashboard at" in self.launched.output

    def open(self, view: str = "collect") -> None:
        """Load the page anew, in one of its views."""
        self.browser.open(f"http://127.0.0.1:{self.port}/#{view}")
        self.browser.wait_until("document.querySelector('#link').dataset.t === 'link.live'")

    def tap(self, key: str, code: str) -> None:
        """Press a key and let it go."""
        self.browser.key("keyDown", key, code)
        self.browser.key("keyUp", key, code)

    def text(self, selector: str) -> str:
        """Text of an element."""
        return str(self.browser.evaluate(f"document.querySelector('{selector}').textContent"))

    def click(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        """Press an element, wherever the page is scrolled to, once it can be pressed.

        What the page loads meanwhile may move it from under the mouse: then it is pressed again.
        """
        self._show(selector)
        self.browser.evaluate(
            f"window.hit = false; addEventListener('click', ({{ target }}) => {{ hit ||= target.closest('{selector}')"
            " !== null; }, true)"
        )
        wait_for(
            lambda: self.browser.press(selector, at) and self.browser.evaluate("hit"), what=f"a press on {selector}"
        )

    def touch(self, selector: str) -> None:
        """Touch an element, as :meth:`click`."""
        self._show(selector)
        self.browser.touch("touchStart", self.browser.place(selector))
        self.browser.touch("touchEnd")

    def _show(self, selector: str) -> None:
        element = f"document.querySelector('{selector}')"
        self.browser.wait_until(f"{element}?.checkVisibility() === true && !{element}.disabled")
        self.browser.evaluate(f"{element}.scrollIntoView({{ block: 'center' }})")

    def start_episode(self, start: Callable[[], None] | None = None) -> None:
        """Start an episode by its key, or with ``start()``."""
        start = start or (lambda: self.tap("n", "KeyN"))
        self.browser.wait_until("!document.querySelector('#start button').disabled", 60)
        # On a busy machine an image may be late at that moment, and the recorder refuses: as an operator, press again.
        running = "document.querySelector('#running').checkVisibility()"
        wait_for(lambda: self.browser.evaluate(running) or start() or time.sleep(1.0), 60, "an episode")

    def steps(self) -> int:
        """Steps of the open episode that the page shows."""
        return int(self.browser.evaluate("parseInt(document.querySelector('#stepcount').textContent)"))

    def until_steps(self, steps: int) -> None:
        """Wait until the open episode has so many steps."""
        self.browser.wait_until(f"parseInt(document.querySelector('#stepcount').textContent) >= {steps}", 60)

    def until_prepared(self) -> None:
        """Wait until the next trial can begin."""
        button = "document.querySelector('#trialbegin')"
        said = "document.querySelector('#trialphase').textContent.endsWith('then begin')"
        self.browser.wait_until(f"{button}.checkVisibility() && !{button}.disabled && {said}", 180)

    def begin_trial(self) -> None:
        """Begin a trial by its key and let it run for a moment."""
        self.tap("n", "KeyN")
        self.browser.wait_until("document.querySelector('#trialsuccess').checkVisibility()", 30)
        self.browser.wait_until("parseFloat(document.querySelector('#trialelapsed').textContent) > 1", 30)

    def narrow(self, width: int) -> None:
        """Check that a phone of this width need not scroll sideways."""
        with self.browser.phone(width, 740):
            wide = self.browser.evaluate(
                "[...document.querySelectorAll('main *')].filter((each) => each.checkVisibility() && "
                f"each.getBoundingClientRect().right > {width + 1}).map((each) => each.outerHTML.slice(0, 120))"
            )
            assert self.browser.evaluate("document.documentElement.scrollWidth") <= width, wide

    def close(self) -> None:
        if self.launched.process.poll() is None:
            self.launched.signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.launched.wait(20)
        self.launched.close()
