"""What goes wrong on a robot, over DDS, and what the recorder promises about it. One recorder for all of them."""

import os
import subprocess
import sys

import numpy as np
import pytest
from recorder_client import Recording, fake_robot, recorder_process, start_request

from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.repair.recover import recover_dataset
from mobile_vla_msgs.msg import RecorderStatus
from mobile_vla_msgs.srv import StartEpisode, StopEpisode
from mobile_vla_ros.testing import Probe, numbered_image, wait_for

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A robot and one recorder for the whole file."""
    with Probe() as probe, recorder_process(tmp_path_factory.mktemp("faults")):
        yield fake_robot(probe), Recording(probe)


@pytest.fixture
def episode(stage):
    """An open episode, with a healthy robot before and after."""
    robot, recording = stage
    recording.start()
    recording.until_steps(5)
    yield robot, recording
    robot.silent, robot.every, robot.camera_clock_offset_ns = set(), 1, 0
    for name in ("image", "tamper", "odometry"):
        robot.__dict__.pop(name, None)
    # What a failed test leaves open must not become the next one's episode.
    recording.discard()


def until_dropped(recording, ticks):
    """Wait for so many more dropped ticks; a busy machine may have dropped some before."""
    before = recording.status.dropped_ticks
    wait_for(lambda: recording.status.dropped_ticks >= before + ticks, what=f"{ticks} more dropped ticks")


def assert_fails_its_check(recording, complaint):
    """Stop; the file is kept, and says what is wrong with it."""
    response = recording.stop()
    assert response.error_code == StopEpisode.Response.CHECK_FAILED and not response.success
    assert complaint in response.message
    assert response.dropped_ticks == Episode.open(response.path).dropped_ticks
    return response


def test_a_frozen_camera_is_seen_while_recording_and_its_ticks_are_dropped(episode):
    robot, recording = episode
    robot.image = lambda camera, number: numbered_image(1 if camera == "static" else number)
    steps = recording.until_said("camera 'static' is frozen").steps
    until_dropped(recording, 10)
    assert recording.status.steps <= steps + 1, "nothing is recorded while it is frozen"
    assert_fails_its_check(recording, "is frozen: one image for")


def test_a_camera_with_its_cap_on_fails_the_check(episode):
    robot, recording = episode
    # Noise in the last bits, as a dark sensor has: not frozen, but nothing to see.
    robot.image = lambda camera, number: np.full((224, 224, 3), number % 3, np.uint8)
    recording.until_more_steps(10)
    assert_fails_its_check(recording, "camera 'static' shows a single shade")


def test_a_camera_that_is_silent_for_two_seconds_drops_its_ticks_and_the_episode_says_so(episode):
    robot, recording = episode
    robot.silent = {"static"}
    until_dropped(recording, 18)
    recording.until_said("'/static_camera/image_raw' is silent")
    robot.silent = set()
    recording.until_more_steps(5)
    response = assert_fails_its_check(recording, "of the ticks were dropped")
    with Episode.open(response.path) as recorded:
        ages_s = (recorded.timestamps_ns - recorded.stamps_ns["static"]) * 1e-9
        assert ages_s.max() <= recorded.contract.cameras["static"].max_age_s
        gap_s = np.diff(recorded.timestamps_ns).max() * 1e-9
        assert 1.8 < gap_s < (recorded.dropped_ticks + 2) * recorded.contract.period_s
        assert recorded.input_counters["static"]["late"] >= 18


def test_an_optional_camera_that_falls_silent_mid_episode_drops_its_ticks_too(episode):
    robot, recording = episode
    robot.silent = {"gripper"}
    until_dropped(recording, 5)
    recording.until_said("camera 'gripper' fell silent")
    recording.stop()


def test_a_camera_at_half_the_control_rate_fails_the_check(episode):
    robot, recording = episode
    robot.every = 6
    recording.until_steps(20)
    assert_fails_its_check(recording, "camera 'static' delivered")


def test_a_camera_clock_that_goes_backwards_is_refused_and_named(episode):
    robot, recording = episode
    robot.camera_clock_offset_ns = -3_000_000_000
    until_dropped(recording, 5)
    recording.until_said("stamp went backwards by")
    robot.camera_clock_offset_ns = 0
    recording.until_more_steps(5)
    response = recording.stop()
    with Episode.open(response.path) as recorded:
        assert all((np.diff(stamps) >= 0).all() for stamps in recorded.stamps_ns.values())
        assert recorded.input_counters["static"]["refused"] >= 5


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("encoding", "16UC1", "encoding '16UC1' is not supported: it has more than 8 bits a value; publish"),
        ("height", 448, "needs 301056 bytes, got 150528"),
    ],
)
def test_an_image_of_a_wrong_encoding_or_size_is_refused_and_named(episode, field, value, complaint):
    robot, recording = episode
    robot.tamper = lambda message: setattr(message, field, value)
    until_dropped(recording, 3)
    said = recording.until_said(complaint)
    robot.tamper = lambda message: None
    (static,) = [stream for stream in said.streams if stream.name == "static"]
    assert complaint in static.last_refusal and static.refused > 0
    recording.until_more_steps(3)
    # Of a busy machine's late ticks the rate may suffer as well; nothing wrong is in the file.
    assert {finding.code for finding in check_episode(recording.stop().path)} <= {"dropped-ticks", "rate"}


def test_nan_odometry_never_reaches_the_file(episode):
    robot, recording = episode
    healthy = robot.odometry

    def broken(stamp_ns):
        message = healthy(stamp_ns)
        message.pose.pose.position.x = float("nan")
        return message

    robot.odometry = broken
    until_dropped(recording, 5)
    recording.until_said("is not finite")
    with Episode.open(assert_fails_its_check(recording, "of the ticks were dropped").path) as recorded:
        assert np.isfinite(recorded.states).all()


def test_a_full_disk_stops_the_episode_says_so_and_everything_written_is_recovered(small_disk):
    with Probe() as probe:
        robot = fake_robot(probe)
        recording = Recording(probe, "disk/")
        with recorder_process(small_disk.folder, "disk", image_encoding="raw", min_free_mb=0.0):
            recording.start()
            wait_for(lambda: recording.status.state == RecorderStatus.STATE_ERROR, what="the disk to be full")
            steps = recording.until_said("disk full").steps
            response = recording.stop()
            assert response.error_code == StopEpisode.Response.DISK_FULL
            assert "recover" in response.message
        assert robot.number
    small_disk.grow()
    (recovery,) = recover_dataset(small_disk.folder)
    assert recovery.result == "recovered" and 0 < recovery.steps <= steps
    assert recovery.steps >= steps - 2
    (path,) = Dataset.open(small_disk.folder).episode_paths
    with Episode.open(path) as recorded:
        assert recorded.recovered and recorded.num_steps == recovery.steps


def test_below_the_disk_guard_no_episode_starts(stage, tmp_path):
    robot, _ = stage
    with recorder_process(tmp_path, "guard", min_free_mb=1e9):
        recording = Recording(robot.probe, "guard/")

        def refusal():
            response = robot.probe.call(StartEpisode, "guard/recorder/start_episode", start_request())
            return response if response.error_code == StartEpisode.Response.DISK_FULL else None

        assert "min_free_mb is 1000000000; free some space" in wait_for(refusal, what="a refusal").message
        wait_for(lambda: recording.status.disk_free_bytes > 0, what="a status with the free space")


class _SmallDisk:
    """A tmpfs of 4 MB: about a dozen raw steps."""

    def __init__(self, folder):
        self.folder = folder
        self._mount("size=4m", ["-t", "tmpfs", "tmpfs"])

    def grow(self):
        self._mount("remount,size=64m", [])

    def _mount(self, options, what):
        subprocess.run(["mount", "-o", options, *what, str(self.folder)], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path):
    """A real file system that is soon full; needs the right to mount, as root or in a namespace of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        disk = _SmallDisk(folder)
    except (OSError, subprocess.CalledProcessError):
        if os.environ.get("MOBILE_VLA_IN_NAMESPACE"):
            raise
        done = subprocess.run(
            [
                "unshare",
                "--map-root-user",
                "--mount",
                sys.executable,
                "-m",
                "pytest",
                "-q",
                __file__,
                "-k",
                "full_disk",
            ],
            env={**os.environ, "MOBILE_VLA_IN_NAMESPACE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if "unshare:" in done.stderr:
            pytest.skip(f"cannot mount a file system of 4 MB here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stdout
        pytest.skip("passed in a mount namespace of its own")
    yield disk
    subprocess.run(["umount", str(folder)], check=True)
