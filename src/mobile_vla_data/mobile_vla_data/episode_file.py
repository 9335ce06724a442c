"""Builds the HDF5 file of one episode: layout, blocks, attributes. Knows nothing of crashes; see writer.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from mobile_vla_data import __version__, schema
from mobile_vla_data.journal import EpisodeHeader, StepRecord

#: Steps written in one go; one HDF5 call costs as much as 20 images.
BLOCK_STEPS = 32
_VLEN_BYTES = h5py.vlen_dtype(np.uint8)


class EpisodeFileBuilder:
    """Creates ``path`` and fills it block by block.

    The oldest file format is written (``libver="earliest"``, no filters), which every h5py since 2.0 reads.
    """

    def __init__(self, path: Path, header: EpisodeHeader) -> None:
        self.path = path
        self._header = header
        self._file: Any = h5py.File(path, "w", libver=("earliest", "v108"))
        self.num_steps = 0

    def append(self, steps: Sequence[StepRecord]) -> None:
        """Write a block of steps; all must have the streams of the first."""
        if not steps:
            return
        if not self.num_steps:
            self._create(tuple(steps[0].stamps_ns))
        for camera in self._header.cameras:
            self._write_images(schema.image_path(camera), [step.images[camera] for step in steps])
        self._write(schema.STATE, np.stack([step.state for step in steps]))
        self._write(schema.ACTIONS, np.stack([step.action for step in steps]))
        self._write(schema.TIMESTAMPS, np.array([step.stamp_ns for step in steps], dtype=np.int64))
        self._write(schema.TAKEOVER, np.array([step.takeover for step in steps], dtype=bool))
        for stream in steps[0].stamps_ns:
            stamps = np.array([step.stamps_ns[stream] for step in steps], dtype=np.int64)
            self._write(schema.stamp_path(stream), stamps)
        self.num_steps += len(steps)

    def finish(self, outcome: str, dropped_ticks: int, optional: Mapping[str, Any]) -> None:
        """Write the root attributes and close; the file is then complete."""
        header, metadata = self._header, self._header.metadata
        attributes: dict[str, Any] = {
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
        for name, value in attributes.items():
            self._file.attrs[name] = value
        self._file.close()

    def close(self) -> None:
        """Close an unfinished file. Idempotent."""
        self._file.close()

    def _create(self, streams: tuple[str, ...]) -> None:
        for camera in self._header.cameras:
            size = self._header.contract.cameras[camera]
            if self._header.encoding == schema.JPEG:
                dataset = self._dataset(schema.image_path(camera), (), _VLEN_BYTES, BLOCK_STEPS)
                dataset.attrs["jpeg_quality"] = np.int64(self._header.jpeg_quality)
            else:
                dataset = self._dataset(schema.image_path(camera), (size.height, size.width, 3), np.uint8, 1)
            dataset.attrs["encoding"] = self._header.encoding
        for path, (dtype, width) in schema.STEP_DATASETS.items():
            self._dataset(path, () if width is None else (width,), np.dtype(dtype), 128)
        for stream in streams:
            self._dataset(schema.stamp_path(stream), (), np.dtype(schema.STAMP_DTYPE), 128)

    def _dataset(self, path: str, shape: tuple[int, ...], dtype: Any, chunk_steps: int) -> Any:
        return self._file.create_dataset(
            path, shape=(0, *shape), maxshape=(None, *shape), chunks=(chunk_steps, *shape), dtype=dtype
        )

    def _write(self, path: str, values: npt.NDArray[Any]) -> None:
        dataset = self._file[path]
        dataset.resize(self.num_steps + len(values), axis=0)
        dataset[self.num_steps :] = values

    def _write_images(self, path: str, images: Sequence[npt.NDArray[np.uint8]]) -> None:
        if self._header.encoding == schema.RAW:
            self._write(path, np.stack(images))
            return
        # h5py's own assignment stacks images that happen to have equal lengths and then refuses them.
        block = np.empty(len(images), dtype=_VLEN_BYTES)
        for index, image in enumerate(images):
            block[index] = image
        dataset = self._file[path]
        dataset.resize(self.num_steps + len(images), axis=0)
        space = dataset.id.get_space()
        space.select_hyperslab((self.num_steps,), (len(images),))
        dataset.id.write(h5py.h5s.create_simple((len(images),)), space, block)
