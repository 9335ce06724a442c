"""Checks of the writer: refuses arguments and steps that do not fit the contract, before they reach a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import Contract
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.metadata import EpisodeHeader


class WriterError(ValueError):
    """A step or a call does not fit the episode; one line naming the field, the value and what to do."""


def require_arguments(
    contract: Contract, cameras: Sequence[str], encoding: str, jpeg_quality: int, episode_id: str | None
) -> None:
    """Raise :class:`WriterError` unless an episode can be opened with these arguments."""
    required = [name for name, camera in contract.cameras.items() if camera.required]
    unknown = [name for name in cameras if name not in contract.cameras]
    absent = [name for name in required if name not in cameras]
    if unknown or absent:
        raise WriterError(f"cameras {list(cameras)}: the contract has {list(contract.cameras)} and requires {required}")
    if encoding not in schema.ENCODINGS:
        raise WriterError(f"encoding is '{encoding}'; use one of {', '.join(schema.ENCODINGS)}")
    if not 1 <= jpeg_quality <= 100:
        raise WriterError(f"jpeg_quality is {jpeg_quality}; use 1 .. 100")
    if episode_id is not None and not schema.is_episode_id(episode_id):
        raise WriterError(f"episode_id is '{episode_id}'; use the form episode_000123")


def require_vector(name: str, values: npt.ArrayLike, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return a copy as float32 with one value for each of ``names``.

    Raises:
        WriterError: another shape, or a value that is not finite.
    """
    vector = np.array(values, dtype=np.float32)
    if vector.shape != (len(names),):
        raise WriterError(
            f"{name} has shape {list(vector.shape)}; the contract expects [{len(names)}]: {', '.join(names)}"
        )
    if not all(map(math.isfinite, vector.tolist())):
        raise WriterError(f"{name} is {vector.tolist()}; every value must be finite")
    return vector


def require_image(
    header: EpisodeHeader, camera: str, images: Mapping[str, npt.NDArray[np.uint8]]
) -> npt.NDArray[np.uint8]:
    """Return the image of one camera. Raises :class:`WriterError` if it is missing or not of the contract's size."""
    size = header.contract.cameras[camera]
    image = images.get(camera)
    if image is None:
        raise WriterError(f"images: camera '{camera}' is missing; every step needs {list(header.cameras)}")
    if image.shape != (size.height, size.width, 3) or image.dtype != np.uint8:
        raise WriterError(
            f"images: camera '{camera}' has {image.dtype} {list(image.shape)}; "
            f"the contract says uint8 {[size.height, size.width, 3]}"
        )
    return image


def require_target(header: EpisodeHeader, target: Sequence[int] | None) -> tuple[int, int] | None:
    """Return the target as column and row [px], or None where it is not known.

    Raises:
        WriterError: it is not a pair of numbers, or lies outside the first camera's image.
    """
    if target is None:
        return None
    if len(target) != 2:
        raise WriterError(f"target is {list(target)}; give column and row, or None")
    column, row = (int(value) for value in target)
    if (column, row) == schema.UNKNOWN_TARGET:
        return None
    size = header.contract.cameras[header.contract.first_camera]
    if not (0 <= column < size.width and 0 <= row < size.height):
        raise WriterError(
            f"target ({column}, {row}) is outside the {size.width}x{size.height} image of camera "
            f"'{header.contract.first_camera}'; give None where the target is not visible"
        )
    return column, row
