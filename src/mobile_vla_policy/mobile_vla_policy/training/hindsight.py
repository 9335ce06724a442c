"""Losses from a whole episode for each of its images, without a label: where the robot is, and where it can drive.

In one episode hardly anything changes but the robot. So several images of an episode show

- where the robot is: at what differs from all other images. Its path through the image has the shape of its path by
  odometry, up to place, scale and rotation, which also shows how the odometry lies in the image;
- where it can drive: the cells that it drove over, against all others. Each image must mark the same cells as blocked
  as the others do, which reveals what the robot hides.

This needs no annotation of the robot, no calibrated camera, and no odometry localised in a map. It needs a camera
that does not move, and at least three images of each episode in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from mobile_vla_policy.backbones.maps import Maps, cell_centres, side_of
from mobile_vla_policy.samples.journeys import Journeys

#: Mean difference of colour in 0 .. 1 below which a pixel counts as unchanged: noise and compression.
_UNCHANGED = 0.06
#: Mean difference over the image below which nothing moved.
_LEAST_CHANGE = 2e-4
#: Odometry must spread so far [m^2, sum of squares] to tell how it lies in the image.
_LEAST_SPREAD_M2 = 0.1
#: Share of the robot's motion in the image that odometry leaves unexplained; above it, an episode's fit is not used.
_WORST_FIT = 0.1
_LEAST_FRAMES = 3
#: Nearer to the robot than this (image: 2), an image teaches nothing of the floor. The robot hides it, and where it
#: stands and points is always free.
_HIDDEN = 0.2
#: How much more than elsewhere the images must agree about what the robot hides.
_HIDDEN_WEIGHT = 10.0

_ROBOT, _SHAPE, _FREE, _SAME = 0.2, 0.3, 0.5, 0.5
"""Weights of the four losses, found by driving (docs/explanation/small-policy.md)."""


@dataclass(frozen=True)
class Fit:
    """Mapping from the odometry of E episodes to the image."""

    turn: torch.Tensor
    """complex ``[E]``: image units per metre, and rotation."""
    centre_m: torch.Tensor
    """``[E, 2]`` [m]: this place of the odometry ..."""
    centre: torch.Tensor
    """``[E, 2]``: ... is here in the image."""
    residual: torch.Tensor
    """``[E]``, with gradient: share of the robot's motion in the image that is not explained."""
    spread: torch.Tensor
    """bool ``[E]``: the robot moved enough for a fit."""

    @property
    def good(self) -> torch.Tensor:
        """bool ``[E]``: the fit can be used."""
        return self.spread & (self.residual < _WORST_FIT)


def hindsight_loss(
    maps: Maps, images: torch.Tensor, journeys: Journeys, group: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Return the weighted sum of the four losses.

    Args:
        maps: of the N valid frames, with all of its fields.
        images: those frames of the first camera, float ``[N, 3, S, S]`` in 0 .. 1.
        journeys: of the E episodes that the windows are from.
        group: int64 ``[B]``: each window's episode among the E.
        valid: bool ``[B, W]``, N of them true.
    """
    if maps.robot is None or maps.blocked is None:
        raise ValueError("this backbone has no maps of robot and floor; set hindsight_weight: 0")
    window, place = valid.nonzero(as_tuple=True)
    episode, step = group[window], journeys.steps[window, place]
    moved = _what_moved(images.detach(), episode, len(journeys.positions), side_of(maps.robot.shape[1]))
    robot_loss = _cross_entropy(maps.robot, moved)
    centres = cell_centres(side_of(maps.robot.shape[1])).to(maps.robot.device)
    seen = maps.robot.float().softmax(1) @ centres
    fit = fit_odometry(seen, journeys.positions[episode, step], episode, len(journeys.positions))
    shape_loss = _mean(fit.residual, fit.spread.float())
    path = _in_image(journeys.positions, fit)
    usable = journeys.recorded & fit.good[:, None]
    hidden = (centres - seen.detach()[:, None]).norm(dim=2) < _HIDDEN
    free_loss = _free(maps.blocked, path[episode], usable[episode], hidden)
    same_loss = _same(maps.blocked, hidden, episode, len(journeys.positions))
    return _ROBOT * robot_loss + _SHAPE * shape_loss + _FREE * free_loss + _SAME * same_loss


def fit_odometry(seen: torch.Tensor, driven: torch.Tensor, episode: torch.Tensor, count: int) -> Fit:
    """Find the rotation, scale and place that best map each episode's odometry to where its robot was seen.

    Args:
        seen: ``[N, 2]``: right and up in the image.
        driven: ``[N, 2]`` [m], by odometry.
        episode: int64 ``[N]``: index of each frame's episode, below ``count``.
        count: of episodes.
    """
    frames = _sum(torch.ones_like(seen[:, 0]), episode, count).clamp(min=1)
    centre, centre_m = (_sum(values, episode, count) / frames[:, None] for values in (seen, driven))
    image = torch.view_as_complex((seen - centre[episode]).contiguous())
    metres = torch.view_as_complex((driven - centre_m[episode]).contiguous())
    product = torch.view_as_real(metres.conj() * image)
    product = torch.view_as_complex(_sum(product, episode, count).contiguous())
    image_square, metres_square = (_sum(values.abs().square(), episode, count) for values in (image, metres))
    residual = 1 - product.abs().square() / (image_square * metres_square + 1e-8)
    turn = (product / metres_square.clamp(min=1e-6)).detach()
    return Fit(turn, centre_m, centre.detach(), residual, metres_square > _LEAST_SPREAD_M2)


@torch.no_grad()
def _what_moved(images: torch.Tensor, episode: torch.Tensor, count: int, side: int) -> torch.Tensor:
    """Return ``[N, side * side]``: how much each cell differs from every other image of the episode.

    Rows sum to 1, or are 0 if nothing moved or there are too few images.
    """
    small = functional.adaptive_avg_pool2d(images, 2 * side)
    moved = images.new_zeros(len(images), side * side)
    for index in range(count):
        members = (episode == index).nonzero()[:, 0]
        if len(members) < _LEAST_FRAMES:
            continue
        mine = small[members]
        differences = (mine[:, None] - mine[None]).abs().mean(2)
        differences[range(len(mine)), range(len(mine))] = 1.0
        changed = (differences.amin(1) - _UNCHANGED).clamp(min=0)
        moved[members] = functional.avg_pool2d(changed[:, None], 2).flatten(1)
    total = moved.sum(1, keepdim=True)
    return torch.where(total > _LEAST_CHANGE * side * side, moved / total.clamp(min=1e-9), 0.0)


def _free(blocked: torch.Tensor, path: torch.Tensor, usable: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Cells that were driven over against all others, both of the same weight. ``path`` ``[N, L, 2]``."""
    side = side_of(blocked.shape[1])
    column = ((path[..., 0] + 1) / 2 * side).long().clamp(0, side - 1)
    row = ((1 - path[..., 1]) / 2 * side).long().clamp(0, side - 1)
    # One more place takes what is not usable.
    cells = torch.where(usable, row * side + column, side * side)
    driven = torch.zeros(len(path), side * side + 1, device=path.device).scatter_(1, cells, 1.0)[:, :-1]
    count = driven.sum(1, keepdim=True)
    weights = torch.where(driven > 0, 0.5 / count.clamp(min=1), 0.5 / (side * side - count).clamp(min=1))
    # These log odds are what the planner's costs are made of.
    entropy = functional.binary_cross_entropy_with_logits(-2 * blocked.float(), driven, reduction="none")
    return _mean((entropy * weights * ~hidden).sum(1), (count[:, 0] > 0).float())


def _same(blocked: torch.Tensor, hidden: torch.Tensor, episode: torch.Tensor, count: int) -> torch.Tensor:
    """Squared difference of each image's ``blocked`` from the mean over those that see the cell, ``hidden`` or not."""
    seen = (~hidden).float()
    times = _sum(seen, episode, count)
    mean = (_sum(blocked.float() * seen, episode, count) / times.clamp(min=1)).detach()[episode]
    weights = (times[episode] > 0) * (1 + (_HIDDEN_WEIGHT - 1) * hidden)
    return ((blocked.float() - mean).square() * weights).mean()


def _in_image(positions: torch.Tensor, fit: Fit) -> torch.Tensor:
    """Return where odometry ``[E, L, 2]`` [m] lies in the image: right and up."""
    metres = torch.view_as_complex((positions - fit.centre_m[:, None]).contiguous())
    return torch.view_as_real(metres * fit.turn[:, None]) + fit.centre[:, None]


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over the rows whose labels are not 0."""
    return _mean(-(labels * logits.float().log_softmax(1)).sum(1), (labels.sum(1) > 0).float())


def _sum(values: torch.Tensor, index: torch.Tensor, count: int) -> torch.Tensor:
    """Sum the rows with the same index: ``[N, ...]`` to ``[count, ...]``."""
    return values.new_zeros(count, *values.shape[1:]).index_add(0, index, values)


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean; 0 without weight."""
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)
