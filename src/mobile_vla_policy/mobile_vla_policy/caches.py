"""Folders for cached files; they may be deleted at any time."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path

_CACHE = "mobile_vla"


def exports_cache() -> Path:
    """Return the folder of exports that a policy asked for by naming a backend."""
    return user_cache_path(_CACHE) / "engines"


def tensorrt_cache() -> Path:
    """Return the folder of TensorRT engines that ONNX Runtime built."""
    return user_cache_path(_CACHE) / "tensorrt"


def compiler_cache() -> Path:
    """Return the folder of code that torch.compile made; torch's default is in /tmp, which a reboot empties."""
    return user_cache_path(_CACHE) / "inductor"
