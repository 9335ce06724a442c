"""replay_node with the simulated robot: an episode is recorded, driven again, and its inputs are published again."""

import json

import pytest
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry

from mobile_vla_data.action import gripper, position
from mobile_vla_data.episode.reader import Episode
from mobile_vla_msgs.msg import GateStatus, RecorderStatus
from mobile_vla_msgs.srv import ResetSim, StartEpisode, StopEpisode
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.qos import EVERY_STATUS, LATCHED, SENSOR
from mobile_vla_ros.testing import NodeProcess, Probe, unique_domain, wait_for

pytestmark = pytest.mark.alone

STEPS = 25
INSTRUCTION = "go to the kitchen"


@pytest.fixture(scope="module")
def parameters(contract_path):
    return {"contract": str(contract_path)}


@pytest.fixture(scope="module")
def robot(parameters):
    """A simulated robot with its gate, in a domain of its own."""
    with (
        unique_domain(),
        NodeProcess("mobile_vla_sim", "sim_node", parameters) as sim,
        NodeProcess("mobile_vla_control", "command_gate_node", {**parameters, "rate_hz": 50.0}),
    ):
        yield sim


@pytest.fixture(scope="module")
def probe(robot):
    with Probe() as probe:
        yield probe


def to_the_start(probe):
    response = probe.call(ResetSim, "sim/reset", ResetSim.Request(seed=3, task="go_to_kitchen"))
    assert response.success, response.message


def started(probe, prefix=""):
    """Start an episode as soon as the recorder has all inputs; returns the status messages."""
    statuses = probe.collect(RecorderStatus, f"{prefix}recorder/status", LATCHED)
    request = StartEpisode.Request(language=INSTRUCTION, task="go_to_kitchen", category="navigation")
    wait_for(lambda: probe.call(StartEpisode, f"{prefix}recorder/start_episode", request).success, 60, "an episode")
    return statuses


def stopped(probe, prefix=""):
    response = probe.call(StopEpisode, f"{prefix}recorder/stop_episode", StopEpisode.Request(outcome="success"))
    assert response.path, response.message
    return response.path


@pytest.fixture(scope="module")
def recorded(probe, parameters, tmp_path_factory):
    """An episode: a curve, driven by an operator."""
    recording = {**parameters, "dataset": str(tmp_path_factory.mktemp("recorded")), "autostart": True}
    to_the_start(probe)
    publisher = probe.publisher(Twist, "cmd_vel_teleop")
    with NodeProcess("mobile_vla_collect", "recorder_node", recording):
        statuses = started(probe)

        def drive():
            done = statuses[-1].steps / STEPS if statuses else 0.0
            command = Twist()
            command.linear.x, command.linear.y = -0.2, 0.35 * (1 - done)
            publisher.publish(command)

        timer = probe.node.create_timer(0.05, drive)
        wait_for(lambda: statuses[-1].steps >= STEPS, what=f"{STEPS} steps")
        path = stopped(probe)
        probe.node.destroy_timer(timer)
    probe.node.destroy_publisher(publisher)
    return path


def replaying(parameters, recorded, **more):
    given = {**parameters, "episode": str(recorded), **more}
    return NodeProcess("mobile_vla_collect", "replay_node", given)


@pytest.mark.parametrize("speed", [1.0, 1.6])
def test_the_recorded_actions_drive_the_recorded_path_again(probe, parameters, recorded, tmp_path, speed):
    to_the_start(probe)
    output = tmp_path / "replay.json"
    with replaying(parameters, recorded, mode="actions", speed=speed, output=str(output)) as replay:
        assert replay.wait(60) == 0, replay.output
    result = json.loads(output.read_text())
    deviation = result["deviation"]
    with Episode.open(recorded) as episode:
        assert result["steps"] == result["steps_driven"] == len(result["driven_m"]) == episode.num_steps
    assert result["ended"] == "complete" and result["speed"] == speed
    assert deviation["recorded_length_m"] > 0.5
    assert deviation["driven_length_m"] == pytest.approx(deviation["recorded_length_m"], rel=0.25)
    # Both drives saw a machine that may be busy; a robot that stands still would be half a metre off.
    assert deviation["across_max_m"] <= deviation["max_m"] < 0.2, replay.output
    assert f"drove {result['steps']} of {result['steps']} steps: {deviation['mean_m']:.3f} m" in replay.output


def test_an_operator_who_takes_over_ends_the_replay_and_drives(probe, parameters, recorded, tmp_path):
    to_the_start(probe)
    began_ns = probe.node.get_clock().now().nanoseconds
    gate = probe.collect(GateStatus, "gate/status", EVERY_STATUS)
    odometry = probe.collect(Odometry, "odom", SENSOR)
    teleop = probe.publisher(Twist, "cmd_vel_teleop")
    output = tmp_path / "replay.json"
    with replaying(parameters, recorded, mode="actions", speed=0.5, output=str(output)) as replay:

        def drives():
            # The gate keeps its last changes for late subscribers: some are of the replay before.
            now = [status for status in gate if to_ns(status.header.stamp) > began_ns]
            return any(status.driver == GateStatus.DRIVER_POLICY for status in now)

        wait_for(drives, 60, "the replay in command")
        command = Twist()
        command.linear.y = 0.3
        # Along the recorded path, which is free, and faster than the replay ever is; a busy machine may see it late.
        timer = probe.node.create_timer(0.05, lambda: teleop.publish(command))
        try:
            assert replay.wait() == 1
            wait_for(lambda: any(seen.twist.twist.linear.y > 0.25 for seen in odometry), what="the operator's speed")
        finally:
            probe.node.destroy_timer(timer)
    assert "an operator took over at step" in replay.output
    result = json.loads(output.read_text())
    assert result["ended"].startswith("an operator took over") and result["steps_driven"] < result["steps"]


def test_a_replay_names_what_is_in_its_way(robot, parameters, recorded, tmp_path):
    with (
        replaying(parameters, recorded, mode="inputs") as inputs,
        replaying(parameters, recorded, mode="actions", speed=9.0) as fast,
        replaying(parameters, tmp_path / "none.h5") as missing,
        NodeProcess(
            "mobile_vla_collect",
            "replay_node",
            {**parameters, "episode": str(recorded), "mode": "actions", "wait_s": 0.5},
            namespace="/alone",
        ) as alone,
    ):
        assert [node.wait() for node in (inputs, fast, missing, alone)] == [1, 1, 1, 1]
    assert "is also published by /sim_node: stop it" in inputs.output
    assert "times what the contract allows; use a speed of at most" in fast.output
    assert "none.h5: no such episode file" in missing.output
    assert "waited 0.5 s: no command gate" in alone.output


def test_published_inputs_are_recorded_again_as_they_were(probe, parameters, recorded, tmp_path):
    """In a namespace, so that the simulated robot is another one; JPEGs, so that images can be compared by byte."""
    again = {"namespace": "/again"}
    recording = {**parameters, "dataset": str(tmp_path), "autostart": True, "images": "compressed", "min_steps": 1}
    inputs = {**parameters, "episode": str(recorded), "repeat": True}
    with (
        NodeProcess("mobile_vla_control", "command_gate_node", parameters, **again),
        NodeProcess("mobile_vla_collect", "recorder_node", recording, **again),
        NodeProcess("mobile_vla_collect", "replay_node", inputs, **again) as replay,
    ):
        statuses = started(probe, "/again/")
        wait_for(lambda: statuses[-1].steps >= 12, what="12 steps")
        path = stopped(probe, "/again/")
        assert replay.stop() == 0, replay.output
    with Episode.open(recorded) as before, Episode.open(path) as after:
        # Odometry and gripper come in messages of their own: a tick may lie between the two of a step.
        for part in (position, gripper):
            known, found = ({str(value) for value in part(episode.states).tolist()} for episode in (before, after))
            assert found <= known
        for camera in before.cameras:
            images = {before.jpeg(camera, step) for step in range(before.num_steps)}
            found = [after.jpeg(camera, step) for step in range(after.num_steps)]
            assert set(found) <= images and len(set(found)) > 5
