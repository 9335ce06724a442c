"""Kosmos-2 at full size with random weights: time and memory of one inference and one training step."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from common import ROOT, Figure
from torch import nn
from transformers import Kosmos2ForConditionalGeneration

from mobile_vla_data.contract import Contract
from mobile_vla_policy.benchmark.products import kosmos2_products, runner
from mobile_vla_policy.checkpoint import read_info, save_checkpoint
from mobile_vla_policy.config import BackboneSettings, LoraSettings, PolicySettings
from mobile_vla_policy.engine.optimise import Precision, optimise
from mobile_vla_policy.engine.verify import random_drive
from mobile_vla_policy.model.backbone import Tokens
from mobile_vla_policy.model.kosmos2 import Kosmos2Backbone
from mobile_vla_policy.model.loss import action_loss
from mobile_vla_policy.model.network import PolicyNetwork, build_network
from mobile_vla_policy.normalisation import Normalisation, Range
from mobile_vla_policy.policy import Policy

INSTRUCTION_TOKENS = 20
CAMERAS = 2
_IMAGE_PX = 224
_FRAMES_COMPARED = 4


def measure(quick: bool) -> list[Figure]:
    """Each part in a process of its own, so that the peak of its memory is its own."""
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
    network, images, tokens = _network_and_input()
    backbone = network.backbone
    assert isinstance(backbone, Kosmos2Backbone)
    products = kosmos2_products(backbone.model.config, CAMERAS, INSTRUCTION_TOKENS)
    multiply = runner(products, torch.bfloat16, torch.device("cpu"), borrow_from=backbone.model)
    runs: dict[str, Callable[[], object]] = {"products_s": multiply}
    _say("optimising copies of it in bf16 and int8")
    bf16, int8 = optimise(deepcopy(network), "bf16"), optimise(deepcopy(network), "int8")
    # The comparison shares the trained weights: only the way they are used differs.
    plain_model = _with_language_model_head(backbone)

    def plain(frames: int = 1) -> None:
        for _ in range(frames):
            latents = torch.cat([backbone.embed_images(images[:, i : i + 1])[:, 0] for i in range(CAMERAS)], dim=1)
            _plain_step(plain_model, latents, tokens.ids)

    runs["bf16_s"] = lambda: _step_of(bf16, images, tokens)
    runs["int8_s"] = lambda: _step_of(int8, images, tokens)
    runs["plain_s"] = plain
    runs["trained_s"] = lambda: _step_of(network, images, tokens)
    with torch.inference_mode():
        turns = [{name: _time(run) for name, run in runs.items()}]  # the first allocates and compiles
        for turn in range(3 if quick else 11):
            turns.append({name: _time(run) for name, run in runs.items()})
            _say(f"turn {turn + 1}: " + ", ".join(f"{name[:-2]} {value:.3f} s" for name, value in turns[-1].items()))
        eight = [_time(lambda: plain(8)) / _time(runs["bf16_s"]) for _ in range(1 if quick else 3)]
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
    """Write one that holds every weight, adapters too, as a policy of our own would."""
    torch.manual_seed(0)
    _say("writing a checkpoint of full-size Kosmos-2")
    settings = PolicySettings(backbone=BackboneSettings(weights="random"))
    network = build_network(settings, instructions=["go to the kitchen"], dtype=torch.bfloat16)
    ranges = Normalisation(Range((-0.06, -0.06), (0.06, 0.06)), Range((-3.0, -3.0), (3.0, 3.0)))
    save_checkpoint(
        folder / "checkpoint", network, settings, ranges, Contract.load(ROOT / "config" / "robot.yaml"), {"steps": 0}
    )
    return {}


def memory(precision: Precision, folder: Path) -> dict[str, float]:
    """Peak resident memory of a process that does nothing but load and drive."""
    _say(f"loading it in {precision}")
    policy = Policy.load(folder / "checkpoint", device="cpu", precision=precision)
    loading_gb = _peak_gb()
    # Resets the peak to what is resident now; the process has no other way to say what driving takes.
    Path("/proc/self/clear_refs").write_text("5")
    seen = policy.initial_memory()
    for frame in random_drive(read_info(folder / "checkpoint"))[:3]:
        _, seen = policy.predict(frame.images, frame.state, frame.instruction, seen)
    return {"peak_gb": max(loading_gb, _peak_gb()), "driving_gb": _peak_gb()}


def training(quick: bool) -> dict[str, float]:
    """Forward, backward and an AdamW step with LoRA r 32 and gradient checkpointing."""
    torch.manual_seed(0)
    _say("building full-size Kosmos-2 with LoRA")
    settings = PolicySettings(backbone=BackboneSettings(weights="random"))
    network = build_network(settings, dtype=torch.bfloat16).train()
    network.backbone.enable_gradient_checkpointing()
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, 1e-4)
    batch, window = 2, settings.head.window
    valid = torch.ones(batch, window, dtype=torch.bool)
    tokens = network.backbone.tokenise(["go to the kitchen and pick up the cup"] * batch)
    taken = []
    for _ in range(1 if quick else 2):
        images = torch.rand(batch * window, CAMERAS, 3, _IMAGE_PX, _IMAGE_PX)
        began = time.perf_counter()
        _training_step(network, optimizer, images, tokens, valid)
        taken.append(time.perf_counter() - began)
        _say(f"training step: {taken[-1]:.1f} s")
    return {"step_s": min(taken), "peak_gb": _peak_gb(), "learns_m": sum(p.numel() for p in learning) / 1e6}


def _network_and_input() -> tuple[PolicyNetwork, torch.Tensor, Tokens]:
    torch.manual_seed(0)
    _say("building full-size Kosmos-2")
    settings = PolicySettings(backbone=BackboneSettings(weights="random"), lora=LoraSettings(enabled=False))
    network = build_network(settings, dtype=torch.bfloat16).eval().requires_grad_(False)
    ids = network.backbone.tokenise(["go to the kitchen and pick up the cup"]).ids.repeat(1, INSTRUCTION_TOKENS)
    tokens = Tokens(ids[:, :INSTRUCTION_TOKENS], torch.tensor([INSTRUCTION_TOKENS]))
    return network, torch.rand(1, CAMERAS, 3, _IMAGE_PX, _IMAGE_PX), tokens


def _step_of(network: PolicyNetwork, images: torch.Tensor, tokens: Tokens) -> torch.Tensor:
    """One frame from pixels to a chunk."""
    return network.act(network.backbone.encode(images, tokens)[None], torch.zeros(1, 1, 3))[0, -1]


def _deviations(trained: PolicyNetwork, others: dict[str, PolicyNetwork], tokens: Tokens) -> dict[str, float]:
    """How far chunks (normalised actions, gripper logits) are from the trained network's, in percent of their norm."""
    frames = [torch.rand(1, CAMERAS, 3, _IMAGE_PX, _IMAGE_PX) for _ in range(_FRAMES_COMPARED)]
    expected = torch.stack([_step_of(trained, frame, tokens) for frame in frames])
    found = {}
    for name, network in others.items():
        chunks = torch.stack([_step_of(network, frame, tokens) for frame in frames])
        found[f"{name}_deviation_percent"] = 100 * float((chunks - expected).norm() / expected.norm())
    return found


def _training_step(
    network: PolicyNetwork, optimizer: torch.optim.Optimizer, images: torch.Tensor, tokens: Tokens, valid: torch.Tensor
) -> None:
    target = torch.zeros(*valid.shape, network.head.horizon, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = network(images, torch.zeros(*valid.shape, 3), tokens, valid)
    action_loss(predicted, target, torch.ones(target.shape[:-1], dtype=torch.bool)).total.backward()
    optimizer.step()
    optimizer.zero_grad()


def _with_language_model_head(backbone: Kosmos2Backbone) -> Kosmos2ForConditionalGeneration:
    with torch.device("meta"):
        model = Kosmos2ForConditionalGeneration(backbone.model.config)
    model.text_model.model = backbone.model.text_model.model
    model.text_model.lm_head = nn.Linear(1, 1, bias=False)
    model.text_model.lm_head.weight = backbone.model.text_model.model.embed_tokens.weight
    return model.eval()


def _plain_step(model: Kosmos2ForConditionalGeneration, latents: torch.Tensor, ids: torch.Tensor) -> None:
    """``Kosmos2ForConditionalGeneration`` with all hidden states: image places, then the instruction."""
    count = latents.shape[1] * latents.shape[2] if latents.ndim == 4 else latents.shape[1]
    places = torch.full((1, count + 7), 3)
    all_ids = torch.cat([places, ids], dim=1)
    mask = torch.zeros(all_ids.shape, dtype=torch.bool)
    mask[:, 2 : 2 + count] = True
    model.text_model(
        input_ids=all_ids, image_embeds=latents, image_embeds_position_mask=mask, output_hidden_states=True
    )


def _time(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _peak_gb() -> float:
    """VmHWM and not ``ru_maxrss``, which begins with the parent's memory and cannot be reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6


def _say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def _in_process(part: str, quick: bool, folder: str = "") -> dict[str, float]:
    command = [sys.executable, str(Path(__file__)), part, folder, *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {name: float(value) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}


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
