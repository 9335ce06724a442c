"""Learning rate over training: a linear warm-up, then a cosine to zero at the end of the steps or of the time."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Where training ends, and the factor on the learning rate on the way there."""

    warmup_steps: int
    total_steps: int | None
    """None: as many as the time allows."""
    total_s: float | None
    """Time budget [s]; None: as long as the steps take."""

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share of training that is over, 0 .. 1, by steps or by time, whichever is further."""
        by_steps = step / self.total_steps if self.total_steps else 0.0
        by_time = elapsed_s / self.total_s if self.total_s else 0.0
        return min(1.0, max(by_steps, by_time))

    def factor(self, step: int, elapsed_s: float) -> float:
        """Factor on the learning rate of optimisation step ``step`` (the first is 0)."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return warmup * 0.5 * (1.0 + math.cos(math.pi * self.progress(step, elapsed_s)))

    def over(self, step: int, elapsed_s: float) -> bool:
        """Whether training ends before optimisation step ``step``."""
        return self.progress(step, elapsed_s) >= 1.0
