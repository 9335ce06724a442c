"""Faults of the whole way from the policy to the wheels, over DDS: policy_node and the gate in their own processes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import Twist
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from robot_fixtures import CONTRACT, GO
from rosgraph_msgs.msg import Clock

from mobile_vla_control.testing import require_timeouts
from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import GateStatus, PolicyStatus
from mobile_vla_ros.convert import to_ns, to_stamp
from mobile_vla_ros.qos import EVERY_STATUS
from mobile_vla_ros.testing import FakeRobot, NodeProcess, SimulatedTime, StampedVelocities, wait_for

pytestmark = pytest.mark.alone

#: Between judging an age and stamping the command a busy machine may take the processor away.
SENDS_S = 0.2


@pytest.fixture
def stamped() -> bool:
    return True


@pytest.fixture
def wheels(probe: Any) -> StampedVelocities:
    return StampedVelocities(probe, "cmd_vel")


def gate(**parameters: Any) -> NodeProcess:
    return NodeProcess(
        "mobile_vla_control", "command_gate_node", {"contract": str(CONTRACT), "stamped": True, **parameters}
    )


def test_odometry_that_falls_silent_stops_the_wheels(probe, robot, start_node, wheels, statuses):
    commands = StampedVelocities(probe, "cmd_vel_policy")
    with gate():
        start_node("steady", instruction=GO, command_rate_hz=20.0)
        wait_for(lambda: wheels.moving)
        robot.silent = {"odom"}
        wait_for(lambda: "odom' is silent" in statuses[-1].message and commands.still)
        moved_on_s = (commands.last_motion_ns() - robot.last_ns("odom")) * 1e-9
        assert moved_on_s < 0.2 + SENDS_S, "odometry_max_age_s of the contract"
        wait_for(lambda: wheels.still)
        robot.silent = set()
        wait_for(lambda: wheels.moving)


def test_a_gate_restarted_while_moving_leaves_on_zero_and_goes_on_within_its_limits(probe, robot, start_node, wheels):
    start_node("steady", instruction=GO, command_rate_hz=20.0)
    with gate() as first:
        wait_for(lambda: wheels.moving)
        first.stop(signal.SIGTERM)
    wait_for(lambda: wheels.still, what="the last word of the gate, which is zero")
    before = len(wheels.heard)
    with gate():
        wait_for(lambda: wheels.moving)
        wait_for(lambda: len(wheels.heard) > before + 10)
        speeds = [message.twist.linear.x for message in wheels.heard[before:]]
        steps = [after - earlier for earlier, after in pairwise(speeds)]
        assert max(steps) <= 2.0 * 0.1, "limits.linear_acceleration_m_s2 for two ticks: on a busy machine one is late"


def test_two_policies_on_one_robot_both_stand_and_name_each_other(probe, robot, start_node, wheels, statuses):
    with gate():
        start_node("steady", instruction=GO)
        wait_for(lambda: wheels.moving)
        second = start_node("steady", instruction=GO)

        def rival_named(status: PolicyStatus) -> bool:
            words = ("another policy", "/policy_node")
            return status.state == PolicyStatus.STATE_ERROR and all(word in status.message for word in words)

        # Each of the two tells twice a second: in so many there are both.
        wait_for(lambda: len(statuses) > 8 and all(rival_named(status) for status in statuses[-8:]))
        wait_for(lambda: wheels.still)
        second.stop()
        wait_for(lambda: wheels.moving)


def test_an_onlooker_in_shadow_mode_is_no_rival(probe, robot, start_node, wheels, statuses):
    with gate():
        start_node("steady", instruction=GO)
        start_node("steady", instruction=GO, shadow=True)
        wait_for(lambda: any(status.shadow and status.steps > 5 for status in statuses))
        wait_for(lambda: wheels.moving)
        assert not any("another policy" in status.message for status in statuses)


@contextmanager
def simulated_clock(probe: Any, robot: Any) -> Iterator[None]:
    """Publish /clock as the robot's stamps run, so that ``robot.clock_offset_ns`` makes the clock of the node jump."""
    publisher = probe.node.create_publisher(Clock, "/clock", 10)
    running = True

    def run() -> None:
        while running:
            if "clock" not in robot.silent:
                publisher.publish(Clock(clock=to_stamp(probe.now_ns() + robot.clock_offset_ns)))
            time.sleep(0.01)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        running = False
        thread.join()
        probe.node.destroy_publisher(publisher)


@pytest.mark.parametrize("replan_threshold", [0, 2])
def test_a_clock_that_jumps_stops_the_robot_for_a_moment_and_nothing_planned_before_is_driven(
    probe, robot, start_node, wheels, replan_threshold
):
    # Most of the time a pass is running when the clock jumps, and there is always a plan.
    told = StampedVelocities(probe, "cmd_vel_policy")
    # Nothing is slowed down on a busy machine: every speed tells which plan it comes from.
    options = {"use_sim_time": True, "replan_threshold": replan_threshold, "blend": 0.0, "max_stretch": 1.0}
    robot.x = 3.0
    with simulated_clock(probe, robot), gate(use_sim_time=True):
        start_node("slow=0.08,echo-x", instruction=GO, command_rate_hz=20.0, **options)
        wait_for(lambda: wheels.moving)
        for count, hours in enumerate((1, -2, 1, -1, -1)):
            # What is planned from now on is another speed; and commands are stamped by the clock that jumps.
            before, after = robot.x * 0.1, 1.0 + count % 2
            robot.x = after
            robot.clock_offset_ns += hours * 3600 * 10**9
            jumped_ns, heard = probe.now_ns() + robot.clock_offset_ns, len(told.heard)

            def since(jumped_ns: int = jumped_ns, heard: int = heard) -> list[float]:
                late = [item for item in told.heard[heard:] if abs(to_ns(item.header.stamp) - jumped_ns) < 60 * 10**9]
                return [round(item.twist.linear.x, 6) for item in late]

            wait_for(lambda: since().count(after * 0.1) > 10)  # noqa: B023
            assert set(since()) <= {0.0, after * 0.1}, f"of {before} m/s nothing is driven any more"
            wait_for(lambda: wheels.moving)
        robot.silent = {"static"}
        robot.clock_offset_ns -= 3600 * 10**9
        wait_for(lambda: wheels.still)
        heard = len(wheels.heard)
        wait_for(lambda: len(wheels.heard) > heard + 20)
        assert all(message.twist == Twist() for message in wheels.heard[heard:]), "old frames are not fresh ones"
        assert max(abs(message.twist.linear.x) for message in wheels.heard) <= 0.3 + 1e-6


@pytest.mark.parametrize("factor", [0.2, 2.0, 5.0])
def test_a_simulation_slower_or_faster_than_real_time_is_driven_at_full_speed(probe, start_node, wheels, factor):
    simulated = closing(FakeRobot(probe, Contract.load(CONTRACT), rate_hz=60.0))
    with simulated as robot, closing(SimulatedTime(probe, robot, factor)), gate(use_sim_time=True):
        start_node("steady", instruction=GO, command_rate_hz=50.0, use_sim_time=True)
        wait_for(lambda: wheels.moving)
        heard = len(wheels.heard)

        # Waited for: at five times real time, a chunk lasts 0.1 s, which a busy machine may take away.
        def full_speed() -> bool:
            speeds = [message.twist.linear.x for message in wheels.heard[heard + 20 :][-40:]]
            return len(speeds) == 40 and sum(speed == pytest.approx(0.3) for speed in speeds) > 32

        wait_for(full_speed, what="four of five commands at 0.3 m/s")


def test_a_simulated_clock_that_stops_stops_the_robot(probe, robot, start_node, wheels, statuses):
    with simulated_clock(probe, robot), gate(use_sim_time=True):
        start_node("steady", instruction=GO, command_rate_hz=20.0, use_sim_time=True)
        wait_for(lambda: wheels.moving)
        robot.silent = {"clock"}
        wait_for(lambda: "clock does not advance" in statuses[-1].message)
        wait_for(lambda: wheels.still)
        robot.silent = set()
        wait_for(lambda: wheels.moving)


@contextmanager
def transitions(probe: Any) -> Iterator[Callable[[int], bool]]:
    """Changes the state of policy_node: one client for all, as a lifecycle manager does."""
    client = probe.node.create_client(ChangeState, "policy_node/change_state")
    wait_for(client.service_is_ready, what="policy_node")

    def change(transition: int) -> bool:
        # A service that is just being discovered may lose its first answer, and a transition must not be asked twice.
        future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        wait_for(future.done, what=f"the end of transition {transition}")
        return bool(future.result().success)

    try:
        yield change
    finally:
        probe.node.destroy_client(client)


def footprint(node: NodeProcess) -> tuple[int, int]:
    """Resident memory [bytes] and threads of a process, from the kernel."""
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["VmRSS"].split()[0]) * 1024, int(fields["Threads"])


def test_activating_and_deactivating_a_hundred_times_leaks_nothing(probe, robot, start_node, statuses):
    node = start_node("steady", instruction=GO, autostart=False)
    with transitions(probe) as change:
        assert change(Transition.TRANSITION_CONFIGURE)
        for cycle in range(100):
            assert change(Transition.TRANSITION_ACTIVATE)
            assert change(Transition.TRANSITION_DEACTIVATE)
            if cycle == 20:
                memory, threads = footprint(node)
        memory_after, threads_after = footprint(node)
        assert memory_after - memory < 8e6, "bytes over 80 cycles; an image is 150 kB, a thread's stack 8 MB"
        assert threads_after == threads, "no inference thread is left behind"
        assert change(Transition.TRANSITION_ACTIVATE)
    wait_for(lambda: statuses[-1].state == PolicyStatus.STATE_RUNNING)


def test_a_forward_pass_left_behind_is_never_joined_by_a_second_one(probe, robot, start_node, statuses):
    start_node("stuck", instruction=GO, autostart=False, inference_timeout_s=0.5)
    with transitions(probe) as change:
        assert change(Transition.TRANSITION_CONFIGURE)
        assert change(Transition.TRANSITION_ACTIVATE)
        wait_for(lambda: "has not returned" in statuses[-1].message)
        assert change(Transition.TRANSITION_DEACTIVATE)
        assert not change(Transition.TRANSITION_ACTIVATE), "a policy is not made for two threads"
        assert change(Transition.TRANSITION_CLEANUP) and change(Transition.TRANSITION_CONFIGURE)
        assert change(Transition.TRANSITION_ACTIVATE)
    wait_for(lambda: statuses[-1].state == PolicyStatus.STATE_RUNNING)


def test_a_policy_that_is_killed_while_moving_leaves_the_gate_to_stop_the_wheels(probe, robot, start_node, wheels):
    told = probe.collect(GateStatus, "gate/status", EVERY_STATUS)
    commands = StampedVelocities(probe, "cmd_vel_policy")
    with gate():
        node = start_node("steady", instruction=GO, command_rate_hz=20.0)
        # Wheels roll on for a while after a zero of the policy, which is no timeout when nothing follows it.
        wait_for(lambda: wheels.moving and commands.moving)
        node.process.kill()
        wait_for(lambda: told[-1].timeouts and told[-1].driver == GateStatus.DRIVER_NONE)
        wait_for(lambda: wheels.still)
        require_timeouts(told, wheels, policy_timeout_s=0.3)
