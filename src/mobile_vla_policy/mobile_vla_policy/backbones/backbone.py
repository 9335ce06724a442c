"""The interface of a vision-language backbone: instructions and images in, one ACT state per frame out.

A backbone is two classes in one file of this folder: its settings (:class:`BackboneSettings`), which also build it, and
its network (:class:`Backbone`). ``docs/how-to/add-a-backbone.md`` shows how to write one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import field_validator
from torch import nn
from transformers import PreTrainedTokenizerBase

from mobile_vla_policy.backbones.linear import MakeLinear, merge_lora, replace_linears
from mobile_vla_policy.backbones.maps import Maps
from mobile_vla_policy.backbones.tokenizer import InstructionCache, Tokens
from mobile_vla_policy.config import Frozen


class BackboneError(RuntimeError):
    """A backbone cannot be built from the given settings. The message is one line that says what to do."""


class BackboneSettings(Frozen, ABC):
    """Settings that all backbones share, and the questions that the package asks about a kind of backbone.

    A subclass that gives ``kind`` a default can be named in settings files; nothing else needs to know it.
    """

    kind: str
    """Name of the backbone in settings files."""
    cameras: tuple[str, ...] = ("static", "gripper")
    """Cameras shown to the model, in this order."""
    freeze: bool = True
    """Train only LoRA and the head; without LoRA the head alone, on features that are computed once. Random weights
    must not be frozen."""
    train_vision: bool = False
    """If not frozen: train the vision tower too. With LoRA: put LoRA on the vision tower too."""

    always_fp32: ClassVar[bool] = False
    """Weights are always stored and computed in float32, because 16 bits are not faster at this size."""
    free_fields: ClassVar[frozenset[str]] = frozenset({"freeze", "train_vision"})
    """Fields that may differ between a training and the checkpoint it begins with; all others must be equal."""

    @field_validator("cameras")
    @classmethod
    def _each_camera_once(cls, cameras: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(cameras)) != len(cameras) or not cameras:
            raise ValueError("must name each camera once")
        return cameras

    @abstractmethod
    def build(self, dtype: torch.dtype, instructions: Sequence[str] = (), checkpoint: Path | None = None) -> Backbone:
        """Build the backbone with its initial weights.

        Args:
            dtype: storage of frozen weights.
            instructions: those of the dataset, for a tokenizer that is built from them.
            checkpoint: folder of the checkpoint to be loaded, whose tokenizer is used. Weights that it holds may stay
                on the meta device: the caller fills them in.

        Raises:
            BackboneError: weights or tokenizer cannot be loaded.
        """

    @property
    def has_base_weights(self) -> bool:
        """True if the base weights can be loaded by name, so that a checkpoint need not hold them."""
        return False

    @property
    def begins_random(self) -> bool:
        """True if the weights are random before training."""
        return True

    @property
    def quantised(self) -> bool:
        """True if the frozen weights are stored in 8 or 4 bits."""
        return False

    @property
    def title(self) -> str:
        """Kind and, if it has one, name of the weights, for messages."""
        return self.kind

    def continuing(self, there: BackboneSettings) -> BackboneSettings:
        """Return these settings for a training that starts from the weights of ``there``, of the same kind.

        Raises:
            ValueError: those weights cannot be stored as these settings request.
        """
        del there
        return self

    def stored_like(self, wanted: BackboneSettings) -> BackboneSettings:
        """Return these settings of a checkpoint, with its weights stored as in ``wanted``."""
        del wanted
        return self

    def save_files(self, backbone: Backbone, folder: Path) -> None:
        """Write everything that :meth:`build` needs later, except weights, into a checkpoint."""
        backbone.tokenizer.save_pretrained(str(folder))

    def kosmos2_config(self) -> Any | None:
        """Return the transformers configuration if this is a Kosmos-2 of some size, for counting its products."""
        return None


class Backbone(nn.Module, ABC):
    """A network in two halves that can be timed and exported. ACT, if it is learned, is a parameter called ``act``."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self._instructions = InstructionCache(tokenizer)

    @property
    @abstractmethod
    def hidden_size(self) -> int:
        """Width of the ACT state."""

    @property
    @abstractmethod
    def image_size(self) -> int:
        """Side of the square input images [px]."""

    @property
    def has_maps(self) -> bool:
        """True if :meth:`encode_with_maps` returns heatmaps."""
        return False

    @property
    def vision_prefix(self) -> tuple[str, ...]:
        """Prefixes, within the backbone, of the names of the vision tower's parameters."""
        return ()

    def lora_targets(self, vision: bool) -> str:
        """Return a regular expression on the full paths, within the backbone, of the modules that LoRA adapts.

        ``vision``: include the vision tower.

        Raises:
            BackboneError: this backbone cannot be adapted.
        """
        del vision
        raise BackboneError("this backbone takes no adapters; set policy.lora.enabled=false")

    def tokenise(self, instructions: Sequence[str]) -> Tokens:
        """Return the token ids of instructions, padded on the right. Raises ValueError on an empty instruction."""
        return self._instructions(instructions)

    @abstractmethod
    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Run the vision half: image latents ``[N, ...]`` of ``images`` float ``[N, cameras, 3, S, S]`` in 0 .. 1."""

    @abstractmethod
    def act_states(self, latents: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """Run the text half: ACT states float ``[N, hidden_size]`` of image latents and one instruction per frame."""

    def encode(self, images: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """Return ACT states float ``[N, hidden_size]`` of ``images`` float ``[N, cameras, 3, S, S]`` in 0 .. 1."""
        return self.act_states(self.embed_images(images), tokens)

    def encode_with_maps(self, images: torch.Tensor, tokens: Tokens) -> tuple[torch.Tensor, Maps | None]:
        """Return what :meth:`encode` returns, and heatmaps over the first camera's image if this backbone has any."""
        return self.encode(images, tokens), None

    def maps(self, latents: torch.Tensor, tokens: Tokens) -> Maps | None:
        """Return the heatmaps over the first camera's image that :meth:`act_states` reads, if this backbone has any."""
        del latents, tokens
        return None

    def floor(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits ``[N, P]`` over the first camera's image: the robot is here, and: here nothing can drive.

        ``images`` are as for :meth:`encode`, of which the first camera's are used.

        Raises:
            BackboneError: this backbone sees no places.
        """
        del images
        raise BackboneError("this backbone has no maps of robot and floor; set hindsight_weight: 0")

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass, if this backbone can."""

    def for_driving(self, dtype: torch.dtype, make: MakeLinear) -> Backbone:
        """Return a backbone with the same results, without adapters and without gradients.

        It takes over the weights, so this one cannot be used afterwards. ``make`` builds its linear layers.

        Raises:
            ValueError: a layer is of an unknown kind, such as one whose weights are stored in 8 or 4 bits.
        """
        merge_lora(self)
        # Its children only: ACT and the pixel statistics stay in full precision, which costs nothing.
        for child in self.children():
            child.to(dtype)
        replace_linears(self, make)
        return self


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
