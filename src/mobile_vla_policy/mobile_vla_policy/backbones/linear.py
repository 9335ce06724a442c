"""Linear layers for driving: [layer norm] -> linear -> [activation] -> [+ residual] as one exchangeable block.

Nearly all the time of a transformer goes into these blocks. :class:`PlainLinear` runs anywhere; ``engine/cpu/`` has
faster ones for x86 processors, and builds them with the same :data:`MakeLinear` signature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from torch.nn import functional

Activation = Literal["none", "gelu", "quick_gelu"]


@dataclass(frozen=True)
class LinearSpec:
    """Description of one block."""

    weight: torch.Tensor
    """``[out, in]``."""
    bias: torch.Tensor | None
    """``[out]``."""
    norm: nn.LayerNorm | None = None
    """Over ``in``, before the product."""
    activation: Activation = "none"

    def to(self, dtype: torch.dtype) -> LinearSpec:
        """Return the same block with weights stored as ``dtype``."""
        bias = None if self.bias is None else self.bias.detach().to(dtype)
        norm = None if self.norm is None else self.norm.to(dtype).requires_grad_(False)
        return LinearSpec(self.weight.detach().to(dtype), bias, norm, self.activation)


MakeLinear = Callable[[LinearSpec], nn.Module]
"""Makes a module whose ``forward(x [..., in], residual [..., out] | None)`` returns ``[..., out]``."""


class PlainLinear(nn.Module):
    """PyTorch's own operations, on any device; the reference for the faster blocks."""

    def __init__(self, spec: LinearSpec) -> None:
        super().__init__()
        self.norm = spec.norm
        self.weight = nn.Parameter(spec.weight, requires_grad=False)
        self.bias = None if spec.bias is None else nn.Parameter(spec.bias, requires_grad=False)
        self._activation = spec.activation

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """Return ``[..., out]`` of ``[..., in]``."""
        normed = x if self.norm is None else self.norm(x)
        product = activate(functional.linear(normed, self.weight, self.bias), self._activation)
        return product if residual is None else residual + product


def activate(x: torch.Tensor, activation: Activation) -> torch.Tensor:
    """Apply an activation as transformers does."""
    if activation == "gelu":
        return functional.gelu(x)
    return x * torch.sigmoid(1.702 * x) if activation == "quick_gelu" else x


def activation_named(name: str) -> Activation:
    """Return an activation of a Hugging Face configuration. Raises ValueError for an unknown one."""
    if name not in get_args(Activation):
        raise ValueError(f"activation '{name}' is not one of {list(get_args(Activation))}")
    return cast(Activation, name)


def spec_of(*linears: nn.Module, norm: nn.Module | None = None, activation: Activation = "none") -> LinearSpec:
    """Describe linear layers that read the same input as one block; their outputs follow each other."""
    weights: list[torch.Tensor] = []
    biases: list[torch.Tensor] = []
    for linear in linears:
        if not isinstance(linear, nn.Linear) or not linear.weight.is_floating_point():
            raise ValueError(f"{type(linear).__name__} is not a plain linear layer; use load_in: full")
        weights.append(linear.weight)
        biases.append(
            torch.zeros(linear.out_features, device=linear.weight.device) if linear.bias is None else linear.bias
        )
    if norm is not None and not isinstance(norm, nn.LayerNorm):
        raise ValueError(f"{type(norm).__name__} is not a layer norm")
    has_bias = any(cast(nn.Linear, linear).bias is not None for linear in linears)
    weight, bias = (weights[0], biases[0]) if len(linears) == 1 else (torch.cat(weights), torch.cat(biases))
    return LinearSpec(weight.detach(), bias.detach() if has_bias else None, norm, activation)


def replace_linears(module: nn.Module, make: MakeLinear) -> None:
    """Replace every linear layer of ``module`` in place. Raises ValueError for a kind that cannot be replaced."""
    for name, child in list(module.named_children()):
        if type(child) is nn.Linear:
            setattr(module, name, make(spec_of(child)))
        else:
            replace_linears(child, make)


@torch.no_grad()
def merge_lora(module: nn.Module) -> None:
    """Add every adapter to the weights of its layer and remove it: same results, no extra work when driving."""
    for name, child in list(module.named_modules()):
        if isinstance(child, LoraLayer):
            child.merge(safe_merge=True)
            parent, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(parent), attribute, child.get_base_layer())
