"""Images of an episode with its robot cut out and put down anywhere, also where it never could be.

A robot hides the floor it stands on, and where it stands and points is always free in what was recorded. So a network
takes a wall beside the robot for a doorway, and drives against it. The same robot on a wall, on a table, in a corner
shows that it says nothing about the floor (copy and paste, Ghiasi et al. 2021).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from mobile_vla_policy.training.augment import shift

#: Mean difference of colour in 0 .. 1 below which a pixel counts as unchanged: noise and compression.
UNCHANGED = 0.06
#: The robot's edge is blurred and has a shadow: so many pixels around it belong to it, too.
_EDGE_PX = 2
#: Nearer to the image's border than this share of its side, no robot is put down.
_BORDER = 0.08
LEAST_FRAMES = 3


class Moved(NamedTuple):
    """What only one image of its episode shows: the robot."""

    difference: torch.Tensor
    """``[N, S, S]``: least mean difference of colour from the episode's other images; 0 where fewer than
    :data:`LEAST_FRAMES` are there to tell."""
    background: torch.Tensor
    """``[N, 3, S, S]``: each image without it."""

    @property
    def mask(self) -> torch.Tensor:
        """float ``[N, 1, S, S]``: 1 where the robot is, without holes."""
        return -_spread(-_spread((self.difference > UNCHANGED).float()[:, None], 1), 1)


def what_moved(images: torch.Tensor, episode: torch.Tensor, count: int) -> Moved:
    """Find what differs from all other images of the same episode.

    Args:
        images: float ``[N, 3, S, S]`` in 0 .. 1.
        episode: int64 ``[N]``: index of each image's episode, below ``count``.
        count: of episodes.
    """
    difference = images.new_zeros(images.shape[0], *images.shape[2:])
    background = images.clone()
    for index in range(count):
        members = (episode == index).nonzero()[:, 0]
        if len(members) < LEAST_FRAMES:
            continue
        mine = images[members]
        least = torch.ones_like(mine[:, 0])
        for ahead in range(1, len(mine)):
            least = torch.minimum(least, (mine - mine.roll(ahead, 0)).abs().mean(1))
        difference[members] = least
        around = _spread((difference[members] > UNCHANGED).float()[:, None], _EDGE_PX)
        background[members] = torch.where(around > 0, mine.median(0).values, mine)
    return Moved(difference, background)


def elsewhere(images: torch.Tensor, moved: Moved) -> tuple[torch.Tensor, torch.Tensor]:
    """Put each image's robot down at a random place of its episode's empty flat.

    Returns the images ``[N, 3, S, S]`` and the robots' masks ``[N, 1, S, S]``.
    """
    mask, side = moved.mask, images.shape[-1]
    along = torch.arange(side, device=images.device, dtype=images.dtype)
    size = mask.sum((1, 2, 3)).clamp(min=1)
    middle = torch.stack([(mask.sum((1, 3)) @ along) / size, (mask.sum((1, 2)) @ along) / size], 1)
    wanted = (_BORDER + (1 - 2 * _BORDER) * torch.rand(len(images), 2).to(images.device)) * side
    pasted = shift(torch.cat([images, mask], 1), (wanted - middle).round().long())
    robot, mask = pasted[:, :3], pasted[:, 3:]
    return torch.where(mask > 0, robot, moved.background), mask


def _spread(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    """Return the largest value within ``pixels`` of each pixel of ``[N, 1, S, S]``."""
    return functional.max_pool2d(mask, 2 * pixels + 1, stride=1, padding=pixels)
