"""A policy network cut into three stages of constant shape, which every engine runs and every export writes.

    images [1, cameras, 3, S, S] ─► VISION ─► latents ─► TEXT ─► LSTM input [1, input_size]   once per new frame
                      instruction ids, robot state ───────┘                    │ remembered by the policy
    the window's LSTM inputs [1, window, input_size] ─────────────► HEAD ─► chunks [1, window, horizon, action_dim]

The window is filled from the front and padded with zeros: the LSTM is causal, so padding does not change the chunk at
the newest frame's position. The same holds for an instruction that is padded behind ACT.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from mobile_vla_data.action import STATE
from mobile_vla_policy.backbones.backbone import Backbone
from mobile_vla_policy.backbones.tokenizer import Tokens
from mobile_vla_policy.model.head import ActionHead
from mobile_vla_policy.model.network import PolicyNetwork

VISION, TEXT, HEAD = "vision", "text", "head"
STAGES = (VISION, TEXT, HEAD)


class VisionStage(nn.Module):
    """Images float ``[1, cameras, 3, S, S]`` in 0 .. 1 to the backbone's latents."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents, in the backbone's own shape and type."""
        return self.backbone.embed_images(images)


class TextStage(nn.Module):
    """Latents, one instruction and the robot's state to the LSTM input of this frame."""

    def __init__(self, backbone: Backbone, head: ActionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(
        self, latents: torch.Tensor, ids: torch.Tensor, lengths: torch.Tensor, state: torch.Tensor
    ) -> torch.Tensor:
        """Return LSTM input ``[1, input_size]`` of ids int64 ``[1, L]``, lengths ``[1]`` and states ``[1, 3]``."""
        inputs: torch.Tensor = self.head.embed(self.backbone.act_states(latents, Tokens(ids, lengths)), state)
        return inputs.float()


class HeadStage(nn.Module):
    """LSTM inputs of a window to chunks at all of its positions."""

    def __init__(self, head: ActionHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """Return chunks float32 ``[1, window, horizon, action_dim]`` of inputs float32 ``[1, window, input_size]``."""
        chunks: torch.Tensor
        chunks, _ = self.head(window)
        return chunks.float()


class Stages(NamedTuple):
    """The three stages in the order in which they run."""

    vision: nn.Module
    text: nn.Module
    head: nn.Module


def cut(network: PolicyNetwork) -> Stages:
    """Return the stages of a network, sharing its weights."""
    return Stages(
        VisionStage(network.backbone).eval(),
        TextStage(network.backbone, network.head).eval(),
        HeadStage(network.head).eval(),
    )


@torch.inference_mode()
def examples(
    network: PolicyNetwork, cameras: int, instruction_tokens: int, window: int, device: torch.device
) -> dict[str, tuple[torch.Tensor, ...]]:
    """Return arguments for every stage in the shapes used for driving: random, but always the same."""
    random = torch.Generator().manual_seed(0)
    side = network.backbone.image_size
    images = torch.rand(1, cameras, 3, side, side, generator=random).to(device)
    ids = torch.randint(4, 16, (1, instruction_tokens), generator=random).to(device)
    lengths = torch.tensor([max(1, instruction_tokens // 2)], device=device)
    state = torch.rand(1, len(STATE), generator=random).to(device)
    latents = network.backbone.embed_images(images)
    inputs = torch.rand(1, window, network.head.project.out_features, generator=random).to(device)
    # Ordinary tensors: tracers refuse those made in inference mode.
    return {
        VISION: (images,),
        TEXT: (latents.clone(), ids, lengths, state),
        HEAD: (inputs,),
    }
