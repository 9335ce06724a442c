"""The gate over DDS among nodes that speak other types of velocity and gripper commands."""

from contextlib import ExitStack

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from gate_process import Sender, start_gate, twist
from geometry_msgs.msg import Twist, TwistStamped

from mobile_vla_msgs.msg import GateStatus
from mobile_vla_ros.convert import to_stamp
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import Probe, wait_for

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("domain")]


def test_a_second_publisher_of_cmd_vel_is_reported_by_name(probe):
    with start_gate() as gate:
        probe.publisher(Twist, "cmd_vel", subscribers=0)
        statuses = probe.collect(GateStatus, "gate/status", LATCHED)
        said = "'/cmd_vel' is also published by /probe: stop it, or remap it to cmd_vel_teleop"
        wait_for(lambda: said in gate.output)
        wait_for(lambda: statuses and said in statuses[-1].fault, what="the same in gate/status")


TWIST, STAMPED = "geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"


@pytest.mark.parametrize("stamped", [False, True])
@pytest.mark.parametrize("topic", ["cmd_vel_teleop", "cmd_vel_policy", "cmd_vel"])
def test_a_velocity_of_the_wrong_type_is_an_error_that_names_node_and_type(probe, topic, stamped):
    wrong, ours = (Twist, STAMPED) if stamped else (TwistStamped, TWIST)
    theirs = TWIST if stamped else STAMPED
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    statuses = probe.collect(GateStatus, "gate/status", LATCHED)
    with start_gate(stamped=stamped) as gate, Probe("base") as base:
        base.collect(TwistStamped if stamped else Twist, "cmd_vel")
        # The base subscribes to cmd_vel; the sources publish to the others.
        if topic == "cmd_vel":
            entity, verb = probe.node.create_subscription(wrong, topic, lambda _: None, 10), "subscribes to"
            remove = probe.node.destroy_subscription
        else:
            entity, verb = probe.node.create_publisher(wrong, topic, 10), "publishes"
            remove = probe.node.destroy_publisher
        said = (
            f"/probe {verb} '/{topic}' as {theirs}, not {ours}: set its parameter 'stamped' to {str(stamped).lower()}"
        )
        wait_for(lambda: statuses and said in statuses[-1].fault, what="the fault in gate/status")

        def newest():
            mine = [status for array in diagnostics for status in array.status if status.name == "command_gate_node"]
            return mine[-1] if mine else DiagnosticStatus()

        wait_for(lambda: newest().level == DiagnosticStatus.ERROR and said in newest().message, what="an ERROR")
        wait_for(lambda: said in gate.output, what="a line in the log")
        assert gate.output.count(said) == 1, "logged once"
        remove(entity)
        wait_for(lambda: statuses[-1].fault == "" and newest().level == DiagnosticStatus.OK, what="no fault any more")


@pytest.mark.parametrize(("message_type", "sends"), [(Twist, TWIST), (TwistStamped, STAMPED)])
def test_the_gate_sends_the_type_that_the_robot_subscribes_to(probe, message_type, sends):
    heard, statuses = probe.collect(message_type, "cmd_vel"), probe.collect(GateStatus, "gate/status", LATCHED)
    with start_gate() as gate:
        Sender(probe, Twist, "cmd_vel_teleop", lambda: twist(0.5))
        wait_for(lambda: heard and getattr(heard[-1], "twist", heard[-1]) == twist(0.5), what="full speed")
        types = {info.topic_type for info in probe.node.get_publishers_info_by_topic("/cmd_vel")}
        assert types == {sends}
        assert statuses[-1].fault == "", gate.output


def test_a_base_that_is_replaced_by_one_of_the_other_type_is_driven(probe):
    with start_gate():
        for message_type in (TwistStamped, Twist):
            with Probe("base") as base:
                heard = base.collect(message_type, "cmd_vel")
                wait_for(lambda: heard, what=f"a {message_type.__name__}")  # noqa: B023


def test_robots_of_both_types_are_an_error_that_names_the_one_without_commands(probe):
    statuses = probe.collect(GateStatus, "gate/status", LATCHED)
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    heard = probe.collect(TwistStamped, "cmd_vel")
    with start_gate():
        wait_for(lambda: heard, what="commands for the first")
        with Probe("second_base") as second:
            second.collect(Twist, "cmd_vel")
            said = f"/second_base subscribes to '/cmd_vel' as {TWIST}, not {STAMPED}"
            wait_for(lambda: said in statuses[-1].fault, what="the fault in gate/status")

            def newest():
                return [status for status in diagnostics[-1].status if status.name == "command_gate_node"][-1]

            wait_for(lambda: newest().level == DiagnosticStatus.ERROR and said in newest().message, what="an ERROR")
            seen = len(heard)
            wait_for(lambda: len(heard) > seen, what="commands for the first as before")


def test_a_source_that_stamps_its_commands_is_heard_and_its_stale_commands_are_refused(probe):
    with start_gate():
        velocities, statuses = probe.collect(Twist, "cmd_vel"), probe.collect(GateStatus, "gate/status", LATCHED)
        age_ns = 0

        def forward():
            message = TwistStamped(twist=twist(0.5))
            message.header.stamp = to_stamp(probe.now_ns() - age_ns)
            return message

        source = probe.node.create_publisher(TwistStamped, "cmd_vel_teleop", 1)
        probe.node.create_timer(0.025, lambda: source.publish(forward()))
        wait_for(lambda: velocities and velocities[-1].linear.x == 0.5, what="full speed")
        age_ns = 2_000_000_000
        wait_for(lambda: "limit 0.5 s" in statuses[-1].reason and velocities[-1] == Twist(), what="a refusal")


def test_tools_that_watch_are_no_robots_whatever_type_they_take(probe):
    tools = ("rqt_gui_py_node_4711", "rosbridge_websocket", "plotjuggler", "_a_tool", "rosbag2_recorder")
    statuses = probe.collect(GateStatus, "gate/status", LATCHED)
    with ExitStack() as stack:
        for name in tools:
            stack.enter_context(Probe(name)).collect(TwistStamped, "cmd_vel")
        stack.enter_context(start_gate())
        said = "no robot subscribes to '/cmd_vel'"
        wait_for(lambda: statuses and said in statuses[-1].fault, what="the missing robot")
        heard = probe.collect(Twist, "cmd_vel")
        wait_for(lambda: heard and statuses[-1].fault == "", what="the robot's own type, and no fault")


@pytest.mark.parametrize("stamped", ["auto", False])
def test_a_gate_that_no_robot_listens_to_is_in_error_until_one_does(probe, stamped):
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    statuses = probe.collect(GateStatus, "gate/status", LATCHED)
    with start_gate(stamped=stamped), Probe("recorder_node") as recorder:
        recorder.collect(Twist, "cmd_vel")
        said = "no robot subscribes to '/cmd_vel': start the driver of its base"
        wait_for(lambda: statuses and said in statuses[-1].fault, what="the fault in gate/status")
        wait_for(lambda: diagnostics[-1].status[0].level == DiagnosticStatus.ERROR, what="an ERROR")
        assert said in diagnostics[-1].status[0].message
        probe.collect(Twist, "cmd_vel")
        wait_for(lambda: statuses[-1].fault == "", what="no fault any more")


@pytest.mark.parametrize(
    ("topic", "message_type", "theirs"),
    [("gripper/command_policy", Twist, TWIST), ("gripper/command", TwistStamped, STAMPED)],
)
def test_a_gripper_command_of_the_wrong_type_is_reported_too(probe, topic, message_type, theirs):
    statuses = probe.collect(GateStatus, "gate/status", LATCHED)
    with start_gate():
        subscription = probe.node.create_subscription(message_type, topic, lambda _: None, 10)
        said = f"/probe subscribes to '/{topic}' as {theirs}, not mobile_vla_msgs/msg/GripperCommand"
        wait_for(lambda: statuses and said in statuses[-1].fault)
        probe.node.destroy_subscription(subscription)


def test_a_tool_that_listens_with_the_right_type_is_no_fault(probe):
    statuses = probe.collect(GateStatus, "gate/status", LATCHED)
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    velocities = probe.collect(Twist, "cmd_vel")
    with start_gate():
        wait_for(lambda: velocities and sum(len(array.status) for array in diagnostics) >= 3, what="three looks")
        assert statuses[-1].fault == ""
