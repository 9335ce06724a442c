"""Preprocessing of images, shared by training and driving: resize, stack the cameras, convert to float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

Frame = npt.NDArray[np.uint8]
"""RGB uint8, ``[height, width, 3]`` of one camera."""


class FrameError(ValueError):
    """An image that the network needs is missing or malformed. The message is one line."""


def resize_frame(image: Frame, size: int) -> Frame:
    """Return one RGB image as uint8 ``[size, size, 3]``; unchanged if it has that size."""
    if image.shape == (size, size, 3):
        return image
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise FrameError(f"an image must be uint8 [height, width, 3], got {image.dtype} {list(image.shape)}")
    method = cv2.INTER_AREA if size < min(image.shape[:2]) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method), dtype=np.uint8)


def stack_cameras(images: Mapping[str, Frame], cameras: Sequence[str], size: int) -> Frame:
    """Return the cameras' images at network size, uint8 ``[cameras, size, size, 3]``.

    Raises:
        FrameError: an image is missing or malformed.
    """
    missing = [name for name in cameras if name not in images]
    if missing:
        raise FrameError(f"no image from camera '{missing[0]}'; this policy needs {', '.join(cameras)}")
    return np.stack([resize_frame(images[name], size) for name in cameras])


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Return images uint8 ``[..., S, S, 3]`` as float ``[..., 3, S, S]`` in 0 .. 1."""
    return images.movedim(-1, -3).contiguous().float() / 255.0
