"""Turns the log of an episode into its file: for the writer at the end, for recovery after a crash.

JPEG images lie in the log where the file has them (heap.py beside this), so only what refers to them is added. Raw
images have to be copied, because schema 1.0 gives each a chunk of its own, whose place only HDF5 can choose.
"""

from __future__ import annotations

import contextlib
import os
from itertools import islice
from pathlib import Path
from typing import Any

import h5py

from mobile_vla_data.episode import heap, schema
from mobile_vla_data.episode.episode_file import (
    BLOCK_STEPS,
    Ending,
    EpisodeFileBuilder,
    create_images,
    write_attributes,
    write_table,
)
from mobile_vla_data.episode.log.journal import LogIndex, read_journal
from mobile_vla_data.episode.metadata import EpisodeHeader
from mobile_vla_data.storage.durable import publish

__all__ = ["Ending", "commit_log"]

#: What h5py adds to a log, at most: for the file, and for a step.
_ROOM_BYTES, _ROOM_BYTES_A_STEP = 1 << 18, 256


def commit_log(dataset: Path, header: EpisodeHeader, index: LogIndex, ending: Ending) -> Path:
    """Complete an episode's log, flush it, give it its final name and return its path.

    After an interruption the log is as it was, and this may be repeated.

    Raises:
        OSError: the disk is full, or does not take it.
    """
    part, final = schema.part_path(dataset, header.episode_id), schema.final_path(dataset, header.episode_id)
    if header.encoding == schema.JPEG:
        _complete(part, header, index, ending)
        publish(part, final)
        return final
    copy = schema.copy_path(dataset, header.episode_id)
    try:
        _copy(part, copy, ending)
        publish(copy, final)
    except OSError:
        copy.unlink(missing_ok=True)
        raise
    part.unlink()
    return final


def _complete(path: Path, header: EpisodeHeader, index: LogIndex, ending: Ending) -> None:
    """Make the log of JPEG steps in ``path`` a whole HDF5 file; its images stay where they are.

    May be repeated after any interruption: nothing within the log is changed.

    Raises:
        OSError: the disk is full, or does not take it.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(descriptor, index.end)
        # HDF5 cannot be interrupted by a full disk, so its room is taken first; it gives back what it does not use.
        os.posix_fallocate(descriptor, index.end, _ROOM_BYTES + _ROOM_BYTES_A_STEP * len(index.table))
        os.pwrite(descriptor, heap.first_page(), 0)
        heap.set_end(descriptor, index.end)
    finally:
        os.close(descriptor)
    with h5py.File(path, "r+", libver=heap.LIBVER) as file:
        for camera, references in index.references.items():
            dataset = create_images(file, header, camera, len(index.table))
            _write_references(dataset, bytes(references))
        write_table(file, index.table)
        write_attributes(file, header, len(index.table), ending)


def _write_references(dataset: Any, references: bytes) -> None:
    """Store heap references as they are; HDF5's own writing would copy the images to another heap."""
    (chunk_steps,) = dataset.chunks
    each = len(references) // len(dataset)
    for start in range(0, len(dataset), chunk_steps):
        block = references[start * each : (start + chunk_steps) * each]
        dataset.id.write_direct_chunk((start,), block.ljust(chunk_steps * each, b"\0"))


def _copy(part: Path, copy: Path, ending: Ending) -> None:
    header, logged = read_journal(part)
    steps = (step for step, _, _ in logged)
    builder = EpisodeFileBuilder(copy, header)
    try:
        while block := list(islice(steps, BLOCK_STEPS)):
            builder.append(block)
        builder.finish(ending)
    except OSError:
        # A full disk can keep HDF5 from closing its file.
        with contextlib.suppress(OSError, RuntimeError):
            builder.close()
        raise
