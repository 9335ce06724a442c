"""Image bytes to the contract's image: the only place where size and colour order change."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import CameraContract

Image = npt.NDArray[np.uint8]

#: Supported ROS image encodings and how many bytes a pixel has.
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
}


class ImageError(ValueError):
    """An image cannot be used; one line saying why."""


def unpack(
    data: bytes | memoryview | npt.NDArray[np.uint8], encoding: str, height: int, width: int, step: int
) -> Image:
    """Return raw image bytes as RGB, uint8 ``[height, width, 3]``.

    ``step`` is the length of a row in bytes, padding included (sensor_msgs/Image). The result is a view for
    unpadded rgb8 and a copy otherwise.

    Raises:
        ImageError: an encoding outside :data:`CHANNELS`, or fewer bytes than height and step promise.
    """
    if encoding not in CHANNELS:
        raise ImageError(f"encoding '{encoding}' is not supported; publish one of {', '.join(CHANNELS)}")
    channels = CHANNELS[encoding]
    if height <= 0 or width <= 0 or step < width * channels:
        raise ImageError(f"{width}x{height} {encoding} needs rows of at least {width * channels} bytes, step is {step}")
    flat = np.frombuffer(data, dtype=np.uint8)
    if flat.size < height * step:
        raise ImageError(f"{width}x{height} {encoding} with step {step} needs {height * step} bytes, got {flat.size}")
    pixels = flat[: height * step].reshape(height, step)[:, : width * channels].reshape(height, width, channels)
    return pixels if encoding == "rgb8" else np.asarray(cv2.cvtColor(pixels, _TO_RGB[encoding]), dtype=np.uint8)


def fit(image: Image, camera: CameraContract) -> Image:
    """Resize RGB uint8 ``[h, w, 3]`` to the contract's ``[height, width, 3]`` by its ``resize`` policy.

    ``stretch`` ignores the aspect ratio, ``letterbox`` pads with black, ``crop`` keeps the centre. An image of the
    right size is returned unchanged.
    """
    height, width = image.shape[:2]
    if (height, width) == (camera.height, camera.width):
        return image
    if camera.resize == "stretch":
        return _scale(image, camera.width, camera.height)
    ratios = (camera.width / width, camera.height / height)
    scale = min(ratios) if camera.resize == "letterbox" else max(ratios)
    scaled = _scale(image, max(1, round(width * scale)), max(1, round(height * scale)))
    if camera.resize == "crop":
        top, left = (scaled.shape[0] - camera.height) // 2, (scaled.shape[1] - camera.width) // 2
        return np.ascontiguousarray(scaled[top : top + camera.height, left : left + camera.width])
    canvas = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
    top, left = (camera.height - scaled.shape[0]) // 2, (camera.width - scaled.shape[1]) // 2
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return canvas


def _scale(image: Image, width: int, height: int) -> Image:
    # INTER_AREA averages when shrinking, which keeps thin objects visible; it is poor for enlarging.
    shrinking = width < image.shape[1] and height < image.shape[0]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), dtype=np.uint8)
