"""The camera in its own process, fed from files, and what it says when there is no camera."""

import time

import cv2
import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from recorder_client import CONTRACT_PATH
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mobile_vla_data.episode import jpeg
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.qos import SENSOR
from mobile_vla_ros.testing import NodeProcess, image_number, numbered_image, wait_for

pytestmark = pytest.mark.alone

TOPIC = "static_camera/image_raw"


@pytest.fixture
def start_camera():
    started = []

    def start(**parameters):
        node = NodeProcess("mobile_vla_collect", "camera_node", {"contract": str(CONTRACT_PATH), **parameters})
        started.append(node)
        return node

    yield start
    for node in started:
        node.stop()


def write_folder(folder, count):
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:04d}.png"), numbered_image(number)[:, :, ::-1])
    return str(folder)


def write_video(path, rate_hz, count, size=(320, 240)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate_hz, size)
    for number in range(count):
        writer.write(np.full((size[1], size[0], 3), 5 * number, np.uint8))
    writer.release()
    return str(path)


def pixels(message):
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def test_a_folder_is_published_in_order_to_the_byte_with_capture_stamps(probe, start_camera, tmp_path):
    messages = probe.collect(Image, TOPIC)
    began_ns = probe.now_ns()
    start_camera(source=write_folder(tmp_path / "pictures", 40), fps=30.0, loop=True)
    messages = list(wait_for(lambda: messages[20:] and messages, what="20 images"))
    numbers = [image_number(pixels(message)) for message in messages]
    # Newest wins: a listener that a busy machine holds up misses pictures, but never sees one twice or out of order.
    steps = np.diff(numbers) % 40
    assert ((steps >= 1) & (steps < 20)).all() and np.median(steps) == 1
    for number, message in zip(numbers, messages, strict=True):
        assert (message.encoding, message.header.frame_id) == ("rgb8", "static_camera")
        assert pixels(message).tobytes() == numbered_image(number).tobytes()
    stamps = [to_ns(message.header.stamp) for message in messages]
    assert began_ns < stamps[0] and stamps[-1] < probe.now_ns()
    assert np.median(np.diff(stamps) / steps) == pytest.approx(1e9 / 30, rel=0.5)


def test_a_video_is_paced_by_its_own_stamps_resized_and_begun_again(probe, start_camera, tmp_path):
    messages = probe.collect(Image, TOPIC, SENSOR)
    start_camera(source=write_video(tmp_path / "flat.avi", 20.0, 10), loop=True)
    wait_for(lambda: len(messages) >= 25, what="25 images of a video of 10")
    assert {(message.height, message.width) for message in messages} == {(224, 224)}
    stamps = np.array([to_ns(message.header.stamp) for message in messages])
    assert np.median(np.diff(stamps)) == pytest.approx(1e9 / 20, rel=0.5)
    brightness = [int(pixels(message).mean()) for message in messages]
    assert max(brightness) - min(brightness) > 30


def test_camera_info_follows_the_resize_and_carries_the_images_stamp(probe, start_camera, tmp_path):
    file = tmp_path / "calibration.yaml"
    matrix = [500.0, 0, 319.5, 0, 500.0, 239.5, 0, 0, 1]
    calibration = {
        "image_width": 640,
        "image_height": 480,
        "distortion_model": "plumb_bob",
        "camera_matrix": {"rows": 3, "cols": 3, "data": matrix},
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, 0, 0, 0, 0]},
        "rectification_matrix": {"rows": 3, "cols": 3, "data": [1, 0, 0, 0, 1, 0, 0, 0, 1]},
        "projection_matrix": {"rows": 3, "cols": 4, "data": [500, 0, 319.5, 0, 0, 500, 239.5, 0, 0, 0, 1, 0]},
    }
    file.write_text(yaml.safe_dump(calibration))
    images, infos = probe.collect(Image, TOPIC, SENSOR), probe.collect(CameraInfo, "static_camera/camera_info", SENSOR)
    compressed = probe.collect(CompressedImage, f"{TOPIC}/compressed", SENSOR)
    start_camera(source=write_folder(tmp_path / "p", 5), loop=True, calibration=str(file), compressed=True)

    def stamps(messages):
        return {to_ns(message.header.stamp) for message in list(messages)}

    wait_for(lambda: compressed and len(stamps(images) & stamps(infos)) >= 3, what="images with their camera_info")
    k = np.reshape(infos[-1].k, (3, 3))
    assert (infos[-1].width, infos[-1].height) == (224, 224)
    # The centre of the picture stays the centre: 111.5 of 224.
    assert k[0] == pytest.approx([500 * 0.35, 0, 111.5]) and k[1] == pytest.approx([0, 500 * 224 / 480, 111.5])
    assert jpeg.decode(bytes(compressed[-1].data)).shape == (224, 224, 3)


def test_identical_images_are_reported_as_frozen(probe, start_camera, tmp_path):
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    start_camera(source=write_folder(tmp_path / "one", 1), loop=True, frozen_after_s=0.5)

    def frozen():
        return [
            status
            for array in diagnostics
            for status in array.status
            if status.name == "camera_node" and "frozen: every image has been the same" in status.message
        ]

    assert wait_for(frozen, what="a diagnosis")[0].level == DiagnosticStatus.ERROR


def test_a_source_that_hangs_without_an_error_is_reported(probe, start_camera, tmp_path):
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    # The next picture is due in a minute, as far as the node can tell from a driver that hangs.
    start_camera(source=write_video(tmp_path / "slow.avi", 1 / 60, 3), frozen_after_s=0.5)

    def hanging():
        statuses = [status for array in diagnostics for status in array.status if status.name == "camera_node"]
        return [status for status in statuses if "no image for" in status.message]

    assert wait_for(hanging, what="a diagnosis")[0].level == DiagnosticStatus.ERROR


def test_a_camera_that_must_be_there_and_is_not_ends_in_one_line(start_camera):
    camera = start_camera(source="/dev/video97", required_at_start=True)
    assert camera.wait() == 1
    (line,) = camera.output.splitlines()
    assert "/dev/video97: no such camera; plug it in, or choose one of" in line


def test_a_camera_plugged_in_later_is_found(probe, start_camera, tmp_path):
    messages = probe.collect(Image, TOPIC, SENSOR)
    folder = tmp_path / "later"
    camera = start_camera(source=str(folder), loop=True)
    wait_for(lambda: f"{folder}: no such file or folder" in camera.output, what="a complaint")
    write_folder(folder, 3)
    wait_for(lambda: messages, what="pictures")
    assert camera.output.count("no such file or folder") == 1, "said once, not at every try"


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"camera": "left"}, "parameter 'camera' is 'left'; it must be one of static, gripper"),
        ({"calibration": "/nowhere.yaml"}, "/nowhere.yaml: cannot be read"),
        ({"source": "videotestsrc ! appsink", "required_at_start": True}, "videotestsrc ! appsink"),
    ],
)
def test_a_bad_parameter_is_one_line_and_status_1(start_camera, parameters, complaint):
    camera = start_camera(**parameters)
    began = time.monotonic()
    assert camera.wait() == 1, time.monotonic() - began
    lines = [line for line in camera.output.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and complaint in lines[0]
