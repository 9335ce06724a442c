"""The device that a network runs on, and its precision there."""

from __future__ import annotations

import torch

from mobile_vla_policy.engine.choices import EngineError
from mobile_vla_policy.model.settings import PolicySettings

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

#: Share of the graphics memory that a policy may use; display, cameras and other programs need the rest.
_CUDA_MEMORY_SHARE = 0.9


def pick_device(name: str) -> torch.device:
    """Return the device for auto, cpu, cuda, cuda:1 ...; on CUDA, cap this process's memory.

    Raises:
        EngineError: there is no such device.
    """
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise EngineError(f"device is '{name}', but torch sees no CUDA here; set device to cpu or auto")
        torch.cuda.set_per_process_memory_fraction(_CUDA_MEMORY_SHARE, device)
    return device


def resolve_precision(precision: str, settings: PolicySettings, device: torch.device) -> str:
    """Return the precision that ``auto`` means for this network on this device; return any other one unchanged.

    Raises:
        EngineError: the base weights are stored in 4 or 8 bits already, which has its own arithmetic.
    """
    backbone = settings.backbone
    if backbone.quantised and precision != "auto":
        raise EngineError("the base weights are stored in 4 or 8 bits (load_in); leave precision at auto")
    if precision != "auto":
        return precision
    if backbone.always_fp32:
        return "fp32"
    return "fp16" if sixteen_bits(device) == torch.float16 else "bf16"


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """Return the type that weights are read in; int8 weights are made from 16 bits."""
    if precision == "int8":
        return sixteen_bits(device)
    return _DTYPES[precision]


def sixteen_bits(device: torch.device) -> torch.dtype:
    """Return bfloat16, or float16 on a GPU that is too old for bfloat16."""
    return torch.float16 if device.type == "cuda" and not torch.cuda.is_bf16_supported() else torch.bfloat16
