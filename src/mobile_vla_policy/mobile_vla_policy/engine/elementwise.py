"""What stands between two 8-bit products: quantisation and rescaling. Bound by memory, so ``torch.compile`` pays.

In torch's own operations each of these passes over the activations five to ten times, which costs as much as the
products do; compiled, it is one pass. Layer norm and gelu stay torch's own, which are faster than compiled ones. A
network in 16 bits needs nothing of this.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_LARGEST = 127
#: Where compiled kernels are kept, unless TORCHINDUCTOR_CACHE_DIR says otherwise: torch's own default is in /tmp.
_CACHE = Path("mobile_vla") / "inductor"

_log = logging.getLogger(__name__)


def quantise_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 ``[rows, n]`` and float32 scales ``[rows, 1]``, whose product is about ``x``."""
    wide = x.float()
    largest = wide.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12)
    # One division a row: one a value would take a fifth of the time.
    return torch.round(wide * (_LARGEST / largest)).to(torch.int8), largest / _LARGEST


def rescale(product: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A product ``[rows, out]`` times its rows' scales ``[rows, 1]``, plus bias ``[out]``."""
    return (product.float() * scale + bias).to(product.dtype)


def rescale_quick_gelu(product: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The same through the vision tower's activation."""
    wide = product.float() * scale + bias
    # activate() with a power of two in it, which is a tenth faster.
    return (wide / (1 + torch.exp2(-1.702 * math.log2(math.e) * wide))).to(product.dtype)


def rescale_add(product: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """The same plus a residual ``[rows, out]``."""
    return (product.float() * scale + bias + residual.float()).to(product.dtype)


@dataclass(frozen=True)
class Elementwise:
    """The functions above, as they are or compiled."""

    quantise: Callable[..., Any] = quantise_rows
    rescale: Callable[..., Any] = rescale
    rescale_quick_gelu: Callable[..., Any] = rescale_quick_gelu
    rescale_add: Callable[..., Any] = rescale_add


def compiled(device: torch.device) -> Elementwise:
    """Compiled when first used: seconds per width of a layer, later read from disk. Uncompiled without a compiler."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / _CACHE
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    fast = Elementwise(
        _Compiled(quantise_rows), _Compiled(rescale), _Compiled(rescale_quick_gelu), _Compiled(rescale_add)
    )
    try:
        with torch.inference_mode():
            fast.quantise(torch.ones(2, 64, device=device))
    except Exception as error:  # whatever a missing or broken compiler raises, the robot can drive without it
        reason = " ".join(str(error).split())[:200]
        _log.warning("8-bit inference is slower than it could be: torch.compile failed; install g++ (%s)", reason)
        return Elementwise()
    return fast


class _Compiled:
    """One function, compiled for each width of its rows (twice as fast as for all widths) and any number of them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._plain = function
        self._fast = torch.compile(function, dynamic=False)
        self._seen: set[tuple[int, torch.dtype]] = set()

    def __call__(self, x: torch.Tensor, *others: torch.Tensor) -> Any:
        if len(x) == 1:
            # The compiler would make a special case of a single row, which is not worth its time.
            return self._plain(x, *others)
        key = (x.shape[1], x.dtype)
        if key not in self._seen:
            self._seen.add(key)
            for tensor in (x, *others):
                if tensor.ndim > 1:
                    # Otherwise an instruction of another length would compile everything anew, while driving.
                    torch._dynamo.mark_dynamic(tensor, 0)
        return self._fast(x, *others)
