"""From a network as it was trained to one that drives: the same function, executed as fast as this machine can.

Numerically: in fp32 equal to the trained network to 1e-5, in 16 bits to their rounding, in int8 to what
``make bench-model`` reports. ``docs/explanation/model.md`` has the figures.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from functools import partial
from typing import Literal

import torch
from torch import nn

from mobile_vla_policy.engine.cpu.elementwise import compiled
from mobile_vla_policy.engine.cpu.fast_kosmos2 import FastKosmos2Backbone
from mobile_vla_policy.engine.cpu.int8 import Int8Linear
from mobile_vla_policy.engine.cpu.linear import MakeLinear, PackedLinear, PlainLinear, spec_of
from mobile_vla_policy.model.kosmos2 import Kosmos2Backbone
from mobile_vla_policy.model.lora import merge_lora
from mobile_vla_policy.model.network import PolicyNetwork

Precision = Literal["fp32", "bf16", "fp16", "int8"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def optimise(network: PolicyNetwork, precision: Precision) -> PolicyNetwork:
    """A network for driving; it takes over the weights of the given one, which cannot be used afterwards.

    Args:
        network: weights not quantised yet, on the device that is to run it. Any backbone; Kosmos-2 gains most.
            Adapters are merged.
        precision: of weights and activations; the small head stays in float32. int8: weights and activations of
            linear layers, the rest in 16 bits.

    Raises:
        ValueError: a layer is of a kind that is not known here, such as weights in 8 or 4 bits already.
    """
    device = next(network.parameters()).device
    dtype = _DTYPES.get(precision) or sixteen_bits(device)
    make = linear_maker(device, dtype, eight_bits=precision == "int8")
    with torch.inference_mode(False), torch.no_grad():
        backbone = network.backbone
        if isinstance(backbone, Kosmos2Backbone):
            network = PolicyNetwork(FastKosmos2Backbone(backbone, dtype, make), network.head)
        else:
            merge_lora(backbone)
            _replace_linears(backbone.to(dtype), make)
        network.head.float()
    _return_memory()
    return network.eval().requires_grad_(False)


def sixteen_bits(device: torch.device) -> torch.dtype:
    """bfloat16, or float16 on a GPU that is too old for it."""
    return torch.float16 if device.type == "cuda" and not torch.cuda.is_bf16_supported() else torch.bfloat16


def linear_maker(device: torch.device, dtype: torch.dtype, *, eight_bits: bool) -> MakeLinear:
    """How linear layers are executed best on this machine."""
    if eight_bits:
        return partial(Int8Linear, elementwise=compiled(device))
    if not PackedLinear.runs(device, dtype):
        return PlainLinear
    return lambda spec: PackedLinear(spec) if PackedLinear.pays(spec.weight) else PlainLinear(spec)


def _replace_linears(module: nn.Module, make: MakeLinear) -> None:
    for name, child in list(module.named_children()):
        if type(child) is nn.Linear:
            setattr(module, name, make(spec_of(child)))
        else:
            _replace_linears(child, make)


def _return_memory() -> None:
    """Give what the old weights took back to the system: a Jetson's GPU shares it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
