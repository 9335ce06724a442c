"""policy_node's transitions over DDS, asked for by a lifecycle manager or by nobody (autostart)."""

from __future__ import annotations

from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from mobile_vla_msgs.msg import PolicyStatus
from mobile_vla_ros.qos import EVERY_STATUS
from mobile_vla_ros.testing import wait_for

GO = "go to the kitchen"


@pytest.fixture
def statuses(probe: Any) -> list[PolicyStatus]:
    return probe.collect(PolicyStatus, "policy/status", EVERY_STATUS)


def change(probe: Any, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return probe.call(ChangeState, "policy_node/change_state", request).success


def state(probe: Any) -> int:
    return probe.call(GetState, "policy_node/get_state").current_state.id


def test_a_manager_that_configures_while_autostart_is_loading_takes_over(probe, robot, start_node, statuses):
    node = start_node("load=2", instruction=GO, autostart=True)
    wait_for(lambda: statuses and statuses[-1].state == PolicyStatus.STATE_LOADING)
    assert change(probe, Transition.TRANSITION_CONFIGURE)
    wait_for(lambda: statuses[-1].state == PolicyStatus.STATE_INACTIVE)
    # Longer than a second load would last.
    heard = len(statuses)
    wait_for(lambda: len(statuses) > heard + 6)
    assert {status.state for status in statuses[heard:]} == {PolicyStatus.STATE_INACTIVE}, "nothing is loaded twice"
    assert node.process.poll() is None and state(probe) == State.PRIMARY_STATE_INACTIVE
    assert change(probe, Transition.TRANSITION_ACTIVATE)
    wait_for(lambda: statuses[-1].state == PolicyStatus.STATE_RUNNING)


def test_a_node_that_is_shut_down_while_autostart_is_loading_stays_so(probe, robot, start_node, statuses):
    node = start_node("load=60", instruction=GO, autostart=True)
    wait_for(lambda: statuses and statuses[-1].state == PolicyStatus.STATE_LOADING)
    assert change(probe, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    heard = len(statuses)
    wait_for(lambda: len(statuses) > heard + 3)
    assert statuses[-1].state == PolicyStatus.STATE_UNCONFIGURED and state(probe) == State.PRIMARY_STATE_FINALIZED
    assert node.process.poll() is None
