"""The recorded actions, sent tick by tick: a stand-in for the node, and times that the test chooses."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry

from mobile_vla_collect.replay.actions import ActionReplay
from mobile_vla_collect.replay.inputs import InputReplay
from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import GateStatus

CONTRACT = Contract.load(Path(__file__).parents[3] / "config" / "robot.yaml")
PERIOD_S = CONTRACT.period_s
#: Metres in each step: every velocity tells which step it belongs to.
MOVES_M = [0.01, 0.02, 0.03, 0.04]


class StandIn:
    """Keeps what is published, and hands over messages as if they had arrived."""

    def __init__(self):
        self.sent, self._callbacks = [], {}

    def create_publisher(self, _kind, topic, _qos):
        return SimpleNamespace(
            topic_name=topic,
            publish=self.sent.append,
            get_subscription_count=lambda: 1,
            wait_for_all_acked=lambda _duration: True,
        )

    def create_subscription(self, kind, topic, callback, _qos):
        self._callbacks[kind] = callback
        return SimpleNamespace(topic_name=topic)

    def get_publishers_info_by_topic(self, _topic):
        return []

    def get_fully_qualified_name(self):
        return "/replay_node"

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=0))

    def hear(self, message):
        self._callbacks[type(message)](message)

    def speeds(self):
        """Forward speeds sent since the last call [m/s]."""
        sent = [round(message.linear.x, 6) for message in self.sent if isinstance(message, Twist)]
        self.sent.clear()
        return sent


@pytest.fixture
def node():
    return StandIn()


@pytest.fixture
def replay(node):
    x = np.cumsum([0.0, *MOVES_M[:-1]])
    episode = SimpleNamespace(
        path="episode_000000.h5",
        actions=np.array([[move, 0.0, 0.0] for move in MOVES_M], dtype=np.float32),
        states=np.stack([x, 0 * x, 0 * x], axis=1).astype(np.float32),
    )
    return ActionReplay(node, CONTRACT, episode, speed=1.0, max_deviation_m=0.5, stamped=False)


def at(x=0.0, frame="odom"):
    message = Odometry()
    message.header.frame_id, message.pose.pose.position.x = frame, x
    return message


def gate(driver=GateStatus.DRIVER_NONE):
    return GateStatus(driver=driver)


@pytest.mark.parametrize(
    ("frame", "missing"),
    [
        ("odom", ""),
        ("robot2/odom", ""),
        ("map", "positions on 'odom' are in 'map', the contract says 'odom'"),
    ],
)
def test_the_frame_of_the_position_may_have_the_namespace_as_prefix(node, replay, frame, missing):
    node.hear(gate())
    node.hear(at(frame=frame))
    assert replay.missing(0.0) == missing


@pytest.fixture
def driving(node, replay):
    """Let the gate follow at 0 s, after the first tick."""
    node.hear(gate())
    node.hear(at())
    assert not replay.missing(0.0) and not replay.tick(0.0)
    node.hear(gate(GateStatus.DRIVER_POLICY))
    node.speeds()
    return replay


def speed(step):
    return round(MOVES_M[step] / PERIOD_S, 6)


def test_zeros_are_sent_until_the_gate_follows_and_no_step_is_lost(node, replay):
    node.hear(gate())
    node.hear(at())
    assert replay.missing(0.0) == ""
    for tick in range(100):
        assert not replay.tick(0.01 * tick)
    assert set(node.speeds()) == {0.0} and len(replay.driven) == 1
    node.hear(gate(GateStatus.DRIVER_POLICY))
    assert not replay.tick(1.0)
    assert node.speeds() == [speed(0)]


def test_a_gate_that_does_not_follow_ends_the_replay(node, replay):
    node.hear(gate())
    node.hear(at())
    assert replay.missing(0.0) == ""
    ended_s = next(tick / 10 for tick in range(100) if node.hear(at()) or replay.tick(tick / 10))
    assert ended_s == pytest.approx(2.1) and set(node.speeds()) == {0.0}
    assert replay.ended.startswith("the gate did not follow at step 0")


def test_each_step_is_driven_for_a_period(node, driving):
    ticks = [round(0.25 * PERIOD_S * tick, 4) for tick in range(16)]
    assert not any(driving.tick(now_s) for now_s in ticks)
    sent = node.speeds()
    assert sorted(set(sent)) == [speed(step) for step in range(4)] and sent == sorted(sent)
    assert driving.tick(4 * PERIOD_S + 0.001) and driving.ended == ""
    assert node.speeds() == [0.0] and len(driving.driven) == 4


def test_a_late_tick_counts_as_one_period(node, driving):
    driving.tick(0.0)
    driving.tick(0.5)
    assert node.speeds() == [speed(0), speed(1)] and len(driving.driven) == 2
    driving.tick(0.5 + 1.001 * PERIOD_S)
    assert node.speeds() == [speed(2)]


@pytest.mark.parametrize(
    ("heard", "late_s", "ended"),
    [
        ([at(0.6)], 0.0, "0.59 m from the recorded position at step 1, max_deviation_m is 0.5"),
        ([], 1.0, "'odom' fell silent at step 1"),
        ([GateStatus(driver=GateStatus.DRIVER_STOPPED, stopped=True, reason="gate/stop")], 0.0, "stopped at step 1"),
        ([gate(GateStatus.DRIVER_TELEOP)], 0.0, "an operator took over at step 1"),
    ],
    ids=["deviation", "silent position", "gate/stop", "operator"],
)
def test_a_fault_while_driving_stops_the_robot(node, driving, heard, late_s, ended):
    assert not driving.tick(0.0)
    for message in heard:
        node.hear(message)
    assert driving.tick(PERIOD_S + 0.001 + late_s)
    assert ended in driving.ended and node.speeds() == [speed(0), 0.0]


def test_a_deviation_within_the_limit_is_driven(node, driving):
    driving.tick(0.0)
    node.hear(at(0.5))
    assert not driving.tick(PERIOD_S + 0.001)
    assert driving.deviation.max_m == pytest.approx(0.49)


def test_commands_that_the_gate_reduced_are_counted_from_the_begin(node, replay):
    node.hear(GateStatus(clamped=7))
    node.hear(at())
    assert replay.missing(0.0) == "" and not replay.tick(0.0)
    assert replay.limited == 0
    node.hear(GateStatus(driver=GateStatus.DRIVER_POLICY, clamped=10))
    assert replay.limited == 3


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_inputs_come_faster_by_the_speed(node, speed):
    x = np.arange(5, dtype=np.float32)
    stamps_ns = (1e9 * PERIOD_S * np.arange(5)).astype(np.int64)
    states = np.stack([x, x, x / 10], axis=1)
    episode = SimpleNamespace(cameras=(), states=states, stamps_ns={}, timestamps_ns=stamps_ns)
    inputs = InputReplay(node, CONTRACT, episode, speed)
    inputs.send_until(2.1 * PERIOD_S / speed)
    assert [sent.pose.pose.position.x for sent in node.sent if isinstance(sent, Odometry)] == [0.0, 1.0, 2.0]
    assert not inputs.done
