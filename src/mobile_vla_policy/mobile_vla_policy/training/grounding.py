"""Where the instructed target is: cross-entropy of a heatmap over the cells of the first camera's image."""

from __future__ import annotations

import torch

from mobile_vla_policy.backbones.maps import Maps, cell_centres, side_of

#: Where the robot stands on its target, to this distance (image: 2), a frame weighs less: a demonstration ends so, and
#: from many such frames the network would learn that the target is where the robot is.
_ON_TARGET, _WEIGHT_ON_TARGET = 0.1, 0.1


def grounding_loss(maps: Maps, places: torch.Tensor) -> torch.Tensor:
    """Return the mean over the frames whose target is known; 0 if it is known in none.

    Args:
        maps: of N frames; ``target`` and, if the backbone has it, ``robot``.
        places: ``[N, 2]``: right and up in -1 .. 1, NaN where unknown.
    """
    known = torch.isfinite(places).all(1)
    places, side = torch.where(known[:, None], places, 0.0), side_of(maps.target.shape[1])
    entropy = -(shared_among_cells(places, side) * maps.target.float().log_softmax(1)).sum(1)
    weight = known.float()
    if maps.robot is not None:
        robot = maps.robot.detach().float().softmax(1) @ cell_centres(side).to(places.device)
        weight = torch.where((robot - places).norm(dim=1) < _ON_TARGET, _WEIGHT_ON_TARGET * weight, weight)
    mean: torch.Tensor = (entropy * weight).sum() / known.sum().clamp(min=1)
    return mean


def shared_among_cells(places: torch.Tensor, side: int) -> torch.Tensor:
    """Return distributions ``[N, side * side]`` over the nearest cells, with their means at ``places`` ``[N, 2]``."""
    column = ((places[:, 0] + 1) / 2 * side - 0.5).clamp(0, side - 1)
    row = ((1 - places[:, 1]) / 2 * side - 0.5).clamp(0, side - 1)
    cells = torch.arange(side, device=places.device)
    across = (1 - (column[:, None] - cells).abs()).clamp(min=0)
    down = (1 - (row[:, None] - cells).abs()).clamp(min=0)
    return (down[:, :, None] * across[:, None, :]).flatten(1)
