"""For the dashboard's tests: the page's node and the real command gate as processes, and a browser's two sockets."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from chromium import Chromium
from geometry_msgs.msg import Twist
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from mobile_vla_data.contract import Contract
from mobile_vla_ros.testing import NodeProcess, Probe, wait_for

CONTRACT_FILE = Path(__file__).parents[3] / "config" / "robot.yaml"
CONTRACT = Contract.load(CONTRACT_FILE)

#: A gamepad that the test holds: sticks centred, nothing pressed, not plugged in.
GAMEPAD = """
window.gamepad = { connected: false, mapping: "standard", axes: [0, 0, 0, 0], buttons: [] };
for (let index = 0; index < 17; index += 1) gamepad.buttons.push({ pressed: false, value: 0 });
navigator.getGamepads = () => [null, gamepad];
"""


def free_port() -> int:
    """A port of our own: below those that the system hands out, in a block that no other test process has."""
    first = 20_000 + 100 * int(os.environ["ROS_DOMAIN_ID"])
    for port in range(first, first + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port from {first} to {first + 99}")


class Stage:
    """A dashboard and a gate as processes, and a probe on the same domain."""

    def __init__(self, probe: Probe, env: dict[str, str] | None = None, **parameters: object) -> None:
        self.probe, self.port = probe, free_port()
        self._open = ExitStack()
        self._state = {"XDG_STATE_HOME": self._open.enter_context(tempfile.TemporaryDirectory())}
        self.gate = self.start_gate()
        self._env = env
        self._parameters = {"contract": str(CONTRACT_FILE), "port": self.port, "teleop": True, **parameters}
        self.start_node()
        self.view: ClientConnection = self.open("view")
        self.wait_state(lambda state: state["gate"]["present"], "the gate's status on the page")

    def start_node(self) -> None:
        """Start the dashboard, also again on the same port."""
        self.node = NodeProcess("mobile_vla_dashboard", "dashboard_node", self._parameters, env=self._env)
        wait_for(self._serving, what="the page")

    def start_gate(self) -> NodeProcess:
        """A gate, which finds what the one before it has left."""
        parameters = {"contract": str(CONTRACT_FILE)}
        return NodeProcess("mobile_vla_control", "command_gate_node", parameters, env=self._state)

    def _serving(self) -> bool:
        assert self.node.process.poll() is None, self.node.output
        try:
            return bool(self.get("/healthz") == b'{"ok":true}')
        except OSError:
            return False

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return bytes(answer.read())

    def post(self, path: str, body: dict | None = None, **headers: str) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body or {}).encode(),
            {"Content-Type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))

    def open(self, name: str) -> ClientConnection:
        url, origin = f"ws://127.0.0.1:{self.port}/ws/{name}", f"http://127.0.0.1:{self.port}"
        return self._open.enter_context(connect(url, origin=origin, close_timeout=1))

    def wait_state(self, condition, what: str, timeout_s: float = 30.0) -> dict:
        """The first state that holds the condition and was sent after this call."""
        deadline_s = time.monotonic() + timeout_s
        behind = True
        while time.monotonic() < deadline_s:
            try:
                if behind:
                    self._catch_up()
                    behind = False
                message = self.view.recv(timeout=timeout_s)
            except ConnectionClosed:
                # A test that looked away for long: the page would connect anew, too.
                self.view = self.open("view")
                continue
            if isinstance(message, str) and condition(state := json.loads(message)):
                return state
        raise TimeoutError(f"waited {timeout_s} s for {what}")

    def _catch_up(self) -> None:
        """Drop the messages that were sent before now: the answer to a ping comes after them."""
        pong = self.view.ping()
        while True:
            arrived = pong.is_set()
            try:
                self.view.recv(timeout=0.0 if arrived else 0.02)
            except TimeoutError:
                if arrived:
                    return

    def close(self) -> None:
        self.view.close()
        self.node.stop()
        self.gate.stop()
        self._open.close()


def hold(wheel: ClientConnection, commands: list[Twist], until) -> None:
    """Send the stick at the page's rate until ``until()``."""
    deadline_s = time.monotonic() + 60.0
    while not until():
        assert time.monotonic() < deadline_s, "the command never arrived"
        wheel.send(json.dumps({"x": 0.5, "y": 0.0}))
        time.sleep(0.05)


def moving(commands: list[Twist]) -> bool:
    return bool(commands) and commands[-1].linear.x == pytest.approx(0.5 * CONTRACT.limits.linear_m_s)


def show(page: Chromium, view: str) -> None:
    """Open a view of the page."""
    page.evaluate(f"location.hash = '{view}'; true")
    page.wait_until(f"document.body.dataset.view === '{view}'")


def speak(page: Chromium, language: str) -> None:
    """Choose the language of the page."""
    if page.evaluate("document.documentElement.lang") != language:
        page.press("#lang")
    page.wait_until(f"document.documentElement.lang === '{language}'")


#: What a keyboard must reach.
_CONTROLS = "a[href], button, input, select, textarea, summary"


def unreached(page: Chromium) -> list[str]:
    """Press Tab through the page; return the visible and enabled controls that had no turn, by their HTML."""
    count = page.evaluate(
        f"window.controls = [...document.querySelectorAll('{_CONTROLS}')].filter((each) =>"
        " each.checkVisibility({ visibilityProperty: true }) && !each.matches(':disabled'));"
        "window.reached = new Set(); document.activeElement.blur();"
        "addEventListener('focusin', ({ target }) => reached.add(target)); controls.length"
    )
    assert count > 5
    # Behind the last control Tab leaves the page, and comes back to the first.
    for _ in range(count + 10):
        page.key("keyDown", "Tab", "Tab")
        page.key("keyUp", "Tab", "Tab")
    return list(page.evaluate("controls.filter((each) => !reached.has(each)).map((each) => each.outerHTML)"))
