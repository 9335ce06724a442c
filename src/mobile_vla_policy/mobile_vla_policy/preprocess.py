"""From the contract's images to the network's: the one function that trainer and policy both use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

Frame = npt.NDArray[np.uint8]
"""RGB uint8, ``[height, width, 3]`` of one camera."""


class FrameError(ValueError):
    """An image the network needs is missing or has the wrong form. The message is one line."""


def resize_frame(image: Frame, size: int) -> Frame:
    """One RGB image as uint8 ``[size, size, 3]``; to the byte as it is when it has that size."""
    if image.shape == (size, size, 3):
        return image
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise FrameError(f"an image must be uint8 [height, width, 3], got {image.dtype} {list(image.shape)}")
    method = cv2.INTER_AREA if size < min(image.shape[:2]) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method), dtype=np.uint8)


def stack_cameras(images: Mapping[str, Frame], cameras: Sequence[str], size: int) -> Frame:
    """The cameras' images at network size, uint8 ``[cameras, size, size, 3]``.

    Raises:
        FrameError: a camera has delivered no image, or an image has the wrong form.
    """
    missing = [name for name in cameras if name not in images]
    if missing:
        raise FrameError(f"no image from camera '{missing[0]}'; this policy needs {', '.join(cameras)}")
    return np.stack([resize_frame(images[name], size) for name in cameras])


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Images uint8 ``[..., S, S, 3]`` as float ``[..., 3, S, S]`` in 0 .. 1."""
    return images.movedim(-1, -3).contiguous().float() / 255.0
