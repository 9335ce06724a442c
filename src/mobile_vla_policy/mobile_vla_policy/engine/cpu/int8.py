"""Linear layers with 8-bit weights and activations (W8A8): half the bytes, and up to twice the products a second.

Weights are symmetric with one scale per output, computed when loading. Activations are symmetric with one scale per
row, that is per token, measured in every step: nothing has to be calibrated, and an outlier affects only its own token
(Dettmers et al. 2022). The products go to oneDNN (VNNI or AMX) on an x86 CPU, and to ``torch._int_mm`` elsewhere
(tensor cores on CUDA). Weight and bias of a layer norm in front become part of the product's; the rest of the norm is
done while quantising.
"""

from __future__ import annotations

import platform

import torch
from torch import nn
from torch.nn import functional

from mobile_vla_policy.backbones.linear import LinearSpec, activate
from mobile_vla_policy.engine.cpu.elementwise import Elementwise, quantise_rows

#: ``torch._int_mm`` on CUDA takes more than 16 rows.
_FEWEST_ROWS = 32
#: oneDNN gives its threads blocks of this many rows.
_BLOCK_ROWS = 64
#: A remainder of up to this many rows is multiplied apart: in one call, most threads would wait for it.
_REST_ROWS = 16


class Int8Linear(nn.Module):
    """[layer norm] -> 8-bit linear -> [activation] -> [+ residual]; see :mod:`mobile_vla_policy.backbones.linear`."""

    scale: torch.Tensor

    def __init__(self, spec: LinearSpec, elementwise: Elementwise, onednn: bool | None = None) -> None:
        """Quantise. ``onednn`` chooses the kernel; by default the faster one on this machine."""
        super().__init__()
        device = spec.weight.device
        self.eps = None if spec.norm is None else nn.Buffer(torch.tensor([spec.norm.eps], device=device))
        full_weight, bias = _with_norm(spec)
        self.bias = nn.Parameter(bias, requires_grad=False)
        weight, scale = quantise_rows(full_weight)
        self.register_buffer("scale", scale.flatten())
        self._activation = spec.activation
        self._elementwise = elementwise
        self._onednn = has_onednn(device) if onednn is None else onednn
        self._weight = torch.ops.onednn.qlinear_prepack(weight, None) if self._onednn else weight
        self._zeros = torch.zeros(len(weight), dtype=torch.int64, device=device)

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """Return ``[..., out]`` of ``[..., in]``."""
        run = self._elementwise
        rows = x.flatten(0, -2)
        quantised, scale = run.quantise(rows) if self.eps is None else run.normalise(rows, self.eps)
        product = self._product(quantised, x.dtype)
        result: torch.Tensor
        if self._activation == "none" and residual is not None:
            result = run.rescale_add(product, scale, self.bias, residual.flatten(0, -2))
            return torch.unflatten(result, 0, x.shape[:-1])
        if self._activation == "quick_gelu":
            result = run.rescale_quick_gelu(product, scale, self.bias)
        else:
            result = activate(run.rescale(product, scale, self.bias), self._activation)
        result = torch.unflatten(result, 0, x.shape[:-1])
        return result if residual is None else residual + result

    def _product(self, quantised: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return ``[rows, out]`` with the scales of the weights, but without those of the rows."""
        product: torch.Tensor
        if self._onednn:
            sizes = row_sizes(len(quantised), torch.get_num_threads())
            products = [
                torch.ops.onednn.qlinear_pointwise(
                    rows, 1.0, 0, self._weight, self.scale, self._zeros, None, 1.0, 0, dtype, "none", [], ""
                )
                for rows in quantised.split(sizes)
            ]
            return products[0] if len(products) == 1 else torch.cat(products)
        count = len(quantised)
        padded = functional.pad(quantised, (0, 0, 0, max(0, _FEWEST_ROWS - count)))
        product = torch._int_mm(padded, self._weight.t())[:count]
        return (product * self.scale).to(dtype)


def row_sizes(rows: int, threads: int) -> list[int]:
    """Return the numbers of rows to multiply at a time: 514 rows of two cameras take 1.3 times as long on two threads
    as 512, because one thread gets a third more blocks than the other."""
    rest = rows % (_BLOCK_ROWS * threads)
    return [rows - rest, rest] if threads > 1 and 0 < rest <= _REST_ROWS and rest < rows else [rows]


def _with_norm(spec: LinearSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias, float32, for a norm without its own: W (n x + b) + c = (W n) x + (W b + c)."""
    weight = spec.weight.float()
    bias = torch.zeros(len(weight), device=weight.device) if spec.bias is None else spec.bias.float()
    if spec.norm is None:
        return weight, bias
    if spec.norm.bias is not None:
        bias = bias + weight @ spec.norm.bias.float()
    return (weight if spec.norm.weight is None else weight * spec.norm.weight.float()), bias


def has_onednn(device: torch.device) -> bool:
    """Return whether oneDNN's 8-bit products are available: on x86 CPUs."""
    return device.type == "cpu" and torch.backends.mkldnn.is_available() and platform.machine() in ("x86_64", "AMD64")
