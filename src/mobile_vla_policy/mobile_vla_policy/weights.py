"""Tensors of a safetensors file, one at a time: read into memory, or as views of the file; and digests of tensors.

A view takes memory only after it is read and until it is dropped. Code that converts a network layer by layer therefore
never holds the whole file.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip

#: Smaller tensors are always read: a view costs a file descriptor, and small tensors are often kept unchanged.
_SMALLEST_VIEW_BYTES = 4_000_000


class WeightsFile:
    """A safetensors file."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            FileNotFoundError, OSError: there is no such file, or it cannot be read.
            SafetensorError: it is damaged, or has an unknown type of numbers.
        """
        self._path = path
        with path.open("rb") as file, safe_open(path, "pt"):  # safetensors checks the header against the file's size
            length = int.from_bytes(file.read(8), "little")
            self._header = json.loads(file.read(length))
        self._header.pop("__metadata__", None)
        self._begin = 8 + length
        for name, entry in self._header.items():
            if entry["dtype"] not in _DTYPES:
                raise SafetensorError(f"tensor {name} is of type {entry['dtype']}, not one of {list(_DTYPES)}")

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """Names and shapes of all tensors."""
        return {name: torch.Size(entry["shape"]) for name, entry in self._header.items()}

    def tensor(self, name: str, *, view: bool = False) -> torch.Tensor:
        """Return one tensor on the CPU. A view may be written to, which does not change the file.

        Raises:
            OSError: the file cannot be read any more.
        """
        entry = self._header[name]
        first, end = entry["data_offsets"]
        shape, dtype, begin, size = entry["shape"], _DTYPES[entry["dtype"]], self._begin + first, end - first
        if not size:
            return torch.empty(shape, dtype=dtype)
        with self._path.open("rb") as file:
            if view and size >= _SMALLEST_VIEW_BYTES:
                skipped = begin % mmap.ALLOCATIONGRANULARITY
                pages = mmap.mmap(file.fileno(), skipped + size, access=mmap.ACCESS_COPY, offset=begin - skipped)
                return torch.frombuffer(pages, dtype=dtype, count=math.prod(shape), offset=skipped).view(shape)
            file.seek(begin)
            tensor = torch.empty(shape, dtype=dtype)
            if file.readinto(tensor.view(-1).view(torch.uint8).numpy().data) != size:
                raise OSError(f"tensor {name} ends too early")
            return tensor


def leave_file(network: nn.Module) -> None:
    """Copy every parameter and buffer on the CPU into its own memory.

    If the file of a view were overwritten, a driving robot's weights would change, or its process would end.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


def fingerprint(tensors: Iterable[tuple[str, torch.Tensor]], also: str = "") -> str:
    """Return a hexadecimal digest of tensors, with names, types and shapes but without their order, and of ``also``."""
    digest = hashlib.sha256(also.encode())
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
