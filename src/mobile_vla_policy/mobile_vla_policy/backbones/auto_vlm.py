"""Any Hugging Face image-text-to-text model as a backbone, read out at one learned ACT token as Kosmos-2 is.

The sequence of one frame::

    <bos> [static: image tokens] [gripper: image tokens] instruction (n) ACT <pad> ..

As with Kosmos-2, padding comes after ACT and positions are explicit, so neither padding nor other items of the batch
reach the ACT state. Models that attend in both directions within their prompt (PaliGemma) do so up to the end of the
instruction.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, ImageProcessingMixin, PreTrainedModel, PreTrainedTokenizerBase

from mobile_vla_policy.backbones.backbone import Backbone, BackboneError, checkpoint_activations
from mobile_vla_policy.backbones.published import PublishedSettings
from mobile_vla_policy.backbones.tokenizer import Tokens, load_tokenizer

_LINEAR = r"(q_proj|k_proj|v_proj|o_proj|out_proj|gate_proj|up_proj|down_proj|fc1|fc2)"
TEXT_TARGETS = rf"model\.(language_model|text_model)\..*\.{_LINEAR}"
VISION_TARGETS = rf"model\.vision_(model|tower)\..*\.{_LINEAR}"

#: Model types whose vision tower takes ``[N, images, 3, S, S]`` instead of one image after the other.
_TAKES_IMAGE_LISTS = frozenset({"smolvlm", "idefics3", "idefics2"})
#: Model types that attend in both directions within the prompt, and count positions from 1.
_PREFIX_ATTENTION = frozenset({"paligemma"})

#: Values of SigLIP (Zhai et al. 2023), the vision tower of most of these models; used if a model gives none.
_PIXEL_MEAN = _PIXEL_STD = (0.5, 0.5, 0.5)


class AutoVlmSettings(PublishedSettings):
    """Any image-text-to-text model of the hub; see docs/explanation/model.md for those that were tried."""

    kind: Literal["auto"] = "auto"

    def build(
        self, dtype: torch.dtype, instructions: Sequence[str] = (), checkpoint: Path | None = None
    ) -> AutoVlmBackbone:
        """Load the model by name, or build its architecture for the weights of a checkpoint."""
        cameras = len(self.cameras)
        if checkpoint and (known := self.known_architecture(checkpoint)):
            model, tokenizer = known.without_weights(dtype), load_tokenizer(checkpoint)
            return AutoVlmBackbone(model, tokenizer, cameras, known.pixel_mean, known.pixel_std)
        model = self._load(dtype)
        tokenizer = load_tokenizer(checkpoint or self.source)
        return AutoVlmBackbone(model, tokenizer, cameras, *pixel_statistics(self.source))

    def _load(self, dtype: torch.dtype) -> PreTrainedModel:
        """Load the model; with ``weights: random`` only its configuration is read.

        Raises:
            BackboneError: nothing can be loaded from there, or the model does not take square images of one size.
        """
        name = self.source
        try:
            config = AutoConfig.from_pretrained(name)
            if getattr(config, "vision_config", None) is None:
                raise BackboneError(f"'{name}' is a {config.model_type} model, which takes no images")
            if self.weights == "random":
                model: PreTrainedModel = AutoModel.from_config(config, dtype=dtype)
            else:
                model = AutoModel.from_pretrained(name, dtype=dtype, **self.quantisation(dtype))
        except (OSError, ImportError, ValueError) as error:
            raise BackboneError(f"cannot load a model from '{name}': {' '.join(str(error).split())}") from None
        _require_square_images(name, model)
        return model


class AutoVlmBackbone(Backbone):
    """A vision-language model without its language-model head, plus the ACT embedding."""

    #: Each of these models has methods beside those of the common base class.
    model: Any
    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        cameras: int,
        pixel_mean: Sequence[float] = _PIXEL_MEAN,
        pixel_std: Sequence[float] = _PIXEL_STD,
    ) -> None:
        super().__init__(tokenizer)
        self.model = model
        self.cameras = cameras
        words: torch.Tensor = self.model.get_input_embeddings().weight
        # ACT begins as a word. Words without values are filled from a checkpoint later, and so is ACT.
        spread = 1.0 if words.is_meta else float(words.detach().float().std())
        self.act = nn.Parameter(torch.randn(words.shape[1]) * spread)
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(3, 1, 1), persistent=False)

    @property
    def hidden_size(self) -> int:
        """Width of the ACT state."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def image_size(self) -> int:
        """Side of the square input images [px]."""
        side = _image_size(self.model.config)
        assert side is not None, "models without one are refused when they are loaded"
        return side

    def lora_targets(self, vision: bool) -> str:
        """Return the paths of attention and feed-forward layers, with the vision tower's on request."""
        return f"({TEXT_TARGETS}|{VISION_TARGETS})" if vision else TEXT_TARGETS

    @property
    def vision_prefix(self) -> tuple[str, ...]:
        """The vision tower, by either of its usual names."""
        return ("model.vision_model.", "model.vision_tower.")

    def act_states(self, latents: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """Return ACT states ``[N, hidden_size]`` of image tokens ``[N, cameras * tokens, hidden_size]``."""
        words: nn.Module = self.model.get_input_embeddings()
        text = words(nn.functional.pad(tokens.ids, (0, 1)))
        here = torch.arange(text.shape[1], device=text.device) == tokens.lengths[:, None]
        text = torch.where(here[..., None], self.act.to(text.dtype), text)
        parts = [latents.to(text.dtype), text]
        if self.tokenizer.bos_token_id is not None:
            begin = torch.full((len(latents), 1), self.tokenizer.bos_token_id, device=latents.device)
            parts.insert(0, words(begin))
        embeddings = torch.cat(parts, dim=1)
        count, length, _ = embeddings.shape
        act = length - text.shape[1] + tokens.lengths
        states: torch.Tensor = self.model(
            inputs_embeds=embeddings, use_cache=False, **self._where(act, length)
        ).last_hidden_state
        return states[torch.arange(count, device=states.device), act]

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass."""
        checkpoint_activations(self.model)

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return the image tokens of all cameras, ``[N, cameras * tokens, hidden_size]``."""
        pixels = ((images - self.pixel_mean) / self.pixel_std).to(self.model.dtype)
        if self.model.config.model_type not in _TAKES_IMAGE_LISTS:
            pixels = pixels.flatten(0, 1)
        language = self.model.get_decoder()
        inside = {id(parameter) for parameter in language.parameters()}
        # A frozen tower needs no graph, which would be most of the activation memory of a training step.
        learns = any(p.requires_grad for p in self.model.parameters() if id(p) not in inside)
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
            features = self.model.get_image_features(pixels).pooler_output
        features = torch.cat(list(features)) if isinstance(features, (list, tuple)) else features
        return torch.reshape(features, (len(images), -1, features.shape[-1]))

    def _where(self, act: torch.Tensor, length: int) -> dict[str, torch.Tensor]:
        """Return positions and, for models that distinguish it, which tokens belong to the prompt."""
        place = torch.arange(length, device=act.device).expand(len(act), length)
        if self.model.config.model_type not in _PREFIX_ATTENTION:
            return {"position_ids": place.contiguous()}
        return {"position_ids": place + 1, "token_type_ids": (place >= act[:, None]).long()}


def _require_square_images(name: str, model: PreTrainedModel) -> None:
    config = model.config
    if not hasattr(model, "get_image_features"):
        raise BackboneError(f"'{name}' is a {config.model_type} model, which offers no image features")
    if _image_size(config) is None:
        raise BackboneError(f"'{name}' is a {config.model_type} model, which does not take square images of one size")
    if needed := _more_than_images(model):
        raise BackboneError(
            f"'{name}' is a {config.model_type} model, whose image features need {', '.join(needed)} too"
        )


def _image_size(config: Any) -> int | None:
    """Return the side of the square images that the vision tower takes [px]; None if it takes others."""
    size = getattr(config.vision_config, "image_size", None)
    if isinstance(size, (list, tuple)) and len(set(size)) == 1:
        size = size[0]
    return size if isinstance(size, int) else None


def _more_than_images(model: Any) -> list[str]:
    """Return the names of the arguments that ``get_image_features`` requires beside the images."""
    _, *others = inspect.signature(model.get_image_features).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [one.name for one in others if one.default is one.empty and one.kind in positional]


def pixel_statistics(name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and standard deviation for normalising the model's images."""
    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except OSError:
        settings = {}
    return settings.get("image_mean", _PIXEL_MEAN), settings.get("image_std", _PIXEL_STD)
