"""Kosmos-2 at full size with random weights: time and memory of one inference and one training step."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from common import Figure
from full_size import (
    CAMERAS,
    IMAGE_PX,
    INSTRUCTION_TOKENS,
    figures_of_process,
    network_and_input,
    peak_gb,
    reset_peak,
    step_of,
    straightforward_way,
    tell,
    time_of,
    training_steps,
    write_checkpoint,
)

from mobile_vla_policy.backbones.kosmos2 import Kosmos2Backbone
from mobile_vla_policy.backbones.tokenizer import Tokens
from mobile_vla_policy.benchmark.products import kosmos2_products, runner
from mobile_vla_policy.checkpoint import read_info
from mobile_vla_policy.engine.optimise import Precision, optimise
from mobile_vla_policy.export.verify import random_run
from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.model.network import PolicyNetwork

_FRAMES_COMPARED = 4


def measure(quick: bool) -> list[Figure]:
    """Each part runs in its own process, so that it has its own peak of memory."""
    speed, training = _in_process("speed", quick), _in_process("training", quick)
    with TemporaryDirectory(prefix="bench_full_size_") as folder:
        _in_process("checkpoint", quick, folder)
        bf16, int8 = _in_process("memory_bf16", quick, folder), _in_process("memory_int8", quick, folder)
    return [
        Figure("inference, products of its shapes, median", speed["products_s"], "s"),
        Figure("straightforward way, median", speed["plain_s"], "s"),
        Figure("trained network as it is (bf16), median", speed["trained_s"], "s"),
        Figure("inference step bf16, median", speed["bf16_s"], "s"),
        Figure("inference step int8, median", speed["int8_s"], "s"),
        Figure("inference step bf16 over products", speed["bf16_over_products"], "x", "<= 1.25"),
        Figure("straightforward way over bf16", speed["plain_over_bf16"], "x", ">= 1.2"),
        Figure("straightforward way over int8", speed["plain_over_int8"], "x", ">= 1.6"),
        Figure("eight frames per step over bf16", speed["eight_over_bf16"], "x", ">= 9"),
        Figure("actions, bf16 optimised from bf16 as trained", speed["bf16_deviation_percent"], "%"),
        Figure("actions, int8 from bf16 as trained", speed["int8_deviation_percent"], "%"),
        Figure("inference bf16, peak resident memory, loading too", bf16["peak_gb"], "GB", "<= 5"),
        Figure("inference int8, peak resident memory, loaded", int8["driving_gb"], "GB", "<= 3.5"),
        Figure("inference int8, peak resident memory, loading", int8["peak_gb"], "GB", "<= 3.5"),
        Figure("training step (batch 2, window 8, 2 cameras)", training["step_s"], "s"),
        Figure("training step, peak resident memory", training["peak_gb"], "GB", "<= 14"),
        Figure("training, parameters that learn", training["learns_m"], "M"),
    ]


def speed(quick: bool) -> dict[str, float]:
    """Ours, the products alone, and the ways that are slower, in turns on the same threads.

    Ratios are of times within one turn, and the median over the turns: another process that slows the machine down for
    a while then slows both sides.
    """
    network, images, tokens = network_and_input()
    backbone = network.backbone
    assert isinstance(backbone, Kosmos2Backbone)
    products = kosmos2_products(backbone.model.config, CAMERAS, INSTRUCTION_TOKENS)
    multiply = runner(products, torch.bfloat16, torch.device("cpu"), borrow_from=backbone.model)
    runs: dict[str, Callable[[], object]] = {"products_s": multiply}
    tell("optimising copies of it in bf16 and int8")
    bf16, int8 = optimise(deepcopy(network), "bf16"), optimise(deepcopy(network), "int8")
    plain = straightforward_way(network, images, tokens)
    runs["bf16_s"] = lambda: step_of(bf16, images, tokens)
    runs["int8_s"] = lambda: step_of(int8, images, tokens)
    runs["plain_s"] = plain
    runs["trained_s"] = lambda: step_of(network, images, tokens)
    with torch.inference_mode():
        turns = [{name: time_of(run) for name, run in runs.items()}]  # the first allocates and compiles
        for turn in range(3 if quick else 11):
            turns.append({name: time_of(run) for name, run in runs.items()})
            tell(f"turn {turn + 1}: " + ", ".join(f"{name[:-2]} {value:.3f} s" for name, value in turns[-1].items()))
        eight = [
            time_of(lambda: [plain() for _ in range(8)]) / time_of(runs["bf16_s"]) for _ in range(1 if quick else 3)
        ]
        deviations = _deviations(network, {"bf16": bf16, "int8": int8}, tokens)
    del turns[0]
    return (
        {name: median(turn[name] for turn in turns) for name in runs}
        | deviations
        | {
            "bf16_over_products": median(turn["bf16_s"] / turn["products_s"] for turn in turns),
            "plain_over_bf16": median(turn["plain_s"] / turn["bf16_s"] for turn in turns),
            "plain_over_int8": median(turn["plain_s"] / turn["int8_s"] for turn in turns),
            "eight_over_bf16": median(eight),
        }
    )


def checkpoint(folder: Path) -> dict[str, float]:
    """Write one that holds every weight."""
    write_checkpoint(folder / "checkpoint")
    return {}


def memory(precision: Precision, folder: Path) -> dict[str, float]:
    """Peak resident memory of a process that does nothing but load and drive."""
    tell(f"loading it in {precision}")
    policy = load_policy(folder / "checkpoint", device="cpu", precision=precision)
    loading_gb = peak_gb()
    reset_peak()
    seen = policy.initial_memory()
    for frame in random_run(read_info(folder / "checkpoint"))[:3]:
        _, seen = policy.predict(frame.images, frame.state, frame.instruction, seen)
    return {"peak_gb": max(loading_gb, peak_gb()), "driving_gb": peak_gb()}


def training(quick: bool) -> dict[str, float]:
    """Forward, backward and an AdamW step with LoRA r 32 and gradient checkpointing."""
    found = training_steps(torch.device("cpu"), 1 if quick else 2)
    return {"step_s": min(found.steps_s), "peak_gb": peak_gb(), "learns_m": found.learns / 1e6}


def _deviations(trained: PolicyNetwork, others: dict[str, PolicyNetwork], tokens: Tokens) -> dict[str, float]:
    """Return how far chunks differ from the trained network's [% of their norm]; gripper values are logits."""
    frames = [torch.rand(1, CAMERAS, 3, IMAGE_PX, IMAGE_PX) for _ in range(_FRAMES_COMPARED)]
    expected = torch.stack([step_of(trained, frame, tokens) for frame in frames])
    found = {}
    for name, network in others.items():
        chunks = torch.stack([step_of(network, frame, tokens) for frame in frames])
        found[f"{name}_deviation_percent"] = 100 * float((chunks - expected).norm() / expected.norm())
    return found


def _in_process(part: str, quick: bool, folder: str = "") -> dict[str, float]:
    return figures_of_process(Path(__file__), part, folder, *(["--quick"] if quick else []))


_PARTS: dict[str, Callable[[bool], dict[str, float]]] = {"speed": speed, "training": training}
_PARTS_WITH_FOLDER: dict[str, Callable[[Path], dict[str, float]]] = {
    "checkpoint": checkpoint,
    "memory_bf16": partial(memory, "bf16"),
    "memory_int8": partial(memory, "int8"),
}

if __name__ == "__main__":
    name, where = sys.argv[1:3]
    found = _PARTS[name]("--quick" in sys.argv) if name in _PARTS else _PARTS_WITH_FOLDER[name](Path(where))
    print(json.dumps(found))
