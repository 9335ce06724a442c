"""The keyboard teleop in its own process, on a real pseudo-terminal."""

import os
import pty
import signal
import subprocess
import termios
import time
from itertools import pairwise

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Twist
from recorder_client import CONTRACT_PATH

from mobile_vla_msgs.msg import GateStatus, GripperCommand, RecorderStatus
from mobile_vla_msgs.srv import DiscardEpisode, StartEpisode, StopEpisode
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import NodeProcess, wait_for

pytestmark = pytest.mark.alone


class Typist:
    """A human at a terminal whose other end is the node's stdin."""

    def __init__(self, **parameters):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.node = NodeProcess(
            "mobile_vla_collect",
            "keyboard_teleop_node",
            {"contract": str(CONTRACT_PATH), **parameters},
            stdin=self.slave,
        )

    def type(self, keys):
        os.write(self.master, keys.encode())

    def hold(self, key, until):
        """As a keyboard does, 30 repetitions a second, until ``until()``."""

        def pressed():
            self.type(key)
            time.sleep(0.033)
            return until()

        wait_for(pressed, what=f"what holding {key!r} is for")

    def close(self):
        self.node.stop()
        for descriptor in (self.master, self.slave):
            if descriptor is not None:
                os.close(descriptor)


@pytest.fixture
def start_typist():
    started = []

    def start(**parameters):
        started.append(Typist(**parameters))
        return started[-1]

    yield start
    for typist in started:
        typist.close()


@pytest.fixture
def velocities(probe):
    return probe.collect(Twist, "cmd_vel_teleop")


def wait_matched(probe, topic="cmd_vel_teleop"):
    wait_for(lambda: probe.node.count_publishers(topic) > 0, what=f"a publisher of {topic}")


def test_holding_a_key_moves_at_20_hz_and_releasing_it_sends_zeros_then_nothing(probe, start_typist, velocities):
    typist = start_typist(linear_m_s=0.5)
    wait_matched(probe)
    wait_for(lambda: "hold to drive" in typist.node.output, what="help")
    assert not velocities, "silent until used"
    began = time.monotonic()
    typist.hold("w", lambda: sum(velocity.linear.x == 0.5 for velocity in velocities) > 15)
    wait_for(lambda: [v.linear.x for v in velocities[-4:]] == [0.0] * 4, what="several zeros")
    moving_s = time.monotonic() - began
    assert {velocity.linear.x for velocity in velocities} == {0.5, 0.0}
    assert sum(velocity.linear.x == 0.5 for velocity in velocities) <= 20 * moving_s + 2
    seen = -1
    while seen != len(velocities):
        seen = len(velocities)
        time.sleep(0.3)
    last_move = max(index for index, velocity in enumerate(velocities) if velocity.linear.x == 0.5)
    assert seen - 1 - last_move <= 0.3 * 20 + 2, "silence hands the robot back"


def test_a_speed_above_the_contracts_limit_becomes_the_limit(probe, start_typist, velocities):
    typist = start_typist(linear_m_s=5.0)
    wait_matched(probe)
    wait_for(lambda: "linear_m_s is 5; the contract allows 0.8" in typist.node.output, what="the warning")
    typist.hold("w", lambda: any(velocity.linear.x for velocity in velocities))
    assert max(velocity.linear.x for velocity in velocities) == 0.8


def test_gripper_and_episode_keys_call_what_they_should(probe, start_typist, velocities):
    calls = []

    def answer(name):
        def callback(request, response):
            calls.append((name, getattr(request, "outcome", getattr(request, "language", ""))))
            response.success, response.message = True, f"{name} done"
            return response

        return callback

    for type_, name in ((StartEpisode, "start"), (StopEpisode, "stop"), (DiscardEpisode, "discard")):
        probe.node.create_service(type_, f"recorder/{name}_episode", answer(name))
    grips = probe.collect(GripperCommand, "gripper/command_teleop")
    typist = start_typist(language="go to the kitchen", task="go_to_kitchen", category="navigation")
    wait_matched(probe, "gripper/command_teleop")
    wait_for(lambda: probe.node.count_clients("recorder/start_episode") > 0, what="the client")

    def typed_until(keys, condition, what):
        # The node may not have found the services yet; it says so, and a human presses again.
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {calls} {typist.node.output}"
            typist.type(keys)
            time.sleep(0.3)

    typed_until("\r", lambda: ("start", "go to the kitchen") in calls, "start")
    typed_until("y", lambda: ("stop", "success") in calls, "success")
    typed_until("n", lambda: ("stop", "failure") in calls, "failure")
    again = (("discard", ""), ("start", "go to the kitchen"))
    typed_until("r", lambda: again in pairwise(list(calls)), "discard, then start")
    typed_until("c", lambda: grips and grips[-1].position == 1.0, "close")
    typed_until("o", lambda: grips[-1].position == 0.0, "open")
    wait_for(lambda: "start done" in typist.node.output, what="the answer in the terminal")


def test_a_long_repeat_delay_is_learned_and_said_with_the_parameter(probe, start_typist, velocities):
    typist = start_typist(first_hold_s=0.1)
    wait_matched(probe)
    wait_for(lambda: "hold to drive" in typist.node.output, what="help")

    def learned():
        # Until a busy machine delivers the keys as a keyboard with a delay of 0.4 s would.
        typist.type("w")
        time.sleep(0.4)
        for _ in range(3):
            typist.type("w")
            time.sleep(0.03)
        return "this keyboard repeats late, so a single press now counts" in typist.node.output

    wait_for(learned, what="the learned delay")
    assert "(first_hold_s was 0.1)" in typist.node.output


@pytest.mark.parametrize("language", ["x" * 10_000, "go to\x07 the kitchen"])
def test_an_instruction_that_no_policy_takes_is_refused_at_the_start(start_typist, language):
    typist = start_typist(language=language)
    assert typist.node.wait() == 1
    (line,) = [line for line in typist.node.output.splitlines() if line.startswith("error: ")]
    assert "keyboard_teleop_node: parameter 'language': the instruction" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_way_out_sends_zeros_and_restores_the_terminal(probe, start_typist, velocities, number):
    typist = start_typist(first_hold_s=30.0)
    wait_matched(probe)
    wait_for(lambda: "hold to drive" in typist.node.output, what="help")
    assert termios.tcgetattr(typist.slave) != typist.before
    typist.type("w")
    wait_for(lambda: velocities and velocities[-1].linear.x > 0, what="motion")
    assert typist.node.stop(number) == 0
    wait_for(lambda: velocities[-1].linear.x == 0.0, what="a last zero")
    assert termios.tcgetattr(typist.slave) == typist.before


def test_a_lost_terminal_sends_zeros_and_ends(probe, start_typist, velocities):
    typist = start_typist(first_hold_s=30.0)
    wait_matched(probe)
    wait_for(lambda: "hold to drive" in typist.node.output, what="help")
    typist.type("w")
    wait_for(lambda: velocities and velocities[-1].linear.x > 0, what="motion")
    os.close(typist.master)
    typist.master = None
    assert typist.node.wait() in (0, 1)
    wait_for(lambda: velocities[-1].linear.x == 0.0, what="a last zero")


def test_without_a_terminal_it_says_so_in_one_line_and_exits_2():
    node = NodeProcess(
        "mobile_vla_collect", "keyboard_teleop_node", {"contract": str(CONTRACT_PATH)}, stdin=subprocess.DEVNULL
    )
    assert node.wait() == 2
    (line,) = node.output.splitlines()
    assert "stdin is not a terminal; run it in one: ros2 run mobile_vla_collect keyboard_teleop_node" in line


def test_a_recorder_that_died_is_not_shown_as_still_recording(probe, start_typist):
    typist = start_typist()
    publisher = probe.publisher(RecorderStatus, "recorder/status", LATCHED)
    publisher.publish(RecorderStatus(state=RecorderStatus.STATE_RECORDING, episode_id="episode_000007"))
    wait_for(lambda: "REC episode_000007" in typist.node.output, what="the recording on the screen")
    wait_for(
        lambda: "no recorder | no gate" in typist.node.output.rpartition("REC episode_000007")[2],
        what="that no recorder runs any more",
    )


def test_diagnostics_warn_of_a_silent_recorder_or_gate_and_are_ok_with_both(probe, start_typist):
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    start_typist()

    def newest(level, *words):
        """The newest status, if it has this level and all words."""
        statuses = [status for array in diagnostics for status in array.status if "keyboard" in status.name]
        return statuses and statuses[-1].level == level and all(word in statuses[-1].message for word in words)

    wait_for(lambda: newest(DiagnosticStatus.WARN, "'gate/status'"), what="a WARN about the gate")
    assert not newest(DiagnosticStatus.WARN, "'recorder/status'"), "who takes over from a policy needs none"
    recorder = probe.publisher(RecorderStatus, "recorder/status", LATCHED)
    gate = probe.publisher(GateStatus, "gate/status", LATCHED)
    timers = [
        probe.node.create_timer(0.2, lambda: recorder.publish(RecorderStatus(state=RecorderStatus.STATE_IDLE))),
        probe.node.create_timer(0.2, lambda: gate.publish(GateStatus())),
    ]
    wait_for(lambda: newest(DiagnosticStatus.OK, "no key is held"), what="OK")
    timers[0].cancel()
    wait_for(lambda: newest(DiagnosticStatus.WARN, "'recorder/status' has fallen silent"), what="a WARN")
    assert not newest(DiagnosticStatus.WARN, "'gate/status'")
    timers[1].cancel()
    wait_for(lambda: newest(DiagnosticStatus.WARN, "'gate/status'", "start command_gate_node"), what="a WARN")
