"""The building block of a fast network: [layer norm] -> linear -> [activation] -> [+ residual], executed three ways.

Everything expensive in a transformer is one of these, so that whoever executes them well executes the network well:
:class:`PlainLinear` anywhere, :class:`PackedLinear` on CPUs whose matrix units oneDNN knows, and
:class:`~mobile_vla_policy.engine.cpu.int8.Int8Linear` with 8-bit weights and activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import nn
from torch.nn import functional

from mobile_vla_policy.engine.huge_pages import in_huge_pages

Activation = Literal["none", "gelu", "quick_gelu"]


#: Products of Kosmos-2's shapes on a core with 2 MB of second-level cache: packing 2 MB of weights made them a third
#: slower, packing 6 MB and more up to 40 % faster.
_CACHE_BYTES = 4_000_000


@dataclass(frozen=True)
class LinearSpec:
    """What one block computes."""

    weight: torch.Tensor
    """``[out, in]``."""
    bias: torch.Tensor | None
    """``[out]``."""
    norm: nn.LayerNorm | None = None
    """Over ``in``, before the product."""
    activation: Activation = "none"

    def to(self, dtype: torch.dtype) -> LinearSpec:
        """The same with other storage."""
        bias = None if self.bias is None else self.bias.detach().to(dtype)
        norm = None if self.norm is None else self.norm.to(dtype).requires_grad_(False)
        return LinearSpec(self.weight.detach().to(dtype), bias, norm, self.activation)


MakeLinear = Callable[[LinearSpec], nn.Module]
"""Makes a module whose ``forward(x [..., in], residual [..., out] | None)`` returns ``[..., out]``."""


class PlainLinear(nn.Module):
    """torch's own operations, on any device; also what the others are compared with."""

    def __init__(self, spec: LinearSpec) -> None:
        super().__init__()
        self.norm = spec.norm
        self.weight = nn.Parameter(spec.weight, requires_grad=False)
        self.bias = None if spec.bias is None else nn.Parameter(spec.bias, requires_grad=False)
        self._activation = spec.activation

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """``[..., out]`` of ``[..., in]``."""
        normed = x if self.norm is None else self.norm(x)
        product = activate(functional.linear(normed, self.weight, self.bias), self._activation)
        return product if residual is None else residual + product


class PackedLinear(nn.Module):
    """oneDNN with the weights laid out once as its kernels read them, instead of anew at every step (CPU, 16 bit).

    Its gelu is part of the product and costs nothing.
    """

    def __init__(self, spec: LinearSpec) -> None:
        super().__init__()
        self.norm = spec.norm
        self.bias = None if spec.bias is None else nn.Parameter(spec.bias, requires_grad=False)
        # An opaque oneDNN tensor: not a parameter, since it can be neither moved nor saved.
        self._packed = in_huge_pages(torch.ops.mkldnn._reorder_linear_weight(spec.weight.contiguous()))
        self._activation = spec.activation

    @staticmethod
    def pays(weight: torch.Tensor) -> bool:
        """Whether the weights are worth packing: those that fit a core's cache are multiplied faster as they are."""
        return weight.numel() * weight.element_size() > _CACHE_BYTES

    @staticmethod
    def runs(device: torch.device, dtype: torch.dtype) -> bool:
        """Whether this machine executes it natively."""
        if device.type != "cpu" or not torch.backends.mkldnn.is_available():
            return False
        if dtype == torch.bfloat16:
            return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        return dtype == torch.float16 and bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """``[..., out]`` of ``[..., in]``."""
        normed = x if self.norm is None else self.norm(x)
        # The residual could go into the product as well, which makes it a third slower; adding it here costs 2 %.
        product: torch.Tensor
        if self._activation == "gelu":
            product = torch.ops.mkldnn._linear_pointwise(normed, self._packed, self.bias, "gelu", [], "none")
        else:
            product = torch.ops.mkldnn._linear_pointwise(normed, self._packed, self.bias, "none", [], "")
            product = activate(product, self._activation)
        return product if residual is None else residual + product


def activate(x: torch.Tensor, activation: Activation) -> torch.Tensor:
    """The activation, as transformers computes it."""
    if activation == "gelu":
        return functional.gelu(x)
    return x * torch.sigmoid(1.702 * x) if activation == "quick_gelu" else x


def activation_named(name: str) -> Activation:
    """An activation of a Hugging Face configuration. Raises ValueError for one that is not known here."""
    if name not in get_args(Activation):
        raise ValueError(f"activation '{name}' is not one of {list(get_args(Activation))}")
    return cast(Activation, name)


def spec_of(*linears: nn.Module, norm: nn.Module | None = None, activation: Activation = "none") -> LinearSpec:
    """One block of one or several linear layers that read the same input; their outputs follow each other."""
    weights: list[torch.Tensor] = []
    biases: list[torch.Tensor] = []
    for linear in linears:
        if not isinstance(linear, nn.Linear) or not linear.weight.is_floating_point():
            raise ValueError(f"{type(linear).__name__} is no plain linear layer; use load_in: full")
        weights.append(linear.weight)
        biases.append(
            torch.zeros(linear.out_features, device=linear.weight.device) if linear.bias is None else linear.bias
        )
    if norm is not None and not isinstance(norm, nn.LayerNorm):
        raise ValueError(f"{type(norm).__name__} is no layer norm")
    has_bias = any(cast(nn.Linear, linear).bias is not None for linear in linears)
    weight, bias = (weights[0], biases[0]) if len(linears) == 1 else (torch.cat(weights), torch.cat(biases))
    return LinearSpec(weight.detach(), bias.detach() if has_bias else None, norm, activation)
