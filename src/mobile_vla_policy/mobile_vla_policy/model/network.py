"""The whole network: a backbone and an action head, and which of their parameters learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from mobile_vla_policy.config import PolicySettings
from mobile_vla_policy.model.architecture import Architecture
from mobile_vla_policy.model.auto_vlm import AutoVlmBackbone, load_auto, pixel_statistics
from mobile_vla_policy.model.backbone import Backbone, Tokens
from mobile_vla_policy.model.head import ActionHead
from mobile_vla_policy.model.kosmos2 import Kosmos2Backbone, load_kosmos2, load_tokenizer, random_kosmos2
from mobile_vla_policy.model.kosmos2_tiny import build_tokenizer, tiny_kosmos2
from mobile_vla_policy.model.lora import add_lora


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
    tokenizer_folder: Path | None = None,
    dtype: torch.dtype = torch.float32,
    without_weights: bool = False,
) -> PolicyNetwork:
    """Build the network and mark what learns.

    Args:
        settings: the architecture.
        instructions: words that the tokenizer of kosmos2-tiny is built from.
        tokenizer_folder: take the tokenizer from this checkpoint instead.
        dtype: storage of frozen weights; what learns is always float32.
        without_weights: whoever calls fills in every weight: those of a random Kosmos-2, and of a tuned backbone whose
            checkpoint ``tokenizer_folder`` is, are left on the meta device.

    Raises:
        BackboneError: weights or tokenizer cannot be loaded, or LoRA matches nothing.
    """
    backbone = _build_backbone(settings, instructions, tokenizer_folder, dtype, without_weights)
    if settings.lora.enabled:
        adapt(backbone, settings)
    network = PolicyNetwork(backbone, ActionHead(backbone.hidden_size, settings.head))
    # After peft, which freezes everything but its adapters, the ACT embedding too.
    mark_trainable(network, settings)
    return network


def _build_backbone(
    settings: PolicySettings,
    instructions: Sequence[str],
    tokenizer_folder: Path | None,
    dtype: torch.dtype,
    without_weights: bool,
) -> Backbone:
    backbone = settings.backbone
    cameras = len(backbone.cameras)
    if backbone.kind == "kosmos2-tiny":
        small = tiny_kosmos2(backbone.width, backbone.layers, backbone.image_size, backbone.latents)
        tokenizer = load_tokenizer(tokenizer_folder) if tokenizer_folder else build_tokenizer(instructions)
        return Kosmos2Backbone(small, tokenizer, cameras)
    assert backbone.name is not None
    if backbone.tuned and without_weights and tokenizer_folder and (known := Architecture.read(tokenizer_folder)):
        model, tokenizer = known.without_weights(dtype), load_tokenizer(tokenizer_folder)
        if backbone.kind == "auto":
            return AutoVlmBackbone(model, tokenizer, cameras, known.pixel_mean, known.pixel_std)
        return Kosmos2Backbone(model, tokenizer, cameras)
    if backbone.kind == "auto":
        model = load_auto(backbone.name, dtype, backbone.weights, backbone.load_in)
        tokenizer = load_tokenizer(tokenizer_folder or backbone.name)
        return AutoVlmBackbone(model, tokenizer, cameras, *pixel_statistics(backbone.name))
    if backbone.weights == "random":
        # Nothing is read from the hub: the architecture is known, and words mean nothing to random weights.
        tokenizer = load_tokenizer(tokenizer_folder) if tokenizer_folder else build_tokenizer(instructions)
        return Kosmos2Backbone(random_kosmos2(dtype, without_weights), tokenizer, cameras)
    published = load_kosmos2(backbone.name, dtype, backbone.load_in)
    return Kosmos2Backbone(published, load_tokenizer(tokenizer_folder or backbone.name), cameras)


def adapt(backbone: Backbone, settings: PolicySettings) -> None:
    """Put the adapters on that ``settings`` ask for. Raises :class:`BackboneError`: they match nothing."""
    targets = settings.lora.targets or backbone.lora_targets(settings.backbone.train_vision)
    add_lora(backbone, settings.lora, targets)


def mark_trainable(network: PolicyNetwork, settings: PolicySettings) -> None:
    """Say what learns, and store that in float32. The head always does; adapters and ACT unless only the head does."""
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
