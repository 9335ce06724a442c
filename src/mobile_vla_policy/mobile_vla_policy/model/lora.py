"""LoRA: low-rank adapters on the backbone, injected in place by peft."""

from __future__ import annotations

import re

from peft import LoraConfig, inject_adapter_in_model
from pydantic import Field
from torch import nn

from mobile_vla_policy.backbones.backbone import BackboneError
from mobile_vla_policy.config import Frozen


class LoraSettings(Frozen):
    """Low-rank adapters (Hu et al. 2021) on the backbone."""

    enabled: bool = True
    """Train adapters instead of the whole backbone."""
    rank: int = Field(default=32, ge=1)
    """Rank of the adapters."""
    alpha: int = Field(default=16, ge=1)
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout in front of the adapters."""
    targets: str | None = None
    """Regular expression on full module paths; by default the backbone's attention and feed-forward layers."""
    train: bool = True
    """false: keep the adapters of init_from unchanged."""


def add_lora(backbone: nn.Module, settings: LoraSettings, targets: str) -> None:
    """Put adapters on every linear layer whose full path matches ``targets``.

    Raises:
        BackboneError: no layer matches.
    """
    if not any(re.fullmatch(targets, name) for name, _ in backbone.named_modules()):
        raise BackboneError(f"lora.targets '{targets}' matches no layer of the backbone; give full module paths")
    config = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=targets
    )
    inject_adapter_in_model(config, backbone)
    for name, parameter in backbone.named_parameters():
        if ".lora_" in name:
            # Adapters learn in full precision whatever the frozen weights are stored in.
            parameter.data = parameter.data.float()
