"""The whole network: a backbone and an action head. Also decides which parameters are trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from mobile_vla_data.action import ACTION
from mobile_vla_policy.backbones.backbone import Backbone
from mobile_vla_policy.backbones.maps import Maps
from mobile_vla_policy.backbones.tokenizer import Tokens
from mobile_vla_policy.model.head import ActionHead
from mobile_vla_policy.model.lora import add_lora
from mobile_vla_policy.model.settings import PolicySettings

TARGET_MAP_SIDE = 14
"""Cells along each side of the target's heatmap of a backbone without one of its own."""


class PolicyNetwork(nn.Module):
    """Frames and an instruction to chunks of normalised actions."""

    def __init__(self, backbone: Backbone, head: ActionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.locate: nn.Linear | None = None
        """Only in training, not in checkpoints: heatmap of the target from the ACT state of a backbone without maps."""

    def forward(self, images: torch.Tensor, state: torch.Tensor, tokens: Tokens, valid: torch.Tensor) -> torch.Tensor:
        """Return chunks ``[B, W, horizon, action_dim]`` at every window position; motion normalised, gripper a logit.

        Args:
            images: the valid frames only, float ``[N, cameras, 3, S, S]`` in 0 .. 1, window after window.
            state: normalised robot states, float ``[B, W, 3]``.
            tokens: one instruction per window.
            valid: bool ``[B, W]``, N of them true: positions that hold a frame. Empty ones come last in a window, so
                that the causal LSTM never carries them into a valid one; ignore the chunks there.
        """
        window_of_frame = valid.nonzero()[:, 0]
        features = self.backbone.encode(images, tokens.select(window_of_frame))
        return self.act(scatter_frames(features, valid), state)

    def act(self, features: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return chunks ``[B, W, horizon, action_dim]`` of ACT states ``[B, W, hidden]``, from an empty LSTM state."""
        chunks: torch.Tensor
        chunks, _ = self.head(self.head.embed(features, state))
        return chunks


class Learner(nn.Module):
    """The network as training runs it: with the heatmaps that only losses need."""

    def __init__(self, network: PolicyNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, images: torch.Tensor, state: torch.Tensor, tokens: Tokens, valid: torch.Tensor
    ) -> tuple[torch.Tensor, Maps | None]:
        """Return chunks, as :meth:`PolicyNetwork.forward` does, and heatmaps of the valid frames if there are any."""
        network = self.network
        features, maps = network.backbone.encode_with_maps(images, tokens.select(valid.nonzero()[:, 0]))
        if network.locate is not None:
            maps = Maps(network.locate(features.float()))
        return network.act(scatter_frames(features, valid), state), maps


def scatter_frames(features: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Arrange features ``[N, F]`` of the valid frames as ``[B, W, F]``, with zeros elsewhere."""
    windows = features.new_zeros(*valid.shape, features.shape[-1])
    return windows.masked_scatter(valid[..., None], features)


def build_network(
    settings: PolicySettings,
    *,
    instructions: Sequence[str] = (),
    checkpoint: Path | None = None,
    dtype: torch.dtype = torch.float32,
    action_dim: int = len(ACTION),
) -> PolicyNetwork:
    """Build the network and mark the parameters to train.

    Args:
        settings: the architecture.
        instructions: those of the dataset, for a tokenizer that is built from them.
        checkpoint: folder of the checkpoint to be loaded. Its tokenizer is used, and weights that it holds may stay on
            the meta device: the caller fills them in.
        dtype: storage of frozen weights; trained parameters are always float32.
        action_dim: columns of an action, see :func:`mobile_vla_data.action.action_names`.

    Raises:
        BackboneError: weights or tokenizer cannot be loaded, or LoRA matches nothing.
    """
    backbone = settings.backbone.build(dtype, instructions, checkpoint)
    if settings.lora.enabled:
        adapt(backbone, settings)
    network = PolicyNetwork(backbone, ActionHead(backbone.hidden_size, settings.head, action_dim))
    # After peft, which freezes everything but its adapters, the ACT embedding too.
    mark_trainable(network, settings)
    return network


def add_target_map(network: PolicyNetwork) -> None:
    """Add a heatmap of the target, predicted from the ACT state, for a backbone without heatmaps."""
    if not network.backbone.has_maps:
        network.locate = nn.Linear(network.backbone.hidden_size, TARGET_MAP_SIDE**2)


def adapt(backbone: Backbone, settings: PolicySettings) -> None:
    """Add the adapters that ``settings`` ask for. Raises :class:`BackboneError` if they match no layer."""
    targets = settings.lora.targets or backbone.lora_targets(settings.backbone.train_vision)
    add_lora(backbone, settings.lora, targets)


def mark_trainable(network: PolicyNetwork, settings: PolicySettings) -> None:
    """Mark the parameters to train and store them in float32: head, and unless it learns alone, adapters and ACT."""
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
