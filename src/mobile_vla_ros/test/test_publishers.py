"""The shared publishers of commands and cameras, and the robot of the tests, over DDS."""

from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import CameraContract, Contract
from mobile_vla_data.episode import jpeg
from mobile_vla_msgs.msg import GripperCommand, GripperState
from mobile_vla_ros.camera_publisher import CameraPublisher
from mobile_vla_ros.command_publisher import CommandPublisher
from mobile_vla_ros.convert import to_ns, velocity_of
from mobile_vla_ros.qos import COMMAND, SENSOR
from mobile_vla_ros.testing import FakeRobot, Probe, image_number, numbered_image, unique_domain, wait_for

pytestmark = pytest.mark.alone

CONTRACT = Path(__file__).parents[3] / "config" / "robot.yaml"


@pytest.fixture(scope="module")
def probe():
    with unique_domain(), Probe() as probe:
        yield probe


@pytest.fixture(scope="module")
def sender(probe):
    """A second node: its messages go over DDS."""
    with Probe("sender") as sender:
        yield sender


@pytest.mark.parametrize(("stamped", "type_"), [(False, Twist), (True, TwistStamped)])
def test_a_source_sends_whole_commands_and_its_last_velocity_is_zero(probe, sender, stamped, type_):
    source = f"source_{stamped}"
    velocities = probe.collect(type_, f"cmd_vel_{source}", COMMAND)
    grippers = probe.collect(GripperCommand, f"gripper/command_{source}", COMMAND)
    commands = CommandPublisher(sender.node, source, "base_link", stamped=stamped)
    wanted = Velocity(0.3, -0.1, 0.8)
    wait_for(lambda: commands.send(wanted) or (velocities and velocity_of(velocities[-1]) == wanted))
    wait_for(lambda: commands.send_gripper(0.75) or grippers)
    assert grippers[-1].position == pytest.approx(0.75) and grippers[-1].header.frame_id == "base_link"
    assert abs(probe.now_ns() - to_ns(grippers[-1].header.stamp)) < 60e9
    if stamped:
        assert velocities[-1].header.frame_id == "base_link"
    commands.close()
    wait_for(lambda: velocity_of(velocities[-1]) == Velocity(), what="a last zero")
    assert sender.node.count_publishers(f"cmd_vel_{source}") == 0


def test_another_node_that_sends_the_same_velocity_is_a_rival_by_name(probe, sender):
    mine = CommandPublisher(sender.node, "policy", "base_link", stamped=False)
    assert mine.rivals() == []
    theirs = CommandPublisher(probe.node, "policy", "base_link", stamped=False)
    wait_for(lambda: mine.rivals() == ["/probe"], what="a rival")
    theirs.close()
    wait_for(lambda: mine.rivals() == [], what="no rival")
    mine.close()


def test_a_camera_publishes_images_intrinsics_and_jpegs_with_one_stamp(probe, sender):
    images = probe.collect(Image, "roof/image_raw", SENSOR)
    infos = probe.collect(CameraInfo, "roof/camera_info", SENSOR)
    jpegs = probe.collect(CompressedImage, "roof/image_raw/compressed", SENSOR)
    info = CameraInfo(width=224, height=224)
    info.header.frame_id = "roof_optical_frame"
    camera = CameraPublisher(sender.node, "roof/image_raw", info, jpeg_quality=90)
    image, stamp_ns = numbered_image(77), 1_700_000_000_123_456_789
    wait_for(lambda: camera.publish(image, stamp_ns) or (images and infos and jpegs))
    assert images[-1].data.tobytes() == image.tobytes()
    assert {to_ns(message.header.stamp) for message in (images[-1], infos[-1], jpegs[-1])} == {stamp_ns}
    assert {message.header.frame_id for message in (images[-1], infos[-1], jpegs[-1])} == {"roof_optical_frame"}
    assert np.abs(jpeg.decode(bytes(jpegs[-1].data)).astype(int) - image).mean() < 20


def test_the_robot_of_the_tests_publishes_every_stream_of_any_contract(probe, sender):
    cameras = {
        name: CameraContract(topic=f"{name}/image_raw", required=True, height=224, width=224, max_age_s=0.2)
        for name in ("roof", "left", "wrist")
    }
    contract = Contract.load(CONTRACT).model_copy(update={"cameras": cameras})
    images = {name: probe.collect(Image, camera.topic, SENSOR) for name, camera in cameras.items()}
    odometry = probe.collect(Odometry, contract.state.odometry_topic, SENSOR)
    grippers = probe.collect(GripperState, contract.state.gripper_topic, SENSOR)
    velocities = probe.collect(Twist, "cmd_vel", COMMAND)
    robot = FakeRobot(sender, contract, commands=True)
    robot.step_m = (0.5, 0.0)
    wait_for(lambda: odometry and grippers and velocities and all(images.values()))
    robot.close()
    for camera, messages in images.items():
        shown = np.frombuffer(messages[0].data, np.uint8).reshape(224, 224, 3)
        assert image_number(shown) == robot.sent[camera][to_ns(messages[0].header.stamp)]
        assert shown.tobytes() == robot.image(camera, image_number(shown)).tobytes()
    assert robot.sent["odom"][to_ns(odometry[0].header.stamp)] == (odometry[0].pose.pose.position.x, 0.0)
    assert len({robot.image(camera, 5).tobytes() for camera in cameras}) == 3
