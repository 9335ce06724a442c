"""16-bit linear layers whose weights are laid out once for oneDNN's kernels, instead of at every step."""

from __future__ import annotations

import torch
from torch import nn

from mobile_vla_policy.backbones.linear import LinearSpec, activate

#: Products of Kosmos-2's shapes on a core with 2 MB of second-level cache: packing 2 MB of weights made them a third
#: slower, packing 6 MB and more up to 40 % faster.
_CACHE_BYTES = 4_000_000


class PackedLinear(nn.Module):
    """oneDNN with weights in the layout of its kernels (CPU, 16 bits). Its gelu is part of the product, for free."""

    def __init__(self, spec: LinearSpec) -> None:
        super().__init__()
        self.norm = spec.norm
        self.bias = None if spec.bias is None else nn.Parameter(spec.bias, requires_grad=False)
        # An opaque oneDNN tensor: not a parameter, since it can be neither moved nor saved.
        self._packed = torch.ops.mkldnn._reorder_linear_weight(spec.weight.contiguous())
        self._activation = spec.activation

    @staticmethod
    def pays(weight: torch.Tensor) -> bool:
        """Return whether the weights are worth packing: those that fit a core's cache are faster unpacked."""
        return weight.numel() * weight.element_size() > _CACHE_BYTES

    @staticmethod
    def runs(device: torch.device, dtype: torch.dtype) -> bool:
        """Return whether this machine executes it natively."""
        if device.type != "cpu" or not torch.backends.mkldnn.is_available():
            return False
        if dtype == torch.bfloat16:
            return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        return dtype == torch.float16 and bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """Return ``[..., out]`` of ``[..., in]``."""
        normed = x if self.norm is None else self.norm(x)
        # The residual could go into the product as well, which makes it a third slower; adding it here costs 2 %.
        product: torch.Tensor
        if self._activation == "gelu":
            product = torch.ops.mkldnn._linear_pointwise(normed, self._packed, self.bias, "gelu", [], "none")
        else:
            product = torch.ops.mkldnn._linear_pointwise(normed, self._packed, self.bias, "none", [], "")
            product = activate(product, self._activation)
        return product if residual is None else residual + product
