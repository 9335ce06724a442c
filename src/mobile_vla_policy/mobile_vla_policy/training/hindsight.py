"""Losses from a whole episode for each of its images, without a label: where the robot is, and where it can drive.

In one episode hardly anything changes but the robot. So several images of an episode show

- where the robot is: at what differs from all other images. Its path through the image has the shape of its path by
  odometry, up to place, scale and rotation, which also shows how the odometry lies in the image;
- where it can drive: the cells that it drove over, against all others. Each image must call the same cells blocked as
  the others do, which shows what the robot hides;
- and both must be found as well with the robot put down anywhere else (:mod:`.elsewhere`);
- where a base that turns is facing: it drives forwards.

This needs no annotation of the robot, no calibrated camera, and no odometry localised in a map. It needs a camera
that does not move, and at least three images of each episode in a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from mobile_vla_policy.backbones.maps import DIRECTIONS, Maps, cell_centres, side_of
from mobile_vla_policy.samples.journeys import Journeys
from mobile_vla_policy.training.elsewhere import UNCHANGED, Moved, elsewhere, what_moved

#: Of images float ``[N, 1, 3, S, S]`` the logits ``[N, P]`` of robot and of blocked floor.
LooksAtFloor = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

#: Mean difference over the image below which nothing moved.
_LEAST_CHANGE = 2e-4
#: Odometry must spread so far [m^2, sum of squares] to tell how it lies in the image.
_LEAST_SPREAD_M2 = 0.1
#: Share of the robot's motion in the image that odometry leaves unexplained; above it, an episode's fit is not used.
_WORST_FIT = 0.1
#: Slower than this [m per step] there is no direction.
_LEAST_MOTION_M = 0.03
#: A target that is further away than this (image's side: 2) is not the same any more.
_SAME_TARGET = 0.03
#: How sharply a direction is shared among its neighbours of the eight.
_SHARPNESS = 6.0
#: Nearer to the robot than this (image: 2), an image teaches nothing of the floor. The robot hides it, and where it
#: stands and points is always free.
_HIDDEN = 0.2

#: How much more than elsewhere the images must agree about what the robot hides.
_HIDDEN_WEIGHT = 10.0

#: Of every second image, the robot is put down elsewhere.
_SOME = slice(None, None, 2)

_ROBOT, _SHAPE, _FREE, _SAME, _WAY, _FACING = 0.2, 0.3, 0.5, 0.5, 0.5, 0.5
"""Weights of robot, path, free floor, agreement and way, found by driving (docs/explanation/small-policy.md), and of
where the base faces."""


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
    maps: Maps, images: torch.Tensor, journeys: Journeys, group: torch.Tensor, valid: torch.Tensor, floor: LooksAtFloor
) -> torch.Tensor:
    """Return the weighted sum of the losses.

    Args:
        maps: of the N valid frames, with all of its fields.
        images: those frames, float ``[N, cameras, 3, S, S]`` in 0 .. 1.
        journeys: of the E episodes that the windows are from.
        group: int64 ``[B]``: each window's episode among the E.
        valid: bool ``[B, W]``, N of them true.
        floor: the network's eyes, for more images.
    """
    if maps.robot is None or maps.blocked is None or maps.ways is None:
        raise ValueError("this backbone has no maps of robot, floor and ways; set hindsight_weight: 0")
    window, place = valid.nonzero(as_tuple=True)
    episode, step = group[window], journeys.steps[window, place]
    side, count = side_of(maps.robot.shape[1]), len(journeys.positions)
    centres = cell_centres(side).to(maps.robot.device)
    seen = maps.robot.float().softmax(1) @ centres
    fit = fit_odometry(seen, journeys.positions[episode, step], episode, count)
    path, usable = _in_image(journeys.positions, fit), journeys.recorded & fit.good[:, None]
    driven = _driven_over(path, usable, side)[episode]
    hidden = _near(seen.detach(), centres)
    agreed, known = _agreed(maps.blocked, ~hidden, episode, count)
    with torch.no_grad():
        moved = what_moved(images[:, 0], episode, count)
        pasted, mask = elsewhere(images[_SOME, 0], Moved(*(each[_SOME] for each in moved)))
        robot, robot_there = _shares((moved.difference - UNCHANGED).clamp(min=0), side), _shares(mask[:, 0], side)
    robot_seen_there, blocked_there = floor(pasted[:, None])
    hidden_there = _near(robot_there @ centres, centres)
    apart = (path[episode] - seen.detach()[:, None]).norm(dim=2) > _HIDDEN
    loss = (
        _ROBOT * (_cross_entropy(maps.robot, robot) + _cross_entropy(robot_seen_there, robot_there))
        + _SHAPE * _mean(fit.residual, fit.spread.float())
        + _FREE
        * (_free(maps.blocked, driven, ~hidden) + _free(blocked_there, driven[_SOME], torch.ones_like(hidden_there)))
        + _SAME * _same(maps.blocked, agreed, known, hidden)
        + _SAME * _same(blocked_there, agreed[_SOME], known[_SOME], hidden_there)
        + _WAY * _way(maps.ways, path, journeys, usable[episode] & apart, fit, episode, step)
    )
    if maps.facing is not None:
        loss = loss + _FACING * _faces(maps.facing, path, usable, fit, episode, step)
    return loss


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


def _shares(values: torch.Tensor, side: int) -> torch.Tensor:
    """Return ``[N, S, S]`` as shares ``[N, side * side]`` of the cells: rows sum to 1, or are 0 where nothing is."""
    cells = functional.adaptive_avg_pool2d(values[:, None], side).flatten(1)
    total = cells.sum(1, keepdim=True)
    return torch.where(total > _LEAST_CHANGE * side * side, cells / total.clamp(min=1e-9), 0.0)


def _near(places: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Return bool ``[N, P]``: the cell is so near to the robot at ``places`` ``[N, 2]`` that it may be hidden."""
    return torch.lt((centres - places[:, None]).norm(dim=2), _HIDDEN)


def _driven_over(path: torch.Tensor, usable: torch.Tensor, side: int) -> torch.Tensor:
    """Return ``[E, P]``: 1 in cells that the robot drove over; ``path`` ``[E, L, 2]`` as far as it is ``usable``."""
    column = ((path[..., 0] + 1) / 2 * side).long().clamp(0, side - 1)
    row = ((1 - path[..., 1]) / 2 * side).long().clamp(0, side - 1)
    # One more place takes what is not usable.
    cells = torch.where(usable, row * side + column, side * side)
    return torch.zeros(len(path), side * side + 1, device=path.device).scatter_(1, cells, 1.0)[:, :-1]


def _free(blocked: torch.Tensor, driven: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
    """Cells that were driven over against all others, both of the same weight, as far as they lie in ``where``."""
    count = driven.sum(1, keepdim=True)
    weights = torch.where(driven > 0, 0.5 / count.clamp(min=1), 0.5 / (driven.shape[1] - count).clamp(min=1))
    # These log odds are what the planner's costs are made of.
    entropy = functional.binary_cross_entropy_with_logits(-2 * blocked.float(), driven, reduction="none")
    if where is not None:
        weights = weights * where
    return _mean((entropy * weights).sum(1), (count[:, 0] > 0).float())


def _agreed(
    blocked: torch.Tensor, seen: torch.Tensor, episode: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of ``blocked`` ``[N, P]`` over the episode's images that see a cell, and whether any does."""
    times = _sum(seen.float(), episode, count)
    mean = _sum(blocked.detach().float() * seen, episode, count) / times.clamp(min=1)
    return mean[episode], times[episode] > 0


def _same(blocked: torch.Tensor, agreed: torch.Tensor, known: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Squared difference from what the episode's images agree on."""
    weights = known * (1 + (_HIDDEN_WEIGHT - 1) * hidden)
    return ((blocked.float() - agreed).square() * weights).mean()


def _way(
    ways: torch.Tensor,
    path: torch.Tensor,
    journeys: Journeys,
    usable: torch.Tensor,
    fit: Fit,
    episode: torch.Tensor,
    step: torch.Tensor,
) -> torch.Tensor:
    """Cross-entropy of the directions in each frame at every place of its episode with what was done there."""
    motions = torch.view_as_complex(journeys.motions.contiguous())
    speeds = motions.abs()
    turned = motions * (fit.turn / fit.turn.abs().clamp(min=1e-6))[:, None] / speeds.clamp(min=1e-6)
    wanted = (torch.view_as_real(turned) @ DIRECTIONS.to(path.device).T * _SHARPNESS).softmax(-1)
    now = journeys.targets[episode, step]
    apart = (journeys.targets[episode] - now[:, None]).norm(dim=2)
    weights = usable & (speeds > _LEAST_MOTION_M)[episode] & (apart < _SAME_TARGET)
    side = side_of(ways.shape[2])
    places = (path * torch.tensor([1.0, -1.0], device=path.device))[episode, None]
    read = functional.grid_sample(
        ways.float().unflatten(2, (side, side)), places, padding_mode="border", align_corners=False
    )[:, :, 0]
    entropy = -(wanted[episode].transpose(1, 2) * read.clamp(min=1e-6).log()).sum(1)
    return _mean(entropy, weights.float())


def _faces(
    facing: torch.Tensor, path: torch.Tensor, usable: torch.Tensor, fit: Fit, episode: torch.Tensor, step: torch.Tensor
) -> torch.Tensor:
    """One minus the cosine between where the base faces and where it drives, from the step before to the one after."""
    ahead, between = torch.zeros_like(path), torch.zeros_like(usable)
    ahead[:, 1:-1] = (path[:, 2:] - path[:, :-2]) / 2
    between[:, 1:-1] = usable[:, 2:] & usable[:, :-2]
    drives = between & (ahead.norm(dim=2) > _LEAST_MOTION_M * fit.turn.abs()[:, None])
    error = 1 - functional.cosine_similarity(facing.float(), ahead[episode, step], dim=1)
    return _mean(error, drives[episode, step].float())


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
