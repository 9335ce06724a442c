"""Which precision a network is stored and computed in."""

from __future__ import annotations

import torch

from mobile_vla_policy.config import PolicySettings
from mobile_vla_policy.engine.choices import EngineError
from mobile_vla_policy.engine.optimise import sixteen_bits

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(precision: str, settings: PolicySettings, device: torch.device) -> str:
    """What ``auto`` means for this network on this device; anything else as it is.

    Raises:
        EngineError: the base weights are stored in 4 or 8 bits already, which has its own arithmetic.
    """
    if settings.backbone.load_in != "full" and precision != "auto":
        raise EngineError(f"the base weights are loaded in {settings.backbone.load_in}; leave precision at auto")
    if precision != "auto":
        return precision
    if settings.backbone.kind == "kosmos2-tiny":
        # At its width 16 bits are no faster, and it was trained in 32.
        return "fp32"
    return "fp16" if sixteen_bits(device) == torch.float16 else "bf16"


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """What weights are read in; int8 is made of what the device computes best in 16 bits."""
    if precision == "int8":
        return sixteen_bits(device)
    return _DTYPES[precision]
