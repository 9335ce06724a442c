"""One batch as training sees it: changed images, the same change of all that is said about them, and the whole loss."""

from __future__ import annotations

from dataclasses import replace

import torch

from mobile_vla_policy.backbones.maps import Maps
from mobile_vla_policy.model.loss import ActionLoss, action_loss
from mobile_vla_policy.preprocess import to_float
from mobile_vla_policy.samples.windows import Batch
from mobile_vla_policy.training.augment import augment
from mobile_vla_policy.training.geometry import camera_turn
from mobile_vla_policy.training.grounding import grounding_loss
from mobile_vla_policy.training.hindsight import hindsight_loss
from mobile_vla_policy.training.settings import AugmentSettings, TrainSettings


def changed(batch: Batch, settings: AugmentSettings, generator: torch.Generator) -> tuple[Batch, torch.Tensor]:
    """Return a batch and its images float ``[N, cameras, 3, S, S]``, both under the same random change."""
    episode_of_frame = batch.group[batch.valid.nonzero()[:, 0]]
    images, view = augment(to_float(batch.frames), episode_of_frame, settings, generator)
    view = view.to(images.device)
    camera = camera_turn(settings.camera_turn_deg).to(images.device)
    if settings.dihedral:
        motion = view.motions(batch.target[..., :2], batch.group, camera)
        batch = replace(batch, target=torch.cat([motion, batch.target[..., 2:]], dim=-1))
    if batch.journeys is not None:
        batch = replace(batch, journeys=view.journeys(batch.journeys, camera))
    return batch, images


def whole_loss(
    predicted: torch.Tensor,
    maps: Maps | None,
    images: torch.Tensor,
    batch: Batch,
    settings: TrainSettings,
    count: torch.Tensor,
) -> ActionLoss:
    """Return the loss of one batch in training.

    Args:
        predicted: chunks ``[B, W, H, 3]``.
        maps: of the N valid frames; None: the backbone has none, and none is learned.
        images: of those frames.
        batch: what ``images`` are from.
        settings: the weights.
        count: actions to divide by, see :func:`~mobile_vla_policy.model.loss.action_loss`.
    """
    loss = action_loss(predicted, batch.target, batch.mask, settings.gripper_weight, count)
    journeys = batch.journeys
    if maps is None or journeys is None:
        return loss
    # The batch's share of an optimisation step.
    share = batch.mask.sum() / count.clamp(min=1)
    total, grounding, hindsight = loss.total, loss.grounding, loss.hindsight
    if settings.grounding_weight:
        window, place = batch.valid.nonzero(as_tuple=True)
        places = journeys.targets[batch.group[window], journeys.steps[window, place]]
        grounding = grounding_loss(maps.target, places) * share
        total = total + settings.grounding_weight * grounding
    if settings.hindsight_weight:
        hindsight = hindsight_loss(maps, images[:, 0], journeys, batch.group, batch.valid) * share
        total = total + settings.hindsight_weight * hindsight
    return replace(loss, total=total, grounding=grounding, hindsight=hindsight)
