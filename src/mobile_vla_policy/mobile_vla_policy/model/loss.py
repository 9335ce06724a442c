"""The loss of the actions: squared error of the motion plus weighted binary cross-entropy of the gripper.

``training/objective.py`` adds the optional losses (``training/grounding.py``, ``training/hindsight.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch.nn import functional

from mobile_vla_data.action import gripper, motion


@dataclass(frozen=True)
class ActionLoss:
    """Means over the unmasked actions."""

    total: torch.Tensor
    motion: torch.Tensor
    gripper: torch.Tensor
    grounding: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    """Cross-entropy of the target's heatmap; 0 if it is not learned."""
    hindsight: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    """Loss of the maps of robot, floor and way, from whole episodes; 0 if they are not learned."""

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
    """Return MSE(motion) + ``gripper_weight`` x BCE-with-logits(gripper); the motion is all columns but the gripper.

    ``predicted`` and ``target`` are float ``[B, W, H, 3 or 4]`` (motion normalised; gripper a logit, and 0 or 1),
    ``mask`` is bool ``[B, W, H]``. Masked actions have no influence on loss or gradient, even if they are NaN.
    ``count`` replaces the number of unmasked actions as divisor: with several processes, the mean number per process,
    so that averaged gradients are those of one process with the whole batch.
    """
    target = torch.where(mask[..., None], target, 0.0)
    predicted = torch.where(mask[..., None], predicted.float(), 0.0)
    weight = mask.float()
    divisor = weight.sum() if count is None else count
    # Fewer recorded actions than processes: less than one each.
    divisor = torch.where(divisor > 0, divisor, 1.0)
    squared = ((motion(predicted) - motion(target)) ** 2).mean(-1).sum() / divisor
    each = functional.binary_cross_entropy_with_logits(gripper(predicted), gripper(target), reduction="none")
    entropy = (each * weight).sum() / divisor
    return ActionLoss(squared + gripper_weight * entropy, squared, entropy)
