"""One camera as a node: captures, fits to the contract's size, publishes; says when pictures stop or stand still."""

from __future__ import annotations

import sys

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from mobile_vla_collect.camera.calibration import Calibration, CalibrationError
from mobile_vla_collect.camera.capture import Capture, Picture
from mobile_vla_collect.camera.image_source import ImageSource, SourceError, SourceSettings, open_source
from mobile_vla_data.image import fit
from mobile_vla_ros.camera_publisher import CameraPublisher
from mobile_vla_ros.clock import now_ns
from mobile_vla_ros.diagnostics import ERROR, OK, WARN, Diagnostics, Health
from mobile_vla_ros.parameters import flag, integer, load_contract, number, text
from mobile_vla_ros.run import StartError, run


class CameraNode(Node):
    """Publishes the contract's topic of the camera ``camera``, its ``camera_info`` and, on request, JPEGs."""

    def __init__(self) -> None:
        super().__init__("camera_node")
        contract = load_contract(self)
        name = text(self, "camera", "static", "its name in the contract", choices=list(contract.cameras))
        self._camera = contract.cameras[name]
        self._settings = SourceSettings(
            source=text(self, "source", "0", "device, GStreamer pipeline, video file or image folder", required=True),
            rate_hz=number(
                self, "capture_rate_hz", 30.0, "asked of a device; pace of a folder [Hz]", at_least=0.1, at_most=240
            ),
            capture_width=integer(self, "capture_width", 640, "asked of a device [px], 0: its own", at_least=0),
            capture_height=integer(self, "capture_height", 480, "asked of a device [px], 0: its own", at_least=0),
            loop=flag(self, "loop", False, "begin a file or folder again at its end"),
        )
        required_at_start = flag(self, "required_at_start", False, "end with status 1 if there is no picture at start")
        self._frozen_after_s = number(
            self, "frozen_after_s", 2.0, "identical pictures for this long are reported as frozen [s]", above=0
        )
        self._frame_id = text(self, "frame_id", f"{name}_camera", "frame_id of the messages", required=True)
        quality = integer(self, "compressed_quality", 90, "of image_raw/compressed", at_least=1, at_most=100)
        compressed = flag(self, "compressed", False, "publish image_raw/compressed, too")
        info = self._make_info(text(self, "calibration", "", "YAML of camera_calibration, empty: none"))
        self._publisher = CameraPublisher(self, self._camera.topic, info, jpeg_quality=quality if compressed else None)
        self._closing = False
        self._capture = Capture(self._open, lambda: now_ns(self), self._publish, self._report)
        first = self._open_required() if required_at_start else None
        self._diagnostics = Diagnostics(self, self._health, hardware_id=self._settings.source)
        self._capture.start(first)

    def close(self) -> None:
        """End capturing."""
        self._closing = True
        self._capture.close()

    def _open(self) -> ImageSource:
        return open_source(self._settings)

    def _open_required(self) -> ImageSource:
        try:
            return self._open()
        except SourceError as error:
            raise StartError(f"camera_node: {error}") from None

    def _publish(self, picture: Picture) -> None:
        if not self._closing:
            self._publisher.publish(fit(picture.image, self._camera), picture.stamp_ns)

    def _make_info(self, path: str) -> CameraInfo:
        info = CameraInfo(width=self._camera.width, height=self._camera.height)
        info.header.frame_id = self._frame_id
        if not path:
            # K of zeros means "not calibrated" (sensor_msgs/CameraInfo).
            return info
        try:
            calibration = Calibration.load(path).fitted(self._camera)
        except CalibrationError as error:
            raise StartError(f"camera_node: {error}") from None
        info.distortion_model, info.d = calibration.distortion_model, list(calibration.d)
        info.k, info.r, info.p = calibration.k.ravel(), calibration.r.ravel(), calibration.p.ravel()
        return info

    def _report(self, level: str, line: str) -> None:
        if self._closing:
            return
        # Two calls: rclpy ties the severity to the line of code.
        if level == "info":
            self.get_logger().info(f"{self._settings.source}: {line}")
        else:
            self.get_logger().error(line)

    def _health(self) -> Health:
        capture = self._capture
        values = {
            "topic": self._publisher.topic,
            "pictures": capture.pictures,
            "reconnects": capture.reconnects,
            "identical for [s]": round(capture.identical_s, 1),
        }
        if capture.problem:
            return Health(WARN if capture.ended else ERROR, capture.problem, values)
        # Slower sources than three pictures in that time are waited for.
        if capture.silent_s > max(self._frozen_after_s, 3.0 / self._settings.rate_hz):
            why = f"no picture for {capture.silent_s:.1f} s; the driver hangs: restart the camera"
            return Health(ERROR, why, values)
        if capture.identical_s >= self._frozen_after_s:
            return Health(ERROR, f"frozen: every picture is the same for {capture.identical_s:.1f} s", values)
        return Health(OK, "pictures arrive", values)


def main() -> None:
    """Run the camera until it is told to stop."""
    sys.exit(run(CameraNode))


if __name__ == "__main__":
    main()
