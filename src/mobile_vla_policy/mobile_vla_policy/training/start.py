"""Initial weights of a training: new ones, or those of another checkpoint (``init_from``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from mobile_vla_data.action import action_names
from mobile_vla_policy.backbones.backbone import BackboneSettings
from mobile_vla_policy.checkpoint import CheckpointInfo, load_network, read_info, resolve
from mobile_vla_policy.model.network import PolicyNetwork, adapt, build_network, mark_trainable
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.samples.episodes import TrainingData
from mobile_vla_policy.training.settings import TrainSettings

_STORAGE = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

#: Fields that give tensors their shape or meaning: they must be equal in both trainings.
_HEAD = ("input_size", "hidden_size", "layers", "horizon", "state")
_LORA = ("rank", "alpha", "targets")


class StartError(ValueError):
    """A training cannot begin from that checkpoint. The message is one line naming the field that differs."""


def storage(settings: TrainSettings) -> torch.dtype:
    """Return the type in which frozen weights and features are stored."""
    return _STORAGE[settings.precision]


def read_start(settings: TrainSettings) -> CheckpointInfo | None:
    """Return the checkpoint that ``init_from`` names, or None. Raises CheckpointError or HubError."""
    return None if settings.init_from is None else read_info(resolve(settings.init_from))


def begin(
    settings: TrainSettings, data: TrainingData, info: CheckpointInfo | None
) -> tuple[TrainSettings, PolicyNetwork]:
    """Return the settings, with the parts that the checkpoint ``info`` determines, and the network before training.

    Random weights come from torch's current random state.

    Raises:
        StartError: the checkpoint has another architecture.
        CheckpointError, ContractError: it cannot be loaded, or was trained for another robot.
        BackboneError: base weights cannot be loaded.
    """
    if info is None:
        instructions = [wording for episode in data.splits["train"] for wording in episode.wordings]
        network = build_network(
            settings.policy,
            instructions=instructions,
            dtype=storage(settings),
            action_dim=len(action_names(data.contract)),
        )
        return settings, network
    info.contract.require_same(data.contract, f"the checkpoint {info.folder}", "the dataset")
    policy = _continued(settings.policy, info)
    # Dropout, window, stride and the bits of published weights change no tensor of the checkpoint: the new training
    # decides about them.
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
        # Weights that learned in float32 there and are frozen here are stored like all frozen weights.
        for name, parameter in network.backbone.named_parameters():
            if not parameter.requires_grad and parameter.is_floating_point() and ".lora_" not in name:
                parameter.data = parameter.data.to(storage(settings))
    return settings.model_copy(update={"policy": policy}), network


def _continued(wanted: PolicySettings, info: CheckpointInfo) -> PolicySettings:
    """Return the new training's architecture, with the adapters and tuned weights that the checkpoint has."""
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
        raise StartError(f"{info.folder}: has no adapters for policy.lora.train: false to keep; leave that setting out")
    try:
        backbone = wanted.backbone.continuing(there.backbone)
    except ValueError as error:
        raise StartError(f"{info.folder}: {error}") from None
    if there.lora.enabled:
        # The checkpoint determines whether the vision tower has adapters.
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
