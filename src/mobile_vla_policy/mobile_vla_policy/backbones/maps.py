"""Maps that a backbone predicts over the cells of the first camera's image, and their geometry; for training losses."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch


class Maps(NamedTuple):
    """Logits over P cells for each of N frames: a square grid over the image, row by row from the upper left corner."""

    target: torch.Tensor
    """Logits ``[N, P]``: the instructed target is in this cell."""
    robot: torch.Tensor | None = None
    """Logits ``[N, P]``: the robot is in this cell."""
    blocked: torch.Tensor | None = None
    """Logits ``[N, P]``: the robot cannot drive over this cell."""
    ways: torch.Tensor | None = None
    """``[N, 8, P]``: the shares of the directions :data:`DIRECTIONS` in which the way to the target leads."""
    facing: torch.Tensor | None = None
    """``[N, 2]``: right and up, any length: where the base faces in the image. Only of bases that turn."""


#: Neighbours of a cell as (columns to the right, rows down).
NEIGHBOURS = ((-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1))

DIRECTIONS = torch.nn.functional.normalize(torch.tensor([[x, -y] for x, y in NEIGHBOURS], dtype=torch.float32))
"""Unit vectors ``[8, 2]`` to the neighbours: right and up in the image."""


def side_of(cells: int) -> int:
    """Return the side of a square grid with this number of cells."""
    return math.isqrt(cells)


def cell_centres(side: int) -> torch.Tensor:
    """Return the places ``[side * side, 2]`` of the cells: right and up, each from -1 to 1 over the image."""
    along = (torch.arange(side) + 0.5) / side * 2 - 1
    right, up = torch.meshgrid(along, -along, indexing="xy")
    return torch.stack([right, up], dim=-1).flatten(0, 1)
