"""Kosmos-2 at full size with random weights: time and memory of one inference and one training step."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from common import Figure
from torch import nn
from transformers import Kosmos2ForConditionalGeneration

from mobile_vla_policy.config import BackboneSettings, LoraSettings, PolicySettings
from mobile_vla_policy.model.kosmos2 import Kosmos2Backbone
from mobile_vla_policy.model.loss import action_loss
from mobile_vla_policy.model.network import PolicyNetwork, build_network

INSTRUCTION_TOKENS = 20
CAMERAS = 2
_IMAGE_PX = 224


def measure(quick: bool) -> list[Figure]:
    """Each part in a process of its own, so that the peak of its memory is its own."""
    inference, training = _in_process("inference", quick), _in_process("training", quick)
    return [
        Figure("inference, products of its shapes", inference["products_s"], "s"),
        Figure("inference step, median", inference["ours_s"], "s"),
        Figure("inference step over products", inference["ours_s"] / inference["products_s"], "x", "<= 1.25"),
        Figure("straightforward way over ours", inference["plain_s"] / inference["ours_s"], "x", ">= 1.2"),
        Figure("eight frames per step over ours", inference["eight_s"] / inference["ours_s"], "x", ">= 9"),
        Figure("inference, peak resident memory", inference["peak_gb"], "GB", "<= 5"),
        Figure("training step (batch 2, window 8, 2 cameras)", training["step_s"], "s"),
        Figure("training step, peak resident memory", training["peak_gb"], "GB", "<= 14"),
        Figure("training, parameters that learn", training["learns_m"], "M"),
    ]


def inference(quick: bool) -> dict[str, float]:
    """Ours, the products alone, and the two ways that are slower, in turns on the same threads."""
    settings = PolicySettings(backbone=BackboneSettings(weights="random"), lora=LoraSettings(enabled=False))
    network = build_network(settings, dtype=torch.bfloat16).eval().requires_grad_(False)
    backbone = network.backbone
    assert isinstance(backbone, Kosmos2Backbone)
    images = torch.rand(1, CAMERAS, 3, _IMAGE_PX, _IMAGE_PX)
    tokens = backbone.tokenise(["go to the kitchen and pick up the cup"])
    tokens = type(tokens)(
        tokens.ids.repeat(1, INSTRUCTION_TOKENS)[:, :INSTRUCTION_TOKENS], torch.tensor([INSTRUCTION_TOKENS])
    )
    products = _products(backbone)
    head = network.head

    def ours() -> None:
        head(head.embed(backbone.encode(images, tokens), torch.zeros(1, 3))[None])

    with torch.inference_mode():
        ours()
        peak_gb = _peak_gb()
        # The comparison shares our weights: only the way they are used differs.
        plain_model = _with_language_model_head(backbone)

        def plain(frames: int = 1) -> None:
            for _ in range(frames):
                latents = torch.cat([backbone.embed_images(images[:, i : i + 1])[:, 0] for i in range(CAMERAS)], dim=1)
                _plain_step(plain_model, latents, tokens.ids)

        rounds = 2 if quick else 7
        times: dict[str, list[float]] = {"products_s": [], "ours_s": [], "plain_s": [], "eight_s": []}
        for round_ in range(rounds + 1):
            for name, run in (("products_s", products), ("ours_s", ours), ("plain_s", plain)):
                taken = _time(run)
                if round_:
                    times[name].append(taken)
        times["eight_s"] = [_time(lambda: plain(8)) for _ in range(1 if quick else 3)]
    return {name: median(values) for name, values in times.items()} | {"peak_gb": peak_gb}


def training(quick: bool) -> dict[str, float]:
    """Forward, backward and an AdamW step with LoRA r 32 and gradient checkpointing."""
    torch.manual_seed(0)
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
        _step(network, optimizer, images, tokens, valid)
        taken.append(time.perf_counter() - began)
    return {"step_s": min(taken), "peak_gb": _peak_gb(), "learns_m": sum(p.numel() for p in learning) / 1e6}


def _step(
    network: PolicyNetwork, optimizer: torch.optim.Optimizer, images: torch.Tensor, tokens: object, valid: torch.Tensor
) -> None:
    target = torch.zeros(*valid.shape, network.head.horizon, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = network(images, torch.zeros(*valid.shape, 3), tokens, valid)
    action_loss(predicted, target, torch.ones(target.shape[:-1], dtype=torch.bool)).total.backward()
    optimizer.step()
    optimizer.zero_grad()


def _products(backbone: Kosmos2Backbone) -> Callable[[], None]:
    """The matrix products of one step and nothing else: (rows, in, out) and how often, then those of attention."""
    vision, text = backbone.model.config.vision_config, backbone.model.config.text_config
    latents, side = backbone.model.config.latent_query_num, (vision.image_size // vision.patch_size) ** 2
    seen, wide = CAMERAS * (side + 1), text.embed_dim
    length = 3 + CAMERAS * (latents + 2) + INSTRUCTION_TOKENS
    linear = [
        (CAMERAS * side, 3 * vision.patch_size**2, vision.hidden_size, 1),
        (seen, vision.hidden_size, vision.hidden_size, 4 * vision.num_hidden_layers),
        (seen, vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers),
        (seen, vision.intermediate_size, vision.hidden_size, vision.num_hidden_layers),
        (seen, vision.hidden_size, wide, 1),
        (CAMERAS * latents, wide, wide, 2),
        (seen + CAMERAS * latents, wide, wide, 2),
        (length, wide, wide, 4 * text.layers),
        (length, wide, text.ffn_dim, text.layers),
        (length, text.ffn_dim, wide, text.layers),
    ]
    weights = [p for p in backbone.model.parameters() if p.ndim == 2]
    by_shape: dict[tuple[int, int], list[torch.Tensor]] = {}
    for weight in weights:
        by_shape.setdefault((weight.shape[0], weight.shape[1]), []).append(weight)
    # Products with the network's own weights: reading 3 GB of them is part of what has to be done.
    work = []
    for rows, inputs, outputs, count in linear:
        pool = by_shape.get((outputs, inputs)) or [torch.rand(outputs, inputs, dtype=torch.bfloat16)]
        left = torch.rand(rows, inputs, dtype=torch.bfloat16)
        work += [(left, pool[i % len(pool)]) for i in range(count)]
    eyes = vision.num_attention_heads
    heads = [
        (CAMERAS * eyes, side + 1, vision.hidden_size // eyes, vision.num_hidden_layers),
        (text.attention_heads, length, wide // text.attention_heads, text.layers),
    ]
    attention = [(torch.rand(n, rows, dim, dtype=torch.bfloat16), count) for n, rows, dim, count in heads]

    def run() -> None:
        for left, weight in work:
            nn.functional.linear(left, weight)
        for queries, count in attention:
            for _ in range(count):
                (queries @ queries.transpose(1, 2)) @ queries

    return run


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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _in_process(part: str, quick: bool) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__)), part, *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {name: float(value) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}


if __name__ == "__main__":
    parts = {"inference": inference, "training": training}
    print(json.dumps(parts[sys.argv[1]]("--quick" in sys.argv)))
