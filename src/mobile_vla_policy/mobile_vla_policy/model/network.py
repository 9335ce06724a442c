"""The whole network: a backbone and an action head, and which of their parameters learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from mobile_vla_policy.backbones.backbone import Backbone
from mobile_vla_policy.backbones.tokenizer import Tokens
from mobile_vla_policy.model.head import ActionHead
from mobile_vla_policy.model.lora import add_lora
from mobile_vla_policy.model.settings import PolicySettings


class PolicyNetwork(nn.Module):
    """Frames and an instruction to chunks of normalised actions."""

    def __init__(self, backbone: Backbone, head: ActionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: torch.Tensor, state: torch.Tensor, tokens: Tokens, valid: torch.Tensor) -> torch.Tensor:
        """Chunks ``[B, W, horizon, 3]`` at every window position; dx, dy normalised, gripper a logit.

        Args:
            images: the valid frames only, float ``[N, cameras, 3, S, S]`` in 0 .. 1, window after window.
            state: normalised robot states, float ``[B, W, 3]``.
            tokens: one instruction per window.
            valid: bool ``[B, W]``, N of them true: positions that hold a frame. Empty ones come last in a window, so
                that the causal LSTM never carries them into a valid one; what is returned there means nothing.
        """
        window_of_frame = valid.nonzero()[:, 0]
        features = self.backbone.encode(images, tokens.select(window_of_frame))
        return self.act(scatter_frames(features, valid), state)

    def act(self, features: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Chunks ``[B, W, horizon, 3]`` of ACT states ``[B, W, hidden]``, from an empty LSTM state."""
        chunks: torch.Tensor
        chunks, _ = self.head(self.head.embed(features, state))
        return chunks


def scatter_frames(features: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Lay features ``[N, F]`` of the valid frames out as ``[B, W, F]``, zeros elsewhere."""
    windows = features.new_zeros(*valid.shape, features.shape[-1])
    return windows.masked_scatter(valid[..., None], features)


def build_network(
    settings: PolicySettings,
    *,
    instructions: Sequence[str] = (),
    checkpoint: Path | None = None,
    dtype: torch.dtype = torch.float32,
) -> PolicyNetwork:
    """Build the network and mark what learns.

    Args:
        settings: the architecture.
        instructions: those of the dataset, for a tokenizer that is built from them.
        checkpoint: folder of the checkpoint to be loaded. Its tokenizer is used, and weights that it holds may stay on
            the meta device: the caller fills them in.
        dtype: storage of frozen weights; what learns is always float32.

    Raises:
        BackboneError: weights or tokenizer cannot be loaded, or LoRA matches nothing.
    """
    backbone = settings.backbone.build(dtype, instructions, checkpoint)
    if settings.lora.enabled:
        adapt(backbone, settings)
    network = PolicyNetwork(backbone, ActionHead(backbone.hidden_size, settings.head))
    # After peft, which freezes everything but its adapters, the ACT embedding too.
    mark_trainable(network, settings)
    return network


def adapt(backbone: Backbone, settings: PolicySettings) -> None:
    """Add the adapters that ``settings`` ask for. Raises :class:`BackboneError` if they match no layer."""
    targets = settings.lora.targets or backbone.lora_targets(settings.backbone.train_vision)
    add_lora(backbone, settings.lora, targets)


def mark_trainable(network: PolicyNetwork, settings: PolicySettings) -> None:
    """Mark what learns and store it in float32: the head always, adapters and ACT unless only the head learns."""
    backbone, kept = network.backbone, settings.backbone
    tunes = not kept.freeze
    for name, parameter in backbone.named_parameters():
        vision = name.startswith(backbone.vision_prefix)
        if name == "act":
            learns = not settings.head_only
        elif ".lora_" in name:
            learns = settings.lora.train
        else:
            learns = tunes and (kept.train_vision or not vision)
        if parameter.is_floating_point():
            parameter.requires_grad_(learns)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
