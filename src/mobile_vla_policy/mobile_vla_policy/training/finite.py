"""A training stops at the first loss that is no number: every weight would be none after the next step."""

from __future__ import annotations

import torch

from mobile_vla_policy.model.loss import ActionLoss
from mobile_vla_policy.samples.windows import Batch


class TrainingError(RuntimeError):
    """Training cannot go on. The message is one line that says why and what to do."""


def require_finite(loss: ActionLoss, what: str, step: int, batch: Batch) -> None:
    """Raise :class:`TrainingError` that names the episodes of ``batch`` unless its loss is finite."""
    if not torch.isfinite(loss.total):
        raise TrainingError(
            f"the {what} is {loss.total.item()} at step {step}, episodes {', '.join(sorted(set(batch.episodes)))}; "
            "validate them, or lower learning_rate"
        )
