"""What stands between two 8-bit products: quantisation and rescaling. Bound by memory, so ``torch.compile`` pays.

In torch's own operations each of these passes over the activations five to ten times, which costs as much as the
products do; compiled, it is one pass. Layer norm and gelu stay torch's own, which are faster than compiled ones. A
network in 16 bits needs nothing of this.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mobile_vla_policy import compiling

_LARGEST = 127


def quantise_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 ``[rows, n]`` and float32 scales ``[rows, 1]``, whose product is about ``x``."""
    wide = x.float()
    largest = wide.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12)
    # One division a row: one a value would take a fifth of the time.
    return torch.round(wide * (_LARGEST / largest)).to(torch.int8), largest / _LARGEST


def rescale(product: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A product ``[rows, out]`` times its rows' scales ``[rows, 1]``, plus bias ``[out]``."""
    return (product.float() * scale + bias).to(product.dtype)


def rescale_quick_gelu(product: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The same through the vision tower's activation."""
    wide = product.float() * scale + bias
    # activate() with a power of two in it, which is a tenth faster.
    return (wide / (1 + torch.exp2(-1.702 * math.log2(math.e) * wide))).to(product.dtype)


def rescale_add(product: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """The same plus a residual ``[rows, out]``."""
    return (product.float() * scale + bias + residual.float()).to(product.dtype)


@dataclass(frozen=True)
class Elementwise:
    """The functions above, as they are or compiled."""

    quantise: Callable[..., Any] = quantise_rows
    rescale: Callable[..., Any] = rescale
    rescale_quick_gelu: Callable[..., Any] = rescale_quick_gelu
    rescale_add: Callable[..., Any] = rescale_add


def compiled(device: torch.device) -> Elementwise:
    """Compiled for ``device``, see :mod:`~mobile_vla_policy.compiling`."""
    functions = (quantise_rows, rescale, rescale_quick_gelu, rescale_add)
    return Elementwise(*compiling.compiled(device, "8-bit inference", *functions))
