"""For the tests of policy_node: a robot that publishes what the contract asks for, and the node in a process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mobile_vla_data.contract import Contract

REPOSITORY = Path(__file__).resolve().parents[3]
CONTRACT = REPOSITORY / "config" / "robot.yaml"
SCRIPTED = Path(__file__).with_name("scripted_policy_node.py")
#: An instruction.
GO = "go to the kitchen"

# ROS is imported where it is needed: the model's tests in this folder run without it.


def change_state(probe: Any, transition: int) -> bool:
    """Ask policy_node for a transition; return whether it succeeded."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    request = ChangeState.Request(transition=Transition(id=transition))
    result: bool = probe.call(ChangeState, "policy_node/change_state", request).success
    return result


@pytest.fixture(scope="module")
def probe() -> Iterator[Any]:
    from mobile_vla_ros.testing import Probe, unique_domain

    with unique_domain(), Probe() as probe:
        yield probe


@pytest.fixture
def robot(probe: Any) -> Iterator[Any]:
    from mobile_vla_ros.testing import FakeRobot

    robot = FakeRobot(probe, Contract.load(CONTRACT))
    yield robot
    robot.close()


@pytest.fixture
def statuses(probe: Any) -> list[Any]:
    """Messages of ``policy/status``, as they arrive."""
    from mobile_vla_msgs.msg import PolicyStatus
    from mobile_vla_ros.qos import LATCHED

    collected: list[Any] = probe.collect(PolicyStatus, "policy/status", LATCHED)
    return collected


@pytest.fixture
def stamped() -> bool:
    """Whether velocities are TwistStamped. One process cannot listen to both types on a topic: a module decides."""
    return False


@pytest.fixture
def start_node(probe: Any, tmp_path: Path, stamped: bool) -> Iterator[Callable[..., Any]]:
    """Start policy_node with a scripted policy: ``start_node("slow=0.1", instruction="go to the kitchen")``."""
    from mobile_vla_ros.testing import NodeProcess

    with ExitStack() as stack:

        def start(behaviour: str, env: dict[str, str] | None = None, **parameters: Any) -> Any:
            merged = {"contract": str(CONTRACT), "checkpoint": str(tmp_path), "autostart": True, "stamped": stamped}
            merged |= parameters
            command = [sys.executable, str(SCRIPTED), behaviour]
            return stack.enter_context(NodeProcess("", "", merged, env=env, command=command))

        yield start
