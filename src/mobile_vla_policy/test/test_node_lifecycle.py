"""policy_node's transitions over DDS, asked for by a lifecycle manager or by nobody (autostart)."""

from __future__ import annotations

from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import GetState
from robot_fixtures import GO, change_state

from mobile_vla_msgs.msg import PolicyStatus
from mobile_vla_ros.qos import EVERY_STATUS
from mobile_vla_ros.testing import wait_for

pytestmark = pytest.mark.alone


@pytest.fixture
def statuses(probe: Any) -> list[PolicyStatus]:
    return probe.collect(PolicyStatus, "policy/status", EVERY_STATUS)


def state(probe: Any) -> int:
    return probe.call(GetState, "policy_node/get_state").current_state.id


def test_a_manager_that_configures_while_autostart_is_loading_takes_over(probe, robot, start_node, statuses):
    node = start_node("load=6", instruction=GO, autostart=True)
    wait_for(lambda: statuses and statuses[-1].state == PolicyStatus.STATE_LOADING)
    assert change_state(probe, Transition.TRANSITION_CONFIGURE)
    wait_for(lambda: statuses[-1].state == PolicyStatus.STATE_INACTIVE)
    # A second load would show in the next status, and end within these.
    heard = len(statuses)
    wait_for(lambda: len(statuses) > heard + 14)
    assert {status.state for status in statuses[heard:]} == {PolicyStatus.STATE_INACTIVE}, "nothing is loaded twice"
    assert node.process.poll() is None and state(probe) == State.PRIMARY_STATE_INACTIVE
    assert change_state(probe, Transition.TRANSITION_ACTIVATE)
    wait_for(lambda: statuses[-1].state == PolicyStatus.STATE_RUNNING)


def test_a_node_that_is_shut_down_while_autostart_is_loading_stays_shut_down(probe, robot, start_node, statuses):
    node = start_node("load=60", instruction=GO, autostart=True)
    wait_for(lambda: statuses and statuses[-1].state == PolicyStatus.STATE_LOADING)
    assert change_state(probe, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    heard = len(statuses)
    wait_for(lambda: len(statuses) > heard + 3)
    assert statuses[-1].state == PolicyStatus.STATE_UNCONFIGURED and state(probe) == State.PRIMARY_STATE_FINALIZED
    assert node.process.poll() is None


@pytest.mark.parametrize("autostart", [True, False])
def test_diagnostics_show_how_far_loading_is(probe, robot, start_node, statuses, autostart):
    heard = probe.collect(DiagnosticArray, "/diagnostics")
    start_node("load=5", autostart=autostart)
    if not autostart:
        wait_for(lambda: statuses)
        assert change_state(probe, Transition.TRANSITION_CONFIGURE)
    wait_for(lambda: statuses and statuses[-1].state in (PolicyStatus.STATE_INACTIVE, PolicyStatus.STATE_WAITING))
    said = [status.message for array in heard for status in array.status if status.name == "policy_node"]
    seconds = {message.rpartition("(")[2] for message in said if message.startswith("loading /")}
    assert len(seconds) >= 2, said


def test_cleanup_frees_the_policy(probe, robot, start_node, statuses):
    node = start_node("count", instruction=GO, autostart=False)
    for _ in range(3):
        for transition in ("CONFIGURE", "ACTIVATE"):
            assert change_state(probe, getattr(Transition, f"TRANSITION_{transition}"))
        wait_for(lambda: statuses[-1].state == PolicyStatus.STATE_RUNNING)
        for transition in ("DEACTIVATE", "CLEANUP"):
            assert change_state(probe, getattr(Transition, f"TRANSITION_{transition}"))
        wait_for(lambda: statuses[-1].state == PolicyStatus.STATE_UNCONFIGURED)
    assert change_state(probe, Transition.TRANSITION_CONFIGURE)
    wait_for(lambda: len(loads(node)) == 4, what="what it prints at each load")
    assert loads(node) == ["policies in memory: 0"] * 4


def loads(node):
    return [line for line in node.output.splitlines() if line.startswith("policies in memory")]


def test_an_activation_that_fails_at_its_end_leaves_nothing_armed(probe, robot, start_node, statuses):
    node = start_node("no-timer", instruction=GO, autostart=False)
    assert change_state(probe, Transition.TRANSITION_CONFIGURE)
    assert not change_state(probe, Transition.TRANSITION_ACTIVATE)
    wait_for(lambda: "cannot activate: there are no timers left" in node.output)
    assert state(probe) == State.PRIMARY_STATE_INACTIVE
    wait_for(lambda: statuses[-1].state == PolicyStatus.STATE_INACTIVE)
    wait_for(lambda: not probe.node.get_publishers_info_by_topic("/cmd_vel_policy"), what="its publisher to be gone")
