"""Quantisation and rescaling between two 8-bit products. Bound by memory, so ``torch.compile`` is worth it.

As plain operations, each of these functions passes over the activations five to ten times, which costs as much as the
products. Compiled, it is one pass, or two if a row's sum or largest value has to be known first. Gelu stays torch's
own, which is faster than a compiled one. A network in 16 bits needs none of this.
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
    """Return int8 ``[rows, n]`` and float32 scales ``[rows, 1]``, whose product is about ``x``."""
    wide = x.float()
    largest = wide.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12)
    # One division per row: one per value would take a fifth of the time.
    return torch.round(wide * (_LARGEST / largest)).to(torch.int8), largest / _LARGEST


def normalise_rows(x: torch.Tensor, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise a layer norm of ``x`` without weight and bias; ``eps`` float32 ``[1]``.

    A row's largest value after normalisation follows from its largest and smallest before, so that all four sums and
    bounds come from one pass and the 8 bits from the next: less than half the time of norm and quantisation apart.
    """
    wide = x.float()
    mean = wide.mean(dim=-1, keepdim=True)
    variance = (wide * wide).mean(dim=-1, keepdim=True) - mean * mean
    above, below = wide.amax(dim=-1, keepdim=True) - mean, mean - wide.amin(dim=-1, keepdim=True)
    largest = torch.maximum(above, below).clamp_min(1e-12)
    quantised = torch.round((wide - mean) * (_LARGEST / largest)).to(torch.int8)
    return quantised, largest / _LARGEST * torch.rsqrt(variance.clamp_min(0) + eps)


def rescale(product: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return a product ``[rows, out]`` times its rows' scales ``[rows, 1]``, plus bias ``[out]``."""
    return (product.float() * scale + bias).to(product.dtype)


def rescale_quick_gelu(product: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Rescale, then apply the vision tower's activation."""
    wide = product.float() * scale + bias
    # activate() with a power of two in it, which is a tenth faster.
    return (wide / (1 + torch.exp2(-1.702 * math.log2(math.e) * wide))).to(product.dtype)


def rescale_add(product: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Rescale, then add a residual ``[rows, out]``."""
    return (product.float() * scale + bias + residual.float()).to(product.dtype)


@dataclass(frozen=True)
class Elementwise:
    """The functions above, plain or compiled."""

    quantise: Callable[..., Any] = quantise_rows
    normalise: Callable[..., Any] = normalise_rows
    rescale: Callable[..., Any] = rescale
    rescale_quick_gelu: Callable[..., Any] = rescale_quick_gelu
    rescale_add: Callable[..., Any] = rescale_add


def compiled(device: torch.device) -> Elementwise:
    """Return the functions compiled for ``device``, see :mod:`~mobile_vla_policy.engine.cpu.compiling`."""
    functions = (quantise_rows, normalise_rows, rescale, rescale_quick_gelu, rescale_add)
    return Elementwise(*compiling.compiled(device, "8-bit inference", *functions))
