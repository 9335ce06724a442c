"""The log of an open episode: each step is appended the moment it is taken, so a crash loses none that was taken.

HDF5 cannot give this itself: a writer killed between two metadata writes leaves a file that no library opens, and its
single-writer mode excludes variable-length data. The journal is append-only; every record carries its length and
checksum, so that a torn tail is recognised and cut off::

    magic | record(header JSON) | record(step) | record(step) ...
    record = length u32 | crc32 u32 | payload
    step   = n u32 | JSON of n bytes {stamp_ns, takeover, stamps_ns} | state f32[3] | action f32[3]
             | n u32 | image of n bytes | ... (one image per camera)
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobile_vla_data.contract import Contract, ContractError
from mobile_vla_data.episode.durable import as_disk_full
from mobile_vla_data.episode.metadata import EpisodeMetadata, MetadataError
from mobile_vla_data.episode.schema import RAW

_MAGIC = b"MVLAJRN1"
_FRAME = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
#: A power cut may lose what is younger than this; a killed process loses nothing that was appended.
SYNC_PERIOD_S = 1.0


class JournalError(ValueError):
    """A journal cannot be read at all; one line naming the file and the reason."""


@dataclass(frozen=True)
class EpisodeHeader:
    """What is known of an episode before its first step."""

    episode_id: str
    metadata: EpisodeMetadata
    contract: Contract
    cameras: tuple[str, ...]
    encoding: str
    jpeg_quality: int
    created_at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class StepRecord:
    """One step as it is stored."""

    stamp_ns: int
    images: dict[str, npt.NDArray[np.uint8]]
    """Camera -> JPEG bytes ``[n]``, or RGB ``[height, width, 3]`` when the encoding is raw."""
    state: npt.NDArray[np.float32]
    action: npt.NDArray[np.float32]
    stamps_ns: dict[str, int]
    takeover: bool

    @property
    def nbytes(self) -> int:
        """Bytes that the step's images take."""
        return sum(image.nbytes for image in self.images.values())


class Journal:
    """Appends steps to a journal file, which must not exist yet.

    Raises:
        FileExistsError: another writer owns this episode id.
    """

    def __init__(self, path: Path, header: EpisodeHeader) -> None:
        self.path = path
        self._cameras = header.cameras
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._end = 0
        self._synced_at = time.monotonic()
        self._append(_MAGIC, _record(_header_json(header)))

    def append(self, step: StepRecord) -> None:
        """Log one step.

        Raises:
            DiskFullError: the disk is full; the steps before this one stay readable.
        """
        text = json.dumps(
            {"stamp_ns": step.stamp_ns, "takeover": step.takeover, "stamps_ns": step.stamps_ns}, separators=(",", ":")
        ).encode()
        parts: list[Any] = [_LENGTH.pack(len(text)), text, step.state.tobytes(), step.action.tobytes()]
        for camera in self._cameras:
            image = np.ascontiguousarray(step.images[camera])
            parts += [_LENGTH.pack(image.nbytes), image.data.cast("B")]
        checksum, length = 0, 0
        for part in parts:
            checksum, length = zlib.crc32(part, checksum), length + len(part)
        self._append(_FRAME.pack(length, checksum), *parts)
        if time.monotonic() - self._synced_at >= SYNC_PERIOD_S:
            os.fdatasync(self._descriptor)
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Close the file, which stays on disk. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, *parts: Any) -> None:
        wanted = sum(len(part) for part in parts)
        try:
            written = os.writev(self._descriptor, parts)
            if written < wanted:
                # A full disk takes what fits and only then refuses: the second write says why.
                rest = b"".join(bytes(part) for part in parts)[written:]
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            os.ftruncate(self._descriptor, self._end)
            raise as_disk_full(error, self.path) from None
        self._end += wanted


def read_journal(path: Path) -> tuple[EpisodeHeader, Iterator[StepRecord]]:
    """Return the header of a journal and its whole steps, lazily; a torn or damaged tail ends the iteration.

    Raises:
        JournalError: the file is not a journal or breaks off within its header.
    """
    records = _read_records(path)
    try:
        header = _parse_header(next(records), path)
    except StopIteration:
        raise JournalError(f"{path}: breaks off before its first step; nothing to recover") from None
    except (ValueError, KeyError, TypeError, ContractError, MetadataError) as error:
        raise JournalError(f"{path}: its header is damaged: {error}") from None
    return header, (_parse_step(payload, header) for payload in records)


def _record(payload: bytes) -> bytes:
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def _read_records(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        magic = file.read(len(_MAGIC))
        if magic and not _MAGIC.startswith(magic):
            raise JournalError(f"{path}: is not an episode journal")
        while len(frame := file.read(_FRAME.size)) == _FRAME.size:
            length, checksum = _FRAME.unpack(frame)
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload) != checksum:
                return
            yield payload


def _header_json(header: EpisodeHeader) -> bytes:
    metadata = header.metadata
    return json.dumps(
        {
            "episode_id": header.episode_id,
            "language": metadata.language,
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


def _parse_header(payload: bytes, path: Path) -> EpisodeHeader:
    fields = json.loads(payload)
    return EpisodeHeader(
        episode_id=fields["episode_id"],
        metadata=EpisodeMetadata(
            fields["language"], fields["task"], fields["category"], fields["source"], fields["environment"]
        ),
        contract=Contract.from_json(fields["contract"], f"{path}: contract"),
        cameras=tuple(fields["cameras"]),
        encoding=fields["encoding"],
        jpeg_quality=fields["jpeg_quality"],
        created_at=fields["created_at"],
    )


def _parse_step(payload: bytes, header: EpisodeHeader) -> StepRecord:
    (text_length,) = _LENGTH.unpack_from(payload)
    position = _LENGTH.size + text_length
    fields = json.loads(payload[_LENGTH.size : position])
    numbers = np.frombuffer(payload, dtype=np.float32, count=6, offset=position)
    position += numbers.nbytes
    images = {}
    for camera in header.cameras:
        (length,) = _LENGTH.unpack_from(payload, position)
        position += _LENGTH.size
        image = np.frombuffer(payload, dtype=np.uint8, count=length, offset=position)
        position += length
        if header.encoding == RAW:
            size = header.contract.cameras[camera]
            image = image.reshape(size.height, size.width, 3)
        images[camera] = image
    return StepRecord(
        fields["stamp_ns"], images, numbers[:3], numbers[3:], fields["stamps_ns"], bool(fields["takeover"])
    )
