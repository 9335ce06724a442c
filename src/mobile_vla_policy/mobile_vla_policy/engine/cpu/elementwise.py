"""What stands between two 8-bit products: quantisation and rescaling. Bound by memory, so ``torch.compile`` pays.

In torch's own operations each of these passes over the activations five to ten times, which costs as much as the
products do; compiled, it is one pass, or two where a row's sum or largest value has to be known first. Gelu stays
torch's own, which is faster than a compiled one. A network in 16 bits needs nothing of this.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mobile_vla_policy.engine.cpu import compiling

_LARGEST = 127


def quantise_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 ``[rows, n]`` and float32 scales ``[rows, 1]``, whose product is about ``x``."""
    wide = x.float()
    largest = wide.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12)
    # One division a row: one a value would take a fifth of the time.
    return torch.round(wide * (_LARGEST / largest)).to(torch.int8), largest / _LARGEST


def normalise_rows(x: torch.Tensor, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of a layer norm of ``x`` without weight and bias; ``eps`` float32 ``[1]``.

    A row's largest value after normalisation follows from its largest and smallest before, so that all four sums and
    bounds come from one pass, and 8 bits from the next: less than half the time of norm and quantisation one by one.
    """
    wide = x.float()
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide * wide).mean(dim=-1, keepdim=True) - mean * mean
    above, below = wide.amax(dim=-1, keepdim=True) - mean, mean - wide.amin(dim=-1, keepdim=True)
    largest = torch.maximum(above, below).clamp_min(1e-12)
    quantised = torch.round((wide - mean) * (_LARGEST / largest)).to(torch.int8)
    return quantised, largest / _LARGEST * torch.rsqrt(variance.clamp_min(0) + eps)


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
    normalise: Callable[..., Any] = normalise_rows
    rescale: Callable[..., Any] = rescale
    rescale_quick_gelu: Callable[..., Any] = rescale_quick_gelu
    rescale_add: Callable[..., Any] = rescale_add


def compiled(device: torch.device) -> Elementwise:
    """Compiled for ``device``, see :mod:`~mobile_vla_policy.engine.cpu.compiling`."""
    functions = (quantise_rows, normalise_rows, rescale, rescale_quick_gelu, rescale_add)
    return Elementwise(*compiling.compiled(device, "8-bit inference", *functions))
