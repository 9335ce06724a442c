"""The gate in its own process, over DDS."""

import math
import signal
import statistics
import sys
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from gate_process import Sender, start_gate, twist
from geometry_msgs.msg import Twist, TwistStamped
from sensor_msgs.msg import LaserScan, Range
from std_srvs.srv import Trigger

from mobile_vla_control.testing import require_timeouts
from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import GateStatus, GripperCommand
from mobile_vla_ros.convert import to_stamp
from mobile_vla_ros.qos import EVERY_STATUS, LATCHED
from mobile_vla_ros.testing import FakeRobot, NodeProcess, StampedVelocities, changed_contract, wait_for

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("domain")]

CONTRACT = str(Path(__file__).parents[3] / "config" / "robot.yaml")


def test_a_driver_that_falls_silent_is_followed_by_explicit_zeros_at_rate(probe):
    with start_gate(stamped=True):
        velocities = StampedVelocities(probe, "cmd_vel")
        statuses = probe.collect(GateStatus, "gate/status", EVERY_STATUS)

        def forward():
            message = TwistStamped(twist=twist(0.5))
            message.header.stamp = to_stamp(probe.now_ns())
            return message

        sender = Sender(probe, TwistStamped, "cmd_vel_policy", forward)
        wait_for(lambda: velocities.moving and velocities.heard[-1].twist.linear.x == 0.5, what="full speed")
        sender.stop()
        wait_for(lambda: statuses[-1].timeouts and statuses[-1].driver == GateStatus.DRIVER_NONE, what="status")
        wait_for(lambda: velocities.still, what="zeros")
        require_timeouts(statuses, velocities, policy_timeout_s=0.3)
        seen = len(velocities.heard)
        wait_for(lambda: len(velocities.heard) > seen + 20, what="20 more zeros")
        assert statistics.median(velocities.intervals_s()[seen:]) == pytest.approx(0.05, rel=0.2)
        assert all(velocity.twist == Twist() for velocity in velocities.heard[seen:])


def test_teleop_comes_before_the_policy_and_the_status_says_so(probe):
    with start_gate(release_s=1.0):
        velocities, statuses = probe.collect(Twist, "cmd_vel"), probe.collect(GateStatus, "gate/status", EVERY_STATUS)
        Sender(probe, Twist, "cmd_vel_policy", lambda: twist(0.5))
        wait_for(lambda: statuses and statuses[-1].driver == GateStatus.DRIVER_POLICY, what="policy driving")
        human = Sender(probe, Twist, "cmd_vel_teleop", lambda: twist(-0.2))
        wait_for(lambda: statuses[-1].driver == GateStatus.DRIVER_TELEOP, what="teleop driving")
        wait_for(lambda: velocities[-1].linear.x == pytest.approx(-0.2), what="teleop's speed")
        human.stop()
        since = len(statuses)
        wait_for(lambda: any(status.driver == GateStatus.DRIVER_NONE for status in statuses[since:]), what="release")
        wait_for(lambda: statuses[-1].driver == GateStatus.DRIVER_POLICY, what="hand-back")


def test_nan_never_reaches_the_wheels(probe):
    with start_gate():
        velocities, statuses = probe.collect(Twist, "cmd_vel"), probe.collect(GateStatus, "gate/status", LATCHED)
        values = [0.5, 0.5, math.nan, 0.5, math.inf]
        sent = iter(range(10**6))
        Sender(probe, Twist, "cmd_vel_policy", lambda: twist(values[next(sent) % 5]))
        wait_for(lambda: statuses and statuses[-1].refused >= 20, what="20 refusals")
        assert all(math.isfinite(velocity.linear.x) for velocity in velocities)


def test_stop_wins_over_everyone_until_resume(probe):
    with start_gate():
        velocities = probe.collect(Twist, "cmd_vel")
        Sender(probe, Twist, "cmd_vel_teleop", lambda: twist(0.5))
        wait_for(lambda: velocities and velocities[-1].linear.x == 0.5, what="full speed")
        assert probe.call(Trigger, "gate/stop").success
        wait_for(lambda: velocities[-1].linear.x == 0.0, what="zeros")
        seen = len(velocities)
        wait_for(lambda: len(velocities) >= seen + 10, what="more zeros")
        assert all(velocity.linear.x == 0.0 for velocity in velocities[seen:])
        assert probe.call(Trigger, "gate/resume").success
        wait_for(lambda: velocities[-1].linear.x == 0.5, what="full speed again")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_last_message_before_the_end_is_zero(probe, number):
    gate = start_gate()
    velocities = probe.collect(Twist, "cmd_vel")
    Sender(probe, Twist, "cmd_vel_teleop", lambda: twist(0.5))
    wait_for(lambda: velocities and velocities[-1].linear.x == 0.5, what="full speed")
    assert gate.stop(number) == 0
    wait_for(lambda: velocities[-1].linear.x == 0.0, what="a last zero")


def test_the_gripper_goes_out_on_change_and_is_repeated_but_never_let_go(probe):
    with start_gate():
        commands = probe.collect(GripperCommand, "gripper/command")
        publisher = probe.publisher(GripperCommand, "gripper/command_policy")
        publisher.publish(GripperCommand(position=1.0))
        wait_for(lambda: len(commands) >= 3, what="two repetitions")
        publisher.publish(GripperCommand(position=math.nan))
        publisher.publish(GripperCommand(position=-1.0))
        seen = len(commands)
        wait_for(lambda: len(commands) >= seen + 2, what="two repetitions")
        assert all(command.position == 1.0 for command in commands)


def test_a_robot_without_a_gripper_is_driven_and_gets_no_gripper_command(probe, tmp_path):
    contract = changed_contract(tmp_path, Path(CONTRACT), gripper="none")
    with start_gate(contract=str(contract)):
        velocities = probe.collect(Twist, "cmd_vel")
        statuses = probe.collect(GateStatus, "gate/status", LATCHED)
        commands = probe.collect(GripperCommand, "gripper/command")
        Sender(probe, Twist, "cmd_vel_policy", lambda: twist(0.5))
        gripper = probe.publisher(GripperCommand, "gripper/command_policy", subscribers=0)
        probe.node.create_timer(0.025, lambda: gripper.publish(GripperCommand(position=1.0)))
        wait_for(lambda: velocities and velocities[-1].linear.x == 0.5, what="full speed")
        seen = len(velocities)
        # Longer than the period in which the gripper's command is repeated.
        wait_for(lambda: len(velocities) > seen + 30, what="more commands")
        assert commands == [] and gripper.get_subscription_count() == 0
        assert math.isnan(statuses[-1].gripper)


def test_stamped_commands_that_are_stale_are_refused(probe):
    with start_gate(stamped=True):
        velocities = probe.collect(TwistStamped, "cmd_vel")
        statuses = probe.collect(GateStatus, "gate/status", LATCHED)
        publisher = probe.publisher(TwistStamped, "cmd_vel_teleop")

        def send(age_s):
            message = TwistStamped(twist=twist(0.5))
            stamp_ns = probe.now_ns() - int(age_s * 1e9)
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
            publisher.publish(message)

        for refusals, age_s in enumerate((2.0, -2.0), start=1):
            send(age_s)
            wait_for(
                lambda n=refusals: statuses and statuses[-1].refused >= n and "limit 0.5 s" in statuses[-1].reason,
                what=f"refusal {refusals}",
            )
        assert all(velocity.twist.linear.x == 0.0 for velocity in velocities)
        # Again and again: one that a busy machine delivers late is rightly refused.
        wait_for(lambda: send(0.0) or velocities[-1].twist.linear.x > 0.0, what="a fresh command")
        assert velocities[-1].header.frame_id == "base_link"


def test_a_stamped_gripper_command_is_judged_by_its_stamp_too(probe):
    with start_gate(stamped=True):
        commands = probe.collect(GripperCommand, "gripper/command")
        statuses = probe.collect(GateStatus, "gate/status", LATCHED)
        publisher = probe.publisher(GripperCommand, "gripper/command_policy")
        publisher.publish(GripperCommand(position=0.25))
        wait_for(lambda: statuses and statuses[-1].refused == 1, what="a refusal")
        message = GripperCommand(position=0.75)
        message.header.stamp = to_stamp(probe.now_ns())
        publisher.publish(message)
        wait_for(lambda: commands, what="the gripper")
        assert {command.position for command in commands} == {0.75}


FAILING = """
import sys
from mobile_vla_control.command_gate_node import CommandGateNode
from mobile_vla_ros.run import run

class Failing(CommandGateNode):
    def _on_velocity(self, source, message):
        super()._on_velocity(source, message)
        if message.linear.z:
            raise ValueError("nobody has thought of that")

sys.exit(run(Failing))
"""


def test_an_exception_while_moving_leaves_a_zero_as_the_last_message(probe, tmp_path):
    (tmp_path / "gate.py").write_text(FAILING)
    gate = NodeProcess("", "", {"contract": CONTRACT}, command=[sys.executable, str(tmp_path / "gate.py")])
    velocities, message = probe.collect(Twist, "cmd_vel"), twist(0.5)
    Sender(probe, Twist, "cmd_vel_policy", lambda: message)
    wait_for(lambda: velocities and velocities[-1].linear.x == 0.5, what="full speed")
    message.linear.z = 1.0
    assert gate.wait() == 1
    assert "nobody has thought of that" in gate.output
    wait_for(lambda: velocities[-1] == Twist(), what="a last zero")


def drifting_robot(probe, contract):
    """A robot that follows cmd_vel from (0, 0)."""
    robot = FakeRobot(probe, Contract.load(contract), cameras=(), rate_hz=50.0)
    robot.step_m = (0.0, 0.0)
    probe.node.create_subscription(Twist, "cmd_vel", lambda told: setattr(robot, "step_m", (told.linear.x / 50, 0)), 10)
    return robot


def test_the_robot_stays_in_its_area_and_the_status_says_why_it_stands(probe, tmp_path):
    contract = tmp_path / "robot.yaml"
    contract.write_text(Path(CONTRACT).read_text() + "\nkeep_in: [[-1, -1], [0.6, -1], [0.6, 1], [-1, 1]]\n")
    with start_gate(contract=str(contract), rate_hz=50.0):
        statuses = probe.collect(GateStatus, "gate/status", LATCHED)
        wanted = twist(0.6)
        Sender(probe, Twist, "cmd_vel_teleop", lambda: wanted)
        wait_for(lambda: statuses and "nothing has arrived on 'odom'" in statuses[-1].reason)
        robot = drifting_robot(probe, contract)
        wait_for(lambda: robot.x > 0.5, what="motion towards the edge")
        wait_for(lambda: statuses[-1].reason == "teleop drives: the edge of keep_in is ahead")
        wait_for(lambda: abs(robot.step_m[0]) < 0.02 / 50, what="standing at the edge")
        assert 0.5 < robot.x < 0.62
        robot.x = 0.7
        wait_for(lambda: "only motion back inside is allowed" in statuses[-1].reason)
        wanted.linear.x = -0.3
        wait_for(lambda: robot.x < 0.4, what="motion back inside")
        robot.silent = {"odom"}
        wait_for(lambda: "'odom' is silent" in statuses[-1].reason and robot.step_m[0] == 0.0)
        robot.silent, robot.clock_offset_ns = set(), -7_200_000_000_000
        wait_for(lambda: "their stamps are not this machine's time; synchronise the clocks" in statuses[-1].reason)
        robot.clock_offset_ns = 0
        wait_for(lambda: "odom" not in statuses[-1].reason, what="a good position again")


class Distances:
    """Publishes a front scan, a rear scan and a distance sensor at 20 Hz, all with one ray."""

    def __init__(self, probe):
        self.probe, self.silent = probe, set()
        self.metres = {"front_scan": 5.0, "rear_scan": 5.0, "sonar": 5.0}
        kinds = {"front_scan": LaserScan, "rear_scan": LaserScan, "sonar": Range}
        self.publishers = {topic: probe.node.create_publisher(kind, topic, 5) for topic, kind in kinds.items()}
        probe.node.create_timer(0.05, self.publish)

    def publish(self):
        for topic, publisher in self.publishers.items():
            if topic in self.silent:
                continue
            metres = self.metres[topic]
            if topic == "sonar":
                message = Range(field_of_view=0.3, min_range=0.02, max_range=5.0, range=metres)
            else:
                message = LaserScan(range_min=0.02, range_max=5.0, angle_increment=0.1, ranges=[metres])
            message.header.stamp = to_stamp(self.probe.now_ns())
            publisher.publish(message)


OBSTACLES = """
obstacles:
  footprint: [[0.2, 0.2], [-0.2, 0.2], [-0.2, -0.2], [0.2, -0.2]]
  stop_distance_m: 0.1
  sensors:
    - {topic: front_scan, max_age_s: 0.5}
    - {topic: rear_scan, max_age_s: 0.5, yaw_rad: 3.14159}
    - {topic: sonar, type: range, max_age_s: 0.5, x_m: 0.2}
"""


def test_obstacles_stop_operator_and_policy_and_the_operator_can_back_away(probe, tmp_path):
    contract = tmp_path / "robot.yaml"
    contract.write_text(Path(CONTRACT).read_text() + OBSTACLES)
    with start_gate(contract=str(contract), release_s=0.0):
        velocities, statuses = probe.collect(Twist, "cmd_vel"), probe.collect(GateStatus, "gate/status", LATCHED)
        diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
        Sender(probe, Twist, "cmd_vel_policy", lambda: twist(0.5))
        unknown = "obstacles are unknown: nothing has arrived on 'front_scan'; nothing has arrived on 'rear_scan'"
        wait_for(lambda: statuses and unknown in statuses[-1].reason, what="the reason to stand")
        distances = Distances(probe)
        wait_for(lambda: velocities and velocities[-1].linear.x == 0.5, what="full speed")
        distances.metres["front_scan"] = 0.28
        reason = "policy stands still: an obstacle is ahead, seen on 'front_scan'"
        wait_for(lambda: velocities[-1] == Twist() and statuses[-1].reason == reason, what="the policy to stand")
        wanted = twist(0.5)
        human = Sender(probe, Twist, "cmd_vel_teleop", lambda: wanted)
        reason = "teleop stands still: an obstacle is ahead, seen on 'front_scan'"
        wait_for(lambda: velocities[-1] == Twist() and statuses[-1].reason == reason, what="the operator to stand")
        wanted.linear.x = -0.5
        wait_for(lambda: velocities[-1].linear.x == -0.5, what="the operator to back away")
        distances.metres["rear_scan"] = 0.6
        wait_for(lambda: -0.4 < velocities[-1].linear.x < 0.0, what="less speed")
        distances.metres.update(front_scan=5.0, sonar=0.09)
        wanted.linear.x = 0.5
        wait_for(lambda: velocities[-1] == Twist() and "'sonar'" in statuses[-1].reason, what="the sonar's stop")
        human.stop()
        distances.metres["sonar"] = 7.0  # farther than it can measure
        blind = "obstacles are unknown: too few of the values ahead on 'sonar' are measurements"
        wait_for(lambda: velocities[-1] == Twist() and blind in statuses[-1].reason, what="the blind sonar's stop")
        wait_for(
            lambda: (
                diagnostics[-1].status[0].level == DiagnosticStatus.WARN and diagnostics[-1].status[0].message == blind
            ),
            what="the warning",
        )
        distances.metres["sonar"] = math.inf
        wait_for(lambda: velocities[-1].linear.x == 0.5, what="the policy at full speed again")
        distances.silent = {"rear_scan"}
        reason = "policy stands still: obstacles are unknown: 'rear_scan' is silent"
        wait_for(lambda: velocities[-1] == Twist() and statuses[-1].reason == reason, what="a stop")


def test_a_simulated_clock_that_does_not_run_holds_back_neither_zeros_nor_diagnostics(probe):
    with start_gate(use_sim_time=True):
        velocities = probe.collect(Twist, "cmd_vel")
        diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
        Sender(probe, Twist, "cmd_vel_teleop", lambda: twist(0.5, math.nan))
        wait_for(lambda: len(velocities) > 20 and all(velocity == Twist() for velocity in velocities))
        wait_for(
            lambda: (
                diagnostics
                and diagnostics[-1].status[0].level == DiagnosticStatus.WARN
                and "commands are refused: teleop: velocity" in diagnostics[-1].status[0].message
            )
        )


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"contract": "/nowhere/robot.yaml"}, "/nowhere/robot.yaml: no such contract file"),
        ({"contract": CONTRACT, "rate_hz": 0}, "parameter 'rate_hz' is 0; it must be a number at least 1"),
        (
            {"contract": CONTRACT, "policy_timeout_s": 300},
            "parameter 'policy_timeout_s' is 300; it must be a number above 0 and at most 5",
        ),
        ({"contract": CONTRACT, "release_s": "long"}, "parameter 'release_s' is 'long'; it must be a number"),
        ({"contract": CONTRACT, "stamped": "yes"}, "parameter 'stamped' is 'yes'; it must be auto, true or false"),
    ],
)
def test_a_bad_parameter_is_one_line_and_status_1(parameters, complaint):
    gate = NodeProcess("mobile_vla_control", "command_gate_node", parameters)
    assert gate.wait() == 1
    # What DDS says about shared memory that other processes on this machine use is not ours.
    lines = [line for line in gate.output.splitlines() if "RTPS_TRANSPORT_SHM" not in line]
    assert len(lines) == 1 and complaint in lines[0]
