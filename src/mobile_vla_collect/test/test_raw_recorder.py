"""raw_recorder_node beside a real recorder: what it writes, and that an import of it gives the recorded episode."""

import json
import math
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from recorder_client import CONTRACT, CONTRACT_PATH, Recording, fake_robot, message_counts, recorder_process
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.trash import delete, restore
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.sampling.commands import COMMAND_MAX_AGE_S
from mobile_vla_ros.qos import EVERY_COMMAND, SENSOR_OFFERED
from mobile_vla_ros.testing import NodeProcess, SimulatedTime, wait_for

highlevel = pytest.importorskip("rosbags.highlevel")
pytest.importorskip("mcap")

from mobile_vla_data.convert.errors import ConvertError  # noqa: E402
from mobile_vla_data.convert.rosbag.bag import open_bag  # noqa: E402
from mobile_vla_data.convert.rosbag.importing import BagImport, import_rosbags  # noqa: E402

pytestmark = pytest.mark.alone

INFO = "static_camera/camera_info"


@contextmanager
def recorders(probe, robot, dataset, *, env=None, remap=None, use_sim_time=False, **raw_parameters):
    """Run a raw recorder, a recorder and a human beside a robot; yield them when both recorders hear the robot.

    An episode that began before that would lack its first inputs.
    """
    raw_parameters = {"contract": str(CONTRACT_PATH), "min_free_mb": 1.0, **raw_parameters}
    raw_parameters["use_sim_time"] = use_sim_time
    topics = [item.topic_name for item in robot.publishers.values()]
    # What the recorder and `answer_ticks` publish.
    others = ["recorder/tick", *([INFO] if probe.node.count_publishers(INFO) else [])]
    with (
        NodeProcess("mobile_vla_collect", "raw_recorder_node", raw_parameters, env=env, remap=remap) as raw,
        recorder_process(dataset, use_sim_time=use_sim_time) as recorder,
        Recording(probe) as human,
    ):
        wait_for(lambda: all(probe.node.count_subscribers(topic) >= 2 for topic in topics), 90.0, "both recorders")
        wait_for(lambda: all(probe.subscribes("raw_recorder_node", topic) for topic in others), what="the raw recorder")
        yield raw, recorder, human


def answer_ticks(probe, robot):
    """Let the robot publish after each tick, so that nothing arrives while the recorder samples."""
    info = probe.node.create_publisher(CameraInfo, INFO, SENSOR_OFFERED)

    def publish(_):
        robot.velocity = Velocity(0.3 * math.sin(robot.number / 5), 0.1 * math.cos(robot.number / 7))
        robot.gripper = float(robot.number % 16 > 8)
        robot.publish()
        info.publish(CameraInfo(width=224, height=224))

    robot.pause()
    probe.node.create_subscription(Header, "recorder/tick", publish, EVERY_COMMAND)


def compare_steps(live, copy, steps):
    for field in ("states", "timestamps_ns", "takeover"):
        np.testing.assert_array_equal(getattr(copy, field), getattr(live, field)[:steps], field)
    # A command reaches two processes at different times, on a busy machine by tens of milliseconds.
    np.testing.assert_allclose(copy.actions, live.actions[:steps], atol=4e-3)
    assert np.abs(copy.actions - live.actions[:steps]).mean() < 1e-3
    assert np.abs(live.actions[:, :2]).max() > 0.005
    for stream, stamps in live.stamps_ns.items():
        np.testing.assert_array_equal(copy.stamps_ns[stream], stamps[:steps], stream)
    for camera in live.cameras:
        for step in range(steps):
            assert copy.jpeg(camera, step) == live.jpeg(camera, step)


def test_each_episode_gets_a_recording_that_gives_the_same_episode_again(domain, probe, tmp_path):
    dataset, again = tmp_path / "flat", tmp_path / "again"
    robot = fake_robot(probe)
    answer_ticks(probe, robot)
    with recorders(probe, robot, dataset) as (raw, recorder, human):
        heard = robot.number
        wait_for(lambda: robot.number > heard + 5, what="five ticks")
        human.start()
        human.until_steps(20)
        human.save()
        wait_for(lambda: (dataset / "episode_000000.mcap").exists(), what=f"a recording: {raw.output}")
        human.start()
        human.until_steps(2)
        assert human.discard().success
        wait_for(lambda: not list(dataset.glob(".episode_000001*")), what="the end of a discarded recording")
        human.start()
        human.until_steps(2)
        assert human.discard().success
        # At once: the next one may have the same number.
        last = human.start()
        human.until_steps(5)
        # Both at once, as a launch does: the recorder saves what is open.
        recorder.process.send_signal(2)
        assert raw.stop() == 0, raw.output
        assert recorder.stop() == 0, recorder.output
    assert sorted(path.name for path in dataset.glob("*.mcap")) == ["episode_000000.mcap", f"{last}.mcap"]

    found = message_counts(dataset / "episode_000000.mcap")
    streams = [*(camera.topic for camera in CONTRACT.cameras.values()), "odom", "gripper/state", "cmd_vel"]
    assert all(found[f"/{topic}"] >= 20 for topic in (*streams, "recorder/tick", INFO)), found
    assert found["/diagnostics"] and found["/recorder/status"]

    imported = import_rosbags([dataset / "episode_000000.mcap", dataset / f"{last}.mcap"], again, BagImport())
    assert imported.episodes == 2
    segments = "".join(f"{segment}\n" for segment in imported.segments)
    for name, cut_off in (("episode_000000.h5", 0), (f"{last}.h5", 2)):
        with Episode.open(dataset / name) as live, Episode.open(again / name) as copy:
            # The recorder may sample once more after the other process was told to stop.
            assert live.num_steps - cut_off <= copy.num_steps <= live.num_steps, segments
            assert copy.metadata == live.metadata and copy.contract == live.contract
            assert (copy.outcome, copy.created_at) == (live.outcome, live.created_at)
            assert copy.dropped_ticks == live.dropped_ticks
            compare_steps(live, copy, copy.num_steps)
    slower = Contract.from_dict({**CONTRACT.model_dump(mode="json"), "control_rate_hz": 5.0})
    import_rosbags([dataset / "episode_000000.mcap"], tmp_path / "slower", BagImport(slower))
    with (
        Episode.open(dataset / "episode_000000.h5") as live,
        Episode.open(tmp_path / "slower/episode_000000.h5") as copy,
    ):
        assert abs(2 * copy.num_steps - live.num_steps) <= 4 and copy.contract.control_rate_hz == 5.0

    delete(dataset, [last])
    assert not (dataset / f"{last}.mcap").exists() and (dataset / ".trash" / f"{last}.mcap").exists()
    restore(dataset, f"{last}.h5")
    assert (dataset / f"{last}.mcap").exists()
    broken = tmp_path / "cut.mcap"
    broken.write_bytes((dataset / "episode_000000.mcap").read_bytes()[:-5000])
    with pytest.raises(ConvertError, match="no readable recording"):
        import_rosbags([broken], again, BagImport())


#: Sends a static transform with ever new stamps, as some drivers do, and a second publisher's once. Its argument is the
#: topic.
_STATIC = """
import sys

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

rclpy.init()
node = rclpy.create_node("static")
profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
first, second = (node.create_publisher(TFMessage, sys.argv[1], profile) for _ in range(2))
while node.count_subscribers(sys.argv[1]) < 1:
    rclpy.spin_once(node, timeout_sec=0.1)
for number in range(20):
    placed = TransformStamped(child_frame_id="camera")
    placed.header.stamp.sec = 1 + number
    first.publish(TFMessage(transforms=[placed]))
    rclpy.spin_once(node, timeout_sec=0.05)
second.publish(TFMessage(transforms=[TransformStamped(child_frame_id="head")]))
print("all sent", flush=True)
rclpy.spin(node)
"""


@pytest.mark.parametrize("topic", ["/tf_static", "/robot2/tf_static"])
def test_a_recording_that_ends_before_its_episode_says_so_and_has_the_newest_static_transforms(
    domain, probe, build_messages, tmp_path, topic
):
    dataset, environment = tmp_path / "flat", build_messages("tf2_msgs")
    robot = fake_robot(probe)
    answer_ticks(probe, robot)
    # No disk has so much room: the raw recording ends as soon as it is looked after.
    options = {"min_free_mb": 1e9, "lead_s": 1.0, "remap": {"/tf_static": topic}, "env": environment}
    with (
        NodeProcess("", "", env=environment, command=[sys.executable, "-c", _STATIC, topic]) as static,
        recorders(probe, robot, dataset, **options) as (raw, _, human),
    ):
        wait_for(lambda: "all sent" in static.output, 60.0, "static transforms")
        # Until they are older than what a file begins with.
        heard = robot.number
        wait_for(lambda: robot.number > heard + 25, what="25 ticks")
        human.start()
        human.until_steps(20)
        human.save()
        wait_for(lambda: (dataset / "episode_000000.mcap").exists(), what=f"a recording: {raw.output}")
    assert message_counts(dataset / "episode_000000.mcap")[topic] == 2
    with open_bag(dataset / "episode_000000.mcap") as bag, Episode.open(dataset / "episode_000000.h5") as live:
        labels = json.loads(bag.custom_data["mobile_vla"])
        assert "MB free" in labels["cut_off"] and labels["command_max_age_s"] == COMMAND_MAX_AGE_S
        assert labels["span_ns"][0] == live.timestamps_ns[0] and labels["span_ns"][1] < live.timestamps_ns[-1]


def test_a_simulation_that_is_reset_and_paused_leaves_nothing_of_before_in_the_next_recording(domain, probe, tmp_path):
    dataset = tmp_path / "flat"
    robot = fake_robot(probe, rate_hz=20.0)
    with (
        closing(SimulatedTime(probe, robot, 1.0, now_ns=100 * 10**9)) as simulated,
        recorders(probe, robot, dataset, use_sim_time=True) as (raw, _, human),
    ):
        human.start()
        human.until_steps(8)
        simulated.now_ns = 10 * 10**9
        human.until_said("clock was set back by")
        human.discard()
        human.start()
        human.until_steps(8)
        simulated.pause(True)
        time.sleep(1.0)
        simulated.pause(False)
        human.until_more_steps(8)
        path = Path(human.save().path)
        wait_for(path.with_suffix(".mcap").exists, what=f"a recording: {raw.output}")
    with highlevel.AnyReader([path.with_suffix(".mcap")]) as reader:
        times_ns = [time_ns for _, time_ns, _ in reader.messages()]
    assert min(times_ns) > 5 * 10**9 and max(times_ns) < 90 * 10**9
    import_rosbags([path.with_suffix(".mcap")], tmp_path / "again", BagImport())
    with Episode.open(path) as live, Episode.open(tmp_path / "again" / path.name) as copy:
        assert abs(copy.num_steps - live.num_steps) <= 1
        np.testing.assert_array_equal(copy.timestamps_ns, live.timestamps_ns[: copy.num_steps])
