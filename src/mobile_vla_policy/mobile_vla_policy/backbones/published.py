"""Backbones with weights published on the Hugging Face hub: their settings, and their description in a checkpoint.

A checkpoint of such a backbone holds only the tensors that were trained. Once the backbone itself was tuned, the
checkpoint holds all tensors and ``backbone.json``, so that it loads without the published weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from accelerate import init_empty_weights
from pydantic import model_validator
from transformers import AutoConfig, AutoModel

from mobile_vla_policy.backbones.backbone import Backbone, BackboneError, BackboneSettings

ARCHITECTURE = "backbone.json"


class PublishedSettings(BackboneSettings):
    """Settings of every backbone whose weights have a name."""

    name: str
    """Hub name or local folder of configuration, weights and tokenizer."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """random builds the published architecture without its weights, for measuring time and memory."""
    load_in: Literal["full", "8bit", "4bit"] = "full"
    """Storage of the frozen base weights; 8bit and 4bit (NF4) need bitsandbytes and CUDA."""
    tuned: bool = False
    """The weights differ from the published ones, so a checkpoint holds them all; init_from sets it."""

    free_fields: ClassVar[frozenset[str]] = BackboneSettings.free_fields | {"load_in", "tuned"}

    @model_validator(mode="after")
    def _consistent(self) -> PublishedSettings:
        if not self.name:
            raise ValueError(f"kind {self.kind} needs a name: a hub name or a local folder")
        if self.quantised and not self.freeze:
            raise ValueError(f"load_in {self.load_in} stores frozen weights; set freeze: true")
        if self.quantised and self.weights == "random":
            raise ValueError(
                f"load_in {self.load_in} is for published weights, but these are random; set load_in: full"
            )
        return self

    @property
    def source(self) -> str:
        """``name`` with ``~`` expanded, for transformers."""
        return str(Path(self.name).expanduser()) if self.name.startswith("~") else self.name

    @property
    def has_base_weights(self) -> bool:
        """True if the base weights can be loaded by name, so that a checkpoint need not hold them."""
        return self.weights == "pretrained" and not self.tuned

    @property
    def begins_random(self) -> bool:
        """True if the weights are random before training."""
        return self.weights == "random"

    @property
    def quantised(self) -> bool:
        """True if the frozen weights are stored in 8 or 4 bits."""
        return self.load_in != "full"

    @property
    def title(self) -> str:
        """Kind and name, for messages."""
        return f"{self.kind}: {self.name}"

    def continuing(self, there: BackboneSettings) -> PublishedSettings:
        """Note that the weights are tuned ones if those of ``there`` are, or were trained in that training.

        Raises:
            ValueError: tuned weights cannot be loaded in 8 or 4 bits.
        """
        assert isinstance(there, PublishedSettings)
        tuned = there.tuned or (not there.freeze and there.has_base_weights)
        if tuned and self.quantised:
            raise ValueError(
                "its backbone was tuned, so its weights are not the published ones that "
                f"policy.backbone.load_in={self.load_in} loads; set policy.backbone.load_in=full"
            )
        return self.model_copy(update={"tuned": tuned})

    def stored_like(self, wanted: BackboneSettings) -> PublishedSettings:
        """Return these settings with ``load_in`` of ``wanted``."""
        assert isinstance(wanted, PublishedSettings)
        return self.model_copy(update={"load_in": wanted.load_in})

    def save_files(self, backbone: Backbone, folder: Path) -> None:
        """Write the tokenizer and, if the checkpoint has to hold all weights, the architecture."""
        super().save_files(backbone, folder)
        if self.tuned:
            Architecture.of(backbone).write(folder)

    def known_architecture(self, checkpoint: Path | None) -> Architecture | None:
        """Return the architecture that a checkpoint of tuned weights holds; None if the published one is needed."""
        return Architecture.read(checkpoint) if self.tuned and checkpoint else None

    def quantisation(self, dtype: torch.dtype) -> dict[str, Any]:
        """Return the arguments for ``from_pretrained`` that store the weights as ``load_in`` says.

        Raises:
            ValueError: there is no CUDA, which bitsandbytes needs.
        """
        if not self.quantised:
            return {}
        if not torch.cuda.is_available():
            raise ValueError(f"load_in {self.load_in} needs CUDA; set policy.backbone.load_in=full")
        from transformers import BitsAndBytesConfig

        if self.load_in == "8bit":
            return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
        # As in QLoRA (Dettmers et al. 2023): levels at the quantiles of a normal distribution, their scales in 8 bits.
        return {
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=dtype,
            )
        }


@dataclass(frozen=True)
class Architecture:
    """Configuration of a transformers model, and the normalisation of its images."""

    config: dict[str, Any]
    pixel_mean: list[float]
    pixel_std: list[float]

    @classmethod
    def of(cls, backbone: Any) -> Architecture:
        """Describe a backbone without its adapters."""
        mean, std = backbone.pixel_mean.flatten().tolist(), backbone.pixel_std.flatten().tolist()
        return cls(json.loads(backbone.model.config.to_json_string()), mean, std)

    def write(self, folder: Path) -> None:
        """Write into a checkpoint."""
        (folder / ARCHITECTURE).write_text(json.dumps(vars(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Architecture | None:
        """Read from a checkpoint; None if it has none. Raises :class:`BackboneError` if it is damaged."""
        path = folder / ARCHITECTURE
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, TypeError) as error:
            raise BackboneError(f"{path}: malformed: {' '.join(str(error).split())}") from None

    def without_weights(self, dtype: torch.dtype) -> Any:
        """Build the model with its weights on the meta device; the caller fills in all of them."""
        config = AutoConfig.for_model(**self.config)
        # Buffers are computed in any case: a checkpoint does not hold what follows from the configuration.
        with init_empty_weights(include_buffers=False):
            return AutoModel.from_config(config, dtype=dtype)
