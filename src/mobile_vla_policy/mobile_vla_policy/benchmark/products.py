"""The matrix products of one forward pass: the part that no engine can avoid.

Every product has its own weights, as in the network, because reading them is part of the work. Norms, activations,
embeddings and everything that only moves data are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from mobile_vla_data.action import ACTION
from mobile_vla_policy.model.head import HeadSettings
from mobile_vla_policy.model.settings import PolicySettings


@dataclass(frozen=True)
class Linear:
    """``count`` products ``[rows, inputs] x [inputs, outputs]``, each with its own weights."""

    rows: int
    inputs: int
    outputs: int
    count: int
    repeats: int = 1
    """Repetitions of each product with the same weights."""


@dataclass(frozen=True)
class Attention:
    """``count`` attentions of ``heads`` heads: queries with keys, and the result with values."""

    heads: int
    queries: int
    keys: int
    dim: int
    count: int


@dataclass(frozen=True)
class Products:
    """All products of a forward pass."""

    linear: tuple[Linear, ...]
    attention: tuple[Attention, ...]

    @property
    def flops(self) -> float:
        """Floating-point operations, two a multiplication."""
        linear = sum(2.0 * item.rows * item.inputs * item.outputs * item.count * item.repeats for item in self.linear)
        mixed = sum(4.0 * item.heads * item.queries * item.keys * item.dim * item.count for item in self.attention)
        return linear + mixed


def products_of(settings: PolicySettings, instruction_tokens: int) -> Products | None:
    """Return the products of a policy; None for backbones whose layers are not known here."""
    backbone = settings.backbone
    config = backbone.kosmos2_config()
    if config is None:
        return None
    seen = kosmos2_products(config, len(backbone.cameras), instruction_tokens)
    return Products(seen.linear + head_products(settings.head, config.text_config.embed_dim), seen.attention)


def kosmos2_products(config: Any, cameras: int, instruction_tokens: int) -> Products:
    """Return the products of one frame through Kosmos-2, in the shapes of ``backbones/kosmos2_driving.py``.

    Query, key and value of a layer are one product, and the last text layer computes ACT only.
    """
    vision, text, latents = config.vision_config, config.text_config, config.latent_query_num
    side, vision_layers = (vision.image_size // vision.patch_size) ** 2, vision.num_hidden_layers
    narrow, wide, layers = vision.hidden_size, text.embed_dim, text.layers - 1
    seen, length = cameras * (side + 1), 3 + cameras * (latents + 2) + instruction_tokens
    linear = (
        Linear(cameras * side, 3 * vision.patch_size**2, narrow, 1),
        Linear(seen, narrow, 3 * narrow, vision_layers),
        Linear(seen, narrow, narrow, vision_layers),
        Linear(seen, narrow, vision.intermediate_size, vision_layers),
        Linear(seen, vision.intermediate_size, narrow, vision_layers),
        Linear(seen, narrow, wide, 1),
        Linear(seen, wide, 2 * wide, 1),
        Linear(cameras * latents, wide, wide, 1),
        Linear(length, wide, 3 * wide, layers),
        Linear(length, wide, wide, layers),
        Linear(length, wide, text.ffn_dim, layers),
        Linear(length, text.ffn_dim, wide, layers),
        Linear(length, wide, 2 * wide, 1),
        Linear(1, wide, wide, 2),
        Linear(1, wide, text.ffn_dim, 1),
        Linear(1, text.ffn_dim, wide, 1),
    )
    eyes, ears = vision.num_attention_heads, text.attention_heads
    attention = (
        Attention(cameras * eyes, side + 1, side + 1, narrow // eyes, vision_layers),
        Attention(cameras * ears, latents, side + 1 + latents, wide // ears, 1),
        Attention(ears, length, length, wide // ears, layers),
        Attention(ears, 1, length, wide // ears, 1),
    )
    return Products(linear, tuple(item for item in attention if item.count))


def head_products(head: HeadSettings, features: int) -> tuple[Linear, ...]:
    """Return the products of the LSTM over a whole window; its recurrent ones run one after the other."""
    gates = 4 * head.hidden_size
    return (
        Linear(1, features, head.input_size, 1),
        Linear(head.window, head.input_size, gates, 1),
        *([Linear(head.window, head.hidden_size, gates, head.layers - 1)] if head.layers > 1 else []),
        Linear(1, head.hidden_size, gates, head.layers, repeats=head.window),
        Linear(1, head.hidden_size, head.horizon * len(ACTION), 1),
    )


def runner(
    products: Products, dtype: torch.dtype, device: torch.device, borrow_from: nn.Module | None = None
) -> Callable[[], None]:
    """Return a function that computes the products once, with torch's own operations.

    Args:
        products: of a forward pass.
        dtype: of the factors.
        device: that computes.
        borrow_from: a network of that dtype and on that device, whose matrices serve as weights to save memory.
    """
    matrix = partial(_random, dtype, device) if borrow_from is None else _Borrowed(borrow_from).matrix
    work = [
        (
            torch.rand(item.rows, item.inputs, dtype=dtype, device=device),
            matrix(item.outputs, item.inputs),
            item.repeats,
        )
        for item in products.linear
        for _ in range(item.count)
    ]
    attention = [
        (
            torch.rand(item.heads, item.queries, item.dim, dtype=dtype, device=device),
            torch.rand(item.heads, item.keys, item.dim, dtype=dtype, device=device),
            item.count,
        )
        for item in products.attention
    ]

    def run() -> None:
        for left, weight, repeats in work:
            for _ in range(repeats):
                nn.functional.linear(left, weight)
        for queries, keys, count in attention:
            for _ in range(count):
                (queries @ keys.transpose(1, 2)) @ keys
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def _random(dtype: torch.dtype, device: torch.device, outputs: int, inputs: int) -> torch.Tensor:
    return torch.rand(outputs, inputs, dtype=dtype, device=device)


class _Borrowed:
    """Matrices of any shape, taken from a network without a copy, a different one each time."""

    def __init__(self, network: nn.Module) -> None:
        self._all = [parameter.detach() for parameter in network.parameters() if parameter.ndim == 2]
        self._taken: dict[tuple[int, int], int] = {}

    def matrix(self, outputs: int, inputs: int) -> torch.Tensor:
        """Return ``[outputs, inputs]``: a matrix of this shape, or the beginning of a larger one."""
        same = [weight for weight in self._all if weight.shape == (outputs, inputs)]
        large_enough = [weight for weight in self._all if weight.numel() >= outputs * inputs]
        pool = same or sorted(large_enough, key=lambda weight: weight.numel())[: len(self._all) // 6]
        index = self._taken.get((outputs, inputs), 0)
        self._taken[outputs, inputs] = index + 1
        return pool[index % len(pool)].flatten()[: outputs * inputs].view(outputs, inputs)
