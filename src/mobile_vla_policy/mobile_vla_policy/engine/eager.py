"""PyTorch runs the stages: optimised for this machine, or compiled."""

from __future__ import annotations

import os
from typing import cast

import torch

from mobile_vla_policy.caches import compiler_cache
from mobile_vla_policy.checkpoint import CheckpointInfo, load_network
from mobile_vla_policy.engine.device import dtype_of, resolve_precision
from mobile_vla_policy.engine.optimise import Precision, optimise, portable
from mobile_vla_policy.engine.protocol import Engine, EngineShape, RunStage
from mobile_vla_policy.engine.stages import STAGES, TEXT, VISION, cut
from mobile_vla_policy.model.head import RecurrentHead
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.weights import leave_file

#: Compiled code is for one length of instruction [tokens]. This length fits most instructions.
COMPILED_TOKENS = 16


def load_eager(info: CheckpointInfo, device: torch.device, precision: str, compile_: bool) -> Engine:
    """Load a checkpoint's network for driving.

    Raises:
        EngineError: the precision does not go with how the base weights are stored.
        CheckpointError, BackboneError: as :func:`mobile_vla_policy.checkpoint.load_network`.
    """
    precision = resolve_precision(precision, info.settings, device)
    network = _load(info, device, precision)
    if not info.settings.backbone.quantised:
        # The compiler needs operations that it knows.
        network = portable(network, precision) if compile_ else optimise(network, cast(Precision, precision))
    leave_file(network)
    return eager_engine(network, info.settings.head.window, device, precision, compile_)


def load_portable(info: CheckpointInfo, device: torch.device, precision: str) -> PolicyNetwork:
    """Load the network of a checkpoint for exporting; ``precision`` is neither auto nor int8. Raises as load_eager."""
    network = portable(_load(info, device, precision), precision)
    leave_file(network)
    return network


def eager_engine(
    network: PolicyNetwork, window: int, device: torch.device, precision: str, compile_: bool = False
) -> Engine:
    """Return an engine for a network that is ready to drive."""
    run: dict[str, RunStage] = dict(zip(STAGES, cut(network), strict=True))
    if compile_:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiler_cache()))
        # Not the head: the compiler refuses the LSTM's kernel.
        for name in (VISION, TEXT):
            run[name] = torch.compile(run[name], fullgraph=True, dynamic=False)
    shape = EngineShape(network.backbone.image_size, window, COMPILED_TOKENS if compile_ else 0)
    return Engine(run, shape, device, "eager", precision, RecurrentHead(network.head), network.backbone.maps)


def _load(info: CheckpointInfo, device: torch.device, precision: str) -> PolicyNetwork:
    """Load the network as views of its file, so that weights are never in memory twice."""
    return load_network(info, dtype_of(precision, device), views=True).to(device).eval().requires_grad_(False)
