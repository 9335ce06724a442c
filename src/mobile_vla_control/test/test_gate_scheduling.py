"""The gate before other processes, where the system permits it."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist

from mobile_vla_ros.testing import NodeProcess, Probe, unique_domain, wait_for

pytestmark = pytest.mark.alone

CONTRACT = str(Path(__file__).parents[3] / "config" / "robot.yaml")


@pytest.fixture
def probe():
    with unique_domain(), Probe() as probe:
        yield probe


@pytest.mark.parametrize("env", [{}, {"MOBILE_VLA_REALTIME": "0"}], ids=["asked for", "not asked for"])
def test_the_gate_says_how_it_is_scheduled_rests_between_its_ticks_and_ends_on_a_signal(probe, env):
    gate = NodeProcess("mobile_vla_control", "command_gate_node", {"contract": CONTRACT}, env=env)
    pid = gate.process.pid
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    wait_for(lambda: diagnostics, what="diagnostics")
    said = {item.key: item.value for item in diagnostics[-1].status[0].values}["scheduling"]
    assert f"scheduling: {said}" in gate.output
    threads = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):  # one that has ended since
            threads.append(os.sched_getscheduler(int(thread)))
    assert os.sched_getscheduler(pid) == (os.SCHED_FIFO if said.startswith("real-time (") else os.SCHED_OTHER)
    # DDS has at least five: the threads that receive, send and time have to be on time, too.
    assert threads.count(os.SCHED_FIFO) >= 5 or said.startswith("normal (")
    assert not env or said == "normal (MOBILE_VLA_REALTIME is 0)"
    # A process before all others that spun would leave them nothing of its processor.
    velocities, used_s = probe.collect(Twist, "cmd_vel"), processor_time_s(pid)
    wait_for(lambda: len(velocities) > 40, what="two seconds")
    assert processor_time_s(pid) - used_s < 1.0
    assert gate.stop(signal.SIGTERM) == 0


def processor_time_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_gate_drives_without_the_shared_memory_that_can_hang_after_a_kill(probe):
    velocities = probe.collect(Twist, "cmd_vel")
    # LOCALHOST makes rmw_fastrtps choose the transports itself, shared memory among them.
    env = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
    with NodeProcess("mobile_vla_control", "command_gate_node", {"contract": CONTRACT}, env=env) as gate:
        wait_for(lambda: velocities, what="the gate")
        commands, driving = probe.publisher(Twist, "cmd_vel_teleop"), Twist()
        driving.linear.x = 0.1

        def moves():
            commands.publish(driving)
            return velocities[-1].linear.x > 0

        wait_for(moves, what="motion")
        for process, uses in ((gate.process.pid, False), (os.getpid(), True)):
            assert ("/dev/shm/fast" in Path(f"/proc/{process}/maps").read_text()) is uses
