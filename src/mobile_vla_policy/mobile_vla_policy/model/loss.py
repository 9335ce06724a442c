"""Squared error on the normalised motion plus weighted binary cross-entropy on the gripper, over unmasked actions."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch.nn import functional


@dataclass(frozen=True)
class ActionLoss:
    """Means over the unmasked actions."""

    total: torch.Tensor
    motion: torch.Tensor
    gripper: torch.Tensor
    grounding: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    """Cross-entropy of the target's heatmap; 0 if it is not learned."""
    hindsight: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    """What whole episodes teach; 0 if it is not learned."""

    def values(self) -> torch.Tensor:
        """Return all five as one tensor without gradient, in the order of the fields."""
        return torch.stack([getattr(self, each.name).detach().to(self.total.device) for each in fields(self)])


def action_loss(
    predicted: torch.Tensor,
    target: torch.Tensor,
    mask: torch.Tensor,
    gripper_weight: float = 0.1,
    count: torch.Tensor | None = None,
) -> ActionLoss:
    """MSE(dx, dy) + ``gripper_weight`` x BCE-with-logits(gripper).

    ``predicted`` and ``target`` are float ``[B, W, H, 3]`` (motion normalised; gripper a logit, and 0 or 1), ``mask``
    is bool ``[B, W, H]``. What is masked has no influence on loss or gradient, even where it is NaN. ``count`` replaces
    the number of unmasked actions as divisor: with several processes, the mean number per process, so that averaged
    gradients are those of one process with the whole batch.
    """
    target = torch.where(mask[..., None], target, 0.0)
    predicted = torch.where(mask[..., None], predicted.float(), 0.0)
    weight = mask.float()
    divisor = weight.sum() if count is None else count
    # Fewer recorded actions than processes: less than one each.
    divisor = torch.where(divisor > 0, divisor, 1.0)
    motion = ((predicted[..., :2] - target[..., :2]) ** 2).mean(-1).sum() / divisor
    entropy = functional.binary_cross_entropy_with_logits(predicted[..., 2], target[..., 2], reduction="none")
    gripper = (entropy * weight).sum() / divisor
    return ActionLoss(motion + gripper_weight * gripper, motion, gripper)
