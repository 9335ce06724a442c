"""Kosmos-2 (Peng et al. 2023) as its own authors trained it, read out at one learned ACT token.

The sequence of one frame, with both cameras (one camera: without the second bracket)::

    position   0     1      2 .. 65     66       67      68 .. 131   132       133            134 ..     134 + n
    token     <s> <image> [static: 64] </image> <image> [gripper: 64] </image> <grounding> instruction (n)  ACT <pad>
                           latents                       latents                                             |
                                                                                    final hidden state [2048] -> head

The text model is causal and padding comes after ACT, so neither padding nor other items of the batch can change the
ACT state, and no padding mask is needed. Position ids are given explicitly (Kosmos-2 counts from ``pad_token_id + 1``).
The cameras go through the vision tower as one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers import Kosmos2Config, Kosmos2Model, PreTrainedTokenizerBase

from mobile_vla_policy.backbones.backbone import Backbone, BackboneError, checkpoint_activations
from mobile_vla_policy.backbones.kosmos2_driving import FastKosmos2Backbone
from mobile_vla_policy.backbones.linear import MakeLinear
from mobile_vla_policy.backbones.published import PublishedSettings
from mobile_vla_policy.backbones.tokenizer import Tokens, build_tokenizer, load_tokenizer

#: Attention and feed-forward layers of the text model, by full path: bare suffixes also match the image projection.
TEXT_TARGETS = r"model\.text_model\.model\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|ffn\.fc[12])"
VISION_TARGETS = r"model\.vision_model\.model\.encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"

#: Mean and standard deviation of CLIP's training images (Radford et al. 2021), which Kosmos-2's vision tower expects.
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)

BEGIN, IMAGE, END_OF_IMAGE, GROUNDING = "<s>", "<image>", "</image>", "<grounding>"


class Kosmos2Settings(PublishedSettings):
    """Kosmos-2 at its published size, 1.66 B parameters."""

    kind: Literal["kosmos2"] = "kosmos2"
    name: str = "microsoft/kosmos-2-patch14-224"

    def build(
        self, dtype: torch.dtype, instructions: Sequence[str] = (), checkpoint: Path | None = None
    ) -> Kosmos2Backbone:
        """Load the published weights, or build the architecture for the weights of a checkpoint."""
        cameras = len(self.cameras)
        if checkpoint and (known := self.known_architecture(checkpoint)):
            return Kosmos2Backbone(known.without_weights(dtype), load_tokenizer(checkpoint), cameras)
        if self.weights == "random":
            # Nothing is read from the hub: the architecture is known, and words mean nothing to random weights.
            tokenizer = load_tokenizer(checkpoint) if checkpoint else build_tokenizer(instructions)
            return Kosmos2Backbone(random_kosmos2(dtype, without_weights=checkpoint is not None), tokenizer, cameras)
        model = self._load(dtype)
        return Kosmos2Backbone(model, load_tokenizer(checkpoint or self.source), cameras)

    def kosmos2_config(self) -> Kosmos2Config:
        """Return the published configuration."""
        return Kosmos2Config()

    def _load(self, dtype: torch.dtype) -> Kosmos2Model:
        try:
            return Kosmos2Model.from_pretrained(self.source, dtype=dtype, **self.quantisation(dtype))
        except (OSError, ImportError, ValueError, RuntimeError) as error:
            raise BackboneError(f"cannot load Kosmos-2 from '{self.name}': {' '.join(str(error).split())}") from None


class Kosmos2Backbone(Backbone):
    """Kosmos-2 without its language-model head, plus the ACT embedding."""

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(self, model: Kosmos2Model, tokenizer: PreTrainedTokenizerBase, cameras: int) -> None:
        super().__init__(tokenizer)
        self.model = model
        # transformers before 5.23 makes it causal: a latent then sees only the first parts of the image.
        model.image_to_text_projection.x_attn.is_causal = False
        config: Any = model.config
        self._text, self._vision = config.text_config, config.vision_config
        self.cameras = cameras
        width = self._text.embed_dim
        # Token embeddings of this family have a standard deviation of width^-0.5; ACT starts as one of them.
        self.act = nn.Parameter(torch.randn(width) * width**-0.5)
        begin, image, end, grounding = (self._id(token) for token in (BEGIN, IMAGE, END_OF_IMAGE, GROUNDING))
        self.frame_ids = [[begin, image]] + [[end, image]] * (cameras - 1) + [[end, grounding]]
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)

    @property
    def hidden_size(self) -> int:
        """Width of the ACT state: 2048 for Kosmos-2."""
        return int(self._text.embed_dim)

    @property
    def image_size(self) -> int:
        """Side of the square input images [px]: 224 for Kosmos-2."""
        return int(self._vision.image_size)

    def lora_targets(self, vision: bool) -> str:
        """Return the full paths of the text model's layers, with the vision tower's on request."""
        return f"({TEXT_TARGETS}|{VISION_TARGETS})" if vision else TEXT_TARGETS

    @property
    def vision_prefix(self) -> tuple[str, ...]:
        """The vision tower, without the projection into the text model."""
        return ("model.vision_model.",)

    def act_states(self, latents: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """Return ACT states ``[N, hidden_size]`` of image latents ``[N, cameras, latents, hidden_size]``."""
        embeddings = torch.cat([self._embed_frame(latents), self._embed_instruction(tokens)], dim=1)
        count, length, _ = embeddings.shape
        first = self._text.pad_token_id + 1
        positions = torch.arange(first, first + length, device=embeddings.device).expand(count, length).contiguous()
        states: torch.Tensor = self.model.text_model(
            inputs_embeds=embeddings, position_ids=positions, use_cache=False
        ).last_hidden_state
        act = length - tokens.ids.shape[1] - 1 + tokens.lengths
        return states[torch.arange(count, device=states.device), act]

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return image latents ``[N, cameras, latents, hidden_size]`` of ``images`` float ``[N, cameras, 3, S, S]``."""
        count, cameras = images.shape[:2]
        weight = self.model.vision_model.model.embeddings.patch_embedding.weight
        pixels = ((images.flatten(0, 1) - self.pixel_mean) / self.pixel_std).to(weight.dtype)
        # A frozen tower needs no graph, which would be most of the activation memory of a training step.
        trains = torch.is_grad_enabled() and any(p.requires_grad for p in self.model.vision_model.parameters())
        with torch.set_grad_enabled(trains):
            states = self.model.vision_model.model(pixel_values=pixels).last_hidden_state
            states = self.model.vision_model.model.post_layernorm(states)
        latents: torch.Tensor
        latents, _ = self.model.image_to_text_projection(nn.functional.normalize(states, dim=-1))
        return torch.unflatten(latents, 0, (count, cameras))

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass."""
        checkpoint_activations(self.model)

    def for_driving(self, dtype: torch.dtype, make: MakeLinear) -> Backbone:
        """Return Kosmos-2 without what only training needs; it takes over the weights layer by layer."""
        return FastKosmos2Backbone(
            self.model, self.tokenizer, self.act, (self.pixel_mean, self.pixel_std), self.frame_ids, dtype, make
        )

    def _embed_frame(self, latents: torch.Tensor) -> torch.Tensor:
        count = len(latents)
        ids = torch.tensor(self.frame_ids, device=latents.device)
        marks = self.model.text_model.model.embed_tokens(ids).expand(count, -1, -1, -1)
        parts = [marks[:, 0]]
        for camera in range(self.cameras):
            parts += [latents[:, camera], marks[:, camera + 1]]
        return torch.cat(parts, dim=1)

    def _embed_instruction(self, tokens: Tokens) -> torch.Tensor:
        """Embed the instruction, then ACT, then padding: ``[N, L + 1, hidden_size]``."""
        words = self.model.text_model.model.embed_tokens(nn.functional.pad(tokens.ids, (0, 1)))
        here = torch.arange(words.shape[1], device=words.device) == tokens.lengths[:, None]
        return torch.where(here[..., None], self.act.to(words.dtype), words)

    def _id(self, token: str) -> int:
        index = self.tokenizer.convert_tokens_to_ids(token)
        if not isinstance(index, int) or index == self.tokenizer.unk_token_id:
            raise BackboneError(f"the tokenizer has no token '{token}'; it is not Kosmos-2's")
        return index


def random_kosmos2(dtype: torch.dtype, without_weights: bool = False) -> Kosmos2Model:
    """Build the published architecture with random weights, or with its weights on the meta device."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        # Buffers are computed in any case: a checkpoint does not hold what follows from the configuration.
        with init_empty_weights(include_buffers=False) if without_weights else nullcontext():
            return Kosmos2Model(Kosmos2Config())
    finally:
        torch.set_default_dtype(before)
