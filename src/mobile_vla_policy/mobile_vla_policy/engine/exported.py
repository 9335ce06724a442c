"""Reading an export: the backends that run one, by format."""

from __future__ import annotations

from types import ModuleType

import torch

from mobile_vla_policy.checkpoint import CheckpointInfo
from mobile_vla_policy.engine import aoti, onnxruntime, torchscript
from mobile_vla_policy.engine.choices import EngineError, EngineOptions
from mobile_vla_policy.engine.manifest import check_files, check_machine, read_manifest
from mobile_vla_policy.engine.protocol import Backend, Engine, EngineShape
from mobile_vla_policy.engine.stages import STAGES

_MODULES: dict[str, ModuleType] = {"torchscript": torchscript, "onnx": onnxruntime, "pt2": aoti}


def backend_of(format_: str) -> Backend:
    """Return the backend that writes and reads an export format."""
    backend: Backend = _MODULES[format_]  # type: ignore[assignment]
    return backend


def load_export(info: CheckpointInfo, options: EngineOptions, device: torch.device) -> Engine:
    """Load an exported folder, after every file's digest was found right. Raises :class:`EngineError`."""
    folder = info.folder
    manifest = read_manifest(folder)
    if options.backend not in ("auto", manifest.backend):
        raise EngineError(f"{folder} is an export for {manifest.backend}; backend {options.backend} cannot run it")
    if options.precision not in ("auto", manifest.precision):
        advice = "export again with that" if options.precision != "int8" else "int8 runs from the checkpoint itself"
        raise EngineError(f"{folder} was exported in {manifest.precision}, not {options.precision}; {advice}")
    if options.compile:
        raise EngineError(f"{folder} is an export; compile is for checkpoints, set it to false")
    check_machine(folder, manifest, device)
    check_files(folder, manifest)
    backend = backend_of(manifest.format)
    stages = {name: backend.load(folder / f"{name}{backend.SUFFIX}", device) for name in STAGES}
    shape = EngineShape(manifest.image_size, manifest.window, manifest.instruction_tokens)
    return Engine(stages, shape, device, manifest.backend, manifest.precision)
