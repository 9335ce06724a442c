"""Random changes of the images: one draw for all frames and cameras of an episode in a batch.

A small shift imitates a camera that was bumped. For turned and mirrored images see
:mod:`~mobile_vla_policy.training.geometry`: left and right have a meaning for a robot.
"""

from __future__ import annotations

import torch
from kornia.enhance import adjust_brightness, adjust_contrast, adjust_saturation_with_gray_subtraction

from mobile_vla_policy.training.geometry import View, draw_views
from mobile_vla_policy.training.settings import AugmentSettings


def augment(
    images: torch.Tensor, episode: torch.Tensor, settings: AugmentSettings, generator: torch.Generator
) -> tuple[torch.Tensor, View]:
    """Change ``images`` float ``[N, cameras, 3, S, S]`` in 0 .. 1 of episodes int64 ``[N]``, numbered from 0.

    The draw depends on ``generator`` (of the CPU) alone, so that a resumed run sees the same images. Returns the images
    and the view of each episode, so that places and motions can be changed accordingly.
    """
    count = int(episode.max()) + 1
    view = draw_views(count, settings.dihedral, settings.shift, images.shape[-1], generator)
    draws = (torch.rand(count, 3, generator=generator) * 2 - 1).to(images.device)[episode]
    if settings.dihedral:
        images = view.images(images, episode)
    cameras = images.shape[1]
    draws = draws.repeat_interleave(cameras, dim=0)
    flat = images.flatten(0, 1)
    if settings.shift:
        pixels = (view.shift * images.shape[-1] / 2).round().long().to(images.device)[episode]
        # Up in the image is towards smaller rows.
        flat = shift(flat, (pixels.flip(1) * pixels.new_tensor([-1, 1])).repeat_interleave(cameras, dim=0))
    if settings.brightness:
        flat = adjust_brightness(flat, draws[:, 0] * settings.brightness)
    if settings.contrast:
        flat = adjust_contrast(flat, 1 + draws[:, 1] * settings.contrast)
    if settings.saturation:
        flat = adjust_saturation_with_gray_subtraction(flat, 1 + draws[:, 2] * settings.saturation)
    changed: torch.Tensor = flat.unflatten(0, (-1, cameras))
    return changed, view


def shift(images: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Move each image ``[N, 3, S, S]`` by whole ``pixels`` (int64 ``[N, 2]``: down, right), repeating the border.

    Whole pixels need no interpolation, which is ten times as fast on a CPU as kornia's translation.
    """
    side = torch.arange(images.shape[-1], device=images.device)
    rows = (side - pixels[:, :1]).clamp(0, images.shape[-2] - 1)
    columns = (side - pixels[:, 1:]).clamp(0, images.shape[-1] - 1)
    images = images.gather(2, rows[:, None, :, None].expand_as(images))
    return images.gather(3, columns[:, None, None, :].expand_as(images))
