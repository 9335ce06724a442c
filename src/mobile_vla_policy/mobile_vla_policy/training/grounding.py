"""Where the instructed target is: cross-entropy of a heatmap over the cells of the first camera's image."""

from __future__ import annotations

import torch

from mobile_vla_policy.backbones.maps import side_of


def grounding_loss(logits: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the mean over the frames whose target is known; 0 if it is known in none.

    Args:
        logits: ``[N, P]`` over the cells of a square grid.
        places: ``[N, 2]``: right and up in -1 .. 1, NaN where unknown.
    """
    known = torch.isfinite(places).all(1)
    labels = shared_among_cells(torch.where(known[:, None], places, 0.0), side_of(logits.shape[1]))
    entropy = -(labels * logits.float().log_softmax(1)).sum(1)
    mean: torch.Tensor = (entropy * known).sum() / known.sum().clamp(min=1)
    return mean


def shared_among_cells(places: torch.Tensor, side: int) -> torch.Tensor:
    """Return distributions ``[N, side * side]`` over the nearest cells, with their means at ``places`` ``[N, 2]``."""
    column = ((places[:, 0] + 1) / 2 * side - 0.5).clamp(0, side - 1)
    row = ((1 - places[:, 1]) / 2 * side - 0.5).clamp(0, side - 1)
    cells = torch.arange(side, device=places.device)
    across = (1 - (column[:, None] - cells).abs()).clamp(min=0)
    down = (1 - (row[:, None] - cells).abs()).clamp(min=0)
    return (down[:, :, None] * across[:, None, :]).flatten(1)
