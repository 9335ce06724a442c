"""A planner inside a network: from which floor is blocked to the way to a target.

It is value iteration (Tamar et al. 2016) in its linearly solvable form (Todorov 2009), which has a gradient everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mobile_vla_policy.backbones.maps import NEIGHBOURS

#: Of one cell. A wall must cost more than the way round it; and free floor more than the temperature, or every step in
#: the right quarter is as good as the straight one.
_FLOOR_COST, _LARGEST_COST = 0.8, 30.0
#: Larger than any distance on the grid, in units of the temperature; its exponential is still a float64.
_FAR = 600.0
_LEAST_VALUE = 1e-280
#: In driving, a contrast of costs so many times the learned one, and floor that costs so many times as much. Walls are
#: never touched in demonstrations, so what was learned makes them no higher than demonstrations need.
_STEEPER, _DEARER = 2.0, 2.0
#: Cells whose probability is below this share of the largest are no target of the planner.
_TARGET_SHARE = 0.1


class Planner(nn.Module):
    """Soft distances of every cell from the target, and the directions in which they fall.

    One step is ``d(cell) = -t log mean(exp(-(d(neighbour) + cost(cell) length) / t))`` over the eight neighbours: the
    optimal cost of a walk whose controls are paid for (Todorov 2009). A small t makes it the shortest path.
    """

    lengths: torch.Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.3)))
        self.log_contrast = nn.Parameter(torch.tensor(math.log(5.0)))
        lengths = torch.tensor([math.hypot(*place) for place in NEIGHBOURS])
        self.register_buffer("lengths", lengths[:, None, None], persistent=False)

    def forward(self, blocked: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Plan for driving: distances ``[N, G, G]``, and shares ``[N, 8, G, G]`` of the directions to go in each cell.

        ``blocked`` and ``target`` are logits ``[N, G, G]``. Nothing gets a gradient.
        """
        with torch.no_grad():
            tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
            exported = tracing or torch.compiler.is_compiling()
            costs = self._costs(blocked, _STEEPER, _DEARER)
            return self._plan(costs, target, self._by_logarithms if exported else self._by_sums)

    def taught(self, blocked: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the shares of the directions with the learned costs, and a gradient for them and for ``blocked``.

        ``target`` gets none: targets are learned from what annotates them.
        """
        return self._plan(self._costs(blocked), target.detach(), self._by_sums)[1]

    def _costs(self, blocked: torch.Tensor, steeper: float = 1.0, dearer: float = 1.0) -> torch.Tensor:
        logarithms = steeper * self.log_contrast.float().exp() * blocked - 1 + math.log(dearer)
        # Cut off before the exponential: an infinite one has no gradient, not even where it is cut off.
        return _FLOOR_COST + logarithms.clamp(max=math.log(_LARGEST_COST)).exp()

    def _plan(
        self,
        costs: torch.Tensor,
        target: torch.Tensor,
        distances_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        temperature = self.log_temperature.float().exp()
        likely = target - target.flatten(1).amax(1)[:, None, None]
        start = torch.where(likely > math.log(_TARGET_SHARE), -likely, _FAR)
        distances = distances_of(costs / temperature, start) * temperature
        steps = (_neighbours(distances[:, None]) + costs[:, None] * self.lengths) / -temperature
        return distances, steps.softmax(1)

    def _by_logarithms(self, costs: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """Return distances in units of the temperature, in operations that every export format has."""
        costs = costs[:, None] * self.lengths + math.log(len(NEIGHBOURS))
        start = start[:, None]
        distances = start
        for _ in range(self.steps):
            distances = -_log_sum_exp(torch.cat([-_neighbours(distances) - costs, -start], dim=1))
        return distances[:, 0]

    def _by_sums(self, costs: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """Return the same, several times as fast: sums of exponentials, for which float64 has the range."""
        costs = costs.double()
        straight, diagonal = ((-costs * length).exp() / len(NEIGHBOURS) for length in (1.0, math.sqrt(2.0)))
        values: torch.Tensor = _spread(straight, diagonal, (-start.double()).exp(), self.steps)
        return -values.clamp(min=_LEAST_VALUE).log().to(start.dtype)


class _Spread(torch.autograd.Function):
    """``steps`` times ``z = straight * (sum of the straight neighbours) + diagonal * (the others) + source``."""

    @staticmethod
    def forward(
        ctx: Any, straight: torch.Tensor, diagonal: torch.Tensor, source: torch.Tensor, steps: int
    ) -> torch.Tensor:
        values, sums = source, []
        for _ in range(steps):
            cross, corners = _neighbour_sums(values)
            sums.append((cross, corners))
            values = torch.addcmul(source, straight, cross).addcmul_(diagonal, corners)
        ctx.save_for_backward(straight, diagonal)
        ctx.sums = sums
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        straight, diagonal = ctx.saved_tensors
        (gradient,) = gradients
        for_straight, for_diagonal = torch.zeros_like(straight), torch.zeros_like(diagonal)
        for cross, corners in reversed(ctx.sums):
            for_straight.addcmul_(gradient, cross)
            for_diagonal.addcmul_(gradient, corners)
            # A cell is its neighbours' neighbour: the sums are their own transpose.
            gradient = _neighbour_sums(gradient * straight)[0] + _neighbour_sums(gradient * diagonal)[1]
        return for_straight, for_diagonal, None, None


_spread: Callable[..., torch.Tensor] = _Spread.apply  # type: ignore[assignment]


def _neighbours(distances: torch.Tensor) -> torch.Tensor:
    """Return for each cell of ``[N, 1, G, G]`` the values ``[N, 8, G, G]`` of its neighbours; far outside."""
    rows, columns = distances.shape[2:]
    padded = functional.pad(distances, (1, 1, 1, 1), value=_FAR)
    return torch.cat([padded[:, :, 1 + y : 1 + y + rows, 1 + x : 1 + x + columns] for x, y in NEIGHBOURS], dim=1)


def _neighbour_sums(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each cell of ``[N, G, G]`` the sum of its four straight and of its four diagonal neighbours."""
    padded = functional.pad(values, (1, 1, 1, 1))
    beside = padded[:, :, :-2] + padded[:, :, 2:]
    return beside[:, 1:-1] + padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1], beside[:, :-2] + beside[:, 2:]


def _log_sum_exp(values: torch.Tensor) -> torch.Tensor:
    """Return it over the channels of ``[N, C, G, G]``, in operations that every export format has."""
    largest = values.amax(1, keepdim=True)
    return largest + (values - largest).exp().sum(1, keepdim=True).log()
