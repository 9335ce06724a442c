"""Settings of the model and of its training: frozen, strict, one comment a field, loaded from one YAML file.

:class:`PolicySettings` is what a checkpoint needs to be built again and travels inside it; :class:`TrainSettings` is
what only training needs. A value can be overridden on the command line as ``head.window=4`` (dots name the path).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class ConfigError(ValueError):
    """A settings file or an override is wrong. The message is one line naming the file, the field and the value."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BackboneSettings(_Frozen):
    """The vision-language model that looks at one frame."""

    kind: Literal["kosmos2-tiny", "kosmos2", "auto"] = "kosmos2"
    """kosmos2-tiny: same architecture, small, random weights; auto: any Hugging Face image-text-to-text model."""
    name: str | None = "microsoft/kosmos-2-patch14-224"
    """Hub name or local folder of configuration, weights and tokenizer; unused by kosmos2-tiny."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """random builds the published configuration without weights, for measuring time and memory."""
    cameras: tuple[Literal["static", "gripper"], ...] = ("static", "gripper")
    """Cameras shown to the model, in this order."""
    freeze: bool = True
    """Train only LoRA and the head; without LoRA the head alone, on features that are computed once. Random weights
    must not be frozen: they have nothing to keep."""
    train_vision: bool = False
    """When not frozen: train the vision tower too. With LoRA: put LoRA on the vision tower too."""
    load_in: Literal["full", "8bit", "4bit"] = "full"
    """Storage of the frozen base weights; 8bit and 4bit (NF4) need bitsandbytes and CUDA."""
    tuned: bool = False
    """The weights are no longer the published ones, so a checkpoint holds them all; init_from sets it."""
    width: int = Field(default=128, ge=32, multiple_of=32)
    """kosmos2-tiny only: hidden size of both towers."""
    layers: int = Field(default=3, ge=1)
    """kosmos2-tiny only: layers of each tower."""
    image_size: int = Field(default=112, ge=16, multiple_of=16)
    """kosmos2-tiny only: side of the square input image [px]; patches are 16 px."""
    latents: int = Field(default=16, ge=1)
    """kosmos2-tiny only: image latents per camera (Kosmos-2 has 64)."""

    @model_validator(mode="after")
    def _consistent(self) -> BackboneSettings:
        if len(set(self.cameras)) != len(self.cameras) or not self.cameras:
            raise ValueError(f"cameras {list(self.cameras)} must name each camera once")
        if self.kind != "kosmos2-tiny" and not self.name:
            raise ValueError(f"kind {self.kind} needs a name: a hub name or a local folder")
        if self.load_in != "full" and not self.freeze:
            raise ValueError(f"load_in {self.load_in} stores frozen weights; set freeze: true")
        if self.load_in != "full" and (self.kind == "kosmos2-tiny" or self.weights == "random"):
            raise ValueError(f"load_in {self.load_in} is for published weights, these are random; set load_in: full")
        return self

    @property
    def has_base_weights(self) -> bool:
        """Whether the base weights can be had again by name, so that a checkpoint need not hold them."""
        return self.kind != "kosmos2-tiny" and self.weights == "pretrained" and not self.tuned


class LoraSettings(_Frozen):
    """Low-rank adapters (Hu et al. 2021) on the backbone, through peft."""

    enabled: bool = True
    """Train adapters instead of the whole backbone."""
    rank: int = Field(default=32, ge=1)
    """Rank of the adapters."""
    alpha: int = Field(default=16, ge=1)
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout in front of the adapters."""
    targets: str | None = None
    """Regular expression on full module paths; by default the backbone's attention and feed-forward layers."""
    train: bool = True
    """false: the adapters stay as init_from has them."""


class HeadSettings(_Frozen):
    """The LSTM that turns a window of frames into chunks of actions."""

    input_size: int = Field(default=1024, ge=1)
    """The backbone's ACT state is projected to this."""
    hidden_size: int = Field(default=512, ge=1)
    """Width of the LSTM."""
    layers: int = Field(default=2, ge=1)
    """Layers of the LSTM."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Between the LSTM layers."""
    window: int = Field(default=8, ge=1)
    """Frames the LSTM sees."""
    frame_stride: int = Field(default=1, ge=1)
    """Control periods between two frames of a window, in training and when driving."""
    horizon: int = Field(default=5, ge=1)
    """Future actions predicted at every window position."""
    use_state: bool = False
    """Feed x, y and the gripper's state to the LSTM."""


class PolicySettings(_Frozen):
    """Everything that is needed to build the network again."""

    backbone: BackboneSettings = BackboneSettings()
    """The vision-language model."""
    lora: LoraSettings = LoraSettings()
    """Adapters of the backbone."""
    head: HeadSettings = HeadSettings()
    """The LSTM that predicts actions."""

    @property
    def head_only(self) -> bool:
        """Whether nothing but the head learns (stage 2), so that the backbone needs to see each frame only once."""
        return self.backbone.freeze and not (self.lora.enabled and self.lora.train)


class AugmentSettings(_Frozen):
    """Random changes of the images, one draw per window, the same for all its frames. Never mirrored."""

    shift: float = Field(default=0.04, ge=0, lt=0.5)
    """Largest shift, as a share of the image's side."""
    brightness: float = Field(default=0.1, ge=0, lt=1)
    """Largest change of brightness, as a share."""
    contrast: float = Field(default=0.1, ge=0, lt=1)
    """Largest change of contrast, as a share."""
    saturation: float = Field(default=0.1, ge=0, lt=1)
    """Largest change of saturation, as a share."""


class TrainSettings(_Frozen):
    """Settings of a training."""

    policy: PolicySettings = PolicySettings()
    """What is trained."""
    init_from: str | None = None
    """Begin with the weights of this checkpoint (folder, output of a training, or hf:user/name).
    With lora.enabled: false, its adapters are kept as they are."""
    feature_cache: str | None = None
    """When only the head learns: folder of the backbone's features; by default .features in the dataset."""
    augment: AugmentSettings = AugmentSettings()
    """Random changes of the images."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate of AdamW."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of AdamW."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW, on matrices only."""
    batch_size: int = Field(default=2, ge=1)
    """Windows per process and optimisation step (before accumulation)."""
    accumulation: int = Field(default=1, ge=1)
    """Batches per optimisation step."""
    epochs: int = Field(default=10, ge=1)
    """In one epoch every recorded step is seen once."""
    max_minutes: float | None = Field(default=None, gt=0)
    """Time budget: training ends then, and the learning rate falls to zero by then. Overrides epochs."""
    max_steps: int | None = Field(default=None, ge=1)
    """Ends training after this many optimisation steps. Overrides epochs."""
    warmup_steps: int = Field(default=100, ge=0)
    """Optimisation steps until the learning rate reaches its peak."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    gripper_weight: float = Field(default=0.1, ge=0)
    """Weight of the gripper's cross-entropy beside the squared error of the motion."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp16"
    """Of products and frozen weights; fp16 needs CUDA. Trained weights are stored in fp32."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass: less memory, a third more time."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Keep an exponential moving average of the weights and save that."""
    seed: int = 0
    """Of weights, shuffling and augmentation."""
    workers: int = Field(default=2, ge=0)
    """Processes that decode images, when they do not fit in memory."""
    cache_gb: float = Field(default=4.0, ge=0)
    """Decoded frames are kept in memory if they take less than this [GB]; otherwise they are decoded every epoch."""
    evaluate_every: int = Field(default=500, ge=1)
    """Optimisation steps between two validations."""
    save_every_minutes: float = Field(default=10.0, gt=0)
    """Between validations, the state that --resume goes on from is saved this often [min]."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many validations without a better loss."""
    log_every: int = Field(default=10, ge=1)
    """Optimisation steps between two lines of the log."""

    @model_validator(mode="after")
    def _something_learns_to_see(self) -> TrainSettings:
        policy = self.policy
        blind = policy.backbone.kind == "kosmos2-tiny" and policy.backbone.freeze and not policy.lora.enabled
        if blind and self.init_from is None:
            raise ValueError(
                "a frozen kosmos2-tiny has random weights and sees nothing; set policy.backbone.freeze: false, "
                "or init_from: a checkpoint that has learned to see"
            )
        if policy.lora.enabled and not policy.lora.train and self.init_from is None:
            raise ValueError("policy.lora.train: false keeps adapters of an earlier training; name it in init_from")
        return self


def load_train_settings(path: str | Path, overrides: Sequence[str] = ()) -> TrainSettings:
    """Read a YAML file and apply ``path.to.field=value`` overrides; values are read as YAML.

    Raises:
        ConfigError: the file is missing or not YAML, or a field is unknown, of the wrong type or out of range.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such settings file; config/train.yaml is an example") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: settings are a mapping of fields, got {type(data).__name__}")
    for override in overrides:
        _override(data, override)
    settings: TrainSettings = validate(TrainSettings, data, str(path), overrides)
    return settings


def validate(model: type[Any], data: Any, origin: str, overrides: Sequence[str] = ()) -> Any:
    """Build settings from parsed data; :class:`ConfigError` names ``origin``, the field and the value.

    A field that one of ``overrides`` set is blamed on that.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "settings"
        set_here = [override for override in overrides if f"{field}.".startswith(f"{override.partition('=')[0]}.")]
        origin = f"'{set_here[-1]}'" if set_here else origin
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            reason = f"no setting has this name{_meant(model, first['loc'])}"
        value = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
        raise ConfigError(f"{origin}: {field}: {reason}{value}") from None


def _meant(model: Any, place: tuple[int | str, ...]) -> str:
    """`; did you mean X?` of a setting's place, if a name within its group is close to it; empty otherwise."""
    *groups, name = map(str, place)
    for group in groups:
        model = getattr(model.model_fields.get(group), "annotation", None) if hasattr(model, "model_fields") else None
    close = get_close_matches(name, getattr(model, "model_fields", ()), 1)
    return f"; did you mean {'.'.join([*groups, close[0]])}?" if close else ""


def read_versioned(path: Path, version: int, kind: str) -> dict[str, Any]:
    """The JSON document that makes a folder a ``kind``, checkpoint or export.

    Raises:
        ConfigError: it is missing, cannot be read, or its ``format_version`` is another.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: missing; this is no {kind}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    found = data.get("format_version") if isinstance(data, dict) else None
    if found != version:
        raise ConfigError(f"{path}: format_version is {found}, this version reads {version}: use the one that wrote it")
    return dict(data)


def _override(data: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"'{override}': an override is written field=value, for example learning_rate=3e-4")
    *parents, field = path.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise ConfigError(f"'{override}': {parent} is not a group of fields")
    try:
        data[field] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"'{override}': '{text}' is not a value") from None
