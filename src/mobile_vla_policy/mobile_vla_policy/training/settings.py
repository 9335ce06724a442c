"""Settings of training: one comment a field; config/train.yaml is an example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mobile_vla_policy.config import Frozen, load_settings
from mobile_vla_policy.model.settings import PolicySettings


class AugmentSettings(Frozen):
    """Random changes of the images: one draw for all frames of an episode in a batch."""

    shift: float = Field(default=0.04, ge=0, lt=0.5)
    """Largest shift, as a share of the image's side."""
    brightness: float = Field(default=0.1, ge=0, lt=1)
    """Largest change of brightness, as a share."""
    contrast: float = Field(default=0.1, ge=0, lt=1)
    """Largest change of contrast, as a share."""
    saturation: float = Field(default=0.1, ge=0, lt=1)
    """Largest change of saturation, as a share."""
    dihedral: bool = False
    """Turn by multiples of 90 degrees and mirror, images and actions together. Only under a
    first camera that looks straight down, with other cameras on an arm that points where the robot drives."""
    camera_turn_deg: Literal[0, 90, 180, 270] = 0
    """Only for dihedral: direction of the robot's x in the first camera's image, counter-clockwise from right [deg]."""


class TrainSettings(Frozen):
    """Settings of a training."""

    policy: PolicySettings = PolicySettings()
    """Settings of the network."""
    init_from: str | None = None
    """Begin with the weights of this checkpoint (folder, output of a training, or hf:user/name).
    With lora.enabled: false, its adapters are kept unchanged."""
    feature_cache: str | None = None
    """Folder of the backbone's features, if only the head learns; by default .features in the dataset."""
    feature_views: int = Field(default=1, ge=1)
    """Times that the features of each training episode are computed, if only the head learns: once as it is, then
    under a draw of augment and in a drawn wording."""
    augment: AugmentSettings = AugmentSettings()
    """Random changes of the images."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate of AdamW."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of AdamW's moments."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of AdamW, on matrices only."""
    batch_size: int = Field(default=2, ge=1)
    """Windows per process and optimisation step (before accumulation)."""
    accumulation: int = Field(default=1, ge=1)
    """Batches per optimisation step."""
    epochs: int = Field(default=10, ge=1)
    """Every recorded step is used once per epoch."""
    max_minutes: float | None = Field(default=None, gt=0)
    """Time budget: the learning rate reaches zero at its end, and training stops. Overrides epochs."""
    max_steps: int | None = Field(default=None, ge=1)
    """Number of optimisation steps. Overrides epochs."""
    warmup_steps: int = Field(default=100, ge=0)
    """Optimisation steps until the learning rate reaches its peak."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    gripper_weight: float = Field(default=0.1, ge=0)
    """Weight of the gripper's cross-entropy beside the squared error of the motion."""
    grounding_weight: float = Field(default=0.0, ge=0)
    """Weight of the cross-entropy of a heatmap of the instructed target, in episodes that say where it is."""
    hindsight_weight: float = Field(default=0.0, ge=0)
    """Weight of the losses on robot, free floor and way from whole episodes (training/hindsight.py). Needs a backbone
    with such maps (film), and at least three frames of an episode in a batch (together)."""
    together: int = Field(default=1, ge=1)
    """Windows of the same episode in a batch, drawn from the whole episode. Must divide batch_size."""
    gripper_repeats: int = Field(default=0, ge=0)
    """Additional times per epoch that windows around a change of the gripper are used."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp16"
    """Precision of products and frozen weights; fp16 needs CUDA. Trained weights are stored in fp32."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass: less memory, a third more time."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Keep an exponential moving average of the weights and save that."""
    seed: int = 0
    """Seed of weights, shuffling and augmentation."""
    workers: int = Field(default=2, ge=0)
    """Processes that decode images, if these do not fit in memory."""
    cache_gb: float = Field(default=4.0, ge=0)
    """Decoded frames are kept in memory if they take less than this [GB]; otherwise they are decoded every epoch."""
    evaluate_every: int = Field(default=500, ge=1)
    """Optimisation steps between two validations."""
    save_every_minutes: float = Field(default=10.0, gt=0)
    """Minutes between two saves of the state for --resume, beside those at validations."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many validations without a better loss."""
    log_every: int = Field(default=10, ge=1)
    """Optimisation steps between two lines of the log."""

    @model_validator(mode="after")
    def _something_learns_to_see(self) -> TrainSettings:
        backbone, lora = self.policy.backbone, self.policy.lora
        if backbone.begins_random and backbone.freeze and not lora.enabled and self.init_from is None:
            raise ValueError(
                f"a frozen {backbone.kind} with random weights learns nothing; set policy.backbone.freeze: false, "
                "or init_from: a trained checkpoint"
            )
        if self.batch_size % self.together:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of together {self.together}")
        frames = self.together * self.policy.head.window
        if self.hindsight_weight and frames < 3 and not self.policy.head_only:
            raise ValueError(
                f"hindsight_weight needs three frames of an episode in a batch, not {frames}; set together: 4"
            )
        if self.augment.dihedral and self.policy.head.state == "full":
            raise ValueError(
                "augment.dihedral turns the world, so that x, y mean nothing; set policy.head.state: gripper"
            )
        if lora.enabled and not lora.train and self.init_from is None:
            raise ValueError("policy.lora.train: false keeps adapters of an earlier training; name it in init_from")
        return self


def load_train_settings(path: str | Path, overrides: Sequence[str] = ()) -> TrainSettings:
    """Read training settings from a YAML file, with overrides. Raises ConfigError."""
    return load_settings(TrainSettings, path, overrides)
