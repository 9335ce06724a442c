"""Random changes of the images: one draw per window, the same for all its frames and cameras. Never mirrored.

Left and right mean something to a robot, so there is no flip; a small shift stands for a camera that was bumped.
"""

from __future__ import annotations

import torch
from kornia.enhance import adjust_brightness, adjust_contrast, adjust_saturation_with_gray_subtraction

from mobile_vla_policy.training.settings import AugmentSettings


def augment(
    images: torch.Tensor, window_of_frame: torch.Tensor, settings: AugmentSettings, generator: torch.Generator
) -> torch.Tensor:
    """Change ``images`` float ``[N, cameras, 3, S, S]`` in 0 .. 1; ``window_of_frame`` is int64 ``[N]``.

    The draw depends on ``generator`` (of the CPU) alone, so that a resumed run sees the same images.
    """
    windows = int(window_of_frame.max()) + 1
    draws = (torch.rand(windows, 5, generator=generator) * 2 - 1).to(images.device)[window_of_frame]
    cameras = images.shape[1]
    draws = draws.repeat_interleave(cameras, dim=0)
    flat = images.flatten(0, 1)
    if settings.shift:
        pixels = (draws[:, :2] * settings.shift * images.shape[-1]).round().long()
        flat = shift(flat, pixels)
    if settings.brightness:
        flat = adjust_brightness(flat, draws[:, 2] * settings.brightness)
    if settings.contrast:
        flat = adjust_contrast(flat, 1 + draws[:, 3] * settings.contrast)
    if settings.saturation:
        flat = adjust_saturation_with_gray_subtraction(flat, 1 + draws[:, 4] * settings.saturation)
    changed: torch.Tensor = flat.unflatten(0, (-1, cameras))
    return changed


def shift(images: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Move each image ``[N, 3, S, S]`` by whole ``pixels`` (int64 ``[N, 2]``: down, right), repeating the border.

    Whole pixels need no interpolation, which is ten times as fast on a CPU as kornia's translation.
    """
    side = torch.arange(images.shape[-1], device=images.device)
    rows = (side - pixels[:, :1]).clamp(0, images.shape[-2] - 1)
    columns = (side - pixels[:, 1:]).clamp(0, images.shape[-1] - 1)
    images = images.gather(2, rows[:, None, :, None].expand_as(images))
    return images.gather(3, columns[:, None, None, :].expand_as(images))
