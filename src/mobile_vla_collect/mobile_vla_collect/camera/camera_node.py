"""One camera as a node: captures, resizes as the contract says, publishes; reports missing and frozen images."""

from __future__ import annotations

import sys

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from mobile_vla_collect.camera.calibration import Calibration, CalibrationError
from mobile_vla_collect.camera.capture import Capture, CapturedImage
from mobile_vla_collect.camera.device import DeviceSettings
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
        name = text(self, "camera", contract.first_camera, "name in the contract", choices=contract.camera_names)
        self._camera = contract.cameras[name]
        self._settings = SourceSettings(
            source=text(self, "source", "0", "device, GStreamer pipeline, video file or image folder", required=True),
            rate_hz=number(
                self,
                "fps",
                30.0,
                "frame rate requested from a device, or used for a folder [Hz]",
                at_least=0.1,
                at_most=240,
            ),
            device=_read_device_settings(self),
            loop=flag(self, "loop", False, "repeat a file or folder"),
        )
        required_at_start = flag(self, "required_at_start", False, "end with status 1 if there is no camera at start")
        self._frozen_after_s = number(
            self, "frozen_after_s", 2.0, "images identical for this long are reported as frozen [s]", above=0
        )
        self._frame_id = text(self, "frame_id", f"{name}_camera", "frame_id of the messages", required=True)
        quality = integer(self, "compressed_quality", 90, "quality of the JPEGs", at_least=1, at_most=100)
        compressed = flag(self, "compressed", False, "publish JPEGs on <topic>/compressed, too")
        info = self._make_info(text(self, "calibration", "", "YAML file of camera_calibration; empty: none"))
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

    def _publish(self, captured: CapturedImage) -> None:
        if not self._closing:
            self._publisher.publish(fit(captured.image, self._camera), captured.stamp_ns)

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
        # One call for each level: rclpy ties the severity to the line of code.
        logger, named = self.get_logger(), f"{self._settings.source}: {line}"
        if level == "info":
            logger.info(named)
        elif level == "warning":
            logger.warning(named)
        else:
            logger.error(line)

    def _health(self) -> Health:
        capture = self._capture
        values = {
            "topic": self._publisher.topic,
            "images": capture.images,
            "reconnects": capture.reconnects,
            "identical for [s]": round(capture.identical_s, 1),
        }
        if capture.granted is not None:
            values["granted"] = capture.granted.text
        if capture.problem:
            return Health(WARN if capture.ended else ERROR, capture.problem, values)
        # Three periods of a slow source may be longer.
        if capture.silent_s > max(self._frozen_after_s, 3.0 / self._settings.rate_hz):
            why = f"no image for {capture.silent_s:.1f} s; the driver hangs: restart the camera"
            return Health(ERROR, why, values)
        if capture.identical_s >= self._frozen_after_s:
            return Health(ERROR, f"frozen: every image has been the same for {capture.identical_s:.1f} s", values)
        if capture.granted is not None and capture.granted.refused:
            return Health(WARN, f"not granted by the driver: {'; '.join(capture.granted.refused)}", values)
        return Health(OK, "images arrive", values)


def _read_device_settings(node: CameraNode) -> DeviceSettings:
    """Declare and read the settings of a device. Raises :class:`StartError`, one line."""
    fourcc = text(
        node, "fourcc", "", "pixel format requested from a device, for example MJPG; empty: the driver's default"
    ).strip()
    if fourcc and not (len(fourcc) == 4 and fourcc.isascii() and fourcc.isprintable()):
        raise StartError(f"camera_node: parameter 'fourcc' is {fourcc!r}; it must be four characters, for example MJPG")
    return DeviceSettings(
        fourcc=fourcc.upper(),
        width=integer(node, "width", 640, "width requested from a device [px]; 0: the driver's default", at_least=0),
        height=integer(node, "height", 480, "height requested from a device [px]; 0: the driver's default", at_least=0),
        exposure=number(node, "exposure", 0.0, "exposure of a device [100 us]; 0: automatic", at_least=0),
        focus=number(node, "focus", -1.0, "focus of a device, in its own unit; -1: automatic", at_least=-1),
    )


def main() -> None:
    """Run the camera until it is stopped."""
    sys.exit(run(CameraNode))


if __name__ == "__main__":
    main()
