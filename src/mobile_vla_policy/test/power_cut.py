"""A training that dies in the middle and is resumed."""

from pathlib import Path

import pytest
from rich.console import Console

from mobile_vla_policy.training import trainer as trainer_module
from mobile_vla_policy.training.settings import TrainSettings
from mobile_vla_policy.training.train import train


def train_with_power_cut(settings: TrainSettings, dataset: Path, output: Path, step: int) -> None:
    """Train, die after ``step``, and go on from what is on the disk."""
    after = trainer_module.Trainer._after_step

    def power_cut(self: trainer_module.Trainer, *arguments: object) -> None:
        after(self, *arguments)  # type: ignore[arg-type]
        if self.progress.step == step:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module.Trainer, "_after_step", power_cut)
        with pytest.raises(KeyboardInterrupt):
            train(settings, dataset, output, Console(quiet=True))
    train(settings, dataset, output, Console(quiet=True), resume=True)
