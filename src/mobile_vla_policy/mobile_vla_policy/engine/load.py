"""From a folder, checkpoint or export, to an engine."""

from __future__ import annotations

from types import ModuleType

import torch

from mobile_vla_policy.checkpoint import CheckpointInfo
from mobile_vla_policy.engine import aoti, onnxruntime, torchscript
from mobile_vla_policy.engine.choices import BACKEND_OF_FORMAT, EngineError, EngineOptions
from mobile_vla_policy.engine.eager import load_eager
from mobile_vla_policy.engine.manifest import check_files, check_machine, is_export, read_manifest
from mobile_vla_policy.engine.protocol import Backend, Engine, EngineShape
from mobile_vla_policy.engine.stages import STAGES

_MODULES: dict[str, ModuleType] = {"torchscript": torchscript, "onnx": onnxruntime, "pt2": aoti}

#: Of the graphics memory; the rest belongs to the display, the cameras and whoever else shares it.
_CUDA_MEMORY_SHARE = 0.9


def backend_of(format_: str) -> Backend:
    """What writes and reads an export format."""
    backend: Backend = _MODULES[format_]  # type: ignore[assignment]
    return backend


def pick_device(name: str) -> torch.device:
    """The device meant by auto, cpu, cuda, cuda:1 ...; on CUDA, memory is capped: others on the robot need some.

    Raises:
        EngineError: there is no such device.
    """
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise EngineError(f"device is '{name}', but torch sees no CUDA here; set device to cpu or auto")
        torch.cuda.set_per_process_memory_fraction(_CUDA_MEMORY_SHARE, device)
    return device


def load_engine(info: CheckpointInfo, options: EngineOptions) -> Engine:
    """Load what ``info`` was read from.

    Raises:
        EngineError: the options do not go with the folder or this machine, or an export is damaged.
        CheckpointError, BackboneError: the weights cannot be loaded.
    """
    if problem := options.problem():
        raise EngineError(problem)
    device = pick_device(options.device)
    if is_export(info.folder):
        return load_export(info, options, device)
    if options.backend in ("auto", "eager"):
        return load_eager(info, device, options.precision, options.compile)
    # Here, because exporting verifies with a policy, which is loaded by this module.
    from mobile_vla_policy.export.cache import cached_export

    format_ = next(name for name, backend in BACKEND_OF_FORMAT.items() if backend == options.backend)
    return load_export(cached_export(info, format_, options.precision, device), options, device)


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
