"""Folders for cached files; they may be deleted at any time."""

from __future__ import annotations

from pathlib import Path

from mobile_vla_data.storage.folders import cache_folder


def exports_cache() -> Path:
    """Return the folder of exports that a policy asked for by naming a backend."""
    return cache_folder() / "engines"


def tensorrt_cache() -> Path:
    """Return the folder of TensorRT engines that ONNX Runtime built."""
    return cache_folder() / "tensorrt"


def compiler_cache() -> Path:
    """Return the folder of code that torch.compile made; torch's default is in /tmp, which a reboot empties."""
    return cache_folder() / "inductor"
