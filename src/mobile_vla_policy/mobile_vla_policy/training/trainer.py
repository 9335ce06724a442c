"""The training loop, to be read in one sitting. accelerate brings devices, mixed precision and several processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from mobile_vla_policy.checkpoint import BEST, LAST, save_checkpoint
from mobile_vla_policy.config import TrainSettings
from mobile_vla_policy.model.loss import ActionLoss, action_loss
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.preprocess import to_float
from mobile_vla_policy.training.augment import augment
from mobile_vla_policy.training.average import WeightAverage
from mobile_vla_policy.training.episodes import TrainingData
from mobile_vla_policy.training.head_step import HeadOnFeatures
from mobile_vla_policy.training.log import TrainingLog
from mobile_vla_policy.training.resume import FOLDER, Position, ResumeError, load_position, load_state, save_state
from mobile_vla_policy.training.schedule import Schedule
from mobile_vla_policy.training.windows import Batch, WindowDataset, batches, cut, epoch_of_plans, tokens_for


class TrainingError(RuntimeError):
    """Training cannot go on. The message is one line that says why and what to do."""


class Trainer:
    """Trains one network on one dataset. Make it, then :meth:`run`."""

    def __init__(
        self,
        settings: TrainSettings,
        network: PolicyNetwork,
        data: TrainingData,
        train: WindowDataset,
        validation: WindowDataset | None,
        output: Path,
        accelerator: Accelerator,
    ) -> None:
        self.settings = settings
        self.data = data
        self.train_set = train
        self.validation_set = validation
        self.output = output
        self.accelerator = accelerator
        self.network = network
        model: torch.nn.Module = network
        if settings.policy.head_only:
            model = HeadOnFeatures(network.head)
        elif settings.gradient_checkpointing:
            network.backbone.enable_gradient_checkpointing()
        # One kernel for all parameters: at thousands of windows a second, a loop over them would be a tenth of a step.
        optimizer = torch.optim.AdamW(
            parameter_groups(network, settings), settings.learning_rate, settings.betas, fused=True
        )
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.tokens = {id(s): network.backbone.tokenise(s.instructions) for s in (train, validation) if s is not None}
        self.average = WeightAverage(network, settings.ema_decay) if settings.ema_decay else None
        self.schedule = Schedule(
            settings.warmup_steps, self._total_steps(), settings.max_minutes * 60 if settings.max_minutes else None
        )
        self.step = self.epoch = self.batch = self.since_best = 0
        self.before_s = 0.0
        self.began_s = time.monotonic()
        self.best_loss = float("inf")

    def run(self, log: Callable[[int], TrainingLog], resume: bool = False) -> float:
        """Train to the end; returns the best validation loss. ``log`` opens the log from a step on.

        Raises:
            TrainingError: the loss is not a number.
            ResumeError: there is no such training to resume.
        """
        if resume:
            self._resume()
        self.began_s = time.monotonic()
        with log(self.step) as journal:
            for batch in self._batches():
                loss = self._train_on(batch)
                if self.accelerator.sync_gradients:
                    self._after_step(journal, loss, int(batch.valid.sum()))
                    if self._over():
                        break
            if self.step % self.settings.evaluate_every or not self.step:
                self._validate_and_save(journal)
        return self.best_loss

    @property
    def elapsed_s(self) -> float:
        """Time trained so far, interruptions excluded [s]."""
        return self.before_s + time.monotonic() - self.began_s

    def _train_on(self, batch: Batch) -> ActionLoss:
        with self.accelerator.accumulate(self.model):
            self.model.train()
            loss = self._loss(batch, train=True)
            if not torch.isfinite(loss.total):
                raise TrainingError(
                    f"the loss is {loss.total.item()} at step {self.step}, episodes {', '.join(batch.episodes)}; "
                    "validate them, or lower learning_rate"
                )
            self.accelerator.backward(loss.total)
            if self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
                factor = self.schedule.factor(self.step, self.elapsed_s)
                for group in self.optimizer.param_groups:
                    group["lr"] = self.settings.learning_rate * factor
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.batch += 1
        return loss

    def _loss(self, batch: Batch, train: bool) -> ActionLoss:
        tokens = tokens_for(batch, self.tokens[id(self.train_set if train else self.validation_set)])
        batch, tokens = batch.to(self.accelerator.device), tokens.to(self.accelerator.device)
        if self.settings.policy.head_only:
            predicted = self.model(batch.frames, batch.state, batch.valid)
        else:
            images = to_float(batch.frames)
            if train:
                draws = torch.Generator().manual_seed(self._seed_of_batch())
                images = augment(images, batch.valid.nonzero()[:, 0], self.settings.augment, draws)
            predicted = self.model(images, batch.state, tokens, batch.valid)
        count = self.accelerator.reduce(batch.mask.sum().float(), "mean") if train else None
        return action_loss(predicted, batch.target, batch.mask, self.settings.gripper_weight, count)

    def _after_step(self, journal: TrainingLog, loss: ActionLoss, frames: int) -> None:
        self.step += 1
        if self.average:
            self.average.update(self.step)
        if self.step % self.settings.log_every == 0 or self.step == 1:
            values = {"train_loss": loss.total, "train_motion": loss.motion, "train_gripper": loss.gripper}
            rate = self.optimizer.param_groups[0]["lr"]
            row = {"elapsed_s": self.elapsed_s, "learning_rate": rate} | {k: v.item() for k, v in values.items()}
            journal.write(self.step, row)
            progress = self.schedule.progress(self.step, self.elapsed_s)
            frames_per_s = self.step * self.settings.accumulation * frames / max(self.elapsed_s, 1e-9)
            journal.show(self.step, progress, row["train_loss"], self.best_loss, frames_per_s)
        if self.step % self.settings.evaluate_every == 0:
            self._validate_and_save(journal)

    def _validate_and_save(self, journal: TrainingLog) -> None:
        with self.average.applied() if self.average else nullcontext():
            loss = self._validate()
            if loss is not None:
                journal.write(
                    self.step,
                    {
                        "validation_loss": loss.total.item(),
                        "validation_motion": loss.motion.item(),
                        "validation_gripper": loss.gripper.item(),
                    },
                )
            # Without a validation split the newest weights are the best known.
            score = loss.total.item() if loss is not None else -float(self.step)
            better = score < self.best_loss
            self.since_best = 0 if better else self.since_best + 1
            self.best_loss = min(score, self.best_loss)
            if self.accelerator.is_main_process:
                for name in (LAST, BEST) if better else (LAST,):
                    self._save(self.output / name, loss)
        if self.accelerator.is_main_process:
            averages = self.average.values if self.average else {}
            save_state(self.output / FOLDER, self._position(), self.network, self.optimizer, averages)
        self.accelerator.wait_for_everyone()

    @torch.no_grad()
    def _validate(self) -> ActionLoss | None:
        if self.validation_set is None:
            return None
        self.model.eval()
        head = self.settings.policy.head
        windows = cut(self.validation_set.lengths, head.window, head.frame_stride, None)
        self.validation_set.plan = batches(windows, 4 * self.settings.batch_size)
        sums = torch.zeros(4)
        for batch in self._loader(self.validation_set):
            loss = self._loss(batch, train=False)
            count = batch.mask.sum().item()
            sums += torch.tensor([loss.total.item(), loss.motion.item(), loss.gripper.item(), 1.0]) * count
        total, motion, gripper = (sums[:3] / sums[3].clamp(min=1)).unbind()
        return ActionLoss(total, motion, gripper)

    def _batches(self) -> Iterator[Batch]:
        """Batches from the current position on, epoch after epoch, until training is over."""
        head, process = self.settings.policy.head, self.accelerator
        plans = epoch_of_plans(
            self.train_set.lengths,
            head.window,
            head.frame_stride,
            self.settings.batch_size,
            self.settings.seed,
            process.process_index,
            process.num_processes,
        )
        for epoch, plan in enumerate(plans):
            if self._over():
                return
            if epoch < self.epoch:
                continue
            self.train_set.plan = plan[self.batch :]
            yield from self._loader(self.train_set)
            self.epoch, self.batch = epoch + 1, 0

    def _loader(self, dataset: WindowDataset) -> DataLoader[Batch]:
        # An item is a whole batch already: fewer, larger messages between the processes.
        # A generator of its own: the loader would draw from the global one, and a resumed training would differ.
        return DataLoader(dataset, batch_size=None, num_workers=dataset.workers, generator=torch.Generator())

    def _over(self) -> bool:
        patience = self.settings.patience
        tired = patience is not None and self.since_best >= patience
        over = tired or self.schedule.over(self.step, self.elapsed_s)
        # Clocks differ: one process's word counts for all, or the others would wait for it for ever.
        flag = torch.tensor([float(over)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum").item() > 0)

    def _total_steps(self) -> int | None:
        limit: int | None = self.settings.max_steps
        if limit or self.settings.max_minutes:
            return limit
        head, settings = self.settings.policy.head, self.settings
        plans = epoch_of_plans(
            self.train_set.lengths, head.window, head.frame_stride, settings.batch_size, settings.seed,
            processes=self.accelerator.num_processes,
        )  # fmt: skip
        total: int = sum(len(plan) for _, plan in zip(range(settings.epochs), plans, strict=False))
        return int(total // settings.accumulation) or 1

    def _seed_of_batch(self) -> int:
        process = self.accelerator
        position = (self.epoch * 1_000_003 + self.batch) * process.num_processes + process.process_index
        return int((self.settings.seed * 1_000_000_007 + position) % (1 << 62))

    def _position(self) -> Position:
        settings = self.settings.model_dump_json()
        state = (self.step, self.epoch, self.batch, self.elapsed_s, self.best_loss, self.since_best)
        return Position(*state, settings=settings)

    def _resume(self) -> None:
        position = load_position(self.output / FOLDER)
        if position.settings != self.settings.model_dump_json():
            raise ResumeError(f"{self.output}: was trained with other settings; resume with the same ones")
        averages = load_state(self.output / FOLDER, self.network, self.optimizer)
        if self.average:
            self.average.values = averages
        self.step, self.epoch, self.batch = position.step, position.epoch, position.batch
        self.before_s, self.best_loss, self.since_best = position.elapsed_s, position.best_loss, position.since_best

    def _save(self, folder: Path, loss: ActionLoss | None) -> None:
        training = {
            "steps": self.step,
            "epochs": self.epoch,
            "elapsed_s": round(self.elapsed_s, 1),
            "validation_loss": None if loss is None else loss.total.item(),
            "episodes": len(self.train_set.episodes),
            "settings": self.settings.model_dump(mode="json", exclude={"policy"}),
        }
        save_checkpoint(
            folder, self.network, self.settings.policy, self.data.normalisation, self.data.contract, training
        )


def parameter_groups(network: PolicyNetwork, settings: TrainSettings) -> list[dict[str, object]]:
    """What learns, for AdamW: weight decay on matrices, none on biases, norms and single vectors."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in learning if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in learning if p.ndim < 2], "weight_decay": 0.0},
    ]
