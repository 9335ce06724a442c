"""``torch.compile`` for what is bound by memory: one pass over the activations where torch's own operations take many.

Kernels are compiled when first used, which takes seconds, and later read from disk. Without a C++ compiler the same
functions run as they are.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import torch

from mobile_vla_policy.caches import compiler_cache

RowFunction = Callable[..., Any]
"""Of tensors ``[rows, n]``, whose number of rows changes and whose widths do not, and of vectors ``[n]``."""

_log = logging.getLogger(__name__)


def compiled(device: torch.device, what: str, *functions: RowFunction) -> tuple[RowFunction, ...]:
    """The functions compiled for ``device``, or as they are, and a warning that ``what`` is slower than it could be."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiler_cache()))
    try:
        with torch.inference_mode():
            _Compiled(_trial)(torch.ones(2, 64, device=device))
    except Exception as error:  # whatever a missing or broken compiler raises, it goes without
        reason = " ".join(str(error).split())[:200]
        _log.warning("%s is slower than it could be: torch.compile failed; install g++ (%s)", what, reason)
        return functions
    return tuple(_Compiled(function) for function in functions)


def _trial(x: torch.Tensor) -> torch.Tensor:
    return x * 2 + 1


class _Compiled:
    """One function, compiled for each width of its rows (twice as fast as for all widths) and any number of them."""

    def __init__(self, function: RowFunction) -> None:
        self._plain = function
        self._fast = torch.compile(function, dynamic=False)
        self._seen: set[tuple[Any, ...]] = set()

    def __call__(self, x: torch.Tensor, *others: torch.Tensor) -> Any:
        if len(x) == 1:
            # The compiler would make a special case of a single row, which is not worth its time.
            return self._plain(x, *others)
        # A view that begins where its storage does is a case of its own for the compiler.
        key = (x.shape[1], x.dtype, *(not tensor.storage_offset() for tensor in (x, *others)))
        if key not in self._seen:
            self._seen.add(key)
            for tensor in (x, *others):
                if tensor.ndim > 1:
                    # Otherwise another number of rows would compile everything anew, while driving.
                    torch._dynamo.mark_dynamic(tensor, 0)
        return self._fast(x, *others)
