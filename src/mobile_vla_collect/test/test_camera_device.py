"""What camera_node asks of a USB camera's driver, and what it says about the answer."""

import sys
from pathlib import Path

import cv2
import fake_uvc
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fake_uvc import FakeUvc
from recorder_client import CONTRACT_PATH
from sensor_msgs.msg import Image

from mobile_vla_collect.camera import image_source
from mobile_vla_collect.camera.device import DeviceSettings
from mobile_vla_collect.camera.image_source import SourceError, SourceSettings, open_source
from mobile_vla_ros.qos import SENSOR
from mobile_vla_ros.testing import NodeProcess, wait_for

#: A device that exists on every machine.
DEVICE = "/dev/null"


@pytest.fixture
def uvc(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeUvc)
    monkeypatch.setattr(FakeUvc, "open_now", [])
    monkeypatch.setattr(FakeUvc, "log", [])
    return FakeUvc


def open_camera(rate_hz=30.0, **settings):
    return open_source(SourceSettings(DEVICE, rate_hz, DeviceSettings(**settings), loop=False))


def test_the_pixel_format_is_set_first_because_it_decides_sizes_and_rates(uvc):
    camera = open_camera(fourcc="MJPG", width=1280, height=720)
    assert [name for name, _ in uvc.log][:4] == ["FOURCC", "FRAME_WIDTH", "FRAME_HEIGHT", "FPS"]
    assert camera.granted.text == "MJPG 1280x720 at 30 Hz, exposure automatic, focus automatic"
    assert camera.granted.refused == ()
    assert camera.read()[0].shape == (720, 1280, 3)


def test_without_a_pixel_format_the_driver_keeps_its_own(uvc):
    camera = open_camera(width=640, height=480)
    assert "FOURCC" not in [name for name, _ in uvc.log]
    assert camera.granted.text.startswith("YUYV 640x480 at 30 Hz") and not camera.granted.refused


def test_two_cameras_on_one_hub_deliver_with_mjpg_and_the_error_says_so_without(uvc):
    first, second = open_camera(width=640, height=480), open_camera(width=640, height=480)
    first.read()
    with pytest.raises(SourceError, match="Two cameras on one USB hub need 'fourcc: MJPG'"):
        second.read()
    first.close()
    second.close()
    cameras = [open_camera(fourcc="MJPG", width=640, height=480) for _ in range(2)]
    assert [camera.read()[0].shape for camera in cameras] == [(480, 640, 3)] * 2


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"fourcc": "H264"}, "fourcc: asked for H264, granted YUYV"),
        ({"width": 800, "height": 600}, "size: asked for 800x600, granted 640x480"),
        ({"width": 1280, "height": 720}, "fps: asked for 30, granted 10"),
        ({"rate_hz": 60.0}, "fps: asked for 60, granted 30"),
        ({"exposure": 100_000.0}, "exposure: asked for 100000, granted 2047"),
    ],
)
def test_what_the_driver_did_not_grant_is_said_with_both_values(uvc, settings, refused):
    assert open_camera(**settings).granted.refused == (refused,)


def test_exposure_and_focus_are_fixed_by_hand_and_given_back_to_the_driver_otherwise(uvc):
    camera = open_camera(exposure=200.0, focus=30.0)
    assert camera.granted.text.endswith("exposure 200, focus 30") and not camera.granted.refused
    assert uvc.log.index(("AUTO_EXPOSURE", 1)) < uvc.log.index(("EXPOSURE", 200.0))
    assert uvc.log.index(("AUTOFOCUS", 0)) < uvc.log.index(("FOCUS", 30.0))
    uvc.log.clear()
    # An earlier program may have left them fixed.
    open_camera()
    assert ("AUTO_EXPOSURE", 3) in uvc.log and ("AUTOFOCUS", 1) in uvc.log
    assert not {"EXPOSURE", "FOCUS"} & {name for name, _ in uvc.log}


def test_a_camera_without_focus_is_fine_until_one_is_asked_for(uvc, monkeypatch):
    monkeypatch.setattr(FakeUvc, "has_focus", False)
    assert not open_camera().granted.refused
    assert open_camera(focus=30.0).granted.refused == ("focus: asked for 30, granted 0",)


def test_a_folder_whose_name_has_an_exclamation_mark_is_no_pipeline(tmp_path):
    folder = tmp_path / "go!"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), fake_uvc.np.zeros((8, 8, 3), "uint8"))
    source = open_source(SourceSettings(str(folder), 30.0, DeviceSettings(), loop=True))
    assert source.read()[0].shape == (8, 8, 3)


@pytest.mark.parametrize("source", ["~nobody_has_this_name/camera.avi", "x" * 300, "videotestsrc ! " * 30])
def test_a_source_that_is_none_is_refused_in_one_line(source):
    with pytest.raises(SourceError) as refusal:
        image_source.open_source(SourceSettings(source, 30.0, DeviceSettings(), loop=True))
    assert "\n" not in str(refusal.value)


NODE = """
import sys
sys.path.insert(0, {folder!r})
import cv2, fake_uvc
cv2.VideoCapture = fake_uvc.FakeUvc
from mobile_vla_collect.camera.camera_node import main
main()
"""


@pytest.mark.alone
def test_the_node_reports_what_the_driver_granted_in_its_log_and_in_diagnostics(probe, tmp_path):
    script = tmp_path / "camera.py"
    script.write_text(NODE.format(folder=str(Path(__file__).parent)))
    images = probe.collect(Image, "static_camera/image_raw", SENSOR)
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")
    parameters = {"contract": str(CONTRACT_PATH), "source": DEVICE, "width": 1280, "height": 720}
    with NodeProcess("", "", parameters, command=[sys.executable, str(script)]) as camera:
        wait_for(lambda: images, what="an image")
        assert "the driver grants YUYV 1280x720 at 10 Hz, exposure automatic" in camera.output
        assert "the driver does not grant everything: fps: asked for 30, granted 10" in camera.output

        def warned():
            return [
                {value.key: value.value for value in status.values}
                for array in diagnostics
                for status in array.status
                if status.level == DiagnosticStatus.WARN
                and status.message == "not granted by the driver: fps: asked for 30, granted 10"
            ]

        assert wait_for(warned, what="a warning")[0]["granted"].startswith("YUYV 1280x720 at 10 Hz")
    parameters |= {"fourcc": "mjpg"}
    with NodeProcess("", "", parameters, command=[sys.executable, str(script)]) as camera:
        wait_for(lambda: "the driver grants MJPG 1280x720 at 30 Hz" in camera.output)
        wait_for(lambda: diagnostics[-1].status[0].message == "images arrive", what="health")


@pytest.mark.alone
@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"fourcc": "MJPEG"}, "parameter 'fourcc' is 'MJPEG'; it must be four characters, for example MJPG"),
        ({"width": -1}, "parameter 'width' is -1; it must be a whole number"),
        ({"fps": 0}, "parameter 'fps' is 0; it must be a number at least 0.1"),
        ({"exposure": -2.0}, "parameter 'exposure' is -2.0; it must be a number at least 0"),
        ({"focus": "far"}, "parameter 'focus' is 'far'; it must be a number at least -1"),
    ],
)
def test_a_bad_camera_parameter_is_one_line_and_status_1(parameters, complaint):
    camera = NodeProcess("mobile_vla_collect", "camera_node", {"contract": str(CONTRACT_PATH), **parameters})
    assert camera.wait() == 1
    lines = [line for line in camera.output.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and complaint in lines[0]
