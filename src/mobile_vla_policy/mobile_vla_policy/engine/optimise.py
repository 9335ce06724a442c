"""Conversion of a trained network for driving: the same function, as fast as this machine can execute it.

In fp32 the results equal those of the trained network to 1e-5, in 16 bits up to their rounding. ``make bench-model``
reports the difference in int8; ``docs/explanation/model.md`` has the figures.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from functools import partial
from typing import Literal

import torch

from mobile_vla_policy.backbones.linear import MakeLinear, PlainLinear
from mobile_vla_policy.engine.cpu.elementwise import compiled
from mobile_vla_policy.engine.cpu.int8 import Int8Linear
from mobile_vla_policy.engine.cpu.packed import PackedLinear
from mobile_vla_policy.engine.device import dtype_of
from mobile_vla_policy.model.network import PolicyNetwork

Precision = Literal["fp32", "bf16", "fp16", "int8"]


def optimise(network: PolicyNetwork, precision: Precision) -> PolicyNetwork:
    """Return a network for driving; it takes over the weights of the given one, which cannot be used afterwards.

    Args:
        network: not quantised, on the device that is to run it; any backbone. Adapters are merged.
        precision: of weights and activations; the small head stays in float32. int8: weights and activations of
            linear layers, the rest in 16 bits.

    Raises:
        ValueError: a layer is of an unknown kind, such as one whose weights are stored in 8 or 4 bits.
    """
    device = next(network.parameters()).device
    dtype = dtype_of(precision, device)
    optimised = _for_driving(network, dtype, linear_maker(device, dtype, eight_bits=precision == "int8"))
    _return_memory()
    return optimised


def portable(network: PolicyNetwork, precision: str) -> PolicyNetwork:
    """Optimise as far as torch's own operations allow: nothing is tied to this machine, so the result can be exported.

    It takes over the weights of the given network. ``precision`` is not int8.
    """
    return _for_driving(network, dtype_of(precision, next(network.parameters()).device), PlainLinear)


def linear_maker(device: torch.device, dtype: torch.dtype, *, eight_bits: bool) -> MakeLinear:
    """Return what builds the fastest linear layers on this machine."""
    if eight_bits:
        return partial(Int8Linear, elementwise=compiled(device))
    if not PackedLinear.runs(device, dtype):
        return PlainLinear
    return lambda spec: PackedLinear(spec) if PackedLinear.pays(spec.weight) else PlainLinear(spec)


def _for_driving(network: PolicyNetwork, dtype: torch.dtype, make: MakeLinear) -> PolicyNetwork:
    with torch.inference_mode(False), torch.no_grad():
        driving = PolicyNetwork(network.backbone.for_driving(dtype, make), network.head.float())
    return driving.eval().requires_grad_(False)


def _return_memory() -> None:
    """Return the memory of the old weights to the system: a Jetson's GPU shares it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
