"""Guards against damaged files: HDF5 raises many kinds of errors on them, and never returns from a broken heap."""

from __future__ import annotations

import mmap
from math import prod
from pathlib import Path
from typing import Any

import h5py

from mobile_vla_data.episode import heap, schema

#: Errors that h5py raises on damaged bytes.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, OverflowError)


def hangs_hdf5(path: Path, file: Any) -> bool:
    """Return whether HDF5 may hang on the episode file ``path``, open as the ``h5py.File`` ``file``.

    Opening a file reads no heap, so call this between opening and the first attribute; it takes a tenth of the time of
    opening. May raise any of :data:`DAMAGE`.
    """
    with open(path, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return not heap.are_whole(data, _raw_images(file, len(data)))


def _raw_images(file: Any, size: int) -> list[range]:
    """Return the ranges of raw images in the file of ``size`` [bytes], in rising order."""
    found = []
    group = file.get(schema.IMAGES_GROUP)
    for dataset in group.values() if isinstance(group, h5py.Group) else ():
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 4 or not dataset.chunks or dataset.chunks[0] != 1:
            continue
        # A damaged length may be any number.
        for step in range(min(len(dataset), size // max(1, prod(dataset.chunks)))):
            chunk = dataset.id.get_chunk_info_by_coord((step, 0, 0, 0))
            if chunk.byte_offset is not None:
                found.append(range(chunk.byte_offset, chunk.byte_offset + chunk.size))
    return sorted(found, key=lambda stretch: stretch.start)
