"""What a training begins from: new weights, or those of another checkpoint (``init_from``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from mobile_vla_policy.backbones.backbone import BackboneSettings
from mobile_vla_policy.checkpoint import CheckpointInfo, load_network, read_info, resolve
from mobile_vla_policy.model.network import PolicyNetwork, adapt, build_network, mark_trainable
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.samples.episodes import TrainingData
from mobile_vla_policy.training.settings import TrainSettings

_STORAGE = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

#: Fields that give tensors their shapes or their meaning: these must be the same in both trainings.
_HEAD = ("input_size", "hidden_size", "layers", "horizon", "state")
_LORA = ("rank", "alpha", "targets")


class StartError(ValueError):
    """A training cannot begin from that checkpoint. The message is one line naming the field that differs."""


def storage(settings: TrainSettings) -> torch.dtype:
    """How frozen weights and features are stored."""
    return _STORAGE[settings.precision]


def read_start(settings: TrainSettings) -> CheckpointInfo | None:
    """The checkpoint that ``init_from`` names, if it does. Raises CheckpointError or HubError."""
    return None if settings.init_from is None else read_info(resolve(settings.init_from))


def begin(
    settings: TrainSettings, data: TrainingData, info: CheckpointInfo | None
) -> tuple[TrainSettings, PolicyNetwork]:
    """The network before training, and the settings with what the checkpoint ``info`` brought along.

    Random weights come from torch's current random state.

    Raises:
        StartError: the checkpoint's architecture is another one.
        CheckpointError, ContractError: it cannot be loaded, or was trained for another robot.
        BackboneError: base weights cannot be loaded.
    """
    if info is None:
        instructions = [episode.instruction for episode in data.splits["train"]]
        return settings, build_network(settings.policy, instructions=instructions, dtype=storage(settings))
    info.contract.require_same(data.contract, f"the checkpoint {info.folder}", "the dataset")
    policy = _continued(settings.policy, info)
    # Dropout, window, stride and the bits of published weights change no tensor of the checkpoint: there the new
    # training has its way.
    there = info.settings
    own = {
        "head": policy.head,
        "lora": there.lora.model_copy(update={"dropout": policy.lora.dropout}),
        "backbone": there.backbone.stored_like(policy.backbone),
    }
    source = replace(info, settings=there.model_copy(update=own))
    network = load_network(source, storage(settings))
    if policy.lora.enabled and not info.settings.lora.enabled:
        adapt(network.backbone, policy)
    mark_trainable(network, policy)
    if not policy.backbone.always_fp32:
        # What learned in float32 there and is frozen here is stored like the rest of the frozen weights.
        for name, parameter in network.backbone.named_parameters():
            if not parameter.requires_grad and parameter.is_floating_point() and ".lora_" not in name:
                parameter.data = parameter.data.to(storage(settings))
    return settings.model_copy(update={"policy": policy}), network


def _continued(wanted: PolicySettings, info: CheckpointInfo) -> PolicySettings:
    """The new training's architecture, with the adapters and the tuned weights that are already there."""
    there = info.settings
    _require_same(info.folder, "policy.backbone", wanted.backbone, there.backbone, _fixed_fields(wanted.backbone))
    _require_same(info.folder, "policy.head", wanted.head, there.head, _HEAD)
    lora = wanted.lora
    if there.lora.enabled and wanted.lora.enabled:
        _require_same(info.folder, "policy.lora", wanted.lora, there.lora, _LORA)
        _require_same(info.folder, "policy.backbone", wanted.backbone, there.backbone, ("train_vision",))
    elif there.lora.enabled:
        lora = there.lora.model_copy(update={"train": False})
    elif not wanted.lora.train:
        raise StartError(f"{info.folder}: has no adapters that policy.lora.train: false could keep; leave it out")
    try:
        backbone = wanted.backbone.continuing(there.backbone)
    except ValueError as error:
        raise StartError(f"{info.folder}: {error}") from None
    if there.lora.enabled:
        # Adapters on the vision tower are there or not, whatever the new training asks for.
        backbone = backbone.model_copy(update={"train_vision": there.backbone.train_vision})
    return wanted.model_copy(update={"backbone": backbone, "lora": lora})


def _fixed_fields(backbone: BackboneSettings) -> tuple[str, ...]:
    """Return the fields that give tensors their shapes or their meaning, ``kind`` first."""
    return tuple(name for name in type(backbone).model_fields if name not in backbone.free_fields)


def _require_same(folder: Path, group: str, wanted: object, there: object, fields: tuple[str, ...]) -> None:
    for field in fields:
        mine, theirs = getattr(wanted, field), getattr(there, field)
        if mine != theirs:
            raise StartError(
                f"init_from {folder}: {group}.{field} is {theirs} there and {mine} here; set {group}.{field}={theirs}"
            )
