"""policy_node over DDS, in its own process, against a robot that publishes what the contract asks for."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Twist
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from robot_fixtures import GO, change_state

from mobile_vla_msgs.msg import ActionChunk, GripperCommand, PolicyStatus
from mobile_vla_msgs.srv import SetInstruction
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import StampedVelocities, wait_for

pytestmark = pytest.mark.alone

#: From a signal to the end of the process: 0.3 s on an idle machine. A launch file kills after this.
ENDS_S = 5.0
#: Between judging an age and stamping the command a busy machine may take the processor away. Less than what is left of
#: a chunk, so that a robot which merely runs out of actions is told apart.
SENDS_S = 0.2


class Ears:
    """Everything that policy_node says."""

    def __init__(self, probe: Any) -> None:
        self.velocities = StampedVelocities(probe, "cmd_vel_policy")
        self.grippers = probe.collect(GripperCommand, "gripper/command_policy")
        self.chunks = probe.collect(ActionChunk, "policy/action_chunk")
        self.statuses = probe.collect(PolicyStatus, "policy/status", LATCHED)

    @property
    def commands(self) -> list[Twist]:
        return [message.twist for message in self.velocities.heard]

    @property
    def moving(self) -> bool:
        return bool(self.commands) and self.commands[-1].linear.x != 0.0

    @property
    def stopped(self) -> bool:
        return self.velocities.still

    def state(self) -> int:
        return self.statuses[-1].state if self.statuses else -1

    def message(self) -> str:
        return self.statuses[-1].message if self.statuses else ""


@pytest.fixture
def stamped() -> bool:
    return True


@pytest.fixture
def ears(probe: Any) -> Ears:
    return Ears(probe)


def set_instruction(probe: Any, text: str) -> SetInstruction.Response:
    return probe.call(SetInstruction, "policy/set_instruction", SetInstruction.Request(instruction=text))


def set_parameter(probe: Any, name: str, value: Any) -> Any:
    kinds = {bool: "bool", int: "integer", float: "double", str: "string"}
    kind = kinds[type(value)]
    message = ParameterValue(type=getattr(ParameterType, f"PARAMETER_{kind.upper()}"), **{f"{kind}_value": value})
    request = SetParameters.Request(parameters=[Parameter(name=name, value=message)])
    return probe.call(SetParameters, "policy_node/set_parameters", request).results[0]


def test_commands_keep_their_rate_while_inference_takes_longer_than_their_period(probe, robot, ears, start_node):
    commands = ears.velocities
    start_node("slow=0.15", instruction=GO, command_rate_hz=50.0)
    wait_for(lambda: commands.moving)
    first = len(commands.heard)
    wait_for(lambda: len(commands.heard) > first + 100)
    assert np.median(commands.intervals_s()[first:]) == pytest.approx(0.02, rel=0.25)
    twists = [message.twist for message in commands.heard[first:]]
    assert np.median([twist.linear.x for twist in twists]) == pytest.approx(0.3)
    assert np.median([twist.linear.y for twist in twists]) == pytest.approx(-0.1)
    wait_for(lambda: ears.grippers and ears.grippers[-1].position == 1.0)
    chunk = ears.chunks[-1]
    assert chunk.instruction == GO and len(chunk.delta_x) == 5 and chunk.header.frame_id == "base_link"
    status = wait_for(lambda: ears.statuses[-1] if ears.state() == PolicyStatus.STATE_RUNNING else None)
    wait_for(lambda: ears.statuses[-1].inference_rate_hz > 3.0)
    assert {"transport", "vision", "text", "schedule", "total"} <= {item.stage for item in ears.statuses[-1].latency}
    assert status.starved_ticks < 0.2 * status.steps and status.instruction == GO


def test_inference_slower_than_a_chunk_is_long_slows_the_robot_down_but_does_not_starve_it(
    probe, robot, ears, start_node
):
    start_node("slow=0.3", instruction=GO, max_stretch=4.0)
    wait_for(lambda: ears.moving)
    first = len(ears.commands)
    wait_for(lambda: len(ears.commands) > first + 20)
    speeds = [command.linear.x for command in ears.commands[first:]]
    assert 0.05 < np.median(speeds) < 0.29 and max(speeds) <= 0.3 + 1e-6
    assert np.mean(np.array(speeds) == 0.0) < 0.5, "out of five ticks none stands still, on an idle machine"


def test_a_camera_that_never_publishes_is_named_and_the_robot_stands(probe, robot, ears, start_node):
    robot.silent = {"static"}
    start_node("steady", instruction=GO)
    wait_for(lambda: "static_camera/image_raw" in ears.message())
    wait_for(lambda: ears.state() == PolicyStatus.STATE_WAITING)
    wait_for(lambda: len(ears.commands) > 5)
    assert ears.stopped and not ears.chunks and not ears.grippers


def test_a_camera_that_falls_silent_stops_the_robot_within_its_age_limit(probe, robot, ears, start_node):
    commands = ears.velocities
    start_node("steady", instruction=GO, command_rate_hz=50.0)
    wait_for(lambda: commands.moving)
    robot.silent = {"static"}
    wait_for(lambda: "static_camera/image_raw' is silent" in ears.message() and commands.still)
    moved_on_s = (commands.last_motion_ns() - robot.last_ns("static")) * 1e-9
    assert moved_on_s < 0.2 + SENDS_S, "max_age_s of the contract"
    robot.silent = set()
    wait_for(lambda: commands.moving)


@pytest.mark.parametrize(
    ("stream", "topic"), [("gripper", "gripper_camera/image_raw"), ("gripper_state", "gripper/state")]
)
def test_the_robot_stops_when_the_gripper_or_an_optional_camera_that_the_policy_uses_falls_silent(
    probe, robot, ears, start_node, stream, topic
):
    start_node("steady", instruction=GO)
    wait_for(lambda: ears.moving)
    robot.silent = {stream}
    wait_for(lambda: f"{topic}' is silent" in ears.message() and ears.stopped)
    robot.silent = set()
    wait_for(lambda: ears.moving)


@pytest.mark.parametrize("behaviour", ["nan", "nan-gripper"])
def test_a_chunk_with_nan_moves_neither_wheels_nor_gripper(probe, robot, ears, start_node, behaviour):
    start_node(behaviour, instruction=GO)
    wait_for(lambda: ears.moving)
    wait_for(lambda: ears.state() == PolicyStatus.STATE_ERROR)
    wait_for(lambda: "not finite" in ears.message() and ears.stopped)
    grippers, refused = len(ears.grippers), ears.statuses[-1].refused_chunks
    wait_for(lambda: ears.statuses[-1].refused_chunks > refused + 5)
    assert ears.stopped and len(ears.grippers) == grippers
    assert all(np.isfinite(command.linear.y) for command in ears.commands)


def test_an_exception_in_the_forward_pass_stops_the_robot_and_is_reported(probe, robot, ears, start_node):
    node = start_node("raise", instruction=GO)
    wait_for(lambda: ears.state() == PolicyStatus.STATE_ERROR)
    wait_for(lambda: "the network has come undone" in ears.message() and ears.stopped)
    wait_for(lambda: "Traceback" in node.output)


def test_a_forward_pass_that_never_returns_delays_neither_the_stop_nor_the_shutdown(probe, robot, ears, start_node):
    node = start_node("stuck", instruction=GO, inference_timeout_s=1.0)
    wait_for(lambda: "has not returned" in ears.message())
    wait_for(lambda: ears.state() == PolicyStatus.STATE_ERROR and ears.stopped)
    began = time.monotonic()
    assert node.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < ENDS_S


def test_deactivate_ends_with_zeros_and_activate_starts_again(probe, robot, ears, start_node):
    start_node("slow=0.05", instruction=GO)
    wait_for(lambda: ears.moving)
    assert change_state(probe, Transition.TRANSITION_DEACTIVATE)
    wait_for(lambda: ears.state() == PolicyStatus.STATE_INACTIVE and ears.stopped)
    heard = len(ears.commands)
    # The answer to this call was sent after anything that could still be on its way.
    assert not set_instruction(probe, GO).success
    assert len(ears.commands) == heard
    assert change_state(probe, Transition.TRANSITION_ACTIVATE)
    wait_for(lambda: ears.moving)


def test_cleanup_forgets_the_policy_and_configure_shows_that_it_loads(probe, robot, ears, start_node):
    start_node("load=1.2", autostart=False)
    wait_for(lambda: ears.state() == PolicyStatus.STATE_UNCONFIGURED)
    assert change_state(probe, Transition.TRANSITION_CONFIGURE)
    loading = PolicyStatus.STATE_LOADING
    wait_for(lambda: [status.state for status in ears.statuses].count(loading) >= 2, what="progress while it loads")
    wait_for(lambda: ears.state() == PolicyStatus.STATE_INACTIVE)
    refused = set_parameter(probe, "checkpoint", "/elsewhere")
    assert not refused.successful and "clean up first" in refused.reason
    assert change_state(probe, Transition.TRANSITION_CLEANUP)
    wait_for(lambda: ears.state() == PolicyStatus.STATE_UNCONFIGURED)
    assert set_parameter(probe, "checkpoint", "/elsewhere").successful
    assert not change_state(probe, Transition.TRANSITION_CONFIGURE)
    assert probe.call(GetState, "policy_node/get_state").current_state.id == State.PRIMARY_STATE_UNCONFIGURED
    wait_for(lambda: "/elsewhere: no such checkpoint folder" in ears.message())


def test_a_signal_while_loading_ends_the_node_at_once(probe, robot, ears, start_node):
    node = start_node("load=60", instruction=GO)
    wait_for(lambda: ears.state() == PolicyStatus.STATE_LOADING)
    began = time.monotonic()
    assert node.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < ENDS_S


def test_sigterm_while_moving_leaves_a_zero_as_the_last_command(probe, robot, ears, start_node):
    node = start_node("steady", instruction=GO, command_rate_hz=50.0)
    wait_for(lambda: ears.moving)
    assert node.stop(signal.SIGTERM) == 0
    wait_for(lambda: ears.stopped, what="a last zero")


def test_an_instruction_is_checked_followed_and_taken_back(probe, robot, ears, start_node):
    start_node("echo-length")
    wait_for(lambda: ears.state() == PolicyStatus.STATE_WAITING and "no instruction" in ears.message())
    codes = SetInstruction.Response
    for text in ("x" * 501, "go \a home", "do the impossible"):
        answer = set_instruction(probe, text)
        assert not answer.success and answer.error_code == codes.INVALID_REQUEST and "\n" not in answer.message
    assert not ears.moving
    assert set_instruction(probe, " go\u3000to\nthe kitchen ").message == "following 'go to the kitchen'"
    assert set_instruction(probe, "a" * 40).success
    wait_for(lambda: ears.commands and ears.commands[-1].linear.x == pytest.approx(0.4))
    assert set_instruction(probe, "b" * 20).success
    heard = len(ears.commands)
    wait_for(lambda: ears.commands[-1].linear.x == pytest.approx(0.2))
    speeds = {round(command.linear.x, 3) for command in ears.commands[heard + 1 :]}
    assert speeds <= {0.0, 0.2}, "nothing of the old instruction is blended into the new"
    assert set_instruction(probe, "").success
    wait_for(lambda: ears.stopped)
    moved = max(i for i, command in enumerate(ears.commands) if command != Twist())
    wait_for(lambda: ears.statuses[-1].command_rate_hz == 0.0, what="silence")
    zeros = ears.commands[moved + 1 :]
    assert 1 <= len(zeros) <= 8, "half a second of them, at the control rate, and then nothing"


def test_shadow_mode_publishes_chunks_and_no_command(probe, robot, ears, start_node):
    start_node("steady", instruction=GO, shadow=True)
    wait_for(lambda: len(ears.chunks) > 10)
    assert not ears.commands and not ears.grippers
    wait_for(lambda: ears.statuses[-1].shadow)


def test_a_trace_shows_every_stage_of_every_forward_pass(probe, robot, ears, start_node, tmp_path):
    file = tmp_path / "trace.json"
    node = start_node("slow=0.02", instruction=GO, trace=str(file))
    wait_for(lambda: len(ears.chunks) > 10)
    node.stop()
    events = json.loads(file.read_text())["traceEvents"]
    names = {event["name"] for event in events if event["ph"] in "Xi"}
    assert names == {"capture", "transport", "preprocess", "vision", "text", "head", "schedule", "publish"}
    assert len([event for event in events if event["name"] == "publish"]) >= 10
    assert all(event["dur"] >= 0 for event in events if event["ph"] == "X")


def test_parameters_are_refused_with_one_line(probe, robot, ears, start_node):
    start_node("steady", instruction=GO)
    wait_for(lambda: ears.moving)
    for name, value, reason in [
        ("blend", 1.5, "blend is 1.5"),
        ("horizon", -1, "horizon is -1"),
        ("horizon", "all", "a whole number"),
        ("instruction", "do the impossible", "beyond me"),
        ("precision", "fp8", "precision is 'fp8'"),
        ("backend", "aoti", "backend cannot change while a checkpoint is loaded"),
        ("contract", "/etc/passwd", "read-only"),
        ("command_rate_hz", 5.0, "read-only"),
    ]:
        result = set_parameter(probe, name, value)
        assert not result.successful and reason in result.reason and "\n" not in result.reason
    assert set_parameter(probe, "blend", 0).successful
    assert set_parameter(probe, "shadow", True).successful
    wait_for(lambda: ears.stopped)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"checkpoint": "/nowhere"}, "/nowhere: no such checkpoint folder"),
        ({"checkpoint": ""}, "parameter 'checkpoint' is empty"),
        ({"contract": "/nowhere.yaml"}, "/nowhere.yaml: no such contract file"),
        ({"blend": 2.0}, "blend is 2.0"),
    ],
)
def test_a_node_that_cannot_start_says_why_in_one_line_and_exits(probe, start_node, parameters, said):
    node = start_node("steady", **parameters)
    assert node.wait() == 1
    lines = [line for line in node.output.splitlines() if said in line]
    assert len(lines) == 1 and "Traceback" not in node.output
