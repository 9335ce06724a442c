"""Kosmos-2 at full size with random weights, and the straightforward way to run it: what several benchmarks need."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from common import ROOT
from torch import nn
from transformers import Kosmos2ForConditionalGeneration

from mobile_vla_data.contract import Contract
from mobile_vla_policy.backbones.kosmos2 import Kosmos2Backbone, Kosmos2Settings
from mobile_vla_policy.backbones.tokenizer import Tokens
from mobile_vla_policy.checkpoint import save_checkpoint
from mobile_vla_policy.model.lora import LoraSettings
from mobile_vla_policy.model.loss import action_loss
from mobile_vla_policy.model.network import PolicyNetwork, build_network
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.normalisation import Normalisation, Range

INSTRUCTION_TOKENS = 20
CAMERAS = 2
IMAGE_PX = 224
INSTRUCTION = "go to the kitchen and pick up the cup"


def network_and_input() -> tuple[PolicyNetwork, torch.Tensor, Tokens]:
    """A network as trained, without adapters, in bf16; one frame of both cameras; an instruction."""
    torch.manual_seed(0)
    tell("building full-size Kosmos-2")
    settings = PolicySettings(backbone=Kosmos2Settings(weights="random"), lora=LoraSettings(enabled=False))
    network = build_network(settings, dtype=torch.bfloat16).eval().requires_grad_(False)
    ids = network.backbone.tokenise([INSTRUCTION]).ids.repeat(1, INSTRUCTION_TOKENS)
    tokens = Tokens(ids[:, :INSTRUCTION_TOKENS], torch.tensor([INSTRUCTION_TOKENS]))
    return network, torch.rand(1, CAMERAS, 3, IMAGE_PX, IMAGE_PX), tokens


def step_of(network: PolicyNetwork, images: torch.Tensor, tokens: Tokens) -> torch.Tensor:
    """One frame from pixels to a chunk."""
    state = torch.zeros(1, 1, 3, device=images.device)
    return network.act(network.backbone.encode(images, tokens)[None], state)[0, -1]


def straightforward_way(network: PolicyNetwork, images: torch.Tensor, tokens: Tokens) -> Callable[[], None]:
    """One frame through the vision tower camera by camera, and ``Kosmos2ForConditionalGeneration`` with all states.

    It shares the network's weights: only the way they are used differs.
    """
    backbone = network.backbone
    assert isinstance(backbone, Kosmos2Backbone)
    model = _with_language_model_head(backbone)

    def run() -> None:
        latents = torch.cat([backbone.embed_images(images[:, i : i + 1])[:, 0] for i in range(CAMERAS)], dim=1)
        _plain_step(model, latents, tokens.ids)

    return run


def write_checkpoint(folder: Path) -> None:
    """Write a checkpoint that holds every weight, adapters included."""
    torch.manual_seed(0)
    tell("writing a checkpoint of full-size Kosmos-2")
    settings = PolicySettings(backbone=Kosmos2Settings(weights="random"))
    network = build_network(settings, instructions=["go to the kitchen"], dtype=torch.bfloat16)
    ranges = Normalisation(Range((-0.06, -0.06), (0.06, 0.06)), Range((-3.0, -3.0), (3.0, 3.0)))
    save_checkpoint(folder, network, settings, ranges, Contract.load(ROOT / "config" / "robot.yaml"), {"steps": 0})


@dataclass(frozen=True)
class TrainingSteps:
    """Times of training steps, and the number of parameters that learn."""

    steps_s: tuple[float, ...]
    learns: int


def training_steps(
    device: torch.device,
    steps: int,
    *,
    checkpointing: bool = True,
    settings: PolicySettings | None = None,
) -> TrainingSteps:
    """Time forward, backward and an AdamW step: batch 2, window 8, LoRA r 32; Kosmos-2 at full size by default."""
    torch.manual_seed(0)
    settings = settings or PolicySettings(backbone=Kosmos2Settings(weights="random"))
    tell("building the network with LoRA")
    network = build_network(settings, instructions=[INSTRUCTION], dtype=torch.bfloat16).to(device).train()
    if checkpointing:
        network.backbone.enable_gradient_checkpointing()
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, 1e-4)
    batch, window, cameras = 2, settings.head.window, len(settings.backbone.cameras)
    side = network.backbone.image_size
    valid = torch.ones(batch, window, dtype=torch.bool, device=device)
    tokens = network.backbone.tokenise([INSTRUCTION] * batch).to(device)
    taken = []
    for _ in range(steps):
        images = torch.rand(batch * window, cameras, 3, side, side, device=device)
        began = time.perf_counter()
        _training_step(network, optimizer, images, tokens, valid)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
        tell(f"training step: {taken[-1]:.1f} s")
    return TrainingSteps(tuple(taken), sum(parameter.numel() for parameter in learning))


def _training_step(
    network: PolicyNetwork, optimizer: torch.optim.Optimizer, images: torch.Tensor, tokens: Tokens, valid: torch.Tensor
) -> None:
    device = images.device
    target = torch.zeros(*valid.shape, network.head.horizon, 3, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        predicted = network(images, torch.zeros(*valid.shape, 3, device=device), tokens, valid)
    action_loss(predicted, target, torch.ones(target.shape[:-1], dtype=torch.bool, device=device)).total.backward()
    optimizer.step()
    optimizer.zero_grad()


def time_of(run: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def peak_gb() -> float:
    """VmHWM and not ``ru_maxrss``, which begins with the parent's memory and cannot be reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6


def reset_peak() -> None:
    """Set the peak to what is resident now; the process has no other way to say what driving takes."""
    Path("/proc/self/clear_refs").write_text("5")


def tell(line: str) -> None:
    """Progress within a part."""
    print(f"  {line}", file=sys.stderr, flush=True)


def figures_of_process(script: Path, *arguments: str, env: Mapping[str, str] | None = None) -> dict[str, float]:
    """Run a script that prints a JSON object last, in its own process, so that the peak of memory is that script's."""
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    return {name: float(value) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}


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
