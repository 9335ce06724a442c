"""What a checkpoint says of a named backbone when it holds all of its weights: enough to build it without its name.

A robot without a network, or whose folder of published weights has moved, then loads what is in the checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import AutoConfig, AutoModel

from mobile_vla_policy.model.auto_vlm import AutoVlmBackbone
from mobile_vla_policy.model.backbone import BackboneError
from mobile_vla_policy.model.kosmos2 import Kosmos2Backbone

ARCHITECTURE = "backbone.json"


@dataclass(frozen=True)
class Architecture:
    """A model's configuration, and how its images are normalised."""

    config: dict[str, Any]
    pixel_mean: list[float]
    pixel_std: list[float]

    @classmethod
    def of(cls, backbone: Kosmos2Backbone | AutoVlmBackbone) -> Architecture:
        """That of a backbone, without adapters."""
        mean, std = backbone.pixel_mean.flatten().tolist(), backbone.pixel_std.flatten().tolist()
        return cls(json.loads(backbone.model.config.to_json_string()), mean, std)

    def write(self, folder: Path) -> None:
        """Into a checkpoint."""
        (folder / ARCHITECTURE).write_text(json.dumps(vars(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Architecture | None:
        """From a checkpoint; None when it has none. Raises :class:`BackboneError`: it is damaged."""
        path = folder / ARCHITECTURE
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, TypeError) as error:
            raise BackboneError(f"{path}: malformed: {' '.join(str(error).split())}") from None

    def without_weights(self, dtype: torch.dtype) -> Any:
        """The model, whichever its class is, its weights on the meta device; whoever calls fills in every one."""
        config = AutoConfig.for_model(**self.config)
        # Buffers are computed in any case: a checkpoint does not hold what follows from the configuration.
        with init_empty_weights(include_buffers=False):
            return AutoModel.from_config(config, dtype=dtype)
