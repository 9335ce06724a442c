"""The training loop, to be read in one sitting. accelerate brings devices, mixed precision and several processes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset

from mobile_vla_data.episode.reader import EpisodeError
from mobile_vla_data.interrupt import Interrupted
from mobile_vla_policy.checkpoint import BEST, LAST, save_checkpoint
from mobile_vla_policy.config import TrainSettings
from mobile_vla_policy.model.loss import ActionLoss, action_loss
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.preprocess import to_float
from mobile_vla_policy.samples.episodes import TrainingData
from mobile_vla_policy.samples.windows import Batch, Window, WindowDataset, batches, cut, epoch_of_plans, tokens_for
from mobile_vla_policy.training.augment import augment
from mobile_vla_policy.training.average import WeightAverage
from mobile_vla_policy.training.finite import require_finite
from mobile_vla_policy.training.head_step import HeadOnFeatures
from mobile_vla_policy.training.log import Journal
from mobile_vla_policy.training.optimiser import make_optimiser
from mobile_vla_policy.training.resume import FOLDER, Position, digests, frozen_weights, load_state, save_state
from mobile_vla_policy.training.schedule import Schedule
from mobile_vla_policy.training.stopping import Stopping


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
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """``facts``: what its checkpoints say about this training, beside what the trainer itself knows."""
        self.settings = settings
        self.data = data
        self.train_set = train
        self.validation_set = validation
        self.output = output
        self.facts = facts or {}
        self.digests = digests(data)
        self.frozen = frozen_weights(network)
        self.accelerator = accelerator
        self.network = network
        model: torch.nn.Module = network
        if settings.policy.head_only:
            model = HeadOnFeatures(network.head)
        elif settings.gradient_checkpointing:
            network.backbone.enable_gradient_checkpointing()
        self.model, self.optimizer = accelerator.prepare(model, make_optimiser(network, settings))
        self.tokens = {id(s): network.backbone.tokenise(s.instructions) for s in (train, validation) if s is not None}
        self.average = WeightAverage(network, settings.ema_decay) if settings.ema_decay else None
        self.schedule = Schedule(
            settings.warmup_steps, self._total_steps(), settings.max_minutes * 60 if settings.max_minutes else None
        )
        self.step = self.epoch = self.batch = self.since_best = 0
        self.before_s = self.agreed_s = 0.0
        self.began_s = self.saved_s = time.monotonic()
        self.best_loss = float("inf")
        self.stopping = Stopping()
        self.interrupted = False

    def run(self, log: Callable[[int], Journal], resume_at: Position | None = None) -> float:
        """Train to the end; returns the best validation loss. ``log`` opens the log from a step on.

        Raises:
            TrainingError: a loss is not a number.
            ResumeError: there is no such training to resume.
            Interrupted: Ctrl-C; everything up to here is saved.
            WriteError: the disk is full, for example.
        """
        if resume_at is not None:
            self._resume(resume_at)
        self.began_s = self.saved_s = time.monotonic()
        with log(self.step) as journal, self.stopping:
            for group in self._steps():
                loss = self._train_on(group)
                self._after_step(journal, loss, sum(int(batch.valid.sum()) for batch in group))
                if self._over():
                    break
            if self.interrupted:
                self._save_state()
                # Whoever starts several processes ends all of them when one is gone.
                self.accelerator.wait_for_everyone()
                raise Interrupted
            if self.step % self.settings.evaluate_every or not self.step:
                self._validate_and_save(journal)
        return self.best_loss

    @property
    def elapsed_s(self) -> float:
        """Time trained so far, interruptions excluded [s]."""
        return self.before_s + time.monotonic() - self.began_s

    def _train_on(self, group: Sequence[Batch]) -> ActionLoss:
        """One optimisation step on batches that count as one; returns this process's share of the loss."""
        self.model.train()
        recorded = sum(int(batch.mask.sum()) for batch in group)
        # Of the mean over processes, since gradients are averaged over them.
        count = self.accelerator.reduce(torch.tensor(float(recorded), device=self.accelerator.device), "mean")
        losses: list[torch.Tensor] = []
        for batch in group:
            # Gradients travel between the processes once, with the last batch's.
            last = len(losses) == len(group) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                # Its own draws for every batch of every process: they do not depend on where training was resumed.
                torch.manual_seed(self._seed_of_batch())
                loss = self._loss(batch, count)
                require_finite(loss, "loss", self.step, batch)
                self.accelerator.backward(loss.total)
            losses.append(torch.stack([loss.total, loss.motion, loss.gripper]).detach())
            self.batch += 1
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        factor = self.schedule.factor(self.step, self.agreed_s)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.settings.learning_rate * factor
        self.optimizer.step()
        self.optimizer.zero_grad()
        return ActionLoss(*torch.stack(losses).sum(0).unbind())

    def _loss(self, batch: Batch, count: torch.Tensor | None) -> ActionLoss:
        """In training, ``count`` is the number of recorded actions to divide by; None: validation."""
        train = count is not None
        tokens = tokens_for(batch, self.tokens[id(self.train_set if train else self.validation_set)])
        batch, tokens = batch.to(self.accelerator.device), tokens.to(self.accelerator.device)
        if self.settings.policy.head_only:
            predicted = self.model(batch.frames, batch.state, batch.valid)
        else:
            images = to_float(batch.frames)
            if train:
                where = batch.valid.nonzero()[:, 0]
                images = augment(images, where, self.settings.augment, torch.default_generator)
            predicted = self.model(images, batch.state, tokens, batch.valid)
        return action_loss(predicted, batch.target, batch.mask, self.settings.gripper_weight, count)

    def _after_step(self, journal: Journal, loss: ActionLoss, frames: int) -> None:
        self.step += 1
        if self.average:
            self.average.update(self.step)
        if self.step % self.settings.log_every == 0 or self.step == 1:
            every = self.accelerator.reduce(torch.stack([loss.total, loss.motion, loss.gripper]), "mean").tolist()
            values = dict(zip(("train_loss", "train_motion", "train_gripper"), every, strict=True))
            rate = self.optimizer.param_groups[0]["lr"]
            journal.write(self.step, {"elapsed_s": self.elapsed_s, "learning_rate": rate, **values})
            progress = self.schedule.progress(self.step, self.elapsed_s)
            frames_per_s = self.step * frames * self.accelerator.num_processes / max(self.elapsed_s, 1e-9)
            journal.show(self.step, progress, values["train_loss"], self.best_loss, frames_per_s)
        if self.step % self.settings.evaluate_every == 0:
            self._validate_and_save(journal)
        elif time.monotonic() - self.saved_s >= 60 * self.settings.save_every_minutes:
            self._save_state()

    def _validate_and_save(self, journal: Journal) -> None:
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
        self._save_state()
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
            loss = self._loss(batch, None)
            require_finite(loss, "validation loss", self.step, batch)
            count = batch.mask.sum().item()
            sums += torch.tensor([loss.total.item(), loss.motion.item(), loss.gripper.item(), 1.0]) * count
        total, motion, gripper = (sums[:3] / sums[3].clamp(min=1)).unbind()
        return ActionLoss(total, motion, gripper)

    def _steps(self) -> Iterator[list[Batch]]:
        """The batches of each optimisation step from the current position on, until training is over.

        An epoch ends with the step that its last batches make, however few: as one larger batch would.
        """
        for epoch, plan in enumerate(self._plans()):
            if self._over():
                return
            if epoch < self.epoch:
                continue
            self.train_set.plan = plan[self.batch :]
            loader = self._loader(self.train_set)
            while group := list(islice(loader, self.settings.accumulation)):
                yield group
            self.epoch, self.batch = epoch + 1, 0

    def _plans(self) -> Iterator[list[list[Window]]]:
        """This process's batches of one epoch after the other."""
        head, settings, process = self.settings.policy.head, self.settings, self.accelerator
        return epoch_of_plans(
            self.train_set.lengths, head.window, head.frame_stride, settings.batch_size, settings.seed,
            process.process_index, process.num_processes,
        )  # fmt: skip

    def _loader(self, dataset: WindowDataset) -> Iterator[Batch]:
        # An item is a whole batch already: fewer, larger messages between the processes.
        # A generator of its own: the loader would draw from the global one, and a resumed training would differ.
        for item in DataLoader(
            _Told(dataset), batch_size=None, num_workers=dataset.workers, generator=torch.Generator()
        ):
            if isinstance(item, EpisodeError):
                raise item
            yield item

    def _over(self) -> bool:
        patience = self.settings.patience
        tired = patience is not None and self.since_best >= patience
        # Clocks differ: the first process's counts for all, or their weights would drift apart, and at the end the
        # others would wait for it for ever.
        elapsed_s = self.elapsed_s if self.accelerator.is_main_process else 0.0
        told = torch.tensor([elapsed_s, float(tired), float(self.stopping.asked)], device=self.accelerator.device)
        self.agreed_s, tired_ones, asked = self.accelerator.reduce(told, "sum").tolist()
        self.interrupted = asked > 0
        return tired_ones > 0 or self.interrupted or self.schedule.over(self.step, self.agreed_s)

    def _total_steps(self) -> int | None:
        limit: int | None = self.settings.max_steps
        if limit or self.settings.max_minutes:
            return limit
        plans = islice(self._plans(), self.settings.epochs)
        return sum(math.ceil(len(plan) / self.settings.accumulation) for plan in plans)

    def _seed_of_batch(self) -> int:
        process = self.accelerator
        position = (self.epoch * 1_000_003 + self.batch) * process.num_processes + process.process_index
        return int((self.settings.seed * 1_000_000_007 + position) % (1 << 62))

    def _save_state(self) -> None:
        self.saved_s = time.monotonic()
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        position = Position(
            step=self.step,
            epoch=self.epoch,
            batch=self.batch,
            elapsed_s=self.elapsed_s,
            best_loss=self.best_loss if math.isfinite(self.best_loss) else None,
            since_best=self.since_best,
            processes=self.accelerator.num_processes,
            scaler=scaler.state_dict() if scaler else {},
            settings=self.settings.model_dump(mode="json"),
            data=self.digests,
            frozen=self.frozen,
        )
        averages = self.average.values if self.average else {}
        save_state(self.output / FOLDER, position, self.network, self.optimizer, averages)

    def _resume(self, position: Position) -> None:
        averages = self.average.values if self.average else {}
        load_state(self.output / FOLDER, self.network, self.optimizer, averages)
        if self.accelerator.scaler and position.scaler:
            self.accelerator.scaler.load_state_dict(position.scaler)
        self.step, self.epoch, self.batch = position.step, position.epoch, position.batch
        self.before_s, self.since_best = position.elapsed_s, position.since_best
        self.best_loss = float("inf") if position.best_loss is None else position.best_loss

    def _save(self, folder: Path, loss: ActionLoss | None) -> None:
        training = {
            "steps": self.step,
            "epochs": self.epoch,
            "elapsed_s": round(self.elapsed_s, 1),
            "validation_loss": None if loss is None else loss.total.item(),
            "episodes": len(self.train_set.episodes),
            "settings": self.settings.model_dump(mode="json", exclude={"policy"}),
            **self.facts,
        }
        save_checkpoint(
            folder, self.network, self.settings.policy, self.data.normalisation, self.data.contract, training
        )


class _Told(Dataset[Batch | EpisodeError]):
    """Batches, or why there is none: raised in a worker process, it would arrive wrapped in that one's stack."""

    def __init__(self, batches: WindowDataset) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch | EpisodeError:
        try:
            return self._batches[index]
        except EpisodeError as error:
            return error
