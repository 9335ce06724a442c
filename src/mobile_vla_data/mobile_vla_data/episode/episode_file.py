"""The HDF5 file of one episode: layout, blocks, attributes. It does not handle crashes; see log/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5a, h5d, h5p, h5s, h5t

from mobile_vla_data import __version__
from mobile_vla_data.episode import heap, schema
from mobile_vla_data.episode.metadata import Ending, EpisodeHeader
from mobile_vla_data.episode.steps import StepRecord, StepTable
from mobile_vla_data.storage.access import open_hdf5

#: Images written in one go; one HDF5 call costs as much as several images.
BLOCK_STEPS = 64
_VLEN_BYTES = h5py.vlen_dtype(np.uint8)
_TEXT = h5py.string_dtype()
# h5py looks up the HDF5 type of a dtype each time, which takes as long as writing an attribute of it.
_TEXT_KIND, _VLEN_BYTES_KIND = h5t.py_create(_TEXT, logical=True), h5t.py_create(_VLEN_BYTES, logical=True)
_TEXT_IN_MEMORY = h5t.py_create(_TEXT)
#: References in one chunk; a reader fetches them together.
_REFERENCES_IN_CHUNK = 4096


class EpisodeFileBuilder:
    """Creates ``path`` and fills it: images block by block, everything else, 100 bytes a step, at the end.

    The oldest file format is written (``libver="earliest"``, no filters), which every h5py since 2.0 reads.
    """

    def __init__(self, path: Path, header: EpisodeHeader) -> None:
        self.path = path
        self._header = header
        self._file: Any = open_hdf5(path, "w", libver=heap.LIBVER)
        heap.create_groups(self._file)
        # Looked up once: finding a dataset by its path costs as much as writing an image to it.
        self._images = {camera: _create_images(self._file, header, camera, None) for camera in header.cameras}
        self._table = StepTable()

    @property
    def num_steps(self) -> int:
        """Steps appended so far."""
        return len(self._table)

    def append(self, steps: Sequence[StepRecord]) -> None:
        """Write a block of steps; all must have the streams of the first."""
        if not steps:
            return
        for camera, dataset in self._images.items():
            self._write_images(dataset, [step.images[camera] for step in steps])
        for step in steps:
            self._table.append(step)

    def finish(self, ending: Ending) -> None:
        """Write the small datasets and the root attributes, and close; the file is then complete."""
        _write_table(self._file, self._table)
        _write_attributes(self._file, self._header, self.num_steps, ending)
        self._file.close()

    def close(self) -> None:
        """Close an unfinished file. Idempotent."""
        self._file.close()

    def _write_images(self, dataset: Any, images: Sequence[npt.NDArray[np.uint8]]) -> None:
        start, end = self.num_steps, self.num_steps + len(images)
        dataset.resize(end, axis=0)
        if self._header.encoding == schema.RAW:
            # Each image is a chunk already; HDF5's own writing would copy it twice.
            for index, image in enumerate(images, start):
                dataset.id.write_direct_chunk((index, 0, 0, 0), np.ascontiguousarray(image))
            return
        # h5py's own assignment stacks images that happen to have equal lengths and then refuses them.
        block = np.empty(len(images), dtype=_VLEN_BYTES)
        for index, image in enumerate(images):
            block[index] = image
        space = dataset.id.get_space()
        space.select_hyperslab((start,), (len(images),))
        dataset.id.write(h5s.create_simple((len(images),)), space, block)


def write_parts(
    file: Any, header: EpisodeHeader, table: StepTable, ending: Ending, references: Mapping[str, bytes]
) -> None:
    """Write everything into an open ``h5py.File`` that holds only JPEG images in heap collections.

    ``references`` are the heap references of each camera's images, one a step.
    """
    for camera, found in references.items():
        _write_references(_create_images(file, header, camera, len(table)), found)
    _write_table(file, table)
    _write_attributes(file, header, len(table), ending)


def _create_images(file: Any, header: EpisodeHeader, camera: str, steps: int | None) -> Any:
    """Create the dataset of a camera's images for a known number of steps, or for one that grows."""
    size = header.contract.cameras[camera]
    frame: tuple[int, ...] = ()
    kind, chunk_steps = _VLEN_BYTES_KIND, min(steps, _REFERENCES_IN_CHUNK) if steps else BLOCK_STEPS
    if header.encoding == schema.RAW:
        frame, kind, chunk_steps = (size.height, size.width, 3), h5t.STD_U8LE, 1
    space = h5s.create_simple((steps or 0, *frame), (h5s.UNLIMITED, *frame))
    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_chunk((chunk_steps, *frame))
    dataset = h5py.Dataset(h5d.create(file.id, schema.image_path(camera).encode(), kind, space, layout))
    _write_attribute(dataset, "encoding", header.encoding)
    if header.encoding == schema.JPEG:
        _write_attribute(dataset, "jpeg_quality", np.int64(header.jpeg_quality))
    return dataset


def _write_references(dataset: Any, references: bytes) -> None:
    """Store heap references unchanged; HDF5's own writing would copy the images to another heap."""
    (chunk_steps,) = dataset.chunks
    each = len(references) // len(dataset)
    for start in range(0, len(dataset), chunk_steps):
        block = references[start * each : (start + chunk_steps) * each]
        dataset.id.write_direct_chunk((start,), block.ljust(chunk_steps * each, b"\0"))


def _write_table(file: Any, table: StepTable) -> None:
    _write_array(file, schema.STATE, table.states)
    _write_array(file, schema.ACTIONS, table.actions)
    _write_array(file, schema.TIMESTAMPS, table.ticks_ns)
    _write_array(file, schema.TAKEOVER, table.takeover)
    if (targets := table.targets) is not None:
        file.create_group(schema.ANNOTATIONS_GROUP)
        _write_array(file, schema.TARGET, targets)
    for camera, encoding in table.source_encodings.items():
        _write_attribute(file[schema.image_path(camera)], schema.SOURCE_ENCODING, encoding)
    for stream, stamps in table.stamps_ns.items():
        _write_array(file, schema.stamp_path(stream), stamps)


def _write_attributes(file: Any, header: EpisodeHeader, steps: int, ending: Ending) -> None:
    metadata = header.metadata
    values = {
        "schema": schema.SCHEMA,
        "schema_version": schema.SCHEMA_VERSION,
        "episode_id": header.episode_id,
        "language": metadata.language,
        "task": metadata.task,
        "category": metadata.category,
        "outcome": ending.outcome,
        "source": metadata.source,
        "environment": metadata.environment_json,
        "contract": header.contract.to_json(),
        "num_steps": np.int64(steps),
        "dropped_ticks": np.int64(ending.dropped_ticks),
        "created_at": header.created_at,
        "software_version": __version__,
        **ending.optional,
    }
    for name, value in values.items():
        _write_attribute(file, name, value)
    if metadata.language_alternatives:
        write_alternatives(file, metadata.language_alternatives)


def write_alternatives(file: Any, wordings: Sequence[str]) -> None:
    """Write further wordings of the instruction into an open ``h5py.File``, replacing those it has."""
    if schema.LANGUAGE_ALTERNATIVES in file:
        del file[schema.LANGUAGE_ALTERNATIVES]
    if wordings:
        file.create_dataset(schema.LANGUAGE_ALTERNATIVES, data=list(wordings), dtype=_TEXT)


# h5py's own assignment takes three times as long as these two, and thirty of them delay the next episode.


def _write_array(file: Any, path: str, array: npt.NDArray[Any]) -> None:
    kind = h5t.py_create(array.dtype, logical=True)
    dataset = h5d.create(file.id, path.encode(), kind, h5s.create_simple(array.shape))
    dataset.write(h5s.ALL, h5s.ALL, array, kind)


def _write_attribute(target: Any, name: str, value: Any) -> None:
    if isinstance(value, str):
        array, kind, in_memory = np.array(value, dtype=_TEXT), _TEXT_KIND, _TEXT_IN_MEMORY
    else:
        array = np.array(value)
        kind = in_memory = h5t.py_create(array.dtype, logical=True)
    attribute = h5a.create(target.id, name.encode(), kind, h5s.create(h5s.SCALAR))
    attribute.write(array, in_memory)
