"""Appends to a log, reads one after a crash, and turns either into an episode file.

HDF5 cannot do the first itself: a writer killed between two writes of metadata leaves a file that no library opens, and
its single-writer mode excludes variable-length data. So the log is a file to which HDF5 heap collections are appended
(heap.py beside this folder): JPEG images lie in it where the finished episode has them and are written once. Raw images
have to be copied, because the schema gives each its own chunk, whose place only HDF5 can choose.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mobile_vla_data.episode import heap, schema
from mobile_vla_data.episode.episode_file import BLOCK_STEPS, EpisodeFileBuilder, write_parts
from mobile_vla_data.episode.log.records import (
    header_pieces,
    holds_more_than_header,
    read_records,
    step_begins_at,
    step_pieces,
)
from mobile_vla_data.episode.metadata import Ending, EpisodeHeader
from mobile_vla_data.episode.steps import StepRecord, StepTable
from mobile_vla_data.storage.access import open_hdf5
from mobile_vla_data.storage.durable import as_disk_full, fsync_path, publish

#: A power cut may lose what is younger than this; a killed process loses nothing that was appended.
SYNC_PERIOD_S = 1.0
#: What HDF5 adds to a log, at most: for the file, and for a step.
_ROOM_BYTES, _ROOM_BYTES_A_STEP = 1 << 18, 256


class _Index:
    """Small values of the steps in a log, and references to their images, for HDF5."""

    def __init__(self, cameras: Sequence[str]) -> None:
        self.table = StepTable()
        self.references = {camera: bytearray() for camera in cameras}
        """Camera -> one heap reference a step."""
        self.end = 0
        """End of the log [bytes from the start of the file]."""

    def append(self, step: StepRecord, address: int, size: int) -> None:
        """Add the step whose collection of ``size`` bytes lies at ``address``."""
        for index, (camera, references) in enumerate(self.references.items(), start=2):
            references += heap.reference(step.images[camera].nbytes, address, index)
        self.table.append(step)
        self.end = address + size


class EpisodeLog:
    """The log of an open episode in a dataset folder; creating it reserves the episode's id.

    Raises:
        FileExistsError: another writer owns this episode id.
        DiskFullError: the disk is full; the file is removed.
    """

    def __init__(self, dataset: Path, header: EpisodeHeader) -> None:
        self.path = schema.part_path(dataset, header.episode_id)
        self._dataset, self._header = dataset, header
        self._index = _Index(header.cameras)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._synced_at, self._listed = time.monotonic(), False
        pieces, size = header_pieces(header)
        try:
            self._append([heap.first_page(), *pieces])
        except OSError:
            self.close()
            self.path.unlink()
            raise
        self._index.end = heap.LOG_START + size

    @property
    def num_steps(self) -> int:
        """Steps appended so far."""
        return len(self._index.table)

    def append(self, step: StepRecord) -> None:
        """Log one step; when this returns, it survives the death of the process.

        Raises:
            DiskFullError: the disk is full; the steps before this one stay readable.
        """
        pieces, size = step_pieces(step, self._header.cameras)
        self._append(pieces)
        self._index.append(step, self._index.end, size)
        if time.monotonic() - self._synced_at >= SYNC_PERIOD_S:
            os.fdatasync(self._descriptor)
            if not self._listed:
                # After a power cut the name must be there, too; not at once, so that an episode starts without waiting.
                fsync_path(self.path.parent)
                self._listed = True
            self._synced_at = time.monotonic()

    def commit(self, ending: Ending) -> Path:
        """Close the log, make it the episode file, and return its path. After an interruption the log is as it was.

        Raises:
            OSError: the disk is full or cannot be written to.
        """
        self.close()
        return _commit(self._dataset, self._header, self._index, ending)

    def close(self) -> None:
        """Close the file, which stays on disk. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Remove every trace of the episode. Idempotent; does nothing after :meth:`commit`."""
        if self.path.exists():
            self.close()
            self.path.unlink()
            schema.copy_path(self._dataset, self._header.episode_id).unlink(missing_ok=True)
            fsync_path(self._dataset)

    def _append(self, pieces: Sequence[heap.Buffer]) -> None:
        wanted = sum(map(len, pieces))
        try:
            written = os.writev(self._descriptor, pieces)
            if written < wanted:
                # A full disk takes what fits and only then refuses: the second write says why.
                rest = b"".join(pieces)[written:]
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            os.ftruncate(self._descriptor, self._index.end)
            raise as_disk_full(error, self.path) from None


@dataclass(frozen=True)
class LoggedEpisode:
    """An episode that a crash left in a log. Made by :func:`read_log`."""

    header: EpisodeHeader
    table: StepTable
    """Small values of its complete steps."""
    torn: bool
    """True if an incomplete or damaged step follows the complete ones; it and everything after it are lost."""
    nothing_whole: bool
    """True if there is no whole step although the first was written completely: it is damaged."""
    _dataset: Path
    _index: _Index

    def commit(self, ending: Ending) -> Path:
        """Make the episode file out of the whole steps, and return its path. May be repeated after an interruption.

        Raises:
            OSError: the disk is full or cannot be written to.
        """
        return _commit(self._dataset, self.header, self._index, ending)


def read_log(dataset: Path, episode_id: str) -> LoggedEpisode:
    """Read the log of an episode that was never committed.

    Raises:
        LogError: the file is not a log, or ends within its header.
        OSError: the file cannot be opened.
    """
    path = schema.part_path(dataset, episode_id)
    header, steps = read_records(path)
    index = _Index(header.cameras)
    for step, address, size in steps:
        index.append(step, address, size)
    torn = bool(len(index.table)) and step_begins_at(path, index.end)
    nothing_whole = not len(index.table) and holds_more_than_header(path)
    return LoggedEpisode(header, index.table, torn, nothing_whole, dataset, index)


def _commit(dataset: Path, header: EpisodeHeader, index: _Index, ending: Ending) -> Path:
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


def _complete(path: Path, header: EpisodeHeader, index: _Index, ending: Ending) -> None:
    """Make the log of JPEG steps in ``path`` a whole HDF5 file; its images stay where they are.

    May be repeated after any interruption: nothing within the log is changed.
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
    with open_hdf5(path, "r+", libver=heap.LIBVER) as file:
        references = {camera: bytes(found) for camera, found in index.references.items()}
        write_parts(file, header, index.table, ending, references)


def _copy(part: Path, copy: Path, ending: Ending) -> None:
    header, logged = read_records(part)
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
