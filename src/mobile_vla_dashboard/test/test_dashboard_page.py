"""The page over real DDS, real HTTP and real WebSockets: what it serves, shows and asks of others."""

from __future__ import annotations

import array
import json
import signal
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from action_msgs.msg import GoalStatus, GoalStatusArray
from dashboard_stage import CONTRACT, CONTRACT_FILE, Stage, free_port
from episodes_stage import Server
from rclpy.qos import qos_profile_action_status_default
from sensor_msgs.msg import CompressedImage, Image
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from mobile_vla_dashboard.pages import FILES
from mobile_vla_dashboard.sockets import FRAME_HEADER
from mobile_vla_data.episode import jpeg
from mobile_vla_msgs.srv import SetInstruction
from mobile_vla_ros.convert import image_message, to_stamp
from mobile_vla_ros.qos import SENSOR_OFFERED
from mobile_vla_ros.testing import NodeProcess, Probe, unique_domain, wait_for

pytestmark = pytest.mark.alone


def _image(view: ClientConnection, received: list[bytes], timeout_s: float) -> bool:
    """Read one message, if there is one, and keep it if it is an image."""
    try:
        message = view.recv(timeout=timeout_s)
    except TimeoutError:
        return False
    if isinstance(message, bytes):
        received.append(message)
    return isinstance(message, bytes)


def test_the_page_and_its_parts_are_served_from_this_machine_only(stage: Stage) -> None:
    page = stage.get("/").decode()
    assert "STOP" in page
    assert "https://" not in page
    for name in FILES:
        assert stage.get(f"/{name}"), name
    for path in ("/nothing.js", "/..%2Fserver.py", "/%2e%2e/server.py", "/static/app.js"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            stage.get(path)


def test_images_reach_the_browser_with_their_capture_stamp_and_are_not_queued(stage: Stage) -> None:
    publisher = stage.probe.publisher(Image, CONTRACT.cameras["static"].topic, SENSOR_OFFERED)
    image = np.full((224, 224, 3), (200, 60, 20), np.uint8)
    stamps = []

    def send() -> None:
        stamps.append(stage.probe.now_ns())
        publisher.publish(image_message(image, stamps[-1], "camera"))

    received: list[bytes] = []
    wait_for(lambda: send() or _image(stage.view, received, 0.02), what="the first image")
    # Nothing is acknowledged: one more image comes, and no third, however many the camera sends.
    wait_for(lambda: send() or _image(stage.view, received, 0.02), what="the second image")
    for _ in range(30):
        send()
        _image(stage.view, received, 0.01)
    assert len(received) == 2
    camera, _, stamp_ns = FRAME_HEADER.unpack_from(received[0])
    assert camera == 0
    assert stamp_ns in stamps
    assert received[0][FRAME_HEADER.size :][:2] == b"\xff\xd8"

    # Acknowledgements bring the newest one, not one after the other.
    def newest() -> bool:
        stage.view.send(json.dumps({"camera": 0, "ack": FRAME_HEADER.unpack_from(received[-1])[1]}))
        return _image(stage.view, received, 0.1) and FRAME_HEADER.unpack_from(received[-1])[2] == stamps[-1]

    wait_for(newest, what="the newest image")
    assert len(received) < 8


def test_an_instruction_calls_the_policys_service_whatever_its_language(stage: Stage) -> None:
    heard: list[str] = []

    def answer(request, response):
        heard.append(request.instruction)
        response.success, response.message = True, "following"
        return response

    assert "no policy is running" in stage.post("/api/policy/instruction", {"instruction": "x"})["message"]
    service = stage.probe.node.create_service(SetInstruction, "policy/set_instruction", answer)
    instruction = "부엌으로 가서 <b>컵</b>을 집어 줘"

    def accepted() -> bool:
        return bool(stage.post("/api/policy/instruction", {"instruction": f" {instruction} "})["ok"])

    wait_for(accepted, what="an answer of the policy")
    assert heard[-1] == instruction
    stage.probe.node.destroy_service(service)


@pytest.mark.parametrize("path", ["/api/policy/instruction", "/api/recorder/start"])
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x" * 10_000, "the instruction has 10000 characters; give at most 500"),
        ("go \u0007 to the kitchen", "holds the control character U+0007; remove it"),
        ("half a pair \ud83d", "holds the control character U+D83D; remove it"),
    ],
)
def test_an_instruction_that_no_policy_takes_is_refused_in_one_line(stage: Stage, path, text, complaint) -> None:
    reply = stage.post(path, {"instruction": text, "language": text})
    assert not reply["ok"] and complaint in reply["message"], reply


def test_a_goal_is_not_on_its_way_when_its_policy_is_silent_or_knows_it_no_more(stage: Stage) -> None:
    qos = qos_profile_action_status_default
    publisher = stage.probe.publisher(GoalStatusArray, "policy/execute/_action/status", qos)
    stage.view.send(json.dumps({"view": "run"}))

    def says(key: str) -> None:
        said = {"key": key}
        stage.wait_state(lambda state: state["run"] and (state["run"]["goal"] or {}).get("headline") == said, key)

    goal = GoalStatus(status=GoalStatus.STATUS_EXECUTING)
    goal.goal_info.goal_id.uuid = [7] * 16
    publisher.publish(GoalStatusArray(status_list=[goal]))
    says("goal.unknown")
    # A policy that was started again.
    publisher.publish(GoalStatusArray())
    says("goal.ended")
    stage.view.send(json.dumps({"view": "collect"}))
    stage.probe.node.destroy_publisher(publisher)


def test_the_page_does_not_cut_an_instruction_that_is_too_long(stage: Stage) -> None:
    page = stage.get("/").decode()
    for name in ("instruction", "language"):
        (field,) = [tag for tag in page.split("<") if tag.startswith("input") and f'id="{name}"' in tag]
        assert "maxlength" not in field


def test_an_instruction_reaches_the_policy_in_its_one_form(stage: Stage) -> None:
    heard: list[str] = []

    def answer(request, response):
        heard.append(request.instruction)
        response.success = True
        return response

    service = stage.probe.node.create_service(SetInstruction, "policy/set_instruction", answer)
    given = "\u3000go\u00a0to \u2003the\nkitchen\u200b "
    wait_for(lambda: stage.post("/api/policy/instruction", {"instruction": given})["ok"], what="an answer")
    assert heard[-1] == "go to the kitchen"
    stage.probe.node.destroy_service(service)


def test_a_wrong_field_is_named_in_the_answer(stage: Stage) -> None:
    reply = stage.post("/api/recorder/start", {"category": "cooking"})
    assert not reply["ok"] and "category: " in reply["message"]


def test_a_recorder_that_is_not_there_is_a_plain_refusal(stage: Stage) -> None:
    reply = stage.post("/api/recorder/start", {"language": "go to the kitchen"})
    assert reply == {
        "ok": False,
        "message": "no recorder is running (service recorder/start_episode does not exist)",
        "words": {"key": "reply.absent", "who": {"key": "node.recorder"}, "service": "recorder/start_episode"},
    }


def test_another_web_site_cannot_press_a_button_or_open_a_socket(stage: Stage) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{stage.port}/api/stop", b"{}", {"Origin": "http://evil.example"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=20)
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(f"ws://127.0.0.1:{stage.port}/ws/drive", origin="http://evil.example"),
    ):
        pass


def test_monitoring_reads_the_figures_over_http(stage: Stage) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{stage.port}/metrics", timeout=20) as answer:
        kind, figures = answer.headers["Content-Type"], answer.read().decode()
    assert kind.startswith("text/plain; version=")
    lines = figures.splitlines()
    assert 'mobile_vla_up{node="gate"} 1.0' in lines and 'mobile_vla_up{node="policy"} 0.0' in lines
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)


def test_an_error_of_the_dashboard_is_a_refusal_in_one_line(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        # A robot without any method: what a fault of the program looks like.
        status, content, _ = server.fetch("/api/stop", {})
        assert status == 500
        assert json.loads(content)["message"] == "the dashboard failed; its log says why"
    finally:
        server.close()


def test_a_busy_port_is_one_clear_line(stage: Stage) -> None:
    second = NodeProcess("mobile_vla_dashboard", "dashboard_node", {"contract": str(CONTRACT_FILE), "port": stage.port})
    assert second.wait() == 1
    lines = [line for line in second.output.splitlines() if line.startswith("error:")]
    assert lines == [
        f"error: cannot serve the page at 127.0.0.1:{stage.port}: Address already in use; "
        "end the program that uses it, or set the parameters address and port"
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_browsers_show_the_page(number: int) -> None:
    with ExitStack() as stack:
        stack.enter_context(unique_domain())
        port = free_port()
        parameters = {"contract": str(CONTRACT_FILE), "port": port, "address": "0.0.0.0", "token": "let me in"}
        node = stack.enter_context(NodeProcess("mobile_vla_dashboard", "dashboard_node", parameters))
        wait_for(lambda: "dashboard at" in node.output or node.process.poll() is not None, what="the page")
        cookie = {"Cookie": f"mobile_vla_token_{port}=let%20me%20in"}
        with pytest.raises(InvalidStatus, match="403"), connect(f"ws://127.0.0.1:{port}/ws/view"):
            pass
        with connect(f"ws://127.0.0.1:{port}/ws/view", additional_headers=cookie, close_timeout=1) as view:
            view.recv(timeout=20)
            begin_s = time.monotonic()
            assert node.stop(number) == 0, node.output
            assert time.monotonic() - begin_s < 10.0
        assert "Traceback" not in node.output


def test_a_camera_that_sends_jpegs_is_shown_with_the_bytes_that_it_sent() -> None:
    with unique_domain(), Probe() as probe, closing(Stage(probe, images="compressed")) as stage:
        topic = f"{CONTRACT.cameras['static'].topic}/compressed"
        publisher = probe.publisher(CompressedImage, topic, SENSOR_OFFERED)
        data = jpeg.encode(np.full((224, 224, 3), (200, 60, 20), np.uint8), 70)
        received: list[bytes] = []

        def send() -> None:
            message = CompressedImage(format="jpeg", data=array.array("B", data))
            message.header.stamp = to_stamp(probe.now_ns())
            publisher.publish(message)

        wait_for(lambda: send() or _image(stage.view, received, 0.05), what="an image")
        assert received[0][FRAME_HEADER.size :] == data


def test_the_run_view_takes_the_pose_from_where_the_contract_says(build_messages: Any, tmp_path: Path) -> None:
    environment = build_messages("tf2_msgs")
    data = yaml.safe_load(CONTRACT_FILE.read_text())
    data["state"]["pose"] = "tf"
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    with unique_domain(), Probe() as probe, closing(Stage(probe, environment, contract=str(file))) as stage:

        def listens(topic: str) -> bool:
            return probe.subscribes("dashboard_node", topic)

        stage.view.send(json.dumps({"view": "run"}))
        wait_for(lambda: listens("/tf") and listens("/tf_static"), what="subscriptions to the transforms")
        assert not listens("/odom")
        stage.view.send(json.dumps({"view": "collect"}))
        wait_for(lambda: not listens("/tf"), what="the end of the subscriptions")
