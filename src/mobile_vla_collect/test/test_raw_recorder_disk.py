"""The raw recorder on a disk that is slow, full or gone: what is kept, and that the node lives."""

import errno
import os
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.serialization import serialize_message
from recorder_client import CONTRACT_PATH, message_counts
from std_msgs.msg import UInt8MultiArray, UInt64

from mobile_vla_msgs.msg import RecorderStatus
from mobile_vla_ros.qos import LATCHED, SENSOR_OFFERED
from mobile_vla_ros.testing import NodeProcess, wait_for

highlevel = pytest.importorskip("rosbags.highlevel")
pytest.importorskip("mcap")

from mobile_vla_collect.raw_recorder.raw_file import Backlog, RawFile, RawMessage  # noqa: E402

pytestmark = pytest.mark.alone


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
        assert message_counts(file.path)["/big"] == 500 - missing


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
    assert message_counts(away / "episode_000001.mcap")["/numbers"]


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
