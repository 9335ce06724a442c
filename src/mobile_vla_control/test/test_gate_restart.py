"""A stop holds while the gate's process comes and goes; over DDS, with a policy that goes on asking to drive."""

import shutil
import signal
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from std_srvs.srv import Trigger

from mobile_vla_msgs.msg import GateStatus
from mobile_vla_ros.qos import EVERY_STATUS
from mobile_vla_ros.testing import NodeProcess, Probe, wait_for

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("domain")]

CONTRACT = str(Path(__file__).parents[3] / "config" / "robot.yaml")


class Scene:
    """A policy that drives at 0.5 m/s all the time, and what the gate makes of it."""

    def __init__(self, probe, state_folder):
        self.probe, self.env = probe, {"XDG_STATE_HOME": str(state_folder)}
        self.velocities = probe.collect(Twist, "cmd_vel")
        self.statuses = probe.collect(GateStatus, "gate/status", EVERY_STATUS)
        policy, message = probe.node.create_publisher(Twist, "cmd_vel_policy", 1), Twist()
        message.linear.x = 0.5
        probe.node.create_timer(0.025, lambda: policy.publish(message))

    def start_gate(self):
        self.statuses.clear()
        self.velocities.clear()
        return NodeProcess("mobile_vla_control", "command_gate_node", {"contract": CONTRACT}, env=self.env)

    def wait_until_driving(self):
        wait_for(lambda: self.velocities and self.velocities[-1].linear.x == 0.5, what="full speed")

    def require_stopped(self):
        """The gate hears the policy, and sends nothing but zeros for a while."""
        wait_for(lambda: self.statuses and self.statuses[-1].policy_age_s >= 0.0, what="a gate that hears the policy")
        seen = len(self.velocities)
        wait_for(lambda: len(self.velocities) > seen + 10, what="more of cmd_vel")
        assert all(velocity == Twist() for velocity in self.velocities)
        assert all(status.stopped and status.driver == GateStatus.DRIVER_STOPPED for status in self.statuses)


@pytest.fixture
def scene(tmp_path):
    with Probe() as probe:
        yield Scene(probe, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stop_holds_over_the_end_of_the_gate_until_resume(scene, number):
    gate = scene.start_gate()
    scene.wait_until_driving()
    assert scene.probe.call(Trigger, "gate/stop").message == "stopped; call gate/resume to continue"
    gate.stop(number)
    for _ in range(2):
        gate = scene.start_gate()
        scene.require_stopped()
        assert "before this gate started; call gate/resume to continue" in scene.statuses[-1].reason
        assert gate.output.count("the robot stays stopped: gate/stop was called at 20") == 1
        gate.stop(number)
    with scene.start_gate():
        scene.require_stopped()
        assert scene.probe.call(Trigger, "gate/resume").message == "resumed"
        scene.wait_until_driving()
    with scene.start_gate():
        scene.wait_until_driving()


def test_a_gate_that_was_ended_without_a_stop_drives_again(scene):
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        gate = scene.start_gate()
        scene.wait_until_driving()
        gate.stop(number)


def test_a_stop_that_cannot_be_remembered_still_stops_and_says_so(scene):
    scene.env = {"XDG_STATE_HOME": "/dev/null"}
    diagnostics = scene.probe.collect(DiagnosticArray, "/diagnostics")
    warning = "; after a restart the gate will not be stopped: /dev/null/mobile_vla: "
    with scene.start_gate():
        scene.wait_until_driving()
        answer = scene.probe.call(Trigger, "gate/stop")
        assert answer.success and warning in answer.message
        wait_for(lambda: scene.velocities[-1] == Twist(), what="a zero")
        wait_for(lambda: any(warning in item.message for array in diagnostics for item in array.status))
        assert scene.probe.call(Trigger, "gate/resume").message == "resumed"
        scene.wait_until_driving()


def test_a_stop_is_remembered_again_when_somebody_removes_the_folder(scene, tmp_path):
    with scene.start_gate():
        scene.probe.call(Trigger, "gate/stop")
        (file,) = tmp_path.glob("mobile_vla/stop_*.json")
        shutil.rmtree(file.parent)
        wait_for(file.exists, what="the file")
