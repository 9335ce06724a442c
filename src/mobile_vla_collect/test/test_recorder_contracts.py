"""The recorder under other contracts than the default one: cameras, columns, encodings."""

import array
import time
from contextlib import closing
from functools import partial

import numpy as np
import pytest
from recorder_client import CONTRACT_PATH, Recording
from sensor_msgs.msg import CompressedImage

from mobile_vla_data.action import Velocity, displacement, yaw
from mobile_vla_data.action import gripper as gripper_of
from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.image import fit
from mobile_vla_msgs.msg import GripperCommand
from mobile_vla_ros.convert import to_stamp
from mobile_vla_ros.testing import FakeRobot, SimulatedTime, changed_contract, image_number, numbered_image, wait_for

pytestmark = pytest.mark.alone


@pytest.fixture
def recording(probe):
    with Recording(probe) as recording:
        yield recording


@pytest.fixture
def write_contract(tmp_path):
    """Write the default contract with changes; returns its path."""
    return partial(changed_contract, tmp_path, CONTRACT_PATH)


def camera(name, *, required):
    size = {"height": 224, "width": 224, "resize": "stretch", "max_age_s": 0.2}
    return {"topic": f"{name}/image", "required": required, **size}


def test_three_cameras_of_any_name_are_recorded_each_with_its_own_images(
    probe, start_recorder, recording, write_contract, tmp_path
):
    names = ("roof", "left_eye", "Wrist2")
    file = write_contract(cameras={name: camera(name, required=name == "roof") for name in names})
    robot = FakeRobot(probe, Contract.load(file), commands=True)
    start_recorder(tmp_path / "data", contract=str(file), image_encoding="raw")
    # Optional cameras are recorded if they deliver when the episode starts.
    wait_for(lambda: all(robot.publishers[name].get_subscription_count() for name in names), what="subscriptions")
    wait_for(lambda: {stream.name for stream in recording.status.streams if stream.received} >= set(names))
    recording.start()
    recording.until_steps(5)
    with Episode.open(recording.save().path) as episode:
        assert tuple(episode.cameras) == names
        for name in names:
            image = episode.image(name, 3)
            assert image_number(image) == robot.sent[name][int(episode.stamps_ns[name][3])]
            assert image.tobytes() == robot.image(name, image_number(image)).tobytes()


def test_the_first_camera_of_the_contract_cannot_be_missing_and_is_named_by_its_topic(
    probe, start_recorder, recording, write_contract, tmp_path
):
    file = write_contract(cameras={"roof": camera("roof", required=True), "wrist": camera("wrist", required=False)})
    FakeRobot(probe, Contract.load(file), cameras=["wrist"], commands=True)
    start_recorder(tmp_path / "data", contract=str(file))
    recording.until_said("nothing has arrived on '/roof/image'")
    wait_for(lambda: recording.status.message == "nothing has arrived on '/roof/image'", what="only that")


@pytest.mark.parametrize("base", ["holonomic", "differential"])
def test_turning_that_no_action_carries_is_said_while_recording_and_at_stop(
    probe, start_recorder, recording, write_contract, tmp_path, base
):
    file = write_contract(base=base)
    robot = FakeRobot(probe, Contract.load(file), commands=True)
    robot.velocity = Velocity(0.0, 0.0, 0.8)
    start_recorder(tmp_path / "data", contract=str(file))
    recording.start()
    recording.until_steps(12)
    recording.until_said("degrees of turning are in no action")
    response = recording.stop()
    assert not response.success and "[turning-lost]" in response.message
    with Episode.open(response.path) as episode:
        assert episode.lost_yaw_rad == pytest.approx(0.08 * episode.num_steps, rel=0.05)
    assert "turning-lost" in {finding.code for finding in check_episode(response.path)}


def test_with_delta_yaw_in_the_contract_a_turn_on_the_spot_is_in_the_actions(
    probe, start_recorder, recording, write_contract, tmp_path
):
    file = write_contract(base="differential", action={"frame": "base_link", "yaw": True})
    robot = FakeRobot(probe, Contract.load(file), commands=True)
    robot.velocity = Velocity(0.0, 0.0, 0.8)
    start_recorder(tmp_path / "data", contract=str(file))
    recording.start()
    recording.until_steps(12)
    response = recording.stop()
    assert "turning" not in response.message
    with Episode.open(response.path) as episode:
        assert episode.lost_yaw_rad == 0.0
        assert np.median(yaw(episode.actions)) == pytest.approx(0.08, rel=0.05)
        assert not displacement(episode.actions).any()


def test_the_encoding_of_each_cameras_messages_is_in_the_file(probe, start_recorder, recording, tmp_path):
    robot = FakeRobot(probe, Contract.load(CONTRACT_PATH), commands=True)

    def swap(message):
        if message.header.frame_id == "gripper_camera":
            message.encoding = "bgr8"

    robot.tamper = swap
    start_recorder(image_encoding="raw")
    wait_for(lambda: sum(stream.received > 0 for stream in recording.status.streams) == 5, what="every stream")
    recording.start()
    recording.until_steps(5)
    with Episode.open(recording.save().path) as episode:
        assert episode.source_encoding("static") == "rgb8" and episode.source_encoding("gripper") == "bgr8"
        swapped = numbered_image(robot.sent["gripper"][int(episode.stamps_ns["gripper"][0])], 1)[:, :, ::-1]
        assert episode.image("gripper", 0).tobytes() == np.ascontiguousarray(swapped).tobytes()


def test_a_robot_without_a_gripper_is_recorded_and_its_columns_stay_zero(
    probe, start_recorder, recording, write_contract, tmp_path
):
    file = write_contract(gripper="none")
    FakeRobot(probe, Contract.load(file), commands=True)
    start_recorder(tmp_path / "data", contract=str(file))
    recording.start()
    # A command for a gripper that is not there.
    gripper = probe.publisher(GripperCommand, "gripper/command", subscribers=0)
    probe.node.create_timer(0.05, lambda: gripper.publish(GripperCommand(position=1.0)))
    recording.until_steps(12)
    path = recording.save().path
    with Episode.open(path) as episode:
        assert sorted(episode.stamps_ns) == ["gripper", "odom", "static"]
        assert not gripper_of(episode.states).any() and not gripper_of(episode.actions).any()
    assert not [finding for finding in check_episode(path) if finding.severity == "error"]


def test_compressed_images_are_recorded_and_a_jpeg_of_the_right_size_is_kept_as_it_came(
    probe, start_recorder, recording, tmp_path
):
    contract = Contract.load(CONTRACT_PATH)
    robot = FakeRobot(probe, contract, cameras=(), commands=True)
    sizes = {"static": (224, 224), "gripper": (240, 320)}
    sent = {camera: {} for camera in sizes}
    publishers = {
        camera: probe.node.create_publisher(CompressedImage, f"{contract.cameras[camera].topic}/compressed", 5)
        for camera in sizes
    }

    def publish():
        for camera, (height, width) in sizes.items():
            stamp_ns = probe.now_ns()
            image = np.resize(numbered_image(robot.number), (height, width, 3))
            sent[camera][stamp_ns] = jpeg.encode(image, 60)
            message = CompressedImage(format="jpeg", data=array.array("B", sent[camera][stamp_ns]))
            message.header.stamp = to_stamp(stamp_ns)
            publishers[camera].publish(message)

    probe.node.create_timer(1 / 30, publish)
    start_recorder(tmp_path / "data", images="compressed")
    wait_for(lambda: {stream.name for stream in recording.status.streams if stream.received} >= set(sizes))
    recording.start()
    recording.until_steps(5)
    with Episode.open(recording.save().path) as episode:
        for step in range(5):
            assert episode.jpeg("static", step) == sent["static"][int(episode.stamps_ns["static"][step])]
            of_another_size = sent["gripper"][int(episode.stamps_ns["gripper"][step])]
            expected = fit(jpeg.decode(of_another_size), contract.cameras["gripper"])
            assert episode.jpeg("gripper", step) == jpeg.encode(expected, 95)
        assert episode.source_encoding("static") == "jpeg"


#: Speed of the simulation -> messages a second [Hz]. Fast ones send what the contract's ages need, and no more.
RATES_HZ = {0.25: 20.0, 0.5: 20.0, 2.0: 40.0, 5.0: 60.0}


@pytest.mark.parametrize("factor", RATES_HZ)
def test_episodes_are_sampled_in_simulated_time_however_fast_it_runs_and_a_pause_leaves_no_gap(
    probe, start_recorder, recording, tmp_path, factor
):
    robot = FakeRobot(probe, Contract.load(CONTRACT_PATH), commands=True, rate_hz=RATES_HZ[factor])
    with closing(SimulatedTime(probe, robot, factor)) as simulated:
        start_recorder(tmp_path / "data", use_sim_time=True)
        recording.start()
        recording.until_steps(8)
        simulated.pause(True)
        time.sleep(1.5)
        paused_at = recording.status.steps
        time.sleep(0.7)
        assert recording.status.steps == paused_at, "no time passes, so there are no steps"
        simulated.pause(False)
        recording.until_steps(paused_at + 8)
        path = recording.stop().path
    with Episode.open(path) as episode:
        assert 5 * 10**9 < episode.timestamps_ns[0] < episode.timestamps_ns[-1] < simulated.now_ns
        ticks_s = np.diff(episode.timestamps_ns) * 1e-9
        assert np.median(ticks_s) == pytest.approx(0.1, rel=0.1) and ticks_s.max() < 0.5
        assert np.median(episode.actions, axis=0) == pytest.approx([0.03, -0.01, 0.0], abs=1e-6)


def test_a_simulation_that_is_reset_ends_the_usable_part_of_an_episode_and_the_next_one_is_whole(
    probe, start_recorder, recording, tmp_path
):
    robot = FakeRobot(probe, Contract.load(CONTRACT_PATH), commands=True, rate_hz=20.0)
    with closing(SimulatedTime(probe, robot, 1.0, now_ns=100 * 10**9)) as simulated:
        start_recorder(tmp_path / "data", use_sim_time=True)
        recording.start()
        recording.until_steps(8)
        simulated.now_ns = 10**9
        recording.until_said("clock was set back by")
        recording.discard()
        recording.start()
        recording.until_steps(10)
        path = recording.stop().path
    with Episode.open(path) as episode:
        assert 10**9 < episode.timestamps_ns[0] < 60 * 10**9
        assert np.median(episode.actions, axis=0) == pytest.approx([0.03, -0.01, 0.0], abs=1e-6)
