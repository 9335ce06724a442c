"""Shared by both HDF5 formats: images frame by frame, and the data for which neither format has a place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from mobile_vla_data.convert.adopt import Numbers
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.labels import Labels
from mobile_vla_data.convert.pixels import stored_from_image
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.episode.steps import StepRecord
from mobile_vla_data.image import Image

#: Attribute with the labels, and group with the arrays that only an import of ours reads.
LABELS, EXTRA_GROUP = "mobile_vla", "mobile_vla"
_TICKS, _TAKEOVER, _TARGET, _STAMPS = "ticks_ns", "takeover", "target", "stamps_ns"


def write_images(
    group: Any, name: str, episode: Episode, camera: str, compression: str | None, length: int | None = None
) -> None:
    """Write a camera's images, RGB uint8 ``[T, h, w, 3]``, one chunk a frame.

    With ``length``, write that many frames: the first ones, or all of them and then the last one repeatedly.
    """
    count = length or episode.num_steps
    size = episode.contract.cameras[camera]
    shape = (size.height, size.width, 3)
    dataset = group.create_dataset(name, (count, *shape), np.uint8, chunks=(1, *shape), compression=compression)
    for step in range(count):
        dataset[step] = episode.image(camera, min(step, episode.num_steps - 1))


def write_extras(group: Any, episode: Episode, labels: Mapping[str, Any]) -> None:
    """Write labels, ticks, stamps, takeovers and target."""
    group.attrs[LABELS] = json.dumps(labels, ensure_ascii=False)
    extra = group.create_group(EXTRA_GROUP)
    extra[_TICKS], extra[_TAKEOVER] = episode.timestamps_ns, episode.takeover
    if episode.target is not None:
        extra[_TARGET] = episode.target
    for stream, stamps in episode.stamps_ns.items():
        extra[f"{_STAMPS}/{stream}"] = stamps


def read_labels(group: Any) -> dict[str, Any]:
    """Return the labels that :func:`write_extras` wrote; empty for files of other programs."""
    return dict(json.loads(group.attrs.get(LABELS, "{}")))


def numbers_of(
    group: Any, actions: npt.NDArray[np.float32], states: npt.NDArray[np.float32], first_ns: int, period_ns: int
) -> Numbers:
    """Return actions, states and ticks; files of other programs get regular ticks from ``first_ns`` on."""
    extra = group.get(EXTRA_GROUP)
    if extra is not None:
        return Numbers(actions, states, extra[_TICKS][()])
    return Numbers(actions, states, first_ns + np.arange(len(actions), dtype=np.int64) * period_ns)


def steps_of(group: Any, numbers: Numbers, labels: Labels, image: Callable[[str, int], Image]) -> Iterator[StepRecord]:
    """Yield the steps of an episode; ``image`` gives a camera's image of a step."""
    header, extra = labels.header, group.get(EXTRA_GROUP, {})
    count = len(numbers.ticks_ns)
    takeover = extra[_TAKEOVER][()] if _TAKEOVER in extra else np.zeros(count, dtype=bool)
    target = extra[_TARGET][()] if _TARGET in extra else None
    stamps = {name: values[()] for name, values in extra[_STAMPS].items()} if _STAMPS in extra else {}
    stamps = stamps or dict.fromkeys(header.cameras, numbers.ticks_ns)
    for step in range(count):
        place = None if target is None else tuple(target[step].tolist())
        yield StepRecord(
            int(numbers.ticks_ns[step]),
            {
                camera: stored_from_image(
                    image(camera, step), header.contract.cameras[camera], header.encoding, header.jpeg_quality
                )
                for camera in header.cameras
            },
            numbers.states[step],
            numbers.actions[step],
            {stream: int(values[step]) for stream, values in stamps.items() if stream_is_kept(stream, header)},
            bool(takeover[step]),
            None if place in (None, schema.UNKNOWN_TARGET) else place,
            labels.source_encodings,
        )


def stream_is_kept(stream: str, header: Any) -> bool:
    """Return whether a stream's stamps belong in the episode: not those of cameras that were left out."""
    return stream in header.cameras or stream not in header.contract.cameras


def columns(values: Any, width: int, what: str) -> npt.NDArray[np.float32]:
    """Return ``[T, width]`` float32. Raises :class:`ConvertError` for another shape."""
    array = np.asarray(values, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != width:
        raise ConvertError(f"{what} has shape {list(array.shape)}; the contract wants [T, {width}]")
    return array


def by_number(name: str) -> tuple[float, str]:
    """Sort names by the number behind their last underscore; those without one come last."""
    number = name.rsplit("_", 1)[-1]
    return (int(number) if number.isdecimal() else math.inf), name


def open_file(path: Path) -> Any:
    """Open an HDF5 file for reading. Raises :class:`ConvertError`."""
    try:
        return h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise ConvertError(f"{path}: no such file") from None
    except OSError as error:
        raise ConvertError(f"{path}: truncated, or not HDF5: {' '.join(str(error).split())[:120]}") from None
