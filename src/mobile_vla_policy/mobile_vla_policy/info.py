"""The description that ``mobile-vla-policy info`` prints. It reads no weights, only their names and shapes."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from mobile_vla_policy.checkpoint import WEIGHTS, CheckpointError, CheckpointInfo, is_export, read_info, resolve
from mobile_vla_policy.engine.manifest import Manifest, read_manifest
from mobile_vla_policy.samples.provenance import LONG


def describe(checkpoint: Path) -> dict[str, Any]:
    """Return facts by name. Raises :class:`CheckpointError` or EngineError."""
    info = read_info(resolve(checkpoint))
    if is_export(info.folder):
        return _facts(info, {"exported": _exported(read_manifest(info.folder))})
    path = info.folder / WEIGHTS
    try:
        with safe_open(path, framework="np") as tensors:
            shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: missing or damaged: {' '.join(str(error).split())}") from None
    return _facts(
        info, {"tensors": f"{len(shapes)}, {sum(prod(shape) for shape in shapes.values()) / 1e6:.2f} M values"}
    )


def _facts(info: CheckpointInfo, stored: dict[str, Any]) -> dict[str, Any]:
    backbone, head, lora = info.settings.backbone, info.settings.head, info.settings.lora
    return {
        "folder": str(info.folder),
        "backbone": backbone.title,
        "base weights": "by name" if backbone.has_base_weights else "in the checkpoint",
        "cameras": list(backbone.cameras),
        "lora": f"rank {lora.rank}, alpha {lora.alpha}" if lora.enabled else "none",
        "window": f"{head.window} frames, one every {head.frame_stride} control periods",
        "horizon": f"{head.horizon} actions",
        "robot state": {"none": "not used", "gripper": "gripper only", "full": "x, y, gripper"}[head.state],
        **stored,
        "robot": f"{info.contract.robot}, {info.contract.base}, {info.contract.control_rate_hz:g} Hz",
        "displacement, 1 % .. 99 % [m]": [list(info.normalisation.action.q01), list(info.normalisation.action.q99)],
        "training": {name: value for name, value in info.training.items() if name not in LONG},
    }


def _exported(manifest: Manifest) -> str:
    verified = manifest.verified
    return (
        f"{manifest.format}, {manifest.precision}, for {manifest.device}; instructions of up to "
        f"{manifest.instruction_tokens} tokens; deviation from eager {verified.deviation:.2g} on "
        f"{verified.random_frames + verified.real_frames} frames"
    )
