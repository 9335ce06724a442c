"""The few bytes of the HDF5 format that this project writes itself, so that an image is written once and safely.

HDF5 keeps variable-length values in *global heap collections* that may lie anywhere in the file; a dataset only holds
references to them. A collection is complete in itself, so a file to which collections are appended is a log while an
episode is open, and when h5py has added the datasets that refer to them, a plain HDF5 file::

    0           superblock and empty groups, as h5py made them
    LOG_START   collection | collection | collection ...             appended here, one for every step; never moved
    end of log  references, states, actions, stamps, attributes      by h5py, when the episode is committed

After the HDF5 File Format Specification, version 3.0: II.A (superblock 0), III.E (global heap); both are what HDF5 1.0
to 2.0 reads. All numbers are little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from mmap import mmap
from typing import Any, BinaryIO, TypeAlias

import h5py

from mobile_vla_data.episode import schema

#: bytes, or a contiguous memoryview of bytes.
Buffer: TypeAlias = "bytes | memoryview"

#: h5py's file format: superblock version 0 and global heaps of version 1, which every h5py since 2.0 reads.
LIBVER = ("earliest", "v108")
#: Where the first collection lies; before it there is room for the superblock and the groups.
LOG_START = 8192

_END_OF_FILE_AT = 40
_ADDRESS = struct.Struct("<Q")
_COLLECTION = struct.Struct("<4sB3xQ")
_SIGNATURE, _VERSION = b"GCOL", 1
_BEGINNING = _SIGNATURE + bytes([_VERSION, 0, 0, 0])
#: Index, reference count (0, as HDF5 itself writes), size without padding. Index 0 is the free rest of a collection.
_OBJECT = struct.Struct("<HH4xQ")
#: Where the bytes of a collection's first object begin in it.
FIRST_OBJECT_AT = _COLLECTION.size + _OBJECT.size
#: HDF5 refuses a smaller collection.
_MIN_COLLECTION = 4096
#: Length, address of the collection, index in it.
_REFERENCE = struct.Struct("<IQI")
_PADDING = bytes(8)


@cache
def first_page() -> bytes:
    """Return the first ``LOG_START`` bytes of an episode file without datasets."""
    with h5py.File("empty", "w", driver="core", backing_store=False, libver=LIBVER) as file:
        create_groups(file)
        file.flush()
        image = bytes(file.id.get_file_image())
    assert len(image) <= LOG_START, f"an empty HDF5 file takes {len(image)} bytes"
    return image.ljust(LOG_START, b"\0")


def create_groups(file: Any) -> None:
    """Create the groups of an episode in an open ``h5py.File``."""
    for path in (schema.IMAGES_GROUP, schema.STAMPS_GROUP):
        file.create_group(path)


def set_end(descriptor: int, end: int) -> None:
    """Tell the superblock that everything before ``end`` is in use, so that HDF5 adds after it."""
    os.pwrite(descriptor, _ADDRESS.pack(end), _END_OF_FILE_AT)


def collection(objects: Sequence[Buffer]) -> tuple[list[Buffer], int]:
    """Frame objects, numbered from 1, as a collection; return the pieces to write, uncopied, and the size [bytes]."""
    pieces: list[Buffer] = [b""]
    size = _COLLECTION.size
    for index, data in enumerate(objects, start=1):
        padding = -len(data) % 8
        pieces += [_OBJECT.pack(index, 0, len(data)), data, _PADDING[:padding]]
        size += _OBJECT.size + len(data) + padding
    if size < _MIN_COLLECTION:
        free = _MIN_COLLECTION - size
        # A rest that is too small for a header has none.
        head = _OBJECT.pack(0, 0, free) if free >= _OBJECT.size else b""
        pieces.append(head.ljust(free, b"\0"))
        size = _MIN_COLLECTION
    pieces[0] = _COLLECTION.pack(_SIGNATURE, _VERSION, size)
    return pieces, size


def reference(length: int, address: int, index: int) -> bytes:
    """Return the reference that a variable-length dataset stores for object ``index``, of ``length`` bytes."""
    return _REFERENCE.pack(length, address, index)


@dataclass(frozen=True)
class Collection:
    """One collection that was read."""

    address: int
    size: int
    objects: list[memoryview]


def read_collections(file: BinaryIO) -> Iterator[Collection]:
    """Yield the collections of a log in order; ends at the first that is not whole."""
    address = LOG_START
    file.seek(address)
    while len(head := file.read(_COLLECTION.size)) == _COLLECTION.size:
        signature, version, size = _COLLECTION.unpack(head)
        if signature != _SIGNATURE or version != _VERSION or size < _MIN_COLLECTION:
            return
        body = file.read(size - len(head))
        if len(body) < size - len(head) or (objects := _objects(memoryview(body))) is None:
            return
        yield Collection(address, size, objects)
        address += size


def are_whole(data: bytes | mmap, without: Sequence[range] = ()) -> bool:
    """Return whether HDF5 can read the collections in an HDF5 file's bytes without hanging.

    Zeros inside one, left by a power cut or a bad sector, make HDF5 look for the next object forever.
    ``without`` are ranges that are not searched, in rising order: raw images, 150 kB each, hold no collection.
    """
    start = 0
    for stretch in [*without, range(len(data), len(data))]:
        if stretch.start > start and not _are_whole_between(data, start, stretch.start):
            return False
        start = max(start, stretch.stop)
    return True


def _are_whole_between(data: bytes | mmap, begin: int, until: int) -> bool:
    start = data.find(_BEGINNING, begin, until)
    while start >= 0:
        end = start + _COLLECTION.size
        if end <= len(data):
            end = start + _COLLECTION.unpack_from(data, start)[2]
        position = start + _COLLECTION.size
        while position + _OBJECT.size <= end <= len(data):
            index, _, length = _OBJECT.unpack_from(data, position)
            position += length if index == 0 else _OBJECT.size + length + -length % 8
            if index == 0:
                break
        if not end - _OBJECT.size < position <= end <= len(data):
            return False
        start = data.find(_BEGINNING, end, until)
    return True


def _objects(body: memoryview) -> list[memoryview] | None:
    found: list[memoryview] = []
    position = 0
    while position + _OBJECT.size <= len(body):
        index, _, length = _OBJECT.unpack_from(body, position)
        if index == 0:
            break
        start = position + _OBJECT.size
        if index != len(found) + 1 or start + length > len(body):
            return None
        found.append(body[start : start + length])
        position = start + length + -length % 8
    return found
