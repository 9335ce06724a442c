"""The engine: three stages at constant shapes, run by a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from mobile_vla_policy.backbones.maps import Maps
from mobile_vla_policy.backbones.tokenizer import Tokens
from mobile_vla_policy.engine.stages import HEAD, TEXT, VISION
from mobile_vla_policy.model.head import RecurrentHead


class RunStage(Protocol):
    """One stage, ready to run: tensors in the order of :mod:`mobile_vla_policy.engine.stages` in, one out."""

    def __call__(self, *arguments: torch.Tensor) -> torch.Tensor:
        """Run the stage."""


class Backend(Protocol):
    """A backend writes a stage to a file and reads it back, ready to run. Each is a module with these two functions."""

    #: Suffix of a stage's file.
    SUFFIX: str

    def write(self, stage: nn.Module, arguments: tuple[torch.Tensor, ...], names: tuple[str, ...], path: Path) -> None:
        """Write a stage for arguments of exactly these shapes. Raises EngineError."""

    def load(self, path: Path, device: torch.device) -> RunStage:
        """Read it back. Raises EngineError."""


@dataclass(frozen=True)
class EngineShape:
    """The constant sizes."""

    image_size: int
    """Side of the square images [px]."""
    window: int
    """Frames that the head sees."""
    instruction_tokens: int
    """Instructions are padded to this length; 0: any length is allowed."""


def _no_maps(_latents: torch.Tensor, _tokens: Tokens) -> Maps | None:
    return None


@dataclass(frozen=True)
class Engine:
    """The stages of one network, ready to run. It keeps no state between calls."""

    stages: Mapping[str, RunStage]
    shape: EngineShape
    device: torch.device
    backend: str
    precision: str
    recurrent: RecurrentHead | None = None
    """The head one frame at a time, if the backend can do that."""
    maps: Callable[[torch.Tensor, Tokens], Maps | None] = _no_maps
    """Heatmaps over the first camera's image, of latents and one instruction; None from a backend without them."""

    def see(self, images: torch.Tensor) -> torch.Tensor:
        """Return the backbone's latents of one frame, images float32 ``[cameras, 3, S, S]`` in 0 .. 1."""
        return self.stages[VISION](images[None])

    def read(self, latents: torch.Tensor, tokens: Tokens, state: torch.Tensor) -> torch.Tensor:
        """Return the LSTM input float32 ``[input_size]`` of latents, one instruction and a normalised state ``[3]``."""
        return self.stages[TEXT](latents, tokens.ids, tokens.lengths, state[None])[0]

    def act(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the newest frame's chunk float32 ``[horizon, action_dim]`` of LSTM inputs ``[n, input_size]``."""
        newest = len(inputs) - 1
        window = nn.functional.pad(inputs, (0, 0, 0, self.shape.window - len(inputs)))
        return self.stages[HEAD](window[None])[0, newest]

    def pad(self, tokens: Tokens) -> Tokens:
        """Pad one instruction to the engine's length; the padding comes behind ACT."""
        missing = self.shape.instruction_tokens - tokens.ids.shape[1]
        return tokens if missing <= 0 else Tokens(nn.functional.pad(tokens.ids, (0, missing)), tokens.lengths)
