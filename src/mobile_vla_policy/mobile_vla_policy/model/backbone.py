"""What a vision-language backbone is to the rest: instructions in, images in, one ACT state per frame out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn


class BackboneError(RuntimeError):
    """A backbone cannot be built from what was given. The message is one line that says what to do."""


@dataclass(frozen=True)
class Tokens:
    """Instructions as token ids, padded on the right."""

    ids: torch.Tensor
    """int64 ``[N, L]``."""
    lengths: torch.Tensor
    """int64 ``[N]``: tokens before the padding."""

    def select(self, index: torch.Tensor) -> Tokens:
        """The instructions at ``index`` (int64 ``[M]``), so that all frames of a window share one."""
        return Tokens(self.ids[index], self.lengths[index])

    def to(self, device: torch.device | str) -> Tokens:
        """The same tokens on another device."""
        return Tokens(self.ids.to(device), self.lengths.to(device))


class Backbone(nn.Module, ABC):
    """What every backbone offers, in two halves that can be timed and exported. ACT is a parameter called ``act``."""

    @property
    @abstractmethod
    def hidden_size(self) -> int:
        """Width of the ACT state."""

    @property
    @abstractmethod
    def image_size(self) -> int:
        """Side of the square images it takes [px]."""

    @abstractmethod
    def lora_targets(self, vision: bool) -> str:
        """Regular expression on the full paths of the modules that LoRA adapts, within the backbone.

        ``vision``: in the vision tower, too.
        """

    @property
    @abstractmethod
    def vision_prefix(self) -> tuple[str, ...]:
        """Beginnings of the parameter names that belong to the vision tower, within the backbone."""

    @abstractmethod
    def tokenise(self, instructions: Sequence[str]) -> Tokens:
        """Token ids of instructions; each distinct one is tokenised once and remembered."""

    @abstractmethod
    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """The vision half: image latents ``[N, ...]`` of ``images`` float ``[N, cameras, 3, S, S]`` in 0 .. 1."""

    @abstractmethod
    def act_states(self, latents: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """The text half: ACT states float ``[N, hidden_size]`` of image latents and one instruction per frame."""

    def encode(self, images: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """ACT states float ``[N, hidden_size]`` of ``images`` float ``[N, cameras, 3, S, S]`` in 0 .. 1."""
        return self.act_states(self.embed_images(images), tokens)

    @abstractmethod
    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass."""

    @abstractmethod
    def save_tokenizer(self, folder: Path) -> None:
        """Write the tokenizer's files into a checkpoint folder."""


def checkpoint_activations(model: Any) -> None:
    """Recompute a transformers model's activations in the backward pass.

    Non-reentrant: the reentrant kind silently leaves LoRA without gradients when the inputs need none.
    """
    arguments = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=arguments)
    else:
        # Its name in older versions.
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=arguments)


class InstructionCache:
    """Tokenises each distinct instruction once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[str, list[int]] = {}

    def __call__(self, instructions: Sequence[str]) -> Tokens:
        """Pad the ids of ``instructions`` to the longest. Raises ValueError on an empty instruction."""
        rows = [self._encode(text) for text in instructions]
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
        for row, values in zip(ids, rows, strict=True):
            row[: len(values)] = torch.tensor(values)
        return Tokens(ids, lengths)

    def _encode(self, text: str) -> list[int]:
        if text not in self._ids:
            ids = self._tokenizer.encode(text.strip(), add_special_tokens=False)
            if not ids:
                raise ValueError(f"the instruction {text!r} is empty; say what to do, for example 'go to the kitchen'")
            self._ids[text] = list(ids)
        return self._ids[text]
