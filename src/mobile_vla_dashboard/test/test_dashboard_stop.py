"""The stop button, with the real command gate behind it and without."""

from __future__ import annotations

import json
import signal
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest
import rclpy
from dashboard_stage import CONTRACT_FILE, Stage, free_port, hold
from geometry_msgs.msg import Twist
from std_srvs.srv import Trigger

from mobile_vla_dashboard.dashboard_node import DashboardNode
from mobile_vla_ros.qos import COMMAND
from mobile_vla_ros.testing import NodeProcess, Probe, unique_domain, wait_for

pytestmark = pytest.mark.alone


def test_stop_reaches_the_gate_and_resume_lifts_it(stage: Stage) -> None:
    reply = stage.post("/api/stop")
    assert reply["ok"], reply
    state = stage.wait_state(lambda state: state["gate"]["stopped"], "the stopped gate")
    assert state["gate"]["headline"]["key"] == "gate.stopped"
    assert stage.post("/api/resume")["ok"]
    stage.wait_state(lambda state: not state["gate"]["stopped"], "the resumed gate")


def test_a_stop_from_before_the_gate_was_restarted_is_shown_as_that_and_resume_lifts_it(stage: Stage) -> None:
    assert stage.post("/api/stop")["ok"]
    stage.gate.stop(signal.SIGKILL)
    stage.gate = stage.start_gate()
    said = "before this gate started; call gate/resume to continue"
    state = stage.wait_state(lambda state: said in state["gate"].get("detail", ""), "the new gate")
    assert state["gate"]["stopped"] and state["gate"]["headline"]["key"] == "gate.stopped"
    assert stage.post("/api/resume") == {"ok": True, "message": "resumed"}
    stage.wait_state(lambda state: state["gate"]["present"] and not state["gate"]["stopped"], "the resumed gate")


def test_a_stop_over_the_websocket_is_answered_with_the_number_of_its_press(stage: Stage) -> None:
    view = stage.open("view")
    view.send(json.dumps({"stop": 7}))
    answers = (json.loads(message) for message in view if isinstance(message, str) and "stop" in json.loads(message))
    answer = next(answers)
    assert answer["stop"] == 7 and answer["ok"], answer
    stage.wait_state(lambda state: state["gate"]["stopped"], "the stopped gate")
    # Also when the browser is gone before it is answered.
    assert stage.post("/api/resume")["ok"]
    stage.wait_state(lambda state: not state["gate"]["stopped"], "the resumed gate")
    view.send(json.dumps({"stop": 8}))
    view.close()
    stage.wait_state(lambda state: state["gate"]["stopped"], "the stopped gate")
    assert stage.post("/api/resume")["ok"]


def test_readiness_is_503_while_no_gate_is_heard(stage: Stage) -> None:
    assert json.loads(stage.get("/readyz"))["ok"]
    stage.gate.stop()
    stage.wait_state(lambda state: not state["gate"]["present"], "the silence of the gate")
    with pytest.raises(urllib.error.HTTPError, match="503") as refused:
        stage.get("/readyz")
    assert json.load(refused.value) == {"ok": False, "message": "The command gate went silent"}
    stage.gate = stage.start_gate()
    stage.wait_state(lambda state: state["gate"]["present"], "the new gate")
    assert json.loads(stage.get("/readyz"))["ok"]


def test_a_stop_lets_go_of_the_stick_and_zero_is_on_cmd_vel(stage: Stage, driving) -> None:
    wheel, commands = driving
    output = stage.probe.collect(Twist, "cmd_vel", COMMAND)
    hold(wheel, commands, lambda: bool(output) and output[-1].linear.x > 0.1)
    holding = threading.Event()
    thread = threading.Thread(target=lambda: hold(wheel, commands, holding.is_set), daemon=True)
    thread.start()
    assert stage.post("/api/stop")["ok"]
    wait_for(lambda: output[-1] == Twist(), what="zero on cmd_vel")
    holding.set()
    thread.join()
    assert stage.post("/api/resume")["ok"]


def test_a_stop_leaves_at_once_while_the_ros_thread_is_busy() -> None:
    heard: list[Trigger.Request] = []
    with unique_domain(), Probe() as probe:
        probe.node.create_service(Trigger, "gate/stop", lambda request, response: heard.append(request) or response)
        rclpy.init(args=["--ros-args", "-p", f"contract:={CONTRACT_FILE}", "-p", "port:=0"])
        node = DashboardNode()
        try:
            wait_for(lambda: node.call("gate/stop", {}) and heard, what="the request, of a node that never spins")
        finally:
            node.close()
            node.destroy_node()
            rclpy.shutdown()


def test_a_stop_that_no_gate_confirms_is_said_to_be_unconfirmed() -> None:
    with ExitStack() as stack:
        stack.enter_context(unique_domain())
        port = free_port()
        parameters = {"contract": str(CONTRACT_FILE), "port": port}
        node = stack.enter_context(NodeProcess("mobile_vla_dashboard", "dashboard_node", parameters))
        wait_for(lambda: "dashboard at" in node.output or node.process.poll() is not None, what="the page")
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/stop", b"{}")
        with pytest.raises(urllib.error.HTTPError, match="409") as refused:
            urllib.request.urlopen(request, timeout=20)
        assert json.load(refused.value)["message"] == (
            "NOT CONFIRMED: no command gate is running (service gate/stop does not exist). "
            "Use the robot's own emergency stop"
        )
