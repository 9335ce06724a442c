"""Running a node: every way out closes it, sends what must be sent last, and gives the right exit status."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from std_msgs.msg import String

from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import NodeProcess, Probe, wait_for

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("domain")]

NODE = """
import ctypes
import sys
import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import String
from mobile_vla_ros.parameters import flag, integer, number, text
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.run import StartError, run

class Last(Node):
    def __init__(self):
        super().__init__("last")
        self.publisher = self.create_publisher(String, "words", LATCHED)
        how = text(self, "how", "", "how to end")
        number(self, "rate_hz", 1.0, "a rate", above=0, at_most=10)
        integer(self, "count", 1, "a count", at_least=0, at_most=5)
        flag(self, "loop", False, "a switch")
        if how == "refuse":
            raise StartError("last: cannot start", status=3)
        self.publisher.publish(String(data="begun"))
        if how == "raise":
            self.create_timer(0.1, self.fail)
        if how == "leave":
            self.exit_code = 7
    def fail(self):
        if self.publisher.get_subscription_count():
            1 / 0
    def close(self):
        self.publisher.publish(String(data="zero"))
        self.publisher.wait_for_all_acked(Duration(seconds=5))
    def destroy_node(self):
        if self.get_parameter("how").value == "block":
            # As a lock within DDS: nothing in Python can run, and no signal's handler either.
            ctypes.PyDLL(None).pause()
        super().destroy_node()

sys.exit(run(Last))
"""


@pytest.fixture
def start(tmp_path):
    file = tmp_path / "node.py"
    file.write_text(NODE)

    started = []

    def start(**parameters):
        started.append(NodeProcess("", "", parameters, command=[sys.executable, str(file)]))
        return started[-1]

    yield start
    for node in started:
        node.stop()


@pytest.mark.parametrize(
    ("how", "number", "status"),
    [
        ("", signal.SIGINT, 0),
        ("", signal.SIGTERM, 0),
        ("", signal.SIGHUP, 0),
        ("raise", 0, 1),
        ("leave", 0, 7),
    ],
)
def test_the_last_message_leaves_on_every_way_out(start, how, number, status):
    with Probe() as probe:
        words = probe.collect(String, "words", LATCHED)
        wait_for(lambda: probe.node.count_subscribers("words") == 1)
        node = start(how=how)
        if number:
            wait_for(lambda: any(word.data == "begun" for word in words), what="the node")
            assert node.stop(number) == status
        else:
            assert node.wait() == status
            if how == "leave":
                return  # over before anyone was there to hear it
        wait_for(lambda: words and words[-1].data == "zero", what="the last message")
        assert ("ZeroDivisionError" in node.output) == (how == "raise")


def test_a_node_that_blocks_while_it_leaves_the_graph_is_ended_after_its_last_message_and_says_where(start):
    with Probe() as probe:
        words = probe.collect(String, "words", LATCHED)
        node = start(how="block")
        wait_for(lambda: any(word.data == "begun" for word in words), what="the node")
        assert node.stop(signal.SIGINT) == -signal.SIGALRM
        assert words[-1].data == "zero"
        assert "in destroy_node" in node.output


LAUNCH = """
import os, subprocess, sys
os.environ["MOBILE_VLA_LAUNCH_PID"] = str(os.getpid())
print(subprocess.Popen([sys.executable, sys.argv[1]]).pid, flush=True)
sys.stdin.read()
"""


def test_a_node_whose_launch_is_gone_sends_its_last_message_and_ends(start, tmp_path):
    start(how="leave").wait()  # writes the node's file
    with Probe() as probe:
        words = probe.collect(String, "words", LATCHED)
        launch = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(tmp_path / "node.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert launch.stdout is not None
        node = int(launch.stdout.readline())
        wait_for(lambda: words and words[-1].data == "begun", what="the node")
        launch.kill()
        wait_for(lambda: words[-1].data == "zero", what="the last message")
        wait_for(lambda: launch.poll() is not None and not Path(f"/proc/{node}").exists(), what="the node's end")


def test_a_node_that_comes_up_after_its_launch_has_gone_ends_at_once_and_says_why(start, monkeypatch):
    gone = subprocess.Popen(["true"])
    gone.wait()
    monkeypatch.setenv("MOBILE_VLA_LAUNCH_PID", str(gone.pid))
    node = start()
    assert node.wait() == 0
    assert f"the launch of this node (process {gone.pid}) has ended" in node.output


@pytest.mark.parametrize(
    ("parameters", "status", "complaint"),
    [
        ({"how": "refuse"}, 3, "error: last: cannot start"),
        ({"rate_hz": 0}, 1, "parameter 'rate_hz' is 0; it must be a number above 0 and at most 10"),
        ({"rate_hz": 11.0}, 1, "parameter 'rate_hz' is 11.0"),
        ({"rate_hz": float("nan")}, 1, "parameter 'rate_hz' is nan"),
        ({"count": 2.5}, 1, "parameter 'count' is 2.5; it must be a whole number from 0 to 5"),
        ({"loop": "yes please"}, 1, "parameter 'loop' is 'yes please'; it must be true or false"),
    ],
)
def test_a_refusal_is_one_line(start, parameters, status, complaint):
    node = start(**parameters)
    assert node.wait() == status
    (line,) = node.output.splitlines()
    assert complaint in line


def test_a_whole_number_does_where_a_fraction_is_meant(start):
    node = start(rate_hz=2, how="leave")
    assert node.wait() == 7


def test_a_malformed_parameter_file_is_one_line_and_status_2(start, tmp_path):
    start(how="leave").wait()
    file = tmp_path / "broken.yaml"
    file.write_text("{ not yaml")
    command = [sys.executable, str(tmp_path / "node.py"), "--ros-args", "--params-file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "broken.yaml" in done.stderr.splitlines()[-1]
