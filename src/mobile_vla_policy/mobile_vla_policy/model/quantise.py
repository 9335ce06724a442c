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

    if load_in == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    # As in QLoRA (Dettmers et al. 2023): levels at the quantiles of a normal distribution, their scales in 8 bits.
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    }
