"""Kosmos-2's architecture at a fraction of its width, with random weights and a tokenizer built from the dataset.

It needs no download and trains in minutes on two cores. Random weights at this width need another initialisation than
Kosmos-2's own, whose standard deviation of 0.02 drowns the image in the position signal:

- text weights with standard deviation width^-0.5, which keeps the variance of activations from layer to layer;
- two-dimensional sine positions in the vision tower, so that attention can tell places apart from the first step;
- the projection undoes the unit normalisation of image features (factor width^0.5), so that they weigh as words do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from transformers import Kosmos2Config, Kosmos2Model

from mobile_vla_policy.backbones.backbone import BackboneSettings
from mobile_vla_policy.backbones.kosmos2 import Kosmos2Backbone
from mobile_vla_policy.backbones.tokenizer import VOCABULARY, build_tokenizer, load_tokenizer

_PATCH_PX = 16


class Kosmos2TinySettings(BackboneSettings):
    """A small Kosmos-2 with random weights; a checkpoint holds all of them."""

    kind: Literal["kosmos2-tiny"] = "kosmos2-tiny"
    width: int = Field(default=128, ge=32, multiple_of=32)
    """Hidden size of both towers."""
    layers: int = Field(default=3, ge=1)
    """Layers of each tower."""
    image_size: int = Field(default=112, ge=16, multiple_of=16)
    """Side of the square input image [px]; patches are 16 px."""
    latents: int = Field(default=16, ge=1)
    """Image latents per camera (Kosmos-2 has 64)."""

    always_fp32: ClassVar[bool] = True

    def build(
        self, dtype: torch.dtype, instructions: Sequence[str] = (), checkpoint: Path | None = None
    ) -> Kosmos2Backbone:
        """Build the network from random weights, and its tokenizer from the instructions."""
        model = tiny_kosmos2(self.width, self.layers, self.image_size, self.latents)
        tokenizer = load_tokenizer(checkpoint) if checkpoint else build_tokenizer(instructions)
        return Kosmos2Backbone(model, tokenizer, len(self.cameras))

    def kosmos2_config(self) -> Kosmos2Config:
        """Return the configuration of this size."""
        return tiny_config(self.width, self.layers, self.image_size, self.latents)


def tiny_config(width: int, layers: int, image_size: int, latents: int) -> Kosmos2Config:
    """Return Kosmos-2's configuration at ``width``, for square images [px] and a number of latents per image."""
    heads = width // 32
    return Kosmos2Config(
        text_config={
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 512,
            "embed_dim": width,
            "layers": layers,
            "ffn_dim": 4 * width,
            "attention_heads": heads,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "init_std": width**-0.5,
        },
        vision_config={
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "image_size": image_size,
            "patch_size": _PATCH_PX,
        },
        latent_query_num=latents,
    )


def tiny_kosmos2(width: int, layers: int, image_size: int, latents: int) -> Kosmos2Model:
    """Build a small Kosmos-2 with weights drawn from torch's current random state."""
    config = tiny_config(width, layers, image_size, latents)
    model = Kosmos2Model(config)
    with torch.no_grad():
        model.text_model.model.embed_tokens.weight.normal_(std=width**-0.5)
        model.vision_model.model.embeddings.patch_embedding.weight.normal_(std=(3 * _PATCH_PX**2) ** -0.5)
        positions = model.vision_model.model.embeddings.position_embedding.weight
        positions[0].zero_()
        positions[1:].copy_(sine_positions(image_size // _PATCH_PX, width))
        model.image_to_text_projection.dense.weight.mul_(math.sqrt(width))
    return model


def sine_positions(side: int, width: int) -> torch.Tensor:
    """Return two-dimensional sine-cosine positions, float ``[side * side, width]`` (as in MAE, He et al. 2021)."""
    quarter = width // 4
    frequencies = 10000 ** -(torch.arange(quarter) / quarter)
    phases = torch.arange(side)[:, None] * frequencies
    line = torch.cat([phases.sin(), phases.cos()], dim=1)
    rows = line[:, None].expand(side, side, -1)
    columns = line[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, width)
