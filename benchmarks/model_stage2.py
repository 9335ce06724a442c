"""How fast the head trains on features that were computed beforehand: the real trainer, at the real head's size.

Kosmos-2's ACT states have 2048 values; the head is 1024 -> LSTM 512 x 2 -> 5 x 3, windows of 8, bfloat16, dropout
and AdamW included. The features are random: what they mean does not change what they cost. The backbone is never run.
Beside it, in turns with it, the matrix products that such a training step consists of on average, and nothing else: the
limit.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from common import Figure

from mobile_vla_data.contract import Contract
from mobile_vla_policy.config import BackboneSettings, HeadSettings, LoraSettings, PolicySettings, TrainSettings
from mobile_vla_policy.model.head import ActionHead
from mobile_vla_policy.model.network import PolicyNetwork, build_network
from mobile_vla_policy.normalisation import Normalisation, Range
from mobile_vla_policy.samples.episodes import EpisodeData, TrainingData
from mobile_vla_policy.samples.windows import Batch, WindowDataset, cut
from mobile_vla_policy.training.trainer import Trainer

_CONTRACT = Path(__file__).resolve().parents[1] / "config" / "robot.yaml"
_FEATURES = 2048
#: The training split of a thousand episodes.
_EPISODES, _STEPS = 800, 75
_BATCH = 512


def measure(quick: bool) -> list[Figure]:
    """Windows per second of the training loop; the median of stretches of four steps."""
    backbone = BackboneSettings(kind="kosmos2-tiny", cameras=("static",), freeze=True, width=32, layers=1)
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
    products = _products(settings.policy.head, round(_BATCH * _mean_length(windows, settings.policy.head)))
    turns = _Turns(windows.sizes, products)
    with tempfile.TemporaryDirectory(prefix="bench_stage2_") as folder:
        accelerator = Accelerator(mixed_precision="bf16")
        Trainer(settings, network, data, windows, None, Path(folder), accelerator).run(lambda _step: turns)
    # The first stretch warms up.
    rates = [windows / seconds for windows, seconds, _ in turns.taken[1:]]
    limits = [_BATCH / products_s for _, _, products_s in turns.taken[1:]]
    shares = [100 * rate / limit for rate, limit in zip(rates, limits, strict=True)]
    return [
        Figure("stage 2: the head on features, windows of 8", median(rates), "windows/s", ">= 3,000"),
        Figure("stage 2: the matrix products of its training step alone", median(limits), "windows/s"),
        Figure("stage 2: share of that limit", median(shares), "%"),
    ]


class _Turns:
    """A training's journal that lets the products alone have their turn at every line."""

    def __init__(self, sizes: list[int], products: Callable[[], float]) -> None:
        self.taken: list[tuple[int, float, float]] = []
        """Windows of a stretch of training, its seconds, and those of the products of one step behind it."""
        self._sizes, self._products = sizes, products
        self._from, self._since_s = 0, 0.0

    def __enter__(self) -> _Turns:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """The end of a stretch, and the beginning of the next one."""
        now_s = time.perf_counter()
        if self._since_s:
            windows = sum(self._sizes[self._from : step])
            self.taken.append((windows, now_s - self._since_s, self._products()))
        self._from, self._since_s = step, time.perf_counter()

    def show(self, step: int, progress: float, loss: float, best: float, frames_per_s: float) -> None:
        """Nothing."""


class _Counted(WindowDataset):
    """Remembers how many windows each batch had."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sizes: list[int] = []

    def __getitem__(self, index: int) -> Batch:
        self.sizes.append(len(self.plan[index]))
        return super().__getitem__(index)


def _mean_length(windows: WindowDataset, head: HeadSettings) -> float:
    """Steps of a window: those at an episode's ends are shorter."""
    return sum(windows.lengths) / len(cut(windows.lengths, head.window, head.frame_stride, Random(0)))


def _products(head: HeadSettings, rows: int) -> Callable[[], float]:
    """Runs the products of one training step on ``rows`` frames, forward and all gradients; returns their time [s]."""
    gates, hidden, count = 4 * head.hidden_size, head.hidden_size, rows // head.window
    # rows, in, out, how often. A gradient costs what the product itself does; that of the features is not needed.
    shapes = [(rows, _FEATURES, head.input_size, 2), (rows, head.input_size, gates, 3)]
    shapes += [(rows, hidden, gates, 3)] * (head.layers - 1)
    # What the LSTM feeds back waits for the step of time before it; the gradient of those weights does not.
    shapes += [(count, hidden, gates, 2 * head.window), (rows, hidden, gates, 1)] * head.layers
    work = [
        (torch.rand(n, inputs).bfloat16(), torch.rand(outputs, inputs).bfloat16(), times)
        for n, inputs, outputs, times in shapes
    ]

    @torch.inference_mode()
    def run() -> float:
        began = time.perf_counter()
        for left, weight, times in work:
            for _ in range(times):
                torch.nn.functional.linear(left, weight)
        return time.perf_counter() - began

    return run


def _episode(random: np.random.Generator, number: int) -> EpisodeData:
    states = random.uniform(-1, 1, (_STEPS, 3)).astype(np.float32)
    actions = random.uniform(-0.05, 0.05, (_STEPS, 3)).astype(np.float32)
    actions[:, 2] = actions[:, 2] > 0
    return EpisodeData(
        Path(f"episode_{number:06d}.h5"), "go to the kitchen", "go_to_kitchen", "navigation", states, actions
    )


if __name__ == "__main__":
    for figure in measure(quick=True):
        print(figure)
