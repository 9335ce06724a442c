"""The parts of a log: the header and the steps, each one HDF5 heap collection with checksums.

Appends nothing and opens nothing for writing; see log.py for that, and docs/reference/episode-log.md for the format.
"""

from __future__ import annotations

import json
import struct
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
from mobile_vla_data.episode.steps import StepRecord

_HEADER, _STEP = b"MVLAEPIS", b"MVLASTEP"
_CHECKSUM = struct.Struct("<I")
_to_json = json.JSONEncoder(separators=(",", ":")).encode


class LogError(ValueError):
    """A log cannot be read at all; one line naming the file and the reason."""


def header_pieces(header: EpisodeHeader) -> tuple[list[heap.Buffer], int]:
    """Return the beginning of a log after the first page: pieces to write and their size [bytes]."""
    metadata = header.metadata
    text = json.dumps(
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
    return heap.collection([_marked(_HEADER, text)])


def step_pieces(step: StepRecord, cameras: Sequence[str]) -> tuple[list[heap.Buffer], int]:
    """Return one step of a log: pieces to write, without a copy of the images, and their size [bytes]."""
    images: list[heap.Buffer] = [np.ascontiguousarray(step.images[camera]).data.cast("B") for camera in cameras]
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
    return heap.collection([_marked(_STEP, _to_json(row).encode()), *images])


def read_records(path: Path) -> tuple[EpisodeHeader, Iterator[tuple[StepRecord, int, int]]]:
    """Return the header of a log and, lazily, its whole steps with the address and size of each one's collection.

    A torn or damaged tail ends the iteration, as does what HDF5 added when the episode was committed.

    Raises:
        LogError: the file is not a log, or ends within its header.
        OSError: the file cannot be opened.
    """
    collections = _collections(path)
    first = next(collections, None)
    text = _checked(_HEADER, first.objects[0]) if first and first.objects else None
    if text is None:
        raise LogError(f"{path}: is not the log of an episode, or ends before its first step")
    try:
        header = _parse_header(text, path)
    except (ValueError, KeyError, TypeError, ContractError, MetadataError) as error:
        raise LogError(f"{path}: its header is damaged: {error}") from None
    return header, _steps(collections, header)


def cut_off_in_header(path: Path) -> bool:
    """Return whether a file is a log that was cut off within its header, as a kill at the start leaves it."""
    with open(path, "rb") as file:
        return heap.first_page().startswith(file.read(heap.LOG_START)) and not any(heap.read_collections(file))


def holds_more_than_header(path: Path) -> bool:
    """Return whether a complete collection follows a log's header; a kill in the first step leaves a part of one."""
    return len(list(islice(_collections(path), 2))) == 2


def step_begins_at(path: Path, end: int) -> bool:
    """Return whether a step that is torn or damaged begins at ``end``, where the whole ones end."""
    with open(path, "rb") as file:
        file.seek(end + heap.FIRST_OBJECT_AT)
        return file.read(len(_STEP)) == _STEP


def _collections(path: Path) -> Iterator[heap.Collection]:
    with open(path, "rb") as file:
        yield from heap.read_collections(file)


def _steps(collections: Iterator[heap.Collection], header: EpisodeHeader) -> Iterator[tuple[StepRecord, int, int]]:
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
    """Return the text behind a mark and its checksum; None if either is wrong."""
    start = len(mark) + _CHECKSUM.size
    if len(data) < start or data[: len(mark)] != mark:
        return None
    text = bytes(data[start:])
    return text if _CHECKSUM.unpack_from(data, len(mark)) == (zlib.crc32(text),) else None


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
