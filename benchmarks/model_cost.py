"""Counts of floating-point operations and bytes for one inference step of full-size Kosmos-2."""

from __future__ import annotations

from typing import Any

import torch
from common import Figure
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mobile_vla_policy.backbones.kosmos2 import Kosmos2Backbone, Kosmos2Settings
from mobile_vla_policy.backbones.kosmos2_driving import FastKosmos2Backbone
from mobile_vla_policy.backbones.linear import PlainLinear
from mobile_vla_policy.backbones.tokenizer import Tokens
from mobile_vla_policy.model.lora import LoraSettings
from mobile_vla_policy.model.network import build_network
from mobile_vla_policy.model.settings import PolicySettings

_INSTRUCTION_TOKENS = 20
_IMAGE_PX = 224


def measure() -> list[Figure]:
    """One and two cameras. Nothing is computed: the real modules run on torch's meta device, which has shapes only."""
    figures = []
    with torch.device("meta"):
        settings = PolicySettings(backbone=Kosmos2Settings(weights="random"), lora=LoraSettings(enabled=False))
        source = build_network(settings, dtype=torch.bfloat16).backbone
    assert isinstance(source, Kosmos2Backbone)
    backbone = source.for_driving(torch.bfloat16, PlainLinear)
    for cameras in (1, 2):
        operations, moved = _count(backbone, cameras)
        words = f"one step, {cameras} camera{'s' if cameras > 1 else ''}"
        figures += [
            Figure(f"{words}: products", operations / 1e9, "GFLOP"),
            Figure(f"{words}: activations written and read", moved / 1e9, "GB"),
        ]
    table = backbone.text.words.weight
    read = sum(weight.numel() for weight in backbone.parameters()) - table.numel()
    return [*figures, Figure("one step: weights read, at 16 bits", 2 * read / 1e9, "GB")]


@torch.inference_mode()
def _count(backbone: FastKosmos2Backbone, cameras: int) -> tuple[int, int]:
    with torch.device("meta"):
        images = torch.rand(1, cameras, 3, _IMAGE_PX, _IMAGE_PX)
        tokens = Tokens(torch.ones(1, _INSTRUCTION_TOKENS, dtype=torch.int64), torch.ones(1, dtype=torch.int64))
        with FlopCounterMode(display=False) as flops, _Activations(backbone) as activations:
            backbone.encode(images, tokens)
    return flops.get_total_flops(), activations.total_bytes


class _Activations(TorchDispatchMode):
    """Adds up what every operation reads and writes, except weights: as if no cache held anything in between."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.total_bytes = 0
        self._weights = {weight.untyped_storage()._cdata for weight in (*module.parameters(), *module.buffers())}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        moves_nothing = func.is_view or "empty" in func.name()
        if not moves_nothing:
            for value in (*tree_leaves(args), *tree_leaves(kwargs), *tree_leaves(result)):
                if isinstance(value, torch.Tensor) and value.untyped_storage()._cdata not in self._weights:
                    self.total_bytes += value.numel() * value.element_size()
        return result
