"""Camera calibration from the YAML of camera_calibration, scaled to the published image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import CameraContract
from mobile_vla_data.image import placement
from mobile_vla_data.yaml_file import read_yaml


class CalibrationError(ValueError):
    """A calibration file cannot be used; one line naming file and field."""


@dataclass(frozen=True)
class Calibration:
    """Intrinsics of a camera, as in sensor_msgs/CameraInfo."""

    width: int
    height: int
    distortion_model: str
    d: tuple[float, ...]
    k: npt.NDArray[np.float64]
    """``[3, 3]``"""
    r: npt.NDArray[np.float64]
    """``[3, 3]``"""
    p: npt.NDArray[np.float64]
    """``[3, 4]``"""

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read the YAML of camera_calibration. Raises :class:`CalibrationError`."""
        path = Path(os.path.expanduser(path))
        data = read_yaml(path, CalibrationError, "cannot be read: no such file")
        if not isinstance(data, dict):
            raise CalibrationError(f"{path}: not a calibration; camera_calibration writes one")
        return cls(
            _size(path, data, "image_width"),
            _size(path, data, "image_height"),
            str(data.get("distortion_model", "plumb_bob")),
            tuple(_matrix(path, data, "distortion_coefficients", None).ravel().tolist()),
            _matrix(path, data, "camera_matrix", (3, 3)),
            _matrix(path, data, "rectification_matrix", (3, 3)),
            _matrix(path, data, "projection_matrix", (3, 4)),
        )

    def fitted(self, camera: CameraContract) -> Calibration:
        """Return the calibration of an image after :func:`mobile_vla_data.image.fit`."""
        place = placement(self.height, self.width, camera)
        ratio_x, ratio_y = place.width / self.width, place.height / self.height
        # Pixel centres have whole numbers, so the edge of the image is at -0.5.
        change = np.array(
            [
                [ratio_x, 0, 0.5 * ratio_x - 0.5 + place.left],
                [0, ratio_y, 0.5 * ratio_y - 0.5 + place.top],
                [0, 0, 1],
            ]
        )
        return Calibration(
            camera.width, camera.height, self.distortion_model, self.d, change @ self.k, self.r, change @ self.p
        )


def _size(path: Path, data: dict[str, Any], name: str) -> int:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise CalibrationError(f"{path}: {name} is {value!r}; it must be a number of pixels")
    return value


def _matrix(path: Path, data: dict[str, Any], name: str, shape: tuple[int, int] | None) -> npt.NDArray[np.float64]:
    try:
        values = np.array(data[name]["data"], dtype=np.float64)
        matrix = values.reshape(shape) if shape else values
    except (KeyError, TypeError, ValueError):
        wanted = f"{shape[0] * shape[1]} numbers" if shape else "numbers"
        raise CalibrationError(f"{path}: {name}.data must be a list of {wanted}") from None
    if not np.isfinite(matrix).all():
        raise CalibrationError(f"{path}: {name}.data is not finite")
    return matrix
