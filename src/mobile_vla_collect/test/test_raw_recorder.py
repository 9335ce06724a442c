"""raw_recorder_node beside a real recorder: what it writes, and that an import of it gives the recorded episode."""

import errno
import json
import math
import os
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.serialization import serialize_message
from recorder_client import CONTRACT, CONTRACT_PATH, Recording, fake_robot, recorder_process
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header, UInt8MultiArray, UInt64

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.trash import delete, restore
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.sampling.commands import COMMAND_MAX_AGE_S
from mobile_vla_msgs.msg import RecorderStatus
from mobile_vla_ros.qos import EVERY_COMMAND, LATCHED, SENSOR_OFFERED
from mobile_vla_ros.testing import NodeProcess, SimulatedTime, wait_for

highlevel = pytest.importorskip("rosbags.highlevel")
pytest.importorskip("mcap")

from mobile_vla_collect.raw_recorder.raw_file import Backlog, RawFile, RawMessage  # noqa: E402
from mobile_vla_data.convert.errors import ConvertError  # noqa: E402
from mobile_vla_data.convert.rosbag.bag import open_bag  # noqa: E402
from mobile_vla_data.convert.rosbag.importing import BagImport, import_rosbags  # noqa: E402

pytestmark = pytest.mark.alone


@contextmanager
def recorders(probe, robot, dataset, *, env=None, remap=None, use_sim_time=False, **raw_parameters):
    """Run a raw recorder, a recorder and a human beside a robot; yield them when both recorders hear the robot.

    An episode that began before that would lack its first inputs.
    """
    raw_parameters = {"contract": str(CONTRACT_PATH), "min_free_mb": 1.0, **raw_parameters}
    raw_parameters["use_sim_time"] = use_sim_time
    topics = [item.topic_name for item in robot.publishers.values()]
    with (
        NodeProcess("mobile_vla_collect", "raw_recorder_node", raw_parameters, env=env, remap=remap) as raw,
        recorder_process(dataset, use_sim_time=use_sim_time) as recorder,
        Recording(probe) as human,
    ):
        wait_for(lambda: all(probe.node.count_subscribers(topic) >= 2 for topic in topics), 90.0, "both recorders")
        yield raw, recorder, human


def answer_ticks(probe, robot):
    """Let the robot publish after each tick, so that nothing arrives while the recorder samples."""
    info = probe.node.create_publisher(CameraInfo, "static_camera/camera_info", SENSOR_OFFERED)

    def publish(_):
        robot.velocity = Velocity(0.3 * math.sin(robot.number / 5), 0.1 * math.cos(robot.number / 7))
        robot.gripper = float(robot.number % 16 > 8)
        robot.publish()
        info.publish(CameraInfo(width=224, height=224))

    robot.pause()
    probe.node.create_subscription(Header, "recorder/tick", publish, EVERY_COMMAND)


def counts(path):
    with highlevel.AnyReader([path]) as reader:
        for connection, _, data in reader.messages():
            reader.deserialize(data, connection.msgtype)
        return {connection.topic: connection.msgcount for connection in reader.connections}


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

    found = counts(dataset / "episode_000000.mcap")
    streams = [*(camera.topic for camera in CONTRACT.cameras.values()), "odom", "gripper/state", "cmd_vel"]
    assert all(found[f"/{topic}"] >= 20 for topic in (*streams, "recorder/tick", "static_camera/camera_info")), found
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
    assert counts(dataset / "episode_000000.mcap")[topic] == 2
    with open_bag(dataset / "episode_000000.mcap") as bag, Episode.open(dataset / "episode_000000.h5") as live:
        labels = json.loads(bag.custom_data["mobile_vla"])
        assert "MB free" in labels["cut_off"] and labels["command_max_age_s"] == COMMAND_MAX_AGE_S
        assert labels["span_ns"][0] == live.timestamps_ns[0] and labels["span_ns"][1] < live.timestamps_ns[-1]


def big_messages(count, size=1 << 20):
    data = serialize_message(UInt8MultiArray(data=np.random.default_rng(0).bytes(size)))
    return [RawMessage("/big", "std_msgs/msg/UInt8MultiArray", 1 + number, data) for number in range(count)]


def test_no_more_waits_for_the_disk_than_fits_in_memory_also_of_two_files_together(tmp_path):
    backlog = Backlog()
    files = [RawFile(tmp_path / f"episode_00000{number}.mcap", frozenset(), backlog) for number in range(2)]
    for message in big_messages(500):
        for file in files:
            file.add(message)
    lost = [file.lost for file in files]
    assert sum(lost) > 500
    for file, missing in zip(files, lost, strict=True):
        assert file.finish(dict).result() == file.path.stat().st_size
        assert counts(file.path)["/big"] == 500 - missing


@pytest.fixture
def full_disk(tmp_path):
    """Path of a recording whose disk is full."""
    (tmp_path / ".episode_000000.mcap.open").symlink_to("/dev/full")
    return tmp_path / "episode_000000.mcap"


def test_on_a_full_disk_a_file_is_closed_and_a_discarded_one_removed(full_disk):
    def is_open():
        paths = [Path("/proc/self/fd", number) for number in os.listdir("/proc/self/fd")]
        return any(path.is_symlink() and os.readlink(path) == "/dev/full" for path in paths)

    finished = RawFile(full_disk, frozenset(), Backlog())
    # Less than a chunk: it is written at the end only.
    finished.add(*big_messages(1, size=1 << 19))
    assert is_open()
    error = finished.finish(dict).exception()
    assert isinstance(error, OSError) and error.errno == errno.ENOSPC and not is_open()
    assert finished.open_path.is_symlink() and not full_disk.exists()

    discarded = RawFile(full_disk, frozenset(), Backlog())
    for message in big_messages(3):
        discarded.add(message)
    wait_for(lambda: discarded.failure, what="the failure")
    assert "disk full; free some space" in discarded.failure
    assert discarded.discard().exception() is None and not is_open()
    assert not discarded.open_path.is_symlink()


class StatusOnly:
    """Publishes the status of a recorder whose episodes are empty files, and messages numbered from 0 at 25 Hz."""

    def __init__(self, probe, dataset):
        self.dataset, self.sent = dataset, 0
        self._publisher = probe.publisher(RecorderStatus, "recorder/status", LATCHED)
        self._numbers = probe.publisher(UInt64, "numbers", SENSOR_OFFERED)
        self._timer = probe.node.create_timer(0.04, self._send)

    def begin(self, episode_id):
        """Return the path of its raw recording while it is open, as soon as that exists."""
        self._part(episode_id).touch()
        self._publisher.publish(
            RecorderStatus(state=RecorderStatus.STATE_RECORDING, dataset=str(self.dataset), episode_id=episode_id)
        )
        path = self.dataset / f".{episode_id}.mcap.open"
        wait_for(lambda: path.is_symlink() or path.exists(), what=f"the raw recording of {episode_id}")
        return path

    def save(self, episode_id):
        self._part(episode_id).rename(self.dataset / f"{episode_id}.h5")
        self._end()

    def discard(self, episode_id):
        self._part(episode_id).unlink()
        self._end()

    def close(self):
        """Stop the messages."""
        self._timer.cancel()

    def _part(self, episode_id):
        return self.dataset / f".{episode_id}.h5.part"

    def _end(self):
        self._publisher.publish(RecorderStatus(state=RecorderStatus.STATE_IDLE, dataset=str(self.dataset)))

    def _send(self):
        self._numbers.publish(UInt64(data=self.sent))
        self.sent += 1


@contextmanager
def raw_recorder(probe, dataset, command=()):
    """Run a raw recorder beside what looks like a recorder."""
    dataset.mkdir(exist_ok=True)
    given = {"contract": str(CONTRACT_PATH), "min_free_mb": 1.0, "extra_topics": "numbers", "lead_s": 1.0}
    with (
        NodeProcess("mobile_vla_collect", "raw_recorder_node", given, command=command) as raw,
        closing(StatusOnly(probe, dataset)) as recorder,
    ):
        yield raw, recorder


def collect_health(probe):
    """Return a function that returns the raw recorder's newest status."""
    arrays = probe.collect(DiagnosticArray, "/diagnostics")

    def newest():
        statuses = [status for array in arrays for status in array.status if "raw_recorder" in status.name]
        return statuses[-1] if statuses else DiagnosticStatus()

    return newest


def test_a_disk_that_disappears_ends_one_recording_and_the_next_is_written_when_it_is_back(domain, probe, tmp_path):
    dataset, away = tmp_path / "usb disk (ä)", tmp_path / "elsewhere"
    health = collect_health(probe)
    with raw_recorder(probe, dataset) as (raw, recorder):
        open_path = recorder.begin("episode_000000")
        dataset.rename(away)
        said = "is its disk still mounted? What was written stays in .episode_000000.mcap.open"
        wait_for(lambda: raw.process.poll() is not None or said in health().message, what="an error in the diagnostics")
        assert raw.process.poll() is None, raw.output
        assert health().level == DiagnosticStatus.ERROR and raw.output.count(said) == 1
        away.rename(dataset)
        recorder.discard("episode_000000")
        recorder.begin("episode_000001")
        wait_for(lambda: health().level == DiagnosticStatus.OK, what="OK")
        recorder.save("episode_000001")
        wait_for((dataset / "episode_000001.mcap").exists, what=f"a recording: {raw.output}")
        assert open_path.exists(), "messages of an episode whose end is not known are kept"
        recorder.begin("episode_000002")
        dataset.rename(away)
        assert raw.stop() == 0, raw.output
    assert (away / ".episode_000002.mcap.open").exists()
    assert counts(away / "episode_000001.mcap")["/numbers"]


def test_a_full_disk_ends_one_recording_and_not_the_node(domain, probe, full_disk):
    dataset, health = full_disk.parent, collect_health(probe)
    with raw_recorder(probe, dataset) as (raw, recorder):
        recorder.begin("episode_000000")
        recorder.discard("episode_000000")
        first = dataset / ".episode_000000.mcap.open"
        wait_for(lambda: raw.process.poll() is not None or not first.is_symlink(), what="the end of the recording")
        assert raw.process.poll() is None, raw.output
        (dataset / ".episode_000001.mcap.open").symlink_to("/dev/full")
        open_path = recorder.begin("episode_000001")
        recorder.save("episode_000001")
        said = "disk full; free some space; what was written stays in .episode_000001.mcap.open"
        wait_for(lambda: said in health().message, what=f"an error in the diagnostics: {raw.output}")
        assert open_path.is_symlink()
        recorder.begin("episode_000002")
        recorder.save("episode_000002")
        wait_for((dataset / "episode_000002.mcap").exists, what=f"a recording: {raw.output}")
        assert raw.stop() == 0, raw.output


#: The node on a disk that takes 2 s for each fsync: 4 s for a file and its folder.
_SLOW_DISK = """
import os, time

fsync = os.fsync
os.fsync = lambda descriptor: (time.sleep(2.0), fsync(descriptor))
from mobile_vla_collect.raw_recorder.raw_recorder_node import main

main()
"""


def test_while_a_slow_disk_finishes_a_recording_no_message_of_the_next_episode_is_missed(domain, probe, tmp_path):
    dataset = tmp_path / "flat"
    with raw_recorder(probe, dataset, command=[sys.executable, "-c", _SLOW_DISK]) as (raw, recorder):
        recorder.begin("episode_000000")
        recorder.save("episode_000000")
        recorder.begin("episode_000001")
        first = recorder.sent
        wait_for((dataset / "episode_000000.mcap").exists, what=f"a recording: {raw.output}")
        wait_for(lambda: recorder.sent > first + 125, what="5 s of messages")
        last = recorder.sent
        wait_for(lambda: recorder.sent > last + 25, what="their arrival")
        recorder.save("episode_000001")
        assert raw.stop() == 0, raw.output
    with highlevel.AnyReader([dataset / "episode_000001.mcap"]) as reader:
        (connection,) = [item for item in reader.connections if item.topic == "/numbers"]
        numbers = [reader.deserialize(data, connection.msgtype).data for _, _, data in reader.messages([connection])]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] <= first and numbers[-1] >= last
    assert not list(dataset.glob(".*.open")), "the node waits for the end of its files"


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
