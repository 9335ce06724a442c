"""Optimisation: AdamW, its learning rate over training, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mobile_vla_policy.training.settings import TrainSettings


def make_optimiser(network: torch.nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019), with weight decay on matrices but not on biases, norms and vectors."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups: list[dict[str, object]] = [
        {"params": [p for p in learning if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in learning if p.ndim < 2], "weight_decay": 0.0},
    ]
    # One kernel for all parameters: in stage 2 a loop over them would take a tenth of a step.
    return torch.optim.AdamW(groups, settings.learning_rate, settings.betas, fused=True)


@dataclass(frozen=True)
class Schedule:
    """The end of training, and the learning rate until then: a linear warm-up, then a cosine to zero."""

    warmup_steps: int
    total_steps: int | None
    """None: as many as the time allows."""
    total_s: float | None
    """Time budget [s]; None: as long as the steps take."""

    def progress(self, step: int, elapsed_s: float) -> float:
        """Return the share of training that is done, 0 .. 1, by steps or by time, whichever is further."""
        by_steps = step / self.total_steps if self.total_steps else 0.0
        by_time = elapsed_s / self.total_s if self.total_s else 0.0
        return min(1.0, max(by_steps, by_time))

    def factor(self, step: int, elapsed_s: float) -> float:
        """Return the factor on the learning rate of optimisation step ``step`` (the first is 0)."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return warmup * 0.5 * (1.0 + math.cos(math.pi * self.progress(step, elapsed_s)))

    def over(self, step: int, elapsed_s: float) -> bool:
        """Return whether training ends before optimisation step ``step``."""
        return self.progress(step, elapsed_s) >= 1.0


class WeightAverage:
    """Exponential moving average of the trainable weights of ``network``, by name (Polyak averaging)."""

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self._parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self._decay = decay
        self.values = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the weights after optimisation step ``step``; early on, the average follows faster."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
            self.values[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the weights by their averages until the end of the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.data, self.values[name] = self.values[name], parameter.data
