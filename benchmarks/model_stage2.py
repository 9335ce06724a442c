"""Training rate of the head on stored features, with the real trainer and a head of the real size.

Kosmos-2's ACT states have 2048 values; the head is 1024 -> LSTM 512 x 2 -> 5 x 3, windows of 8, bfloat16, dropout
and AdamW included. The features are random: their values do not change the cost. The backbone never runs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from common import Figure

from mobile_vla_data.action import gripper
from mobile_vla_data.contract import Contract
from mobile_vla_policy.backbones.kosmos2_tiny import Kosmos2TinySettings
from mobile_vla_policy.model.head import ActionHead
from mobile_vla_policy.model.lora import LoraSettings
from mobile_vla_policy.model.network import PolicyNetwork, build_network
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.normalisation import Normalisation, Range
from mobile_vla_policy.samples.episodes import EpisodeData, TrainingData
from mobile_vla_policy.samples.windows import Batch, Window, WindowData
from mobile_vla_policy.training.resume import Position
from mobile_vla_policy.training.settings import TrainSettings
from mobile_vla_policy.training.trainer import Trainer

_CONTRACT = Path(__file__).resolve().parents[1] / "config" / "robot.yaml"
_FEATURES = 2048
#: The training split of a thousand episodes.
_EPISODES, _STEPS = 800, 75
_BATCH = 512


def measure(quick: bool) -> list[Figure]:
    """Windows per second of the training loop; the median of stretches of four steps."""
    backbone = Kosmos2TinySettings(cameras=("static",), freeze=True, width=32, layers=1)
    settings = TrainSettings(
        policy=PolicySettings(backbone=backbone, lora=LoraSettings(enabled=False)),
        init_from="nothing: the head below is the start",
        batch_size=_BATCH,
        max_steps=24 if quick else 80,
        log_every=4,
        evaluate_every=1000,
        precision="bf16",
    )
    tiny = build_network(settings.policy, instructions=["go to the kitchen"])
    network = PolicyNetwork(tiny.backbone, ActionHead(_FEATURES, settings.policy.head))
    normalisation = Normalisation(action=Range((-0.05, -0.05), (0.05, 0.05)), state=Range((-3.0, -3.0), (3.0, 3.0)))
    random = np.random.default_rng(0)
    episodes = [_episode(random, number) for number in range(_EPISODES)]
    features = [torch.randn(_STEPS, _FEATURES, dtype=torch.bfloat16) for _ in episodes]
    windows = _Counted(episodes, features, normalisation, settings.policy.head)
    data = TrainingData(Contract.load(_CONTRACT), normalisation, {"train": episodes}, "")
    stretches = _Stretches(windows.sizes)
    with tempfile.TemporaryDirectory(prefix="bench_stage2_") as folder:
        accelerator = Accelerator(mixed_precision="bf16")
        origin = Position.of_start(settings, data, network, 1)
        trainer = Trainer(settings, network, data, windows, None, Path(folder), accelerator, origin)
        trainer.run(lambda _step: stretches)
    # The first stretch warms up.
    return [Figure("stage 2: the head on features, windows of 8", median(stretches.rates[1:]), "windows/s")]


class _Stretches:
    """A training log that notes the windows per second between two of its lines."""

    def __init__(self, sizes: list[int]) -> None:
        self.rates: list[float] = []
        self._sizes, self._from, self._since_s = sizes, 0, 0.0

    def __enter__(self) -> _Stretches:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """End a stretch and begin the next one."""
        now_s = time.perf_counter()
        if self._since_s:
            self.rates.append(sum(self._sizes[self._from : step]) / (now_s - self._since_s))
        self._from, self._since_s = step, now_s

    def show(self, step: int, progress: float, loss: float, best: float | None, frames_per_s: float) -> None:
        """Show nothing."""


class _Counted(WindowData):
    """Remembers how many windows each batch had."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sizes: list[int] = []

    def batch(self, windows: Sequence[Window]) -> Batch:
        """Put windows together, and note how many."""
        self.sizes.append(len(windows))
        return super().batch(windows)


def _episode(random: np.random.Generator, number: int) -> EpisodeData:
    states = random.uniform(-1, 1, (_STEPS, 3)).astype(np.float32)
    actions = random.uniform(-0.05, 0.05, (_STEPS, 3)).astype(np.float32)
    gripper(actions)[:] = gripper(actions) > 0
    return EpisodeData(
        Path(f"episode_{number:06d}.h5"), "go to the kitchen", "go_to_kitchen", "navigation", states, actions
    )


if __name__ == "__main__":
    for figure in measure(quick=True):
        print(figure)
