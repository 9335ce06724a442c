"""Windows of different lengths in one block without gaps, as an LSTM reads them: step after step, longest window first.

    windows   a a a a a      step 0   step 1   step 2   3    4         PyTorch's ``PackedSequence`` has the same order.
              b b b          a b c    a b      a b      a    a         ``sizes`` are 3, 2, 2, 1, 1.
              c

Every size is rounded up to whole blocks of rows, by steps that nobody looks at: oneDNN compiles a product for every
number of rows, so it meets few. A block is what a matrix unit works on at once; larger ones are mostly gaps.
"""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import pad_sequence

_ROWS = 16


def packed_sizes(valid: torch.Tensor) -> list[int]:
    """Rows of each step that windows bool ``[B, W]``, the longest first, have."""
    # Few windows stay as they are: rounded up, they would be mostly gaps.
    block = _ROWS if len(valid) >= 4 * _ROWS else 1
    return [-(-count // block) * block for count in valid.sum(0).tolist() if count]


def pack(padded: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """``[sum(sizes), ...]`` of ``[B, W, ...]``; rows beyond the number of windows repeat the last one."""
    last = torch.tensor(len(padded) - 1)
    rows = torch.cat([torch.arange(size).minimum(last) for size in sizes])
    steps = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return padded[rows.to(padded.device), steps.to(padded.device)]


def unpack(packed: torch.Tensor, sizes: list[int], valid: torch.Tensor) -> torch.Tensor:
    """``[B, W, ...]`` of ``[sum(sizes), ...]``, without meaning where a window bool ``[B, W]`` has no step."""
    missing = valid.shape[1] - len(sizes)
    steps = [*packed.split(sizes), *[packed[:0]] * missing]
    padded: torch.Tensor = pad_sequence(steps)
    return padded[: len(valid)]
