"""The action policy/execute over DDS, with the node in its own process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import Twist
from lifecycle_msgs.msg import Transition
from rclpy.action import ActionClient
from robot_fixtures import change_state

from mobile_vla_msgs.action import ExecuteInstruction
from mobile_vla_msgs.msg import PolicyStatus
from mobile_vla_msgs.srv import SetInstruction
from mobile_vla_ros.testing import SimulatedTime, wait_for

pytestmark = pytest.mark.alone

Result = ExecuteInstruction.Result


class Client:
    """Sends goals and collects what comes back."""

    def __init__(self, probe: Any) -> None:
        self._probe = probe
        self._client = ActionClient(probe.node, ExecuteInstruction, "policy/execute")
        self.feedback: list[Any] = []

    def send(self, instruction: str, time_limit_s: float = 0.0) -> Any:
        wait_for(self._client.server_is_ready)
        goal = ExecuteInstruction.Goal(instruction=instruction, time_limit_s=time_limit_s)
        future = self._client.send_goal_async(goal, lambda message: self.feedback.append(message.feedback))
        wait_for(future.done)
        return future.result()

    def close(self) -> None:
        self._probe.between_callbacks(self._client.destroy)


@pytest.fixture
def client(probe: Any) -> Iterator[Client]:
    client = Client(probe)
    yield client
    client.close()


@pytest.fixture
def commands(probe: Any) -> list[Twist]:
    return probe.collect(Twist, "cmd_vel_policy")


def active(statuses: list[PolicyStatus]) -> bool:
    return bool(statuses) and statuses[-1].state in (PolicyStatus.STATE_WAITING, PolicyStatus.STATE_RUNNING)


def result_of(handle: Any) -> tuple[int, Any]:
    future = handle.get_result_async()
    wait_for(future.done)
    return future.result().status, future.result().result


def test_a_goal_ends_with_arrived_when_the_policy_stands_still_after_moving(
    probe, robot, start_node, client, commands, statuses
):
    start_node("arrives", done_after_s=1.0)
    wait_for(lambda: active(statuses))
    began_s = time.monotonic()
    status, result = result_of(client.send("go to the kitchen", time_limit_s=30.0))
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, Result.ARRIVED), result.message
    assert 1.0 < time.monotonic() - began_s < 20.0
    wait_for(lambda: commands[-1].linear.x == 0.0)
    # One that keeps driving runs into its limit, as before.
    assert any(command.linear.x > 0.1 for command in commands)


def test_a_goal_drives_gives_feedback_and_ends_at_its_time_limit(probe, robot, start_node, client, commands, statuses):
    start_node("steady")
    wait_for(lambda: active(statuses))
    handle = client.send("go to the kitchen", time_limit_s=3.0)
    wait_for(lambda: handle.status == GoalStatus.STATUS_EXECUTING)
    wait_for(lambda: commands and commands[-1].linear.x > 0)
    busy = probe.call(SetInstruction, "policy/set_instruction", SetInstruction.Request(instruction="go away"))
    assert busy.error_code == SetInstruction.Response.BUSY
    status, result = result_of(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.error_code == Result.OK
    # A busy machine ends it late and lets it starve at times, but never ends it early.
    assert 2.9 < result.duration_s < 6.0 and result.steps > 8 and result.starved_ticks < result.steps / 2
    wait_for(lambda: client.feedback and client.feedback[-1].step > 5)
    assert len(client.feedback[-1].chunk.delta_x) == 5
    wait_for(lambda: commands[-1] == Twist())


def test_in_a_slow_simulation_arrival_and_the_time_limit_are_simulated_time(
    probe, robot, start_node, client, commands, statuses
):
    with closing(SimulatedTime(probe, robot, factor=0.2)) as simulation:
        start_node("arrives", done_after_s=0.5, use_sim_time=True)
        wait_for(lambda: active(statuses))
        began_ns = simulation.now_ns
        _, result = result_of(client.send("go to the kitchen"))
        took_s = (simulation.now_ns - began_ns) * 1e-9
        assert result.error_code == Result.ARRIVED, result.message
        # It stands still from its fifteenth pass on, 1.4 s after the first one.
        assert took_s > 1.7 and result.duration_s == pytest.approx(took_s, abs=0.5)

        began_s = time.monotonic()
        goal = client.send("go to the kitchen", time_limit_s=0.4)
        simulation.now_ns -= 3 * 10**9
        _, result = result_of(goal)
        assert result.error_code == Result.OK and result.duration_s == pytest.approx(0.4, abs=0.3)
        assert 1.9 < time.monotonic() - began_s < 10.0, "two seconds, although the clock was set back by three"


def test_cancel_stops_the_robot(probe, robot, start_node, client, commands, statuses):
    start_node("steady")
    wait_for(lambda: active(statuses))
    handle = client.send("go to the kitchen")
    wait_for(lambda: commands and commands[-1].linear.x > 0)
    cancelled = handle.cancel_goal_async()
    wait_for(cancelled.done)
    wait_for(lambda: commands[-1] == Twist(), what="a zero")
    status, result = result_of(handle)
    assert status == GoalStatus.STATUS_CANCELED and result.error_code == Result.CANCELLED


def test_a_newer_goal_replaces_the_older_one(probe, robot, start_node, client, commands, statuses):
    start_node("echo-length")
    wait_for(lambda: active(statuses))
    first = client.send("a" * 10)
    wait_for(lambda: commands and commands[-1].linear.x == pytest.approx(0.1))
    client.send("b" * 20)
    status, result = result_of(first)
    assert status == GoalStatus.STATUS_ABORTED and result.error_code == Result.PREEMPTED
    wait_for(lambda: commands[-1].linear.x == pytest.approx(0.2))


def test_a_goal_that_cannot_be_executed_gets_the_reason(probe, robot, start_node, client, statuses):
    start_node("steady", autostart=False)
    status, result = result_of(client.send("go to the kitchen"))
    assert status == GoalStatus.STATUS_ABORTED and result.error_code == Result.NOT_ACTIVE
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert change_state(probe, transition)
    for instruction, limit in [("", 0.0), ("do the impossible", 0.0), ("go", -1.0), ("go", float("nan"))]:
        status, result = result_of(client.send(instruction, limit))
        assert status == GoalStatus.STATUS_ABORTED and result.error_code == Result.INVALID_REQUEST
        assert result.message and "\n" not in result.message


def test_a_goal_ends_by_its_own_code_when_another_policy_commands_the_robot(
    probe, robot, start_node, client, commands, statuses
):
    start_node("steady")
    wait_for(lambda: active(statuses))
    handle = client.send("go to the kitchen")
    waiting = handle.get_result_async()
    wait_for(lambda: commands and commands[-1].linear.x > 0)
    rival = probe.node.create_publisher(Twist, "cmd_vel_policy", 1)
    try:
        wait_for(waiting.done)
    finally:
        probe.node.destroy_publisher(rival)
    status, result = waiting.result().status, waiting.result().result
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Result.ANOTHER_POLICY)
    assert "another policy" in result.message and "/probe" in result.message
    wait_for(lambda: commands[-1] == Twist())


def test_a_goal_ends_when_the_camera_or_the_model_fails_or_the_node_is_stopped(
    probe, robot, start_node, client, commands, statuses
):
    node = start_node("steady", observation_timeout_s=0.5)
    wait_for(lambda: active(statuses))
    handle = client.send("go to the kitchen")
    wait_for(lambda: commands and commands[-1].linear.x > 0)
    robot.silent = {"odom"}
    status, result = result_of(handle)
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Result.OBSERVATION_LOST)
    assert "odom' is silent" in result.message
    robot.silent = set()

    handle = client.send("go to the kitchen")
    waiting = handle.get_result_async()
    wait_for(lambda: commands[-1].linear.x > 0)
    began = time.monotonic()
    node.stop()
    wait_for(waiting.done)
    assert waiting.result().result.error_code == Result.DEACTIVATED
    assert time.monotonic() - began < 10.0
    wait_for(lambda: commands[-1] == Twist())

    start_node("raise")
    wait_for(lambda: active(statuses))
    status, result = result_of(client.send("go to the kitchen"))
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Result.INFERENCE_FAILED)
    assert "the network has come undone" in result.message
