"""The adapter for other grippers, over DDS."""

import gc
import sys
import weakref
from functools import partial
from pathlib import Path
from threading import Event

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray
from std_srvs.srv import SetBool

from mobile_vla_control.gripper_links import Order, ServiceLink
from mobile_vla_data.contract import Contract
from mobile_vla_data.gripper_driver import position_of, value_of
from mobile_vla_msgs.msg import GripperCommand, GripperState
from mobile_vla_ros.qos import LATCHED, SENSOR
from mobile_vla_ros.testing import NodeProcess, Probe, changed_contract, wait_for

pytestmark = pytest.mark.alone

HAND = str(Path(__file__).with_name("hand_node.py"))
CONTRACT = Path(__file__).parents[3] / "config" / "robot.yaml"


@pytest.fixture
def start(domain, tmp_path):
    """Start the adapter with a gripper_driver."""
    nodes = []

    def start(command, state=None, env=None):
        driver = {"command": command, **({"state": state} if state else {})}
        file = changed_contract(tmp_path, CONTRACT, gripper_driver=driver)
        nodes.append(NodeProcess("mobile_vla_control", "gripper_adapter_node", {"contract": str(file)}, env=env))
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


@pytest.mark.parametrize("kind", ["float", "float_array"])
def test_a_position_reaches_a_gripper_of_numbers_in_its_own_unit(probe, start, kind):
    message_type = Float64 if kind == "float" else Float64MultiArray
    heard = probe.collect(message_type, "hand/command")
    start({"type": kind, "name": "hand/command", "open": 0.08, "closed": 0.0})
    publisher = probe.publisher(GripperCommand, "gripper/command")
    for position, expected in ((0.0, 0.08), (1.0, 0.0), (0.25, 0.06)):
        publisher.publish(GripperCommand(position=position))
        wanted = Float64(data=expected) if kind == "float" else Float64MultiArray(data=[expected])
        wait_for(lambda w=wanted: heard and heard[-1] == w, what=f"{expected}")


def test_the_joint_of_the_gripper_becomes_its_state_with_its_stamp(probe, start):
    states = probe.collect(GripperState, "gripper/state", SENSOR)
    state = {"topic": "joints", "joint": "finger", "open": 0.8, "closed": 0.0}
    start({"type": "float", "name": "hand/command"}, state)
    publisher = probe.publisher(JointState, "joints", SENSOR)
    message = JointState(name=["wheel", "finger"], position=[3.0, 0.6])
    message.header.stamp.sec = 17
    wait_for(lambda: publisher.publish(message) or states, what="a state")
    assert states[-1].position == pytest.approx(0.25) and states[-1].header.stamp.sec == 17
    message.position = [3.0, -0.1]
    wait_for(lambda: publisher.publish(message) or states[-1].position == 1.0, what="the end of its range")


def newest(diagnostics, words, level=DiagnosticStatus.WARN):
    """Return whether the adapter's newest status has this level and contains these words."""
    statuses = [status for array in diagnostics for status in array.status if "gripper_adapter" in status.name]
    return bool(statuses) and statuses[-1].level == level and words in statuses[-1].message


def test_a_gripper_that_only_opens_and_closes_is_called_once_and_again_after_a_failure(probe, start):
    calls, works = [], False
    states = probe.collect(GripperState, "gripper/state", SENSOR)
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")

    def answer(request, response):
        calls.append(request.data)
        response.success, response.message = works, "no air"
        return response

    start({"type": "set_bool", "name": "suction"})
    publisher = probe.publisher(GripperCommand, "gripper/command")
    # As the gate does, again and again.
    probe.node.create_timer(0.1, lambda: publisher.publish(GripperCommand(position=1.0)))

    said = partial(newest, diagnostics)
    wait_for(lambda: said("no service"), what="the missing service")
    service = probe.node.create_service(SetBool, "suction", answer)
    wait_for(lambda: len(calls) >= 2 and said("'suction' failed: no air"), what="calls that fail")
    assert states and states[-1].position == 0.0
    works = True
    wait_for(lambda: states[-1].position == 1.0, what="the commanded position")
    count = len(calls)
    seen = len(states)
    wait_for(lambda: len(states) > seen + 10, what="a second")
    assert len(calls) <= count + 1 and all(calls)
    # Restarted: nothing else would tell it where to be.
    probe.node.destroy_service(service)
    wait_for(lambda: said("no service 'suction'"), what="the service that is gone")
    count = len(calls)
    probe.node.create_service(SetBool, "suction", answer)
    wait_for(lambda: len(calls) > count and said("OK", DiagnosticStatus.OK), what="a call of the new service")


class SlowSuction(Probe):
    """A gripper's service that answers once it is released."""

    def __init__(self):
        super().__init__("suction")
        self.calls, self.release = [], Event()

    def offer(self):
        self.node.create_service(SetBool, "suction", self._answer)

    def _answer(self, request, response):
        self.calls.append(request.data)
        self.release.wait(60.0)
        response.success = True
        return response


def test_a_service_that_never_answers_is_a_fault_and_is_called_again(probe, start):
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    with SlowSuction() as suction:
        suction.offer()
        start({"type": "set_bool", "name": "suction", "timeout_s": 0.5})
        publisher = probe.publisher(GripperCommand, "gripper/command")
        probe.node.create_timer(0.1, lambda: publisher.publish(GripperCommand(position=1.0)))
        wait_for(lambda: newest(diagnostics, "'suction' has not answered within 0.5 s"), what="the silence")
        suction.release.set()
        wait_for(lambda: len(suction.calls) > 1 and newest(diagnostics, "OK", DiagnosticStatus.OK), what="a later call")


def test_a_call_that_is_never_answered_is_forgotten_at_the_next_one(probe):
    link = ServiceLink(probe.node, "suction")
    order = Order(1.0, frozenset(), 0.0)
    unanswered = weakref.ref(order)
    link.send(order)
    del order
    gc.collect()
    assert unanswered() is not None, "its answer would be noted in it"
    link.send(Order(1.0, frozenset(), 0.0))
    gc.collect()
    assert unanswered() is None


def test_a_gripper_of_numbers_that_was_restarted_gets_its_position_again(probe, start):
    start({"type": "float", "name": "hand/command", "open": 0.08, "closed": 0.0})
    publisher = probe.publisher(GripperCommand, "gripper/command")
    probe.node.create_timer(0.1, lambda: publisher.publish(GripperCommand(position=0.25)))
    for name in ("first", "second"):
        with Probe(name) as gripper:
            heard = gripper.collect(Float64, "hand/command")
            wait_for(lambda heard=heard: Float64(data=0.06) in heard, what=f"the position at the {name} start")


def test_a_gripper_is_missed_before_any_command_and_no_longer_once_it_works_on_one(probe, start):
    states = probe.collect(GripperState, "gripper/state", SENSOR)
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    start({"type": "set_bool", "name": "suction", "timeout_s": 60.0})
    wait_for(lambda: newest(diagnostics, "no service 'suction'"), what="the missing service")
    assert not states, "nobody knows where it is"
    publisher = probe.publisher(GripperCommand, "gripper/command")
    with SlowSuction() as suction:
        wait_for(lambda: publisher.get_subscription_count(), what="the adapter")
        probe.node.create_timer(0.1, lambda: publisher.publish(GripperCommand(position=1.0)))
        seen = len(diagnostics)
        wait_for(lambda: len(diagnostics) > seen + 1, what="an order without a gripper")
        suction.offer()
        wait_for(lambda: suction.calls, what="a call")
        seen = len(diagnostics)
        wait_for(lambda: len(diagnostics) > seen + 2, what="more diagnostics")
        assert newest(diagnostics, "OK", DiagnosticStatus.OK)
        assert states[-1].position == 0.0
        suction.release.set()
        wait_for(lambda: states[-1].position == 1.0, what="the closed gripper")


def test_a_joint_that_falls_silent_is_a_fault(probe, start):
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    probe.collect(Float64, "hand/command")
    start({"type": "float", "name": "hand/command"}, {"topic": "joints", "joint": "finger", "open": 0.8, "closed": 0.0})
    publisher = probe.publisher(JointState, "joints", SENSOR)
    message = JointState(name=["finger"], position=[0.6])
    timer = probe.node.create_timer(0.05, lambda: publisher.publish(message))
    wait_for(lambda: newest(diagnostics, "OK", DiagnosticStatus.OK), what="a joint that reports")
    timer.cancel()
    wait_for(lambda: newest(diagnostics, "no position of joint 'finger' on 'joints'"), what="the silent joint")


@pytest.mark.parametrize(
    ("command", "package"),
    [
        ({"type": "action", "name": "g"}, "control_msgs"),
        ({"type": "trajectory", "name": "t", "joint": "j"}, "trajectory_msgs"),
    ],
)
def test_a_missing_message_package_is_named_in_one_line(start, command, package):
    try:
        __import__(package)
    except ImportError:
        node = start(command)
        assert node.wait() == 1
        assert f"needs {package}: install ros-$ROS_DISTRO-{package.replace('_', '-')}" in node.output
    else:
        pytest.skip(f"{package} is installed")


def test_a_position_is_the_same_after_both_conversions():
    for opened, closed in ((0.08, 0.0), (0.0, 0.8), (-1.0, 1.0)):
        for position in (0.0, 0.3, 1.0):
            assert position_of(value_of(position, opened, closed), opened, closed) == pytest.approx(position)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ({"type": "float", "name": "a", "open": 1.0, "closed": 1.0}, "open and closed are both 1.0"),
        ({"type": "trajectory", "name": "a"}, "a trajectory needs the name of its joint"),
    ],
)
def test_a_wrong_driver_is_refused_and_another_driver_changes_no_meaning(command, complaint):
    data = yaml.safe_load(CONTRACT.read_text())
    with pytest.raises(ValueError, match=complaint):
        Contract.from_dict({**data, "gripper_driver": {"command": command}})
    other = Contract.from_dict({**data, "gripper_driver": {"command": {"type": "float", "name": "hand"}}})
    assert other.differences(Contract.from_dict(data)) == []


@pytest.mark.parametrize(
    ("command", "package", "second"),
    [
        ({"type": "action", "max_effort": 40.0}, "control_msgs", 40.0),
        ({"type": "trajectory", "joint": "finger", "duration_s": 0.75}, "trajectory_msgs", 0.75),
    ],
)
def test_a_gripper_with_an_action_or_a_trajectory_gets_its_own_values(
    probe, start, build_messages, command, package, second
):
    environment = build_messages(package)
    heard = probe.collect(Float64MultiArray, "hand/got", LATCHED)
    with NodeProcess("", "", env=environment, command=[sys.executable, HAND, command["type"]]):
        start({**command, "name": "hand/command", "open": 0.08, "closed": 0.0}, env=environment)
        publisher = probe.publisher(GripperCommand, "gripper/command")
        for position, expected in ((1.0, 0.0), (0.25, 0.06)):
            # As the gate does, again and again: the gripper may not be there yet.
            wait_for(
                lambda p=position, e=expected: (
                    publisher.publish(GripperCommand(position=p)) or (heard and list(heard[-1].data) == [e, second])
                ),
                what=f"{expected}",
            )
        # A topic without a listener and an action without a server are told again; once told, an action is not.
        if package == "control_msgs":
            assert len(heard) == 2


def test_the_result_of_an_action_decides_whether_the_gripper_has_moved(probe, start, build_messages):
    environment = build_messages("control_msgs")
    states = probe.collect(GripperState, "gripper/state", SENSOR)
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    goals = probe.collect(Float64MultiArray, "hand/got")
    command = {"type": "action", "name": "hand/command", "open": 0.08, "closed": 0.0, "timeout_s": 0.5}
    start(command, env=environment)
    publisher = probe.publisher(GripperCommand, "gripper/command")
    probe.node.create_timer(0.1, lambda: publisher.publish(GripperCommand(position=1.0)))

    def hand(end):
        goals.clear()
        return NodeProcess("", "", env=environment, command=[sys.executable, HAND, "action", end])

    for end, complaint in (
        ("reject", "'hand/command' rejected the goal 0"),
        ("abort", "'hand/command' did not reach the goal 0: it was aborted"),
        ("never", "'hand/command' has not answered within 0.5 s"),
    ):
        with hand(end):
            # A server that was started anew gets the goal, and gets it again as long as it fails.
            wait_for(lambda c=complaint: len(goals) > 1 and newest(diagnostics, c), what=complaint)
            # It is also said while the next try has no answer.
            seen = len(diagnostics)
            wait_for(lambda n=seen: len(diagnostics) > n + 2, what="more diagnostics")
            assert all(newest(diagnostics[:end], complaint) for end in range(seen + 1, seen + 3))
        wait_for(lambda: newest(diagnostics, "no action server 'hand/command'"), what="the server that is gone")
    assert {state.position for state in states} == {0.0}
    with hand("stall"):
        # It holds something that is 2 cm wide.
        wait_for(lambda: states[-1].position == 0.75, what="where it stalled")
        wait_for(lambda: newest(diagnostics, "stalled at 0.02", DiagnosticStatus.OK), what="the stall")
        assert len(goals) <= 1, "and it is not sent again"
    with hand("succeed"):
        wait_for(lambda: states[-1].position == 1.0, what="the closed gripper")
        assert len(goals) <= 1, "and it is not sent again"
