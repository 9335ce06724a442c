"""``torch.compile`` for functions bound by memory: one pass over the activations where plain operations take many.

Kernels are compiled at their first use, which takes seconds, and read from disk later. Without a C++ compiler the
functions run uncompiled.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import torch

from mobile_vla_policy.caches import compiler_cache

RowFunction = Callable[..., Any]
"""Function of tensors ``[rows, n]``, of which only the number of rows changes, and of vectors ``[n]``."""

_log = logging.getLogger(__name__)


def compiled(device: torch.device, what: str, *functions: RowFunction) -> tuple[RowFunction, ...]:
    """Compile functions for ``device``; if that fails, warn that ``what`` is slow, and return them plain."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiler_cache()))
    try:
        with torch.inference_mode():
            _Compiled(_trial)(torch.ones(2, 64, device=device))
    except Exception as error:  # a missing or broken compiler raises anything
        reason = " ".join(str(error).split())[:200]
        _log.warning("%s is slower than it could be: torch.compile failed; install g++ (%s)", what, reason)
        return functions
    return tuple(_Compiled(function) for function in functions)


def _trial(x: torch.Tensor) -> torch.Tensor:
    return x * 2 + 1


class _Compiled:
    """One function, compiled for each width of its rows (twice as fast as for all widths) and any number of rows."""

    def __init__(self, function: RowFunction) -> None:
        self._plain = function
        self._fast = torch.compile(function, dynamic=False)
        self._seen: set[tuple[Any, ...]] = set()

    def __call__(self, x: torch.Tensor, *others: torch.Tensor) -> Any:
        if len(x) == 1:
            # The compiler would make a special case of a single row, which is not worth compiling.
            return self._plain(x, *others)
        # The compiler distinguishes views that begin where their storage does.
        key = (x.shape[1], x.dtype, *(not tensor.storage_offset() for tensor in (x, *others)))
        if key not in self._seen:
            self._seen.add(key)
            for tensor in (x, *others):
                if tensor.ndim > 1:
                    # Otherwise another number of rows would compile everything again, while driving.
                    torch._dynamo.mark_dynamic(tensor, 0)
        return self._fast(x, *others)
