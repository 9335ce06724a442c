"""The loss of one batch: images or stored features through the network, compared with the recorded actions."""

from __future__ import annotations

import torch

from mobile_vla_policy.model.loss import ActionLoss, action_loss
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.preprocess import to_float
from mobile_vla_policy.samples.windows import Batch
from mobile_vla_policy.training.augment import augment
from mobile_vla_policy.training.settings import TrainSettings


class TrainingError(RuntimeError):
    """Training cannot go on. The message is one line that says why and what to do."""


class Objective:
    """Computes losses. ``model`` is what accelerate made of the network, or of its head if only that learns."""

    def __init__(
        self, settings: TrainSettings, network: PolicyNetwork, model: torch.nn.Module, device: torch.device
    ) -> None:
        self._settings, self._network, self._model, self._device = settings, network, model, device

    def train(self, batch: Batch, count: torch.Tensor) -> ActionLoss:
        """Return the loss with augmented images, divided by ``count`` actions instead of those of this batch."""
        return self._loss(batch, count, augmented=True)

    def validate(self, batch: Batch) -> ActionLoss:
        """Return the mean loss over the recorded actions of the batch."""
        return self._loss(batch, None, augmented=False)

    def _loss(self, batch: Batch, count: torch.Tensor | None, *, augmented: bool) -> ActionLoss:
        batch = batch.to(self._device)
        predicted = (
            self._predict_from_features(batch)
            if self._settings.policy.head_only
            else (self._predict_from_images(batch, augmented=augmented))
        )
        return action_loss(predicted, batch.target, batch.mask, self._settings.gripper_weight, count)

    def _predict_from_features(self, batch: Batch) -> torch.Tensor:
        predicted: torch.Tensor = self._model(batch.frames, batch.state)
        return predicted

    def _predict_from_images(self, batch: Batch, *, augmented: bool) -> torch.Tensor:
        images = to_float(batch.frames)
        if augmented:
            window_of_frame = batch.valid.nonzero()[:, 0]
            images = augment(images, window_of_frame, self._settings.augment, torch.default_generator)
        tokens = self._network.backbone.tokenise(batch.instructions).to(self._device)
        predicted: torch.Tensor = self._model(images, batch.state, tokens, batch.valid)
        return predicted


def require_finite(loss: ActionLoss, what: str, step: int, batch: Batch) -> None:
    """Raise :class:`TrainingError` that names the episodes of ``batch`` unless its loss is finite.

    After a step with a loss that is not finite, every weight would be NaN.
    """
    if not torch.isfinite(loss.total):
        raise TrainingError(
            f"the {what} is {loss.total.item()} at step {step}, episodes {', '.join(sorted(set(batch.episodes)))}; "
            "validate them, or lower learning_rate"
        )
