"""TorchScript: traced and frozen when exported, optimised for the machine it runs on when loaded.

Tracing, because scripting fails on these models. ``optimize_for_inference`` runs at loading: its changes to weights for
oneDNN cannot be saved, and depend on the machine.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from mobile_vla_policy.engine.choices import EngineError
from mobile_vla_policy.engine.protocol import RunStage

SUFFIX = ".ts"


def write(stage: nn.Module, arguments: tuple[torch.Tensor, ...], names: tuple[str, ...], path: Path) -> None:
    """Trace ``stage`` for these arguments; ``names`` are not kept by this format."""
    del names
    with warnings.catch_warnings(), torch.no_grad():
        # Constant shapes are intended, and the deprecation of TorchScript is known.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(stage, arguments, check_trace=False)
        torch.jit.save(torch.jit.freeze(traced), str(path))


def load(path: Path, device: torch.device) -> RunStage:
    """Read a stage onto ``device``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stage: RunStage = torch.jit.optimize_for_inference(torch.jit.load(str(path), map_location=device))
        except RuntimeError as error:
            raise EngineError(f"{path}: cannot be loaded: {str(error).splitlines()[0]}") from None
    return stage
