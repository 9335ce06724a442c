"""Storing the frozen base weights in fewer bits, through bitsandbytes."""

from __future__ import annotations

from typing import Any

import torch


def quantised(load_in: str, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments for ``from_pretrained``: none for "full", a quantisation for "8bit" and "4bit".

    Raises:
        ValueError: there is no CUDA, which bitsandbytes needs.
    """
    if load_in == "full":
        return {}
    if not torch.cuda.is_available():
        raise ValueError(f"load_in {load_in} needs CUDA; set policy.backbone.load_in=full")
    from transformers import BitsAndBytesConfig

    bits = {"load_in_8bit": load_in == "8bit", "load_in_4bit": load_in == "4bit"}
    return {"quantization_config": BitsAndBytesConfig(**bits, bnb_4bit_compute_dtype=dtype)}
