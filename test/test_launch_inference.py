"""inference.launch.py while the robot moves: what is left on cmd_vel at its end, and a policy on another machine."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Twist
from launch_commands import LITE, ROOT, Launched, alive

from mobile_vla_control.testing import require_timeouts
from mobile_vla_data.action import displacement
from mobile_vla_data.episode.reader import Episode
from mobile_vla_msgs.msg import GateStatus, PolicyStatus, RecorderStatus
from mobile_vla_msgs.srv import StartEpisode, StopEpisode
from mobile_vla_ros.qos import EVERY_STATUS, LATCHED
from mobile_vla_ros.testing import NodeProcess, Probe, StampedVelocities, wait_for

pytestmark = pytest.mark.alone

CONTRACT = ROOT / "config/robot.yaml"
SCRIPTED_POLICY = ROOT / "src/mobile_vla_policy/test/scripted_policy_node.py"
INSTRUCTION = "go to the kitchen"
#: policy_timeout_s of the gate in config/inference.yaml.
POLICY_TIMEOUT_S = 0.3

#: In its own process, as torch takes memory.
MAKE_CHECKPOINT = ROOT / "src/mobile_vla_policy/test/make_checkpoint.py"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy") / """o'brien's "first" policy""" / "checkpoint"
    folder.parent.mkdir()
    subprocess.run([sys.executable, str(MAKE_CHECKPOINT), str(folder), str(CONTRACT)], check=True)
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_launch_that_is_ended_while_the_policy_drives_leaves_a_zero_as_the_last_message(
    ros2: str, start: Callable[..., Launched], checkpoint: Path, number: int
) -> None:
    with Probe() as probe:
        velocities = probe.collect(Twist, "cmd_vel")
        launched = start(
            ros2, "launch", "mobile_vla_bringup", "inference.launch.py", "sim:=true", "dashboard:=false",
            f"checkpoint:={checkpoint}", f"instruction:={INSTRUCTION}", "device:=cpu",
        )  # fmt: skip
        wait_for(lambda: moves(velocities) or launched.process.poll() is not None, 90, "motion")
        pids = launched.pids()
        assert len(pids) == 3, launched.output
        launched.signal(number)
        wait_for(lambda: not any(alive(pid) for pid in pids), 20, "the end of every node")
        assert velocities[-1] == Twist()


def test_a_correction_by_hand_is_recorded_as_a_takeover_in_an_episode_of_the_policy(
    ros2: str, start: Callable[..., Launched], checkpoint: Path, tmp_path: Path
) -> None:
    by_hand = Twist()
    by_hand.linear.x, by_hand.linear.y = -0.2, 0.1
    with Probe() as probe:
        velocities = probe.collect(Twist, "cmd_vel")
        recorder = probe.collect(RecorderStatus, "recorder/status", LATCHED)
        gate = probe.collect(GateStatus, "gate/status", EVERY_STATUS)
        policy = probe.collect(PolicyStatus, "policy/status", LATCHED)
        launched = start(
            ros2, "launch", "mobile_vla_bringup", "inference.launch.py", "sim:=true", "dashboard_port:=0",
            f"checkpoint:={checkpoint}", f"instruction:={INSTRUCTION}", "device:=cpu", f"dataset:={tmp_path / 'set'}",
            "images:=compressed",
        )  # fmt: skip
        wait_for(lambda: moves(velocities) or launched.process.poll() is not None, 90, "motion")
        assert launched.process.poll() is None and len(launched.pids()) == 5, launched.output
        for node in ("policy_node", "dashboard_node", "recorder_node"):
            assert probe.parameters(node, "images") == ["compressed"], node
        # It drives by what arrives there.
        for status in (policy[-1], recorder[-1]):
            topics = {stream.name: stream.topic for stream in status.streams}
            assert topics["static"] == "/static_camera/image_raw/compressed"
        # Nothing is said about the episode: the recorder knows.
        wait_for(lambda: probe.call(StartEpisode, "recorder/start_episode").success, 60, "an episode")

        def more_steps(count: int) -> None:
            wanted = recorder[-1].steps + count
            wait_for(lambda: recorder[-1].steps >= wanted, 60, f"{wanted} steps")

        more_steps(10)
        publisher = probe.publisher(Twist, "cmd_vel_teleop")
        hand = probe.node.create_timer(0.04, lambda: publisher.publish(by_hand))
        wait_for(lambda: gate[-1].driver == GateStatus.DRIVER_TELEOP, what="the takeover")
        more_steps(20)
        hand.cancel()
        wait_for(lambda: gate[-1].driver == GateStatus.DRIVER_POLICY, what="the hand-back")
        more_steps(10)
        path = probe.call(StopEpisode, "recorder/stop_episode", StopEpisode.Request(outcome="success")).path
        launched.signal(signal.SIGTERM)
        launched.wait(30)
    with Episode.open(path) as episode:
        metadata = episode.metadata
        assert (metadata.source, metadata.language, metadata.task) == ("policy", INSTRUCTION, "go_to_kitchen")
        marks = episode.takeover.astype(int)
        assert marks[0] == marks[-1] == 0 and np.count_nonzero(np.diff(marks)) == 2
        # Metres in a tenth of a second; a few steps at either end are on the way there and back.
        human = np.isclose(displacement(episode.actions), [-0.02, 0.01], atol=1e-4).all(axis=1)
        assert np.count_nonzero(human & (marks == 1)) >= 10
        assert not np.count_nonzero(human & (marks == 0))


@pytest.mark.parametrize("given", [{}, {"precision": "bf16", "backend": "eager", "shadow": "true", "trace": "t.json"}])
def test_how_the_network_is_executed_comes_from_the_arguments_that_are_given_and_else_from_the_parameter_file(
    ros2: str, start: Callable[..., Launched], checkpoint: Path, tmp_path: Path, given: dict[str, str]
) -> None:
    if given:
        given = {**given, "trace": str(tmp_path / given["trace"])}
    with Probe() as probe:
        launched = start(
            ros2, "launch", "mobile_vla_bringup", "policy.launch.py", f"checkpoint:={checkpoint}", "device:=cpu",
            "instruction:=bring o'brien's \"cup\"", *(f"{name}:={value}" for name, value in given.items()),
        )  # fmt: skip
        instruction, *inforce = probe.parameters(
            "policy_node", "instruction", "backend", "precision", "shadow", "trace"
        )
        assert instruction == "bring o'brien's \"cup\""
        assert inforce == (["eager", "bf16", True, given["trace"]] if given else ["auto", "auto", False, ""])
        policy = probe.collect(PolicyStatus, "policy/status", LATCHED)
        wait_for(lambda: policy and policy[-1].state == PolicyStatus.STATE_WAITING, 60, "an active policy")
        assert policy[-1].shadow == bool(given), launched.output


def test_the_policy_takes_its_time_from_a_simulated_clock_too(
    ros2: str, start: Callable[..., Launched], checkpoint: Path
) -> None:
    with Probe() as probe:
        start(
            ros2, "launch", "mobile_vla_bringup", "inference.launch.py", f"checkpoint:={checkpoint}", "device:=cpu",
            "dashboard:=false", "use_sim_time:=true",
        )  # fmt: skip
        for node in ("policy_node", "command_gate_node"):
            assert probe.parameters(node, "use_sim_time") == [True], node


def moves(velocities: list[Twist]) -> bool:
    return bool(velocities) and velocities[-1] != Twist()


def test_a_policy_on_another_machine_drives_by_jpegs_and_when_it_is_gone_the_robot_stands(
    start: Callable[..., Launched], tmp_path: Path
) -> None:
    with Probe() as probe:
        velocities = StampedVelocities(probe, "cmd_vel")
        gate = probe.collect(GateStatus, "gate/status", EVERY_STATUS)
        policy = probe.collect(PolicyStatus, "policy/status", LATCHED)
        launched = start(
            LITE, "launch", "mobile_vla_bringup", "inference.launch.py", "sim:=true", "dashboard:=false",
            "inference_host:=remote", "stamped:=true",
        )  # fmt: skip
        wait_for(lambda: gate or launched.process.poll() is not None, 60, "the gate")
        assert len(launched.pids()) == 2, launched.output
        parameters = {
            "contract": str(CONTRACT), "checkpoint": str(tmp_path), "instruction": INSTRUCTION, "autostart": True,
            "images": "compressed", "command_rate_hz": 50.0, "stamped": "true",
        }  # fmt: skip
        command = [sys.executable, str(SCRIPTED_POLICY), "steady"]
        with NodeProcess("", "", parameters, command=command) as remote:
            wait_for(lambda: velocities.moving, 60, "motion")
            streams = wait_for(lambda: policy and policy[-1].streams, what="the policy's status")
            cameras = {stream.name: stream for stream in streams}
            assert cameras["static"].topic == "/static_camera/image_raw/compressed"
            remote.process.kill()
            wait_for(lambda: gate[-1].driver == GateStatus.DRIVER_NONE and gate[-1].timeouts, what="the status")
            wait_for(lambda: velocities.still, what="zeros")
            require_timeouts(gate, velocities, POLICY_TIMEOUT_S)
        launched.signal(signal.SIGTERM)
        assert launched.wait(20) == 0
