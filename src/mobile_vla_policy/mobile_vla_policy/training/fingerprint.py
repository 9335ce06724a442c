"""A digest that two lists of tensors share only when they are equal to the byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch


def fingerprint(tensors: Iterable[tuple[str, torch.Tensor]], also: str = "") -> str:
    """Hexadecimal digest of the tensors, with names, types and shapes, in any order, and of ``also``."""
    digest = hashlib.sha256(also.encode())
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
