"""The node over real DDS, real HTTP and real WebSockets, with the real command gate beside it."""

from __future__ import annotations

import json
import math
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from mobile_vla_dashboard.sockets import FRAME_HEADER
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.reader import Episode
from mobile_vla_msgs.msg import GripperCommand
from mobile_vla_msgs.srv import SetInstruction
from mobile_vla_ros.convert import image_message
from mobile_vla_ros.qos import COMMAND, SENSOR, SENSOR_OFFERED
from mobile_vla_ros.testing import NodeProcess, Probe, unique_domain, wait_for

CONTRACT_FILE = Path(__file__).parents[3] / "config" / "robot.yaml"
CONTRACT = Contract.load(CONTRACT_FILE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Robot:
    """A dashboard and a gate as processes, and a probe on the same domain."""

    def __init__(self, probe: Probe) -> None:
        self.probe, self.port = probe, _free_port()
        self._open = ExitStack()
        self.gate = NodeProcess("mobile_vla_control", "command_gate_node", {"contract": str(CONTRACT_FILE)})
        self.node = NodeProcess(
            "mobile_vla_dashboard",
            "dashboard_node",
            {"contract": str(CONTRACT_FILE), "port": self.port, "teleop": True},
        )
        wait_for(self._serving, 20.0, "the page")
        self.view: ClientConnection = self.open("view")
        self.wait_state(lambda state: state["gate"]["present"], "the gate's status on the page")

    def _serving(self) -> bool:
        assert self.node.process.poll() is None, self.node.output
        try:
            return bool(self.get("/healthz") == b'{"ok":true}')
        except OSError:
            return False

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
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

    def wait_state(self, condition, what: str, timeout_s: float = 10.0) -> dict:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            message = self.view.recv(timeout=timeout_s)
            if isinstance(message, str) and condition(state := json.loads(message)):
                return state
        raise TimeoutError(f"waited {timeout_s} s for {what}")

    def close(self) -> None:
        self._open.close()
        self.node.stop()
        self.gate.stop()


@pytest.fixture(scope="module")
def robot() -> Iterator[Robot]:
    with unique_domain(), Probe() as probe:
        robot = Robot(probe)
        try:
            yield robot
        finally:
            robot.close()


@pytest.fixture
def driving(robot: Robot) -> Iterator[tuple[ClientConnection, list[Twist]]]:
    """A driver in the seat, and what arrives on cmd_vel_teleop."""
    commands = robot.probe.collect(Twist, "cmd_vel_teleop", COMMAND)
    wheel = robot.open("drive")
    assert json.loads(wheel.recv(timeout=5)) == {"seated": True}
    wait_for(lambda: robot.probe.node.count_publishers("cmd_vel_teleop") >= 1, what="the teleop publisher")
    yield wheel, commands
    wheel.close()
    robot.wait_state(lambda state: state["drive"]["driver"] is None, "a free seat")


def _hold(wheel: ClientConnection, commands: list[Twist], until) -> None:
    """Send the stick at the page's rate until ``until()``."""
    deadline_s = time.monotonic() + 10.0
    while not until():
        assert time.monotonic() < deadline_s, "the command never arrived"
        wheel.send(json.dumps({"x": 0.5, "y": 0.0}))
        time.sleep(0.05)


def _sway(wheel: ClientConnection, until) -> None:
    """Drive slowly forward and back on the spot, where no wall can come into the way, until ``until()``."""
    begin_s = time.monotonic()
    while not until():
        forward = int((time.monotonic() - begin_s) / 0.6) % 2
        wheel.send(json.dumps({"x": 0.2 if forward else -0.2}))
        time.sleep(0.05)


def _travelled_m(odometry: list[Odometry]) -> float:
    first, last = odometry[0].pose.pose.position, odometry[-1].pose.pose.position
    return math.hypot(last.x - first.x, last.y - first.y)


def _moving(commands: list[Twist]) -> bool:
    return bool(commands) and commands[-1].linear.x == pytest.approx(0.5 * CONTRACT.limits.linear_m_s)


def _picture(view: ClientConnection, received: list[bytes], timeout_s: float) -> bool:
    """Read one message, if there is one, and keep it if it is a picture."""
    try:
        message = view.recv(timeout=timeout_s)
    except TimeoutError:
        return False
    if isinstance(message, bytes):
        received.append(message)
    return isinstance(message, bytes)


def test_the_page_and_its_parts_are_served_from_this_machine_only(robot: Robot) -> None:
    page = robot.get("/").decode()
    assert "STOP" in page
    assert "https://" not in page
    for path in ("/style.css", "/app.js", "/drive.js", "/favicon.svg", "/favicon.ico"):
        assert robot.get(path), path


def test_pictures_reach_the_browser_with_their_capture_stamp_and_are_not_queued(robot: Robot) -> None:
    publisher = robot.probe.publisher(Image, CONTRACT.cameras["static"].topic, SENSOR_OFFERED)
    image = np.full((224, 224, 3), (200, 60, 20), np.uint8)
    stamps = []

    def send() -> None:
        stamps.append(robot.probe.now_ns())
        publisher.publish(image_message(image, stamps[-1], "camera"))

    received: list[bytes] = []
    wait_for(lambda: send() or _picture(robot.view, received, 0.02), what="the first picture")
    # Nothing is acknowledged: one more picture comes, and no third, however many the camera sends.
    for _ in range(30):
        send()
        _picture(robot.view, received, 0.01)
    assert len(received) == 2
    camera, _, stamp_ns = FRAME_HEADER.unpack_from(received[0])
    assert camera == 0
    assert stamp_ns in stamps
    assert received[0][FRAME_HEADER.size :][:2] == b"\xff\xd8"

    # Acknowledgements bring the newest one, not one after the other.
    def newest() -> bool:
        robot.view.send(json.dumps({"camera": 0, "ack": FRAME_HEADER.unpack_from(received[-1])[1]}))
        return _picture(robot.view, received, 0.1) and FRAME_HEADER.unpack_from(received[-1])[2] == stamps[-1]

    wait_for(newest, what="the newest picture")
    assert len(received) < 8


def test_stop_reaches_the_gate_and_resume_lifts_it(robot: Robot) -> None:
    reply = robot.post("/api/stop")
    assert reply["ok"], reply
    state = robot.wait_state(lambda state: state["gate"]["stopped"], "the stopped gate")
    assert state["gate"]["headline"] == "Stopped"
    assert robot.post("/api/resume")["ok"]
    robot.wait_state(lambda state: not state["gate"]["stopped"], "the resumed gate")


def test_an_instruction_calls_the_policys_service_whatever_its_language(robot: Robot) -> None:
    heard: list[str] = []

    def answer(request, response):
        heard.append(request.instruction)
        response.success, response.message = True, "following"
        return response

    assert "no policy is running" in robot.post("/api/policy/instruction", {"instruction": "x"})["message"]
    service = robot.probe.node.create_service(SetInstruction, "policy/set_instruction", answer)
    instruction = "부엌으로 가서 <b>컵</b>을 집어 줘"

    def accepted() -> bool:
        return bool(robot.post("/api/policy/instruction", {"instruction": f" {instruction} "})["ok"])

    wait_for(accepted, what="an answer of the policy")
    assert heard[-1] == instruction
    robot.probe.node.destroy_service(service)


def test_a_recorder_that_is_not_there_is_a_plain_refusal(robot: Robot) -> None:
    reply = robot.post("/api/recorder/start", {"language": "go to the kitchen"})
    assert reply == {
        "ok": False,
        "message": "no recorder is running (nobody offers the service recorder/start_episode)",
    }


def test_an_episode_is_driven_and_recorded_from_the_page(robot: Robot, driving, tmp_path: Path) -> None:
    recorder = NodeProcess(
        "mobile_vla_collect",
        "recorder_node",
        {"contract": str(CONTRACT_FILE), "dataset": str(tmp_path), "autostart": True},
    )
    sim = NodeProcess("mobile_vla_sim", "sim_node", {"contract": str(CONTRACT_FILE)})
    wheel, commands = driving
    odometry = robot.probe.collect(Odometry, CONTRACT.state.odometry_topic, SENSOR)
    try:
        # The gate and the simulator must have found each other, or the recorder sees commands that move nothing.
        _hold(wheel, commands, lambda: odometry and _travelled_m(odometry) > 0.05)
        robot.wait_state(lambda state: state["recorder"].get("ready"), "a ready recorder", 20.0)
        body = {
            "language": "부엌으로 가",
            "task": "go to kitchen",
            "category": "navigation",
            "environment": {"room": "kitchen"},
        }
        wait_for(lambda: robot.post("/api/recorder/start", body)["ok"], what="a started episode")
        holding = threading.Event()
        thread = threading.Thread(target=lambda: _sway(wheel, holding.is_set), daemon=True)
        thread.start()
        robot.wait_state(lambda state: state["recorder"].get("steps", 0) >= 15, "fifteen steps")
        holding.set()
        thread.join()
        reply = robot.post("/api/recorder/stop", {"outcome": "success"})
        assert reply["ok"], reply
        with Episode.open(next(tmp_path.glob("*.h5"))) as episode:
            assert episode.outcome == "success"
            assert episode.metadata.language == "부엌으로 가"
            assert episode.metadata.environment == {"room": "kitchen"}
        robot.wait_state(lambda state: state["recorder"].get("episodes_saved") == 1, "the saved episode")
    finally:
        recorder.stop()
        sim.stop()
    robot.wait_state(lambda state: state["recorder"]["headline"] == "The recorder went silent", "its absence")


def test_another_web_site_cannot_press_a_button_or_open_a_socket(robot: Robot) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{robot.port}/api/stop", b"{}", {"Origin": "http://evil.example"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=5)
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(f"ws://127.0.0.1:{robot.port}/ws/drive", origin="http://evil.example"),
    ):
        pass


def test_a_held_stick_drives_and_letting_go_is_one_zero_and_then_silence(robot: Robot, driving) -> None:
    wheel, commands = driving
    _hold(wheel, commands, lambda: _moving(commands))
    robot.wait_state(lambda state: state["gate"]["headline"] == "A person drives", "the gate to follow")
    _hold(wheel, commands, lambda: _moving(commands))
    wheel.send(json.dumps({"release": True}))
    wait_for(lambda: commands[-1] == Twist(), what="the zero")
    # Silence is asserted by what comes next on the same topic, not by a sleep.
    count = len(commands)
    sentinel = robot.probe.node.create_publisher(Twist, "cmd_vel_teleop", COMMAND)
    mark = Twist()
    mark.angular.z = 0.125
    time.sleep(0.2)
    wait_for(lambda: sentinel.publish(mark) or commands[-1] == mark, what="the sentinel")
    assert [message for message in commands[count:] if message != mark] == []
    robot.probe.node.destroy_publisher(sentinel)


def test_a_closed_connection_stops_the_robot(robot: Robot, driving) -> None:
    wheel, commands = driving
    _hold(wheel, commands, lambda: _moving(commands))
    wheel.close()
    wait_for(lambda: commands[-1] == Twist(), 1.0, "the zero")


def test_a_connection_that_dies_without_a_word_stops_the_robot_within_the_dead_man_time(robot: Robot, driving) -> None:
    wheel, commands = driving
    _hold(wheel, commands, lambda: _moving(commands))
    last_s = time.monotonic()
    wait_for(lambda: commands[-1] == Twist(), 1.0, "the zero")
    assert time.monotonic() - last_s < 0.25 + 0.05 + 0.2
    # The wheel itself is still open: nothing was closed, nothing was said.
    wheel.send("{}")


def test_a_second_driver_is_turned_away_and_gets_the_wheel_when_the_first_lets_go(robot: Robot, driving) -> None:
    wheel, _ = driving
    second = robot.open("drive")
    with pytest.raises(ConnectionClosed, match=r"127\.0\.0\.1 is driving"):
        second.recv(timeout=5)
    wheel.close()
    robot.wait_state(lambda state: state["drive"]["driver"] is None, "a free seat")
    third = robot.open("drive")
    assert json.loads(third.recv(timeout=5)) == {"seated": True}
    third.close()


def test_nonsense_from_a_driver_ends_the_ride(robot: Robot, driving) -> None:
    wheel, commands = driving
    _hold(wheel, commands, lambda: _moving(commands))
    wheel.send('{"x": NaN}')
    with pytest.raises(ConnectionClosed, match="x must be a number"):
        wheel.recv(timeout=5)
    wait_for(lambda: commands[-1] == Twist(), 1.0, "the zero")


def test_the_gripper_follows_the_driver(robot: Robot, driving) -> None:
    wheel, _ = driving
    commands = robot.probe.collect(GripperCommand, "gripper/command_teleop", COMMAND)
    wait_for(lambda: robot.probe.node.count_publishers("gripper/command_teleop") >= 1, what="the gripper publisher")

    def closed() -> bool:
        wheel.send(json.dumps({"gripper": 1}))
        time.sleep(0.05)
        return bool(commands)

    wait_for(closed, what="the gripper command")
    assert commands[-1].position == 1.0


def test_a_stop_lets_go_of_the_stick_and_zero_is_on_cmd_vel(robot: Robot, driving) -> None:
    wheel, commands = driving
    output = robot.probe.collect(Twist, "cmd_vel", COMMAND)
    _hold(wheel, commands, lambda: bool(output) and output[-1].linear.x > 0.1)
    holding = threading.Event()
    thread = threading.Thread(target=lambda: _hold(wheel, commands, holding.is_set), daemon=True)
    thread.start()
    assert robot.post("/api/stop")["ok"]
    wait_for(lambda: output[-1] == Twist(), 1.0, "zero on cmd_vel")
    holding.set()
    thread.join()
    assert robot.post("/api/resume")["ok"]


def test_a_busy_port_is_one_clear_line(robot: Robot) -> None:
    second = NodeProcess("mobile_vla_dashboard", "dashboard_node", {"contract": str(CONTRACT_FILE), "port": robot.port})
    assert second.wait(15.0) == 1
    lines = [line for line in second.output.splitlines() if line.startswith("error:")]
    assert lines == [
        f"error: cannot serve the page at 127.0.0.1:{robot.port}: Address already in use; "
        "stop what uses it, or set the parameters address and port"
    ]


def test_a_stop_that_no_gate_confirms_is_said_to_be_unconfirmed() -> None:
    port = _free_port()
    parameters = {"contract": str(CONTRACT_FILE), "port": port}
    with unique_domain(), NodeProcess("mobile_vla_dashboard", "dashboard_node", parameters) as node:
        wait_for(lambda: "dashboard at" in node.output or node.process.poll() is not None, 20.0, "the page")
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/stop", b"{}")
        with pytest.raises(urllib.error.HTTPError, match="409") as refused:
            urllib.request.urlopen(request, timeout=10)
        assert json.load(refused.value)["message"] == (
            "NOT CONFIRMED: no command gate is running (nobody offers the service gate/stop). "
            "Use the robot's own emergency stop"
        )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_browsers_still_looking(number: int) -> None:
    port = _free_port()
    parameters = {"contract": str(CONTRACT_FILE), "port": port, "address": "0.0.0.0", "token": "let me in"}
    with unique_domain(), NodeProcess("mobile_vla_dashboard", "dashboard_node", parameters) as node:
        wait_for(lambda: "dashboard at" in node.output or node.process.poll() is not None, 20.0, "the page")
        cookie = {"Cookie": "mobile_vla_token=let%20me%20in"}
        with pytest.raises(InvalidStatus, match="403"), connect(f"ws://127.0.0.1:{port}/ws/view"):
            pass
        with connect(f"ws://127.0.0.1:{port}/ws/view", additional_headers=cookie, close_timeout=1) as view:
            view.recv(timeout=5)
            begin_s = time.monotonic()
            assert node.stop(number) == 0, node.output
            assert time.monotonic() - begin_s < 5.0
        assert "Traceback" not in node.output
