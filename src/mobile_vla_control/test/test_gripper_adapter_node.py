"""The adapter for other grippers, over DDS."""

import sys
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray
from std_srvs.srv import SetBool

from mobile_vla_data.contract import Contract
from mobile_vla_data.gripper_driver import position_of, value_of
from mobile_vla_msgs.msg import GripperCommand, GripperState
from mobile_vla_ros.qos import SENSOR
from mobile_vla_ros.testing import NodeProcess, wait_for
from mobile_vla_ros.testing.built_messages import build

pytestmark = pytest.mark.alone

HAND = str(Path(__file__).with_name("hand_node.py"))
CONTRACT = Path(__file__).parents[3] / "config" / "robot.yaml"


@pytest.fixture
def start(domain, tmp_path):
    """Start the adapter with a gripper_driver."""
    nodes = []

    def start(command, state=None, env=None):
        file = tmp_path / "robot.yaml"
        driver = {"command": command, **({"state": state} if state else {})}
        file.write_text(
            yaml.safe_dump({**yaml.safe_load(CONTRACT.read_text()), "gripper_driver": driver}, sort_keys=False)
        )
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

    def said(words):
        return any(
            status.level == DiagnosticStatus.WARN and words in status.message
            for array in diagnostics
            for status in array.status
        )

    wait_for(lambda: said("no service"), what="the missing service")
    probe.node.create_service(SetBool, "suction", answer)
    wait_for(lambda: len(calls) >= 2 and said("'suction' failed: no air"), what="calls that fail")
    assert states and states[-1].position == 0.0
    works = True
    wait_for(lambda: states[-1].position == 1.0, what="the commanded position")
    count = len(calls)
    seen = len(states)
    wait_for(lambda: len(states) > seen + 10, what="a second")
    assert len(calls) <= count + 1 and all(calls)


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
    probe, start, tmp_path_factory, command, package, second
):
    environment = build(package, tmp_path_factory.mktemp(package))
    heard = probe.collect(Float64MultiArray, "hand/got")
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
