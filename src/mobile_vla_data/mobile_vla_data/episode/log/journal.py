"""The log of an open episode: each step is appended the moment it is taken, so a crash loses none that was taken.

HDF5 cannot give this itself: a writer killed between two metadata writes leaves a file that no library opens, and its
single-writer mode excludes variable-length data. The journal only ever appends; what it appends are HDF5 heap
collections (heap.py beside this), so that JPEG images lie where the finished episode has them and are written once::

    collection(header) | collection(step) | collection(step) ...
    header = object 1: "MVLAEPIS" | crc32 u32 | JSON
    step   = object 1: "MVLASTEP" | crc32 u32 | JSON {stamp_ns, takeover, stamps_ns, state, action, crc of each image}
             objects 2, 3 ...: the image of each camera

Every part carries its checksum, so that a torn tail is recognised and cut off.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mobile_vla_data.contract import Contract, ContractError
from mobile_vla_data.episode import heap
from mobile_vla_data.episode.metadata import EpisodeHeader, EpisodeMetadata, MetadataError
from mobile_vla_data.episode.schema import RAW
from mobile_vla_data.episode.steps import StepRecord, StepTable
from mobile_vla_data.storage.durable import as_disk_full, fsync_path

_HEADER, _STEP = b"MVLAEPIS", b"MVLASTEP"
_CHECKSUM = struct.Struct("<I")
_to_json = json.JSONEncoder(separators=(",", ":")).encode
#: A power cut may lose what is younger than this; a killed process loses nothing that was appended.
SYNC_PERIOD_S = 1.0


class JournalError(ValueError):
    """A journal cannot be read at all; one line naming the file and the reason."""


class LogIndex:
    """What HDF5 has to be told of the steps in a log: their small values, and where their images lie."""

    def __init__(self, cameras: Sequence[str]) -> None:
        self.table = StepTable()
        self.references = {camera: bytearray() for camera in cameras}
        """Camera -> one heap reference a step."""
        self.end = 0
        """Where the log ends [bytes from the start of the file]."""

    def append(self, step: StepRecord, address: int, size: int) -> None:
        """Add the step whose collection of ``size`` bytes lies at ``address``."""
        for index, (camera, references) in enumerate(self.references.items(), start=2):
            references += heap.reference(step.images[camera].nbytes, address, index)
        self.table.append(step)
        self.end = address + size


class Journal:
    """Appends steps to a log file, which must not exist yet.

    Raises:
        FileExistsError: another writer owns this episode id.
        DiskFullError: the disk is full; the file is removed.
    """

    def __init__(self, path: Path, header: EpisodeHeader) -> None:
        self.path = path
        self.index = LogIndex(header.cameras)
        self._cameras = header.cameras
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._synced_at, self._listed = time.monotonic(), False
        pieces, size = heap.collection([_marked(_HEADER, _header_json(header))])
        try:
            self._append([heap.first_page(), *pieces])
        except OSError:
            self.close()
            path.unlink()
            raise
        self.index.end = heap.LOG_START + size

    def append(self, step: StepRecord) -> None:
        """Log one step.

        Raises:
            DiskFullError: the disk is full; the steps before this one stay readable.
        """
        images: list[heap.Buffer] = [
            np.ascontiguousarray(step.images[camera]).data.cast("B") for camera in self._cameras
        ]
        row: dict[str, Any] = {
            "stamp_ns": step.stamp_ns,
            "takeover": step.takeover,
            "stamps_ns": step.stamps_ns,
            "state": step.state.tolist(),
            "action": step.action.tolist(),
            "crc": [zlib.crc32(image) for image in images],
        }
        if step.target is not None:
            row["target"] = step.target
        if step.source_encodings:
            row["source_encodings"] = dict(step.source_encodings)
        text = _to_json(row).encode()
        pieces, size = heap.collection([_marked(_STEP, text), *images])
        self._append(pieces)
        self.index.append(step, self.index.end, size)
        if time.monotonic() - self._synced_at >= SYNC_PERIOD_S:
            os.fdatasync(self._descriptor)
            if not self._listed:
                # After a power cut the name must be there, too; not at once, so that an episode starts without waiting.
                fsync_path(self.path.parent)
                self._listed = True
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Close the file, which stays on disk. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

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
            os.ftruncate(self._descriptor, self.index.end)
            raise as_disk_full(error, self.path) from None


def read_journal(path: Path) -> tuple[EpisodeHeader, Iterator[tuple[StepRecord, int, int]]]:
    """Return the header of a log and lazily its whole steps, each with the address and size of its collection.

    A torn or damaged tail ends the iteration, as does what h5py added when the episode was committed.

    Raises:
        JournalError: the file is no log or breaks off within its header.
    """
    collections = _read_collections(path)
    first = next(collections, None)
    text = _checked(_HEADER, first.objects[0]) if first and first.objects else None
    if text is None:
        raise JournalError(f"{path}: is no log of an episode, or breaks off before its first step")
    try:
        header = _parse_header(text, path)
    except (ValueError, KeyError, TypeError, ContractError, MetadataError) as error:
        raise JournalError(f"{path}: its header is damaged: {error}") from None
    return header, _read_steps(collections, header)


def breaks_off_in_header(path: Path) -> bool:
    """Whether a file is the beginning of a log up to somewhere within its header, as a kill at the start leaves it."""
    with open(path, "rb") as file:
        return heap.first_page().startswith(file.read(heap.LOG_START)) and not any(heap.read_collections(file))


def holds_more_than_header(path: Path) -> bool:
    """Whether something whole follows a log's header; a kill during the first step leaves only a part of it."""
    return len(list(islice(_read_collections(path), 2))) == 2


def broken_step_at(path: Path, end: int) -> bool:
    """Whether a step that is torn or damaged begins at ``end``, where the whole ones end."""
    with open(path, "rb") as file:
        file.seek(end + heap.FIRST_OBJECT_AT)
        return file.read(len(_STEP)) == _STEP


def _read_collections(path: Path) -> Iterator[heap.Collection]:
    with open(path, "rb") as file:
        yield from heap.read_collections(file)


def _read_steps(collections: Iterator[heap.Collection], header: EpisodeHeader) -> Iterator[tuple[StepRecord, int, int]]:
    for found in collections:
        text = _checked(_STEP, found.objects[0]) if len(found.objects) == 1 + len(header.cameras) else None
        if text is None:
            return
        row, images = json.loads(text), found.objects[1:]
        if [zlib.crc32(image) for image in images] != row["crc"]:
            return
        yield _parse_step(row, images, header), found.address, found.size


def _marked(mark: bytes, text: bytes) -> bytes:
    return mark + _CHECKSUM.pack(zlib.crc32(text)) + text


def _checked(mark: bytes, data: memoryview) -> bytes | None:
    """The text behind a mark and its checksum; None if either is not right."""
    start = len(mark) + _CHECKSUM.size
    if len(data) < start or data[: len(mark)] != mark:
        return None
    text = bytes(data[start:])
    return text if _CHECKSUM.unpack_from(data, len(mark)) == (zlib.crc32(text),) else None


def _header_json(header: EpisodeHeader) -> bytes:
    metadata = header.metadata
    return json.dumps(
        {
            "episode_id": header.episode_id,
            "language": metadata.language,
            "language_alternatives": metadata.language_alternatives,
            "task": metadata.task,
            "category": metadata.category,
            "source": metadata.source,
            "environment": dict(metadata.environment),
            "contract": header.contract.to_json(),
            "cameras": header.cameras,
            "encoding": header.encoding,
            "jpeg_quality": header.jpeg_quality,
            "created_at": header.created_at,
        }
    ).encode()


def _parse_header(text: bytes, path: Path) -> EpisodeHeader:
    fields = json.loads(text)
    return EpisodeHeader(
        episode_id=fields["episode_id"],
        metadata=EpisodeMetadata(
            fields["language"],
            fields["task"],
            fields["category"],
            fields["source"],
            fields["environment"],
            tuple(fields.get("language_alternatives", ())),
        ),
        contract=Contract.from_json(fields["contract"], f"{path}: contract"),
        cameras=tuple(fields["cameras"]),
        encoding=fields["encoding"],
        jpeg_quality=fields["jpeg_quality"],
        created_at=fields["created_at"],
    )


def _parse_step(row: dict[str, Any], images: Sequence[memoryview], header: EpisodeHeader) -> StepRecord:
    arrays = {}
    for camera, data in zip(header.cameras, images, strict=True):
        image = np.frombuffer(data, dtype=np.uint8)
        if header.encoding == RAW:
            size = header.contract.cameras[camera]
            image = image.reshape(size.height, size.width, 3)
        arrays[camera] = image
    return StepRecord(
        row["stamp_ns"],
        arrays,
        np.array(row["state"], dtype=np.float32),
        np.array(row["action"], dtype=np.float32),
        row["stamps_ns"],
        bool(row["takeover"]),
        tuple(row["target"]) if "target" in row else None,
        row.get("source_encodings", {}),
    )
