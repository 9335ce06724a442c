"""The training loop. accelerate provides devices, mixed precision and several processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from mobile_vla_data.interrupt import Interrupted
from mobile_vla_policy.checkpoint import BEST, LAST, RESUME, save_checkpoint
from mobile_vla_policy.model.head import HeadOnFeatures
from mobile_vla_policy.model.loss import ActionLoss
from mobile_vla_policy.model.network import Learner, PolicyNetwork, add_target_map
from mobile_vla_policy.samples.episodes import TrainingData
from mobile_vla_policy.samples.windows import WindowData
from mobile_vla_policy.training.feed import Group, Place, TrainFeed, validation_batches
from mobile_vla_policy.training.log import MetricsLog
from mobile_vla_policy.training.objective import Objective, require_finite
from mobile_vla_policy.training.optimisation import Schedule, WeightAverage, make_optimiser
from mobile_vla_policy.training.resume import Position, load_state, save_state
from mobile_vla_policy.training.settings import TrainSettings
from mobile_vla_policy.training.stopping import Stopping


@dataclass(frozen=True)
class TrainingResult:
    """Result of a finished training."""

    steps: int
    best_loss: float | None
    """Best validation loss; None without a validation split."""


@dataclass
class Progress:
    """Progress of a training."""

    step: int = 0
    """Optimisation steps taken."""
    place: Place = field(default_factory=Place)
    """The next batch."""
    best_loss: float | None = None
    """None before the first validation."""
    since_best: int = 0
    """Validations without a better loss."""


@dataclass(frozen=True)
class _Agreement:
    """Agreement of all processes before a step."""

    elapsed_s: float
    over: bool
    interrupted: bool


class Trainer:
    """Trains one network on one dataset. Make it, then call :meth:`run` once."""

    def __init__(
        self,
        settings: TrainSettings,
        network: PolicyNetwork,
        data: TrainingData,
        train: WindowData,
        validation: WindowData | None,
        output: Path,
        accelerator: Accelerator,
        origin: Position,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """``origin`` describes the start; ``facts`` are added to the description of this training in checkpoints."""
        self.progress = Progress()
        self._settings, self._network, self._data = settings, network, data
        self._train_data, self._validation_data = train, validation
        self._output, self._accelerator, self._facts = output, accelerator, facts or {}
        if settings.grounding_weight and not settings.policy.head_only:
            add_target_map(network)
        model: torch.nn.Module = Learner(network)
        if settings.policy.head_only:
            model = HeadOnFeatures(network.head)
        elif settings.gradient_checkpointing:
            network.backbone.enable_gradient_checkpointing()
        self._model, self._optimizer = accelerator.prepare(model, make_optimiser(network, settings))
        self._objective = Objective(settings, network, self._model, accelerator.device, data.contract)
        self._average = WeightAverage(network, settings.ema_decay) if settings.ema_decay else None
        self._feed = TrainFeed(train, settings, accelerator.process_index, accelerator.num_processes)
        self._schedule = _schedule(settings, self._feed)
        self._origin = origin
        self._stopping = Stopping()
        self._before_s = 0.0
        self._began_s = self._saved_s = time.monotonic()

    def run(self, open_log: Callable[[int], MetricsLog], resume_at: Position | None = None) -> TrainingResult:
        """Train to the end. ``open_log`` opens the log from a step on.

        Raises:
            TrainingError: a loss is not finite.
            ResumeError: there is no such training to resume.
            Interrupted: Ctrl-C; everything up to here is saved.
            WriteError: the disk is full, for example.
        """
        if resume_at is not None:
            self._resume(resume_at)
        self._began_s = self._saved_s = time.monotonic()
        with open_log(self.progress.step) as log, self._stopping:
            groups = self._feed.groups(self.progress.place)
            while not (agreed := self._agree()).over:
                group = next(groups)
                loss = self._optimise(group, agreed.elapsed_s)
                self._after_step(log, group, loss)
            if agreed.interrupted:
                self._save_state()
                # A launcher of several processes ends all of them when one has ended.
                self._accelerator.wait_for_everyone()
                raise Interrupted
            if self.progress.step % self._settings.evaluate_every or not self.progress.step:
                self._validate_and_save(log)
        return TrainingResult(self.progress.step, self.progress.best_loss)

    @property
    def elapsed_s(self) -> float:
        """Time trained so far, interruptions excluded [s]."""
        return self._before_s + time.monotonic() - self._began_s

    def _agree(self) -> _Agreement:
        """Decide together whether to continue; otherwise weights would differ, and some processes would wait forever.

        Clocks differ between processes, so the first process's counts for all.
        """
        patience, process = self._settings.patience, self._accelerator
        tired = patience is not None and self.progress.since_best >= patience
        elapsed_s = self.elapsed_s if process.is_main_process else 0.0
        mine = torch.tensor([elapsed_s, float(tired), float(self._stopping.asked)], device=process.device)
        elapsed_s, any_tired, asked = process.reduce(mine, "sum").tolist()
        over = any_tired > 0 or asked > 0 or self._schedule.over(self.progress.step, elapsed_s)
        return _Agreement(elapsed_s, over, interrupted=asked > 0)

    def _optimise(self, group: Group, elapsed_s: float) -> ActionLoss:
        """Take one optimisation step on batches that count as one; return this process's share of the loss."""
        self._model.train()
        process, last = self._accelerator, len(group.batches) - 1
        # The mean over processes, since gradients are averaged over them.
        count = process.reduce(torch.tensor(float(group.actions), device=process.device), "mean")
        losses: list[torch.Tensor] = []
        for index, (batch, seed) in enumerate(zip(group.batches, group.seeds, strict=True)):
            # Gradients travel between the processes once, with the last batch's.
            with nullcontext() if index == last else process.no_sync(self._model):
                torch.manual_seed(seed)
                loss = self._objective.train(batch, count)
                require_finite(loss, "loss", self.progress.step, batch)
                process.backward(loss.total)
            losses.append(loss.values())
        process.clip_grad_norm_(self._model.parameters(), self._settings.clip_norm)
        factor = self._schedule.factor(self.progress.step, elapsed_s)
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = self._settings.learning_rate * factor
        self._optimizer.step()
        self._optimizer.zero_grad()
        return ActionLoss(*torch.stack(losses).sum(0).unbind())

    def _after_step(self, log: MetricsLog, group: Group, loss: ActionLoss) -> None:
        self.progress.step += 1
        self.progress.place = group.end
        step, settings = self.progress.step, self._settings
        if self._average:
            self._average.update(step)
        if step % settings.log_every == 0 or step == 1:
            self._log(log, group, loss)
        if step % settings.evaluate_every == 0:
            self._validate_and_save(log)
        elif time.monotonic() - self._saved_s >= 60 * settings.save_every_minutes:
            self._save_state()

    def _log(self, log: MetricsLog, group: Group, loss: ActionLoss) -> None:
        step, elapsed_s, process = self.progress.step, self.elapsed_s, self._accelerator
        total, motion, gripper, grounding, hindsight = process.reduce(loss.values(), "mean").tolist()
        values = {
            "elapsed_s": elapsed_s,
            "learning_rate": self._optimizer.param_groups[0]["lr"],
            "train_loss": total,
            "train_motion": motion,
            "train_gripper": gripper,
            "train_grounding": grounding,
            "train_hindsight": hindsight,
        }
        log.write(step, values)
        frames_per_s = step * group.frames * process.num_processes / max(elapsed_s, 1e-9)
        log.show(step, self._schedule.progress(step, elapsed_s), total, self.progress.best_loss, frames_per_s)

    def _validate_and_save(self, log: MetricsLog) -> None:
        with self._averaged():
            if self._validation_data is None:
                # The newest weights are the best known.
                self._save_checkpoints(None, LAST, BEST)
            else:
                loss = self._validate(self._validation_data)
                self._log_validation(log, loss)
                better = self._take(loss.total.item())
                self._save_checkpoints(loss.total.item(), *((LAST, BEST) if better else (LAST,)))
        self._save_state()
        self._accelerator.wait_for_everyone()

    def _take(self, loss: float) -> bool:
        """Note a validation loss; return whether it is the best so far."""
        progress = self.progress
        better = progress.best_loss is None or loss < progress.best_loss
        progress.best_loss = loss if better else progress.best_loss
        progress.since_best = 0 if better else progress.since_best + 1
        return better

    @torch.no_grad()
    def _validate(self, data: WindowData) -> ActionLoss:
        """Return the mean loss over all recorded actions of the validation split."""
        self._model.eval()
        sums, actions = torch.zeros(3), 0.0
        for batch in validation_batches(data, self._settings):
            loss = self._objective.validate(batch)
            require_finite(loss, "validation loss", self.progress.step, batch)
            count = batch.mask.sum().item()
            sums += torch.tensor([loss.total.item(), loss.motion.item(), loss.gripper.item()]) * count
            actions += count
        return ActionLoss(*(sums / max(actions, 1)).unbind())

    def _log_validation(self, log: MetricsLog, loss: ActionLoss) -> None:
        values = {"loss": loss.total, "motion": loss.motion, "gripper": loss.gripper}
        log.write(self.progress.step, {f"validation_{name}": value.item() for name, value in values.items()})

    def _averaged(self) -> AbstractContextManager[None]:
        """Use the averaged weights, if the settings enable averaging."""
        return self._average.applied() if self._average else nullcontext()

    def _save_checkpoints(self, validation_loss: float | None, *names: str) -> None:
        if not self._accelerator.is_main_process:
            return
        training = {
            "steps": self.progress.step,
            "epochs": self.progress.place.epoch,
            "elapsed_s": round(self.elapsed_s, 1),
            "validation_loss": validation_loss,
            "episodes": len(self._train_data.episodes),
            "settings": self._settings.model_dump(mode="json", exclude={"policy"}),
            **self._facts,
        }
        data, policy = self._data, self._settings.policy
        for name in names:
            save_checkpoint(self._output / name, self._network, policy, data.normalisation, data.contract, training)

    def _save_state(self) -> None:
        self._saved_s = time.monotonic()
        if not self._accelerator.is_main_process:
            return
        scaler = self._accelerator.scaler
        position = replace(
            self._origin,
            step=self.progress.step,
            epoch=self.progress.place.epoch,
            batch=self.progress.place.batch,
            elapsed_s=self.elapsed_s,
            best_loss=self.progress.best_loss,
            since_best=self.progress.since_best,
            scaler=scaler.state_dict() if scaler else {},
        )
        save_state(self._output / RESUME, position, self._network, self._optimizer, self._averages)

    def _resume(self, position: Position) -> None:
        load_state(self._output / RESUME, self._network, self._optimizer, self._averages)
        if self._accelerator.scaler and position.scaler:
            self._accelerator.scaler.load_state_dict(position.scaler)
        place = Place(position.epoch, position.batch)
        self.progress = Progress(position.step, place, position.best_loss, position.since_best)
        self._before_s = position.elapsed_s

    @property
    def _averages(self) -> Mapping[str, torch.Tensor]:
        return self._average.values if self._average else {}


def _schedule(settings: TrainSettings, feed: TrainFeed) -> Schedule:
    """Return the schedule: max_steps and max_minutes override epochs."""
    if settings.max_steps or settings.max_minutes:
        total_steps = settings.max_steps
    else:
        total_steps = feed.steps_in(settings.epochs)
    return Schedule(settings.warmup_steps, total_steps, settings.max_minutes * 60 if settings.max_minutes else None)
