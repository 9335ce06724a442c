"""The verbs of ros2_lite against real nodes."""

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobile_vla_ros.testing import NodeProcess, Probe, wait_for

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parents[1]
ROS2 = ROOT / "tools/ros2_lite/bin/ros2"


@pytest.fixture
def gate() -> Iterator[NodeProcess]:
    with NodeProcess(
        "mobile_vla_control", "command_gate_node", {"contract": str(ROOT / "config/robot.yaml")}
    ) as process:
        with Probe() as probe:
            wait_for(lambda: "command_gate_node" in probe.node.get_node_names(), 20, "command_gate_node")
        yield process


def ros2(*words: str, status: int = 0) -> str:
    done = subprocess.run([ROS2, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.usefixtures("gate")
def test_the_verbs_show_and_change_what_a_node_offers(tmp_path: Path) -> None:
    assert "/cmd_vel [geometry_msgs/msg/Twist]" in ros2("topic", "list", "-t")
    described = ros2("topic", "info", "-v", "cmd_vel")
    assert "Publisher count: 1" in described and "Node name: command_gate_node" in described
    assert ros2("topic", "echo", "--once", "--field", "linear.x", "cmd_vel") == "0.0\n---\n"
    assert "/command_gate_node" in ros2("node", "list").splitlines()
    assert "/gate/stop [std_srvs/srv/Trigger]" in ros2("service", "list", "-t")
    assert "success=True" in ros2("service", "call", "gate/stop", "std_srvs/srv/Trigger")
    assert "stopped: true" in ros2("topic", "echo", "--once", "gate/status")
    assert ros2("param", "get", "command_gate_node", "rate_hz") == "Double value is: 20.0\n"
    assert "Setting parameter failed" in ros2("param", "set", "command_gate_node", "rate_hz", "5.0", status=1)
    published = ros2("topic", "pub", "--once", "cmd_vel_teleop", "geometry_msgs/msg/Twist", "{linear: {x: 0.2}}")
    assert "publishing #1: geometry_msgs.msg.Twist(linear=geometry_msgs.msg.Vector3(x=0.2" in published


@pytest.mark.usefixtures("gate")
def test_hz_prints_the_rate_until_it_is_interrupted() -> None:
    process = subprocess.Popen([ROS2, "topic", "hz", "cmd_vel"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    rate = re.match(r"average rate: ([\d.]+)", line)
    assert rate is not None and 5 < float(rate[1]) < 40


def test_a_lifecycle_node_is_led_through_its_states(tmp_path: Path) -> None:
    parameters = {"contract": str(ROOT / "config/robot.yaml"), "dataset": str(tmp_path), "autostart": False}
    with NodeProcess("mobile_vla_collect", "recorder_node", parameters):
        assert ros2("lifecycle", "get", "recorder_node") == "unconfigured [1]\n"
        assert ros2("lifecycle", "set", "recorder_node", "configure") == "Transitioning successful\n"
        assert ros2("lifecycle", "get", "recorder_node") == "inactive [2]\n"
        assert "- activate [3]" in ros2("lifecycle", "set", "recorder_node", "configure", status=1)


def test_what_is_not_there_is_one_line_and_status_1() -> None:
    assert ros2("param", "get", "nobody", "a", status=1) == "Node not found: /nobody\n"
    assert ros2("topic", "echo", "--once", "nothing", status=1) == "topic /nothing does not exist\n"
    assert "'std_msgs/msg/Nix' is not installed" in ros2("topic", "pub", "--once", "a", "std_msgs/msg/Nix", status=1)
    wrong = ros2("topic", "pub", "--once", "a", "std_msgs/msg/String", "{nix: 1}", status=1)
    assert wrong == "String has no field 'nix'; it has data\n"
    wrong = ros2("topic", "pub", "--once", "a", "geometry_msgs/msg/Twist", "{linear: {x: fast}}", status=1)
    assert wrong.startswith("field 'linear.x' is a double, not 'fast': The 'x' field must be of type 'float'")
