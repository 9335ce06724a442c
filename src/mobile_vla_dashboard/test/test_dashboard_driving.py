"""Driving from the page: the dead man, the wheel, the gripper, and an episode recorded that way."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path

import pytest
from dashboard_stage import CONTRACT, CONTRACT_FILE, Stage, hold, moving
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from mobile_vla_data.episode.reader import Episode
from mobile_vla_msgs.msg import GripperCommand
from mobile_vla_ros.qos import COMMAND, SENSOR
from mobile_vla_ros.testing import NodeProcess, wait_for

pytestmark = pytest.mark.alone


def _sway(wheel: ClientConnection, until) -> None:
    """Drive slowly forward and back on the spot, where no wall can come into the way, until ``until()``."""
    begin_s = time.monotonic()
    while not until():
        assert time.monotonic() < begin_s + 60.0, "what the robot was to sway for never came"
        forward = int((time.monotonic() - begin_s) / 0.6) % 2
        wheel.send(json.dumps({"x": 0.2 if forward else -0.2}))
        time.sleep(0.05)


def _travelled_m(odometry: list[Odometry]) -> float:
    places = [(message.pose.pose.position.x, message.pose.pose.position.y) for message in odometry]
    return max(math.dist(place, places[0]) for place in places)


def test_a_held_stick_drives_and_letting_go_is_one_zero_and_then_silence(stage: Stage, driving) -> None:
    wheel, commands = driving
    hold(wheel, commands, lambda: moving(commands))
    stage.wait_state(lambda state: state["gate"]["headline"]["key"] == "gate.teleop", "the gate to follow")
    hold(wheel, commands, lambda: moving(commands))
    wheel.send(json.dumps({"release": True}))
    wait_for(lambda: commands[-1] == Twist(), what="the zero")
    # Silence is asserted by what comes next on the same topic, not by a sleep.
    count = len(commands)
    sentinel = stage.probe.node.create_publisher(Twist, "cmd_vel_teleop", COMMAND)
    mark = Twist()
    mark.angular.z = 0.125
    time.sleep(0.2)
    wait_for(lambda: sentinel.publish(mark) or commands[-1] == mark, what="the sentinel")
    assert [message for message in commands[count:] if message != mark] == []
    stage.probe.node.destroy_publisher(sentinel)


def test_a_closed_connection_stops_the_robot(stage: Stage, driving) -> None:
    wheel, commands = driving
    hold(wheel, commands, lambda: moving(commands))
    wheel.close()
    wait_for(lambda: commands[-1] == Twist(), what="the zero")


def test_a_connection_that_dies_without_a_word_stops_the_robot_within_the_dead_man_time(stage: Stage, driving) -> None:
    wheel, commands = driving
    hold(wheel, commands, lambda: moving(commands))
    last_s = time.monotonic()
    wait_for(lambda: commands[-1] == Twist(), what="the zero")
    # The dead man's time, a tick, and what a busy machine takes to wake this test.
    assert time.monotonic() - last_s < 0.25 + 0.05 + 1.0
    # The wheel itself is still open: nothing was closed, nothing was said.
    wheel.send("{}")


def test_a_second_operator_is_refused_and_gets_the_wheel_when_the_first_releases_it(stage: Stage, driving) -> None:
    wheel, _ = driving
    second = stage.open("drive")
    with pytest.raises(ConnectionClosed, match=r"127\.0\.0\.1 is driving"):
        second.recv(timeout=20)
    wheel.close()
    stage.wait_state(lambda state: state["wheel"]["operator"] is None, "a free wheel")
    third = stage.open("drive")
    assert json.loads(third.recv(timeout=20)) == {"has_wheel": True}
    third.close()


def test_nonsense_from_an_operator_ends_the_motion(stage: Stage, driving) -> None:
    wheel, commands = driving
    hold(wheel, commands, lambda: moving(commands))
    wheel.send('{"x": NaN}')
    with pytest.raises(ConnectionClosed, match="x must be a number"):
        wheel.recv(timeout=20)
    wait_for(lambda: commands[-1] == Twist(), what="the zero")


def test_the_gripper_follows_the_operator(stage: Stage, driving) -> None:
    wheel, _ = driving
    commands = stage.probe.collect(GripperCommand, "gripper/command_teleop", COMMAND)
    wait_for(lambda: stage.probe.node.count_publishers("gripper/command_teleop") >= 1, what="the gripper publisher")

    def closed() -> bool:
        wheel.send(json.dumps({"gripper": 1}))
        time.sleep(0.05)
        return bool(commands)

    wait_for(closed, what="the gripper command")
    assert commands[-1].position == 1.0


def test_an_episode_is_driven_and_recorded_from_the_page(stage: Stage, driving, tmp_path: Path) -> None:
    recorder = NodeProcess(
        "mobile_vla_collect",
        "recorder_node",
        {"contract": str(CONTRACT_FILE), "dataset": str(tmp_path), "autostart": True},
    )
    sim = NodeProcess("mobile_vla_sim", "sim_node", {"contract": str(CONTRACT_FILE)})
    wheel, _ = driving
    odometry = stage.probe.collect(Odometry, CONTRACT.state.odometry_topic, SENSOR)
    try:
        # The gate and the simulator must have found each other, or the recorder sees commands that move nothing.
        _sway(wheel, lambda: odometry and _travelled_m(odometry) > 0.05)
        stage.wait_state(lambda state: state["recorder"].get("ready"), "a ready recorder", 60.0)
        body = {
            "language": "부엌으로 가",
            "task": "go to kitchen",
            "category": "navigation",
            "environment": {"room": "kitchen"},
        }
        wait_for(lambda: stage.post("/api/recorder/start", body)["ok"], what="a started episode")
        holding = threading.Event()
        thread = threading.Thread(target=lambda: _sway(wheel, holding.is_set), daemon=True)
        thread.start()
        stage.wait_state(lambda state: state["recorder"].get("steps", 0) >= 15, "fifteen steps")
        holding.set()
        thread.join()
        reply = stage.post("/api/recorder/stop", {"outcome": "success"})
        # On a busy machine it may complain of late ticks; it is saved all the same.
        assert reply["ok"] or reply["message"].startswith("saved, but"), reply
        with Episode.open(next(tmp_path.glob("*.h5"))) as episode:
            assert episode.outcome == "success"
            assert episode.metadata.language == "부엌으로 가"
            assert episode.metadata.environment == {"room": "kitchen"}
        stage.wait_state(lambda state: state["recorder"].get("episodes_saved") == 1, "the saved episode")
    finally:
        recorder.stop()
        sim.stop()
    stage.wait_state(lambda state: state["recorder"]["headline"]["key"] == "silent.recorder", "its absence")
