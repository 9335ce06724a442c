"""The matrix products of one inference step of full-size Kosmos-2, and nothing else: what a step cannot go below."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from mobile_vla_policy.model.kosmos2 import Kosmos2Backbone


def products(backbone: Kosmos2Backbone, cameras: int, instruction_tokens: int) -> Callable[[], None]:
    """A function that multiplies once what a step of the optimised network multiplies, in bf16 by torch's own products.

    The shapes are those of ``engine/fast_kosmos2.py``: query, key and value of a layer are one product, and the last
    text layer goes on with ACT only. The weights are the network's own: reading 3 GB of them is part of the work.
    """
    vision, text = backbone.model.config.vision_config, backbone.model.config.text_config
    latents, side = backbone.model.config.latent_query_num, (vision.image_size // vision.patch_size) ** 2
    narrow, wide, layers = vision.hidden_size, text.embed_dim, text.layers - 1
    length, seen = 3 + cameras * (latents + 2) + instruction_tokens, cameras * (side + 1)
    linear = [  # rows, in, out, how often
        (cameras * side, 3 * vision.patch_size**2, narrow, 1),
        (seen, narrow, 3 * narrow, vision.num_hidden_layers),
        (seen, narrow, narrow, vision.num_hidden_layers),
        (seen, narrow, vision.intermediate_size, vision.num_hidden_layers),
        (seen, vision.intermediate_size, narrow, vision.num_hidden_layers),
        (seen, narrow, wide, 1),
        (seen, wide, 2 * wide, 1),
        (cameras * latents, wide, wide, 1),
        (length, wide, 3 * wide, layers),
        (length, wide, wide, layers),
        (length, wide, text.ffn_dim, layers),
        (length, text.ffn_dim, wide, layers),
        (length, wide, 2 * wide, 1),
        (1, wide, wide, 2),
        (1, wide, text.ffn_dim, 1),
        (1, text.ffn_dim, wide, 1),
    ]
    weights = _Weights(backbone.model)
    work = [
        (torch.rand(rows, inputs, dtype=torch.bfloat16), weights.of(outputs, inputs))
        for rows, inputs, outputs, count in linear
        for _ in range(count)
    ]
    eyes, ears = vision.num_attention_heads, text.attention_heads
    attention = [  # heads, queries, keys, width of a head, how often
        (cameras * eyes, side + 1, side + 1, narrow // eyes, vision.num_hidden_layers),
        (cameras * ears, latents, side + 1 + latents, wide // ears, 1),
        (ears, length, length, wide // ears, layers),
        (ears, 1, length, wide // ears, 1),
    ]
    mixed = [
        (torch.rand(heads, queries, dim).bfloat16(), torch.rand(heads, keys, dim).bfloat16(), count)
        for heads, queries, keys, dim, count in attention
    ]

    def run() -> None:
        for left, weight in work:
            nn.functional.linear(left, weight)
        for queries, keys, count in mixed:
            for _ in range(count):
                (queries @ keys.transpose(1, 2)) @ keys

    return run


class _Weights:
    """Matrices of any shape out of a network's own, a different one each time, without a copy."""

    def __init__(self, model: nn.Module) -> None:
        self._all = [parameter.detach() for parameter in model.parameters() if parameter.ndim == 2]
        self._taken: dict[tuple[int, int], int] = {}

    def of(self, outputs: int, inputs: int) -> torch.Tensor:
        """``[outputs, inputs]``: one of this shape, or else the beginning of a larger one."""
        same = [weight for weight in self._all if weight.shape == (outputs, inputs)]
        large_enough = [weight for weight in self._all if weight.numel() >= outputs * inputs]
        pool = same or sorted(large_enough, key=lambda weight: weight.numel())[: len(self._all) // 6]
        index = self._taken.get((outputs, inputs), 0)
        self._taken[outputs, inputs] = index + 1
        return pool[index % len(pool)].flatten()[: outputs * inputs].view(outputs, inputs)
