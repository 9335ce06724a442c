"""``mobile-vla-policy export``: a checkpoint's stages as files for another engine, compared with eager first.

Written to a temporary folder, verified there, and renamed at the end: a failed export leaves nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mobile_vla_data.storage.folders import swapping
from mobile_vla_policy import __version__
from mobile_vla_policy.backbones.tokenizer import MAX_INSTRUCTION_TOKENS
from mobile_vla_policy.checkpoint import CheckpointInfo, copy_description, is_export, read_info, resolve
from mobile_vla_policy.engine.choices import EngineError, EngineOptions, check_export
from mobile_vla_policy.engine.device import pick_device, resolve_precision
from mobile_vla_policy.engine.eager import eager_engine, load_portable
from mobile_vla_policy.engine.exported import backend_of, load_export
from mobile_vla_policy.engine.manifest import FORMAT_VERSION, Manifest, Verification, write_manifest
from mobile_vla_policy.engine.stages import HEAD, STAGES, TEXT, VISION, cut, examples
from mobile_vla_policy.export.verify import Run, compare, random_run, recorded_runs
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.policy import Policy

_NAMES = {VISION: ("images",), TEXT: ("latents", "ids", "lengths", "state"), HEAD: ("window",)}

#: Allowed difference from eager in the same precision, see :func:`~mobile_vla_policy.export.verify.compare`.
#: fp32 differs by the order of sums; in 16 bits, engines that fuse operations round at other places.
TOLERANCE = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.02}

#: Instructions are padded to this; 'navigate to the table and place the object' has ten tokens.
INSTRUCTION_TOKENS = 24


@dataclass(frozen=True)
class ExportSettings:
    """Settings of an export."""

    format: str
    precision: str = "auto"
    device: str = "auto"
    instruction_tokens: int = INSTRUCTION_TOKENS
    """Longest instruction; every instruction costs the time of this many tokens."""
    tolerance: float | None = None
    """None: by precision, :data:`TOLERANCE`."""
    dataset: Path | None = None
    """Episodes to compare on, besides random frames."""


@dataclass(frozen=True)
class ExportReport:
    """Result of an export."""

    folder: str
    format: str
    backend: str
    precision: str
    device: str
    instruction_tokens: int
    size_bytes: int
    took_s: float
    verified: Verification

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {**asdict(self), "verified": self.verified.model_dump()}


def export(
    checkpoint: Path, output: Path, settings: ExportSettings, say: Callable[[str], None] = lambda _line: None
) -> ExportReport:
    """Write the folder ``output``, or replace the export in it.

    Raises:
        EngineError: format and precision contradict each other, a tool is missing, or the result deviates from eager.
        CheckpointError, BackboneError: the checkpoint cannot be loaded.
        FrameError, ValueError: the dataset has no episode for this policy.
    """
    began_s = time.monotonic()
    info = read_info(resolve(checkpoint))
    device, precision = _check(info, output, settings)
    runs = [random_run(info), *(recorded_runs(info, settings.dataset) if settings.dataset else [])]
    say(f"loading {info.folder} in {precision} on {device.type}")
    network = load_portable(info, device, precision)
    with swapping(output) as part:
        copy_description(info.folder, part)
        _write_stages(network, info, part, settings, device, say)
        manifest = _manifest(info, network, settings, precision, device, runs)
        write_manifest(part, manifest)
        check = manifest.verified
        hint = "" if check.real_frames else "; --dataset DIR compares on real ones, too"
        say(f"comparing with eager on {check.random_frames} random and {check.real_frames} recorded frames{hint}")
        eager = eager_engine(network, manifest.window, device, precision)
        exported = load_export(read_info(part), EngineOptions(), device)
        deviation = compare(Policy(eager, info), Policy(exported, info), runs)
        say(f"largest deviation {deviation:.2g}, allowed {check.tolerance:g}")
        if not deviation <= check.tolerance:
            raise EngineError(
                f"{settings.format} deviates from eager by {deviation:.3g}, more than {check.tolerance:g}; "
                "nothing was written. Try --precision fp32, or allow more with --tolerance"
            )
        verified = check.model_copy(update={"deviation": deviation})
        write_manifest(part, manifest.model_copy(update={"verified": verified}))
        size = sum(path.stat().st_size for path in part.iterdir())
    return ExportReport(
        str(output), settings.format, manifest.backend, precision, device.type, settings.instruction_tokens, size,
        round(time.monotonic() - began_s, 1), verified,
    )  # fmt: skip


def _check(info: CheckpointInfo, output: Path, settings: ExportSettings) -> tuple[torch.device, str]:
    """Return device and precision. Raises :class:`EngineError` before loading if the export is known to fail."""
    if is_export(info.folder):
        raise EngineError(f"{info.folder} is an export already; give the checkpoint that it was made from")
    if info.settings.backbone.quantised:
        raise EngineError(f"{info.folder}: base weights that are stored in 4 or 8 bits (load_in) cannot be exported")
    if output.exists() and not is_export(output):
        raise EngineError(f"{output} exists and is not an export; give another folder")
    if not 1 <= settings.instruction_tokens <= MAX_INSTRUCTION_TOKENS:
        raise EngineError(f"tokens is {settings.instruction_tokens}; it must be 1 .. {MAX_INSTRUCTION_TOKENS}")
    device = pick_device(settings.device)
    precision = resolve_precision(settings.precision, info.settings, device)
    if settings.format == "onnx" and settings.precision == "auto" and precision == "bf16":
        precision = "fp32"
    check_export(settings.format, precision)
    return device, precision


def _write_stages(
    network: PolicyNetwork,
    info: CheckpointInfo,
    folder: Path,
    settings: ExportSettings,
    device: torch.device,
    say: Callable[[str], None],
) -> None:
    backend, head = backend_of(settings.format), info.settings.head
    cameras = len(info.settings.backbone.cameras)
    arguments = examples(network, cameras, settings.instruction_tokens, head.window, device)
    for name, stage in zip(STAGES, cut(network), strict=True):
        say(f"writing the {name} stage")
        backend.write(stage, arguments[name], _NAMES[name], folder / f"{name}{backend.SUFFIX}")


def _manifest(
    info: CheckpointInfo,
    network: PolicyNetwork,
    settings: ExportSettings,
    precision: str,
    device: torch.device,
    runs: list[Run],
) -> Manifest:
    tolerance = TOLERANCE[precision] if settings.tolerance is None else settings.tolerance
    return Manifest(
        format_version=FORMAT_VERSION,
        software_version=__version__,
        format=settings.format,
        precision=precision,
        device=device.type,
        image_size=network.backbone.image_size,
        window=info.settings.head.window,
        instruction_tokens=settings.instruction_tokens,
        versions=_versions(),
        files={},
        verified=Verification(
            random_frames=len(runs[0]),
            real_frames=sum(len(run) for run in runs[1:]),
            deviation=0.0,
            tolerance=tolerance,
        ),
    )


def _versions() -> dict[str, str]:
    """Return the versions of the libraries that wrote the graphs; torch with its build, for compiled code."""
    versions = {"torch": str(torch.__version__)}
    for name in ("transformers", "onnx", "onnxscript", "onnxruntime"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
