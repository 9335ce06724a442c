"""LoRA through peft, injected in place, and merged in place for driving."""

from __future__ import annotations

import re

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

from mobile_vla_policy.config import LoraSettings
from mobile_vla_policy.model.backbone import BackboneError


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


@torch.no_grad()
def merge_lora(backbone: nn.Module) -> None:
    """Add every adapter to its layer's weights and remove it: same results, no extra work when driving."""
    for name, module in list(backbone.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
            parent, _, child = name.rpartition(".")
            setattr(backbone.get_submodule(parent), child, module.get_base_layer())
