"""A checkpoint is a folder: config.json, model.safetensors, stats.json, contract.yaml and the tokenizer's files.

No pickle: nothing in a checkpoint can run code. Loading is strict: a missing or an extra tensor is refused by name.
When the base weights can be had again by name, ``model.safetensors`` holds only what was trained.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from mobile_vla_data.contract import Contract
from mobile_vla_data.storage.folders import replacing, set_aside
from mobile_vla_policy import __version__
from mobile_vla_policy.config import ConfigError, read_versioned
from mobile_vla_policy.hub import download, is_hub_name
from mobile_vla_policy.model.network import PolicyNetwork, build_network
from mobile_vla_policy.model.settings import PolicySettings, read_policy_settings
from mobile_vla_policy.normalisation import Normalisation
from mobile_vla_policy.weights import WeightsFile

FORMAT_VERSION = 1
#: What an exported folder has and a checkpoint has not.
EXPORT = "export.json"
CONFIG, WEIGHTS, STATS, CONTRACT = "config.json", "model.safetensors", "stats.json", "contract.yaml"
BEST, LAST, RESUME = "best", "last", "resume"
"""Folders that a training leaves in its output."""
_UNSAFE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


class CheckpointError(ValueError):
    """A checkpoint is missing, incomplete or of another version. The message is one line naming folder and cause."""


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself, without its weights."""

    folder: Path
    settings: PolicySettings
    normalisation: Normalisation
    contract: Contract
    training: dict[str, Any]
    """How it came about: steps, losses, dataset; for humans."""


def resolve(path: str | Path) -> Path:
    """The checkpoint folder meant by ``path``: itself, the best one of a training run's output folder, or the
    hub repository ``hf:user/name[@revision]``, fetched.

    Raises:
        CheckpointError: there is none.
        HubError: the hub has none, or cannot be reached.
    """
    path = download(str(path)) if is_hub_name(str(path)) else Path(path)
    for folder in (path, path / BEST, set_aside(path / BEST), path / LAST, set_aside(path / LAST), set_aside(path)):
        if (folder / CONFIG).is_file():
            return folder
    unsafe = next((name.name for name in path.glob("*") if name.suffix in _UNSAFE), None) if path.is_dir() else None
    if unsafe:
        raise CheckpointError(f"{path}: '{unsafe}' is a pickle, which can run code; only {WEIGHTS} is loaded")
    raise CheckpointError(f"{path}: no checkpoint here ({CONFIG} is missing); make one with mobile-vla-policy train")


def save_checkpoint(
    folder: Path,
    network: PolicyNetwork,
    settings: PolicySettings,
    normalisation: Normalisation,
    contract: Contract,
    training: dict[str, Any],
) -> None:
    """Write a checkpoint, or replace one; a crash leaves the old one or the new one, never half of each.

    Between two renames the old one stands under ``.NAME.old`` for a moment; :func:`resolve` finds it there.

    Raises:
        CheckpointError: something else stands there.
        WriteError: the disk is full, for example.
    """
    require_replaceable(folder)
    state = network.state_dict()
    tensors = {name: state[name].detach().cpu().contiguous() for name in saved_names(network, settings)}
    config = {
        "format_version": FORMAT_VERSION,
        "software_version": __version__,
        "policy": settings.model_dump(mode="json"),
        "training": training,
    }
    with replacing(folder, SafetensorError) as part:
        save_file(tensors, part / WEIGHTS)
        (part / CONFIG).write_text(json.dumps(config, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        (part / STATS).write_text(normalisation.to_json(), encoding="utf-8")
        (part / CONTRACT).write_text(contract.to_yaml(), encoding="utf-8")
        settings.backbone.save_files(network.backbone, part)


def require_replaceable(folder: Path) -> None:
    """Raise :class:`CheckpointError` if writing a checkpoint to ``folder`` would cost anything but a checkpoint."""
    if not folder.is_dir():
        replaceable = not folder.exists()
    else:
        replaceable = is_checkpoint(folder) or not any(folder.iterdir())
    if not replaceable:
        raise CheckpointError(f"{folder} exists and is no checkpoint; give another folder")


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint and not the output of a training as well."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # Models of other projects have a config.json too.
    ours = isinstance(config, dict) and {"format_version", "policy"} <= config.keys()
    return ours and (folder / WEIGHTS).is_file() and not any((folder / name).exists() for name in (BEST, LAST, RESUME))


def is_export(folder: Path) -> bool:
    """Whether a folder is an export, which has graphs in the place of weights."""
    return (folder / EXPORT).is_file()


def read_info(folder: Path) -> CheckpointInfo:
    """Read everything but the weights. Raises :class:`CheckpointError` or ContractError."""
    path = folder / CONFIG
    try:
        config = read_versioned(path, FORMAT_VERSION, "checkpoint")
        settings = read_policy_settings(config.get("policy"), str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    return CheckpointInfo(
        folder,
        settings,
        Normalisation.load(folder / STATS),
        Contract.load(folder / CONTRACT),
        dict(config.get("training") or {}),
    )


def copy_description(folder: Path, target: Path) -> None:
    """Copy everything of a checkpoint but its weights: settings, statistics, contract, tokenizer."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != WEIGHTS and not path.name.startswith("."):
            shutil.copyfile(path, target / path.name)


def load_network(info: CheckpointInfo, dtype: torch.dtype = torch.float32, *, views: bool = False) -> PolicyNetwork:
    """Build the network and fill in the weights.

    Args:
        info: the checkpoint.
        dtype: storage of frozen weights; what learns is always float32.
        views: large tensors are views of the file, for whoever uses the network up or calls
            :func:`~mobile_vla_policy.weights.leave_file`.

    Raises:
        CheckpointError: the weights are missing or damaged, or their names or shapes are not the network's.
        BackboneError: the base weights cannot be loaded.
    """
    path = info.folder / WEIGHTS
    try:
        file = WeightsFile(path)
    except FileNotFoundError:
        if is_export(info.folder):
            raise CheckpointError(f"{info.folder}: an export; give the checkpoint that it was made from") from None
        raise CheckpointError(f"{path}: missing; the checkpoint is incomplete") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged: {' '.join(str(error).split())}") from None
    network = build_network(info.settings, checkpoint=info.folder, dtype=dtype)
    shapes, expected = file.shapes, saved_names(network, info.settings)
    missing, extra = sorted(expected - shapes.keys()), sorted(shapes.keys() - expected)
    if missing or extra:
        raise CheckpointError(f"{path}: {_listing('missing', missing)}{_listing('unknown', extra)}of this network")
    state = network.state_dict()
    wrong = [name for name in sorted(expected) if shapes[name] != state[name].shape]
    if wrong:
        have, want = list(shapes[wrong[0]]), list(state[wrong[0]].shape)
        raise CheckpointError(f"{path}: tensor {wrong[0]} has shape {have}, the settings say {want}")
    try:
        tensors = {name: _like(file.tensor(name, view=views), state[name]) for name in sorted(expected)}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    network.load_state_dict(tensors, strict=False, assign=True)
    return network.eval()


def saved_names(network: PolicyNetwork, settings: PolicySettings) -> set[str]:
    """Names of the tensors that a checkpoint holds: all, or what is not as published if the rest can be had by name."""
    if not settings.backbone.has_base_weights:
        return set(network.state_dict())
    # Adapters, ACT and head are no one's but ours, even when they do not learn any more.
    return {
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad or name.startswith("head.") or name == "backbone.act" or ".lora_" in name
    }


def _like(tensor: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """The tensor as the network stores it there."""
    return tensor.to(dtype=place.dtype, device=None if place.is_meta else place.device)


def _listing(what: str, names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{len(names)} {what} tensors ({shown}) "
