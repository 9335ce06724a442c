"""Images of other formats as an episode stores them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import CameraContract
from mobile_vla_data.episode import jpeg, schema
from mobile_vla_data.image import Image, ImageError, fit


def is_jpeg(data: bytes) -> bool:
    """Return whether bytes begin as a JPEG does."""
    return data.startswith(jpeg.BEGINS)


def decode(data: bytes) -> Image:
    """Decode JPEG, PNG or any other format of OpenCV to RGB uint8 ``[h, w, 3]``. Raises :class:`ImageError`."""
    if is_jpeg(data):
        return jpeg.decode(data)
    image = jpeg.decode_any(data)
    if image is None:
        raise ImageError(f"not an image ({len(data)} bytes)")
    return image


def stored_from_bytes(data: bytes, camera: CameraContract, encoding: str, quality: int) -> npt.NDArray[np.uint8]:
    """Convert an encoded image to the form in which an episode stores it.

    A JPEG of the contract's size is kept unchanged if the episode stores JPEG.

    Raises:
        ImageError: the bytes are not an image.
    """
    if encoding == schema.JPEG and is_jpeg(data) and jpeg.size(data) == (camera.height, camera.width):
        return np.frombuffer(data, dtype=np.uint8)
    return stored_from_image(decode(data), camera, encoding, quality)


def stored_from_image(image: Image, camera: CameraContract, encoding: str, quality: int) -> npt.NDArray[np.uint8]:
    """Make what an episode stores out of RGB uint8 ``[h, w, 3]``: JPEG bytes ``[n]``, or the contract's image."""
    fitted = fit(image, camera)
    if encoding == schema.RAW:
        return np.ascontiguousarray(fitted)
    return np.frombuffer(jpeg.encode(fitted, quality), dtype=np.uint8)
