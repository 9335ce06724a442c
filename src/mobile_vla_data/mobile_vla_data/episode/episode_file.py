"""Builds the HDF5 file of one episode: layout, blocks, attributes. Knows nothing of crashes; see writer.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from mobile_vla_data import __version__
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.journal import EpisodeHeader, StepRecord

#: Images written in one go; one HDF5 call costs as much as several images.
BLOCK_STEPS = 64
_VLEN_BYTES = h5py.vlen_dtype(np.uint8)


class EpisodeFileBuilder:
    """Creates ``path`` and fills it: images block by block, everything else, 100 bytes a step, at the end.

    The oldest file format is written (``libver="earliest"``, no filters), which every h5py since 2.0 reads.
    """

    def __init__(self, path: Path, header: EpisodeHeader) -> None:
        self.path = path
        self._header = header
        self._file: Any = h5py.File(path, "w", libver=("earliest", "v108"))
        # Looked up once: finding a dataset by its path costs as much as writing an image to it.
        self._images = {camera: self._create_images(camera) for camera in header.cameras}
        self._rows: list[StepRecord] = []

    @property
    def num_steps(self) -> int:
        """Steps appended so far."""
        return len(self._rows)

    def append(self, steps: Sequence[StepRecord]) -> None:
        """Write a block of steps; all must have the streams of the first."""
        if not steps:
            return
        for camera, dataset in self._images.items():
            self._write_images(dataset, [step.images[camera] for step in steps])
        self._rows += [
            StepRecord(step.stamp_ns, {}, step.state, step.action, step.stamps_ns, step.takeover) for step in steps
        ]

    def finish(self, outcome: str, dropped_ticks: int, optional: Mapping[str, Any]) -> None:
        """Write the small datasets and the root attributes, and close; the file is then complete."""
        rows, file = self._rows, self._file
        file[schema.STATE] = np.stack([row.state for row in rows])
        file[schema.ACTIONS] = np.stack([row.action for row in rows])
        file[schema.TIMESTAMPS] = np.array([row.stamp_ns for row in rows], dtype=np.int64)
        file[schema.TAKEOVER] = np.array([row.takeover for row in rows], dtype=bool)
        for stream in rows[0].stamps_ns:
            stamps = np.array([row.stamps_ns[stream] for row in rows], dtype=np.int64)
            file[schema.stamp_path(stream)] = stamps
        for name, value in self._attributes(outcome, dropped_ticks, optional).items():
            file.attrs[name] = value
        file.close()

    def close(self) -> None:
        """Close an unfinished file. Idempotent."""
        self._file.close()

    def _attributes(self, outcome: str, dropped_ticks: int, optional: Mapping[str, Any]) -> dict[str, Any]:
        header, metadata = self._header, self._header.metadata
        return {
            "schema": schema.SCHEMA,
            "schema_version": schema.SCHEMA_VERSION,
            "episode_id": header.episode_id,
            "language": metadata.language,
            "task": metadata.task,
            "category": metadata.category,
            "outcome": outcome,
            "source": metadata.source,
            "environment": metadata.environment_json,
            "contract": header.contract.to_json(),
            "num_steps": np.int64(self.num_steps),
            "dropped_ticks": np.int64(dropped_ticks),
            "created_at": header.created_at,
            "software_version": __version__,
            **optional,
        }

    def _create_images(self, camera: str) -> Any:
        size, path = self._header.contract.cameras[camera], schema.image_path(camera)
        shape: tuple[int, ...] = ()
        dtype, chunk_steps = _VLEN_BYTES, BLOCK_STEPS
        if self._header.encoding == schema.RAW:
            shape, dtype, chunk_steps = (size.height, size.width, 3), np.dtype(np.uint8), 1
        dataset = self._file.create_dataset(
            path, shape=(0, *shape), maxshape=(None, *shape), chunks=(chunk_steps, *shape), dtype=dtype
        )
        dataset.attrs["encoding"] = self._header.encoding
        if self._header.encoding == schema.JPEG:
            dataset.attrs["jpeg_quality"] = np.int64(self._header.jpeg_quality)
        return dataset

    def _write_images(self, dataset: Any, images: Sequence[npt.NDArray[np.uint8]]) -> None:
        start, end = self.num_steps, self.num_steps + len(images)
        dataset.resize(end, axis=0)
        if self._header.encoding == schema.RAW:
            dataset[start:end] = np.stack(images)
            return
        # h5py's own assignment stacks images that happen to have equal lengths and then refuses them.
        block = np.empty(len(images), dtype=_VLEN_BYTES)
        for index, image in enumerate(images):
            block[index] = image
        space = dataset.id.get_space()
        space.select_hyperslab((start,), (len(images),))
        dataset.id.write(h5py.h5s.create_simple((len(images),)), space, block)
