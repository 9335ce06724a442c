"""The recorder at its start and at its end: what it refuses, what it keeps, what it finds again."""

import signal

import pytest
from recorder_client import Recording, fake_robot, start_request

from mobile_vla_data.episode.reader import Episode
from mobile_vla_msgs.msg import RecorderStatus
from mobile_vla_msgs.srv import StartEpisode, StopEpisode
from mobile_vla_ros.testing import wait_for

pytestmark = pytest.mark.alone


@pytest.fixture
def recording(probe, start_recorder):
    with Recording(probe) as recording:
        yield recording


def test_start_is_refused_and_names_the_silent_topic(probe, start_recorder, recording):
    start_recorder()
    robot = fake_robot(probe, cameras=("gripper",), commands=False)

    def refused_for_them_only():
        response = probe.call(StartEpisode, "recorder/start_episode", start_request())
        assert not response.success
        if response.error_code != StartEpisode.Response.INPUT_MISSING:
            return None
        assert "static_camera/image_raw" in response.message and "/cmd_vel" in response.message
        return "odom" not in response.message and "gripper" not in response.message

    wait_for(refused_for_them_only, what="a refusal that does not name odometry, which is there")
    assert robot.number > 0


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"language": " "}, "language is empty"),
        ({"category": "cooking"}, "category is 'cooking'"),
        ({"environment": "[1]"}, "environment is a JSON list"),
    ],
)
def test_start_is_refused_for_bad_metadata(probe, start_recorder, recording, fields, complaint):
    start_recorder()
    wait_for(lambda: recording.status.state == RecorderStatus.STATE_IDLE, what="ready")
    response = probe.call(StartEpisode, "recorder/start_episode", start_request(**fields))
    assert response.error_code == StartEpisode.Response.INVALID_REQUEST
    assert complaint in response.message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_open_episode_as_unlabelled(probe, start_recorder, recording, tmp_path, number):
    recorder = start_recorder(min_steps=3)
    fake_robot(probe)
    episode_id = recording.start()
    recording.until_steps(5)
    assert recorder.stop(number) == 0
    with Episode.open(tmp_path / f"{episode_id}.h5") as episode:
        assert episode.outcome == "unlabelled" and episode.num_steps >= 5
    assert not list(tmp_path.glob(".episode*"))


def test_a_second_recorder_on_the_folder_refuses_in_one_line(start_recorder, recording, tmp_path):
    first = start_recorder()
    wait_for(lambda: recording.status.state == RecorderStatus.STATE_IDLE, what="the first recorder")
    second = start_recorder()
    assert second.wait() == 1
    (line,) = second.output.splitlines()
    assert f"dataset {tmp_path} is being recorded by pid {first.process.pid}" in line


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"image_encoding": "png"}, "parameter 'image_encoding' is 'png'; it must be one of jpeg, raw"),
        ({"jpeg_quality": 0}, "parameter 'jpeg_quality' is 0; it must be a whole number from 1 to 100"),
        ({"max_dropped_share": 2.0}, "parameter 'max_dropped_share' is 2.0"),
        ({"dataset": ""}, "parameter 'dataset' is ''"),
        ({"contract": "/nowhere.yaml"}, "/nowhere.yaml: no such contract file"),
    ],
)
def test_a_bad_parameter_is_one_line_and_status_1(start_recorder, parameters, complaint):
    recorder = start_recorder(**parameters)
    assert recorder.wait() == 1
    (line,) = recorder.output.splitlines()
    assert complaint in line


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_dataset_that_is_a_file_is_one_line_and_status_1(start_recorder, tmp_path, below):
    (tmp_path / "notes.txt").touch()
    recorder = start_recorder(dataset=tmp_path / "notes.txt" / below)
    assert recorder.wait() == 1
    (line,) = recorder.output.splitlines()
    assert f"dataset {tmp_path / 'notes.txt' / below}: is a file, or lies below one; choose another folder" in line


def test_a_dataset_folder_that_disappears_ends_the_episode_and_not_the_recorder(
    probe, start_recorder, recording, tmp_path
):
    folder = tmp_path / "usb disk (ä)"
    start_recorder(dataset=folder)
    fake_robot(probe)
    recording.start()
    recording.until_steps(3)
    folder.rename(tmp_path / "elsewhere")
    recording.until_said("is its disk still mounted?")
    assert recording.stop().error_code == StopEpisode.Response.INTERNAL_ERROR
    refused = probe.call(StartEpisode, "recorder/start_episode", start_request())
    assert not refused.success and "is no longer there; is its disk still mounted?" in refused.message
    assert not folder.exists(), "a folder made again would hide under the disk that comes back"
    (tmp_path / "elsewhere").rename(folder)
    recording.start()
    recording.until_steps(6)
    assert recording.save().path.startswith(str(folder))


def test_what_a_crash_left_is_recovered_at_the_next_start(probe, start_recorder, recording, tmp_path):
    recorder = start_recorder()
    fake_robot(probe)
    episode_id = recording.start()
    recording.until_steps(8)
    steps = recording.status.steps
    # Those steps may wait for the disk still; two ticks later they have been there for long.
    recording.until_steps(steps + 2)
    recorder.stop(signal.SIGKILL)
    assert not (tmp_path / f"{episode_id}.h5").exists()
    start_recorder()
    wait_for(lambda: recording.status.episodes_saved == 1, what="the recovered episode")
    with Episode.open(tmp_path / f"{episode_id}.h5") as episode:
        assert episode.recovered and episode.num_steps >= steps
    assert recording.start() > episode_id, "ids are not used twice"
