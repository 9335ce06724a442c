"""Image bytes to the contract's image: the only place where size and colour order change."""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import CameraContract

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Format:
    """Layout of an encoding of sensor_msgs/Image."""

    row_bytes: int
    """Bytes of a pixel in one row."""
    to_rgb: int | None
    """OpenCV's conversion to RGB; None: it is RGB."""
    even: bool = False
    """Width and height are even: colour is stored for 2 or 4 pixels together."""
    planar: bool = False
    """Colour follows in half as many rows as the brightness has."""


#: Supported encodings. OpenCV names a Bayer pattern by its second row, ROS by its first.
_FORMATS = {
    "rgb8": _Format(3, None),
    "bgr8": _Format(3, cv2.COLOR_BGR2RGB),
    "rgba8": _Format(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Format(4, cv2.COLOR_BGRA2RGB),
    "mono8": _Format(1, cv2.COLOR_GRAY2RGB),
    "yuv422_yuy2": _Format(2, cv2.COLOR_YUV2RGB_YUYV, even=True),
    "yuyv": _Format(2, cv2.COLOR_YUV2RGB_YUYV, even=True),
    "yuv422": _Format(2, cv2.COLOR_YUV2RGB_UYVY, even=True),
    "uyvy": _Format(2, cv2.COLOR_YUV2RGB_UYVY, even=True),
    "nv12": _Format(1, cv2.COLOR_YUV2RGB_NV12, even=True, planar=True),
    "bayer_rggb8": _Format(1, cv2.COLOR_BayerBG2RGB, even=True),
    "bayer_bggr8": _Format(1, cv2.COLOR_BayerRG2RGB, even=True),
    "bayer_gbrg8": _Format(1, cv2.COLOR_BayerGR2RGB, even=True),
    "bayer_grbg8": _Format(1, cv2.COLOR_BayerGB2RGB, even=True),
}
#: Encodings whose values have more than 8 bits, for example mono16, bayer_rggb16, 16UC1, 32FC1.
_DEEP = re.compile(r"\w*[a-z]16|(16|32|64)[USF]C\d+")


class ImageError(ValueError):
    """An image cannot be used; one line saying why."""


def unpack(
    data: bytes | memoryview | npt.NDArray[np.uint8], encoding: str, height: int, width: int, step: int
) -> Image:
    """Return raw image bytes as RGB, uint8 ``[height, width, 3]``.

    ``step`` is the length of a row in bytes, padding included (sensor_msgs/Image). The result is a view for
    unpadded rgb8 and a copy otherwise.

    Raises:
        ImageError: an encoding that is not supported, or fewer bytes than height and step promise.
    """
    form = _FORMATS.get(encoding)
    if form is None:
        deep = ": it has more than 8 bits a value" if _DEEP.fullmatch(encoding) else ""
        raise ImageError(f"encoding '{encoding}' is not supported{deep}; publish one of {', '.join(_FORMATS)}")
    row_bytes = width * form.row_bytes
    if height <= 0 or width <= 0 or step < row_bytes:
        raise ImageError(f"{width}x{height} {encoding} needs rows of at least {row_bytes} bytes, step is {step}")
    if form.even and (height % 2 or width % 2):
        raise ImageError(f"{width}x{height} {encoding}: width and height must be even")
    rows = height * 3 // 2 if form.planar else height
    flat = np.frombuffer(data, dtype=np.uint8)
    if flat.size < rows * step:
        raise ImageError(f"{width}x{height} {encoding} with step {step} needs {rows * step} bytes, got {flat.size}")
    pixels = flat[: rows * step].reshape(rows, step)[:, :row_bytes]
    if form.row_bytes > 1:
        pixels = pixels.reshape(rows, width, form.row_bytes)
    return pixels if form.to_rgb is None else np.asarray(cv2.cvtColor(pixels, form.to_rgb), dtype=np.uint8)


def fit(image: Image, camera: CameraContract) -> Image:
    """Resize RGB uint8 ``[h, w, 3]`` to the contract's ``[height, width, 3]`` by its ``resize`` policy.

    ``stretch`` ignores the aspect ratio, ``letterbox`` pads with black, ``crop`` keeps the centre. An image of the
    right size is returned unchanged.
    """
    height, width = image.shape[:2]
    if (height, width) == (camera.height, camera.width):
        return image
    place = placement(height, width, camera)
    scaled = _scale(image, place.width, place.height)
    if camera.resize == "stretch":
        return scaled
    if camera.resize == "crop":
        top, left = -place.top, -place.left
        return np.ascontiguousarray(scaled[top : top + camera.height, left : left + camera.width])
    canvas = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
    canvas[place.top : place.top + place.height, place.left : place.left + place.width] = scaled
    return canvas


@dataclass(frozen=True)
class Placement:
    """Size of a scaled image and place of its first pixel in the contract's image [px]."""

    height: int
    width: int
    top: int
    """Negative where rows are cut off."""
    left: int
    """Negative where columns are cut off."""


def placement(height: int, width: int, camera: CameraContract) -> Placement:
    """Return how :func:`fit` places an image of ``height`` x ``width``."""
    if camera.resize == "stretch":
        return Placement(camera.height, camera.width, 0, 0)
    ratios = (camera.width / width, camera.height / height)
    scale = min(ratios) if camera.resize == "letterbox" else max(ratios)
    scaled_height, scaled_width = max(1, round(height * scale)), max(1, round(width * scale))
    # Truncated, not floored: of an odd number of rows, fewer are added or cut off at the top than at the bottom.
    top, left = int((camera.height - scaled_height) / 2), int((camera.width - scaled_width) / 2)
    return Placement(scaled_height, scaled_width, top, left)


def _scale(image: Image, width: int, height: int) -> Image:
    # INTER_AREA averages when shrinking, which keeps thin objects visible; it is poor for enlarging.
    shrinking = width < image.shape[1] and height < image.shape[0]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), dtype=np.uint8)
