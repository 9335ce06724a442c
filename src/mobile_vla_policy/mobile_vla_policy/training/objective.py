"""The loss of one batch: images or stored features through the network, compared with what was recorded."""

from __future__ import annotations

from dataclasses import replace

import torch

from mobile_vla_data.contract import Contract
from mobile_vla_policy.backbones.maps import Maps
from mobile_vla_policy.model.loss import ActionLoss, action_loss
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.preprocess import to_float
from mobile_vla_policy.samples.windows import Batch
from mobile_vla_policy.training.augment import augment
from mobile_vla_policy.training.geometry import camera_turn
from mobile_vla_policy.training.grounding import grounding_loss
from mobile_vla_policy.training.hindsight import hindsight_loss
from mobile_vla_policy.training.settings import AugmentSettings, TrainSettings


class TrainingError(RuntimeError):
    """Training cannot go on. The message is one line that says why and what to do."""


class Objective:
    """Computes losses. ``model`` is what accelerate made of the network, or of its head if only that learns."""

    def __init__(
        self,
        settings: TrainSettings,
        network: PolicyNetwork,
        model: torch.nn.Module,
        device: torch.device,
        contract: Contract,
    ) -> None:
        """For a robot without a gripper its loss is left out."""
        self._settings, self._network, self._model, self._device = settings, network, model, device
        self._gripper_weight = settings.gripper_weight if contract.has_gripper else 0.0
        self._turns = contract.turns

    def train(self, batch: Batch, count: torch.Tensor) -> ActionLoss:
        """Return the loss with augmented images, divided by ``count`` actions instead of those of this batch."""
        batch, settings = batch.to(self._device), self._settings
        if settings.policy.head_only:
            return self._compare(self._model(batch.frames, batch.state), batch, count)
        batch, images = changed(batch, settings.augment, torch.default_generator, turns=self._turns)
        predicted, maps = self._run(batch, images)
        return self._with_places(self._compare(predicted, batch, count), maps, images, batch, count)

    def validate(self, batch: Batch) -> ActionLoss:
        """Return the mean loss over the recorded actions of the batch; of actions only."""
        batch = batch.to(self._device)
        if self._settings.policy.head_only:
            return self._compare(self._model(batch.frames, batch.state), batch, None)
        return self._compare(self._run(batch, to_float(batch.frames))[0], batch, None)

    def _compare(self, predicted: torch.Tensor, batch: Batch, count: torch.Tensor | None) -> ActionLoss:
        return action_loss(predicted, batch.target, batch.mask, self._gripper_weight, count)

    def _run(self, batch: Batch, images: torch.Tensor) -> tuple[torch.Tensor, Maps | None]:
        tokens = self._network.backbone.tokenise(batch.instructions).to(self._device)
        predicted, maps = self._model(images, batch.state, tokens, batch.valid)
        return predicted, None if maps is None else Maps(*maps)

    def _with_places(
        self, loss: ActionLoss, maps: Maps | None, images: torch.Tensor, batch: Batch, count: torch.Tensor
    ) -> ActionLoss:
        """Add the losses on places, if the settings enable them."""
        settings, journeys = self._settings, batch.journeys
        if maps is None or journeys is None:
            return loss
        # This batch's share of the optimisation step.
        share = batch.mask.sum() / count.clamp(min=1)
        if settings.grounding_weight:
            window, place = batch.valid.nonzero(as_tuple=True)
            places = journeys.targets[batch.group[window], journeys.steps[window, place]]
            grounding = grounding_loss(maps, places) * share
            loss = replace(loss, total=loss.total + settings.grounding_weight * grounding, grounding=grounding)
        if settings.hindsight_weight:
            hindsight = hindsight_loss(maps, images, journeys, batch.group, batch.valid, self._floor) * share
            loss = replace(loss, total=loss.total + settings.hindsight_weight * hindsight, hindsight=hindsight)
        return loss

    def _floor(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # Beside the model that accelerate prepared, which would do this.
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self._settings.precision)
        with torch.autocast(self._device.type, dtype, enabled=dtype is not None):
            return self._network.backbone.floor(images)


def changed(
    batch: Batch, settings: AugmentSettings, generator: torch.Generator, *, turns: bool
) -> tuple[Batch, torch.Tensor]:
    """Return a batch and its images float ``[N, cameras, 3, S, S]``, both under the same random changes.

    ``turns``: actions are along axes that turn with the robot.
    """
    episode_of_frame = batch.group[batch.valid.nonzero()[:, 0]]
    images, view = augment(to_float(batch.frames), episode_of_frame, settings, generator)
    view, camera = view.to(images.device), camera_turn(settings.camera_turn_deg).to(images.device)
    if settings.dihedral:
        target = view.actions(batch.target, batch.group, settings.camera_turn_deg, turns=turns)
        batch = replace(batch, target=target)
    if batch.journeys is not None:
        batch = replace(batch, journeys=view.journeys(batch.journeys, camera))
    return batch, images


def require_finite(loss: ActionLoss, what: str, step: int, batch: Batch) -> None:
    """Raise :class:`TrainingError` that names the episodes of ``batch`` unless its loss is finite.

    After a step with a loss that is not finite, every weight would be NaN.
    """
    if not torch.isfinite(loss.total):
        raise TrainingError(
            f"the {what} is {loss.total.item()} at step {step}, episodes {', '.join(sorted(set(batch.episodes)))}; "
            "validate them, or lower learning_rate"
        )
