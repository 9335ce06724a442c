"""Attention as PyTorch has it, as its kernels and its exporter like it best."""

from __future__ import annotations

import torch
from torch.nn import functional

#: torch's kernel for 16 bits on a CPU takes two thirds of the time for 288 keys that it takes for 257.
_KEYS_STEP = 32


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, causal: bool = False) -> torch.Tensor:
    """``[N, heads, queries, dim]`` of such queries and ``[N, heads, keys, dim]``; causal: keys are the queries' own."""
    if causal and torch.onnx.is_in_onnx_export():
        # Else the exporter makes the triangle with Trilu, which TensorRT's parser is not known to take.
        here = torch.arange(key.shape[2], device=key.device)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=here <= here[:, None])
    missing = -key.shape[2] % _KEYS_STEP
    if causal or not missing or key.device.type != "cpu" or key.dtype != torch.bfloat16:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
    there = torch.arange(key.shape[2] + missing) < key.shape[2]
    key, value = functional.pad(key, (0, 0, 0, missing)), functional.pad(value, (0, 0, 0, missing))
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=there[None, None, None])
