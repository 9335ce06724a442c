"""A checkpoint is a folder: config.json, model.safetensors, stats.json, contract.yaml and the tokenizer's files.

No pickle: nothing in a checkpoint can run code. Loading is strict: a missing or an extra tensor is refused by name.
If the base weights can be loaded by name, ``model.safetensors`` holds only what was trained.
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

from mobile_vla_data.action import action_names
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
#: The file that makes a folder an export.
EXPORT = "export.json"
CONFIG, WEIGHTS, STATS, CONTRACT = "config.json", "model.safetensors", "stats.json", "contract.yaml"
BEST, LAST, RESUME = "best", "last", "resume"
"""Folders in the output folder of a training."""
_UNSAFE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


class CheckpointError(ValueError):
    """A checkpoint is missing, incomplete or of another version. The message is one line naming folder and cause."""


@dataclass(frozen=True)
class CheckpointInfo:
    """Description of a checkpoint, without its weights."""

    folder: Path
    settings: PolicySettings
    normalisation: Normalisation
    contract: Contract
    training: dict[str, Any]
    """Description of the training (steps, losses, dataset), for humans."""


def resolve(path: str | Path) -> Path:
    """Return the folder of a checkpoint.

    ``path`` is that folder, the output folder of a training (its best checkpoint is returned), or a repository of the
    hub, ``hf:user/name[@revision]``, which is downloaded.

    Raises:
        CheckpointError: there is no checkpoint.
        HubError: the hub has none, or cannot be reached.
    """
    path = download(str(path)) if is_hub_name(str(path)) else Path(path).expanduser()
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

    Between two renames the old one is called ``.NAME.old`` for a moment; :func:`resolve` finds it there.

    Raises:
        CheckpointError: the folder holds something else.
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
    """Raise :class:`CheckpointError` if a checkpoint at ``folder`` would replace anything but a checkpoint."""
    if not folder.is_dir():
        replaceable = not folder.exists()
    else:
        replaceable = is_checkpoint(folder) or not any(folder.iterdir())
    if not replaceable:
        raise CheckpointError(f"{folder} exists and is not a checkpoint; give another folder")


def is_checkpoint(folder: Path) -> bool:
    """Return whether a folder is a checkpoint, and not the output folder of a training."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # Models of other projects have a config.json, too.
    ours = isinstance(config, dict) and {"format_version", "policy"} <= config.keys()
    return ours and (folder / WEIGHTS).is_file() and not any((folder / name).exists() for name in (BEST, LAST, RESUME))


def is_export(folder: Path) -> bool:
    """Return whether a folder is an export, which holds graphs instead of weights."""
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
    """Copy a checkpoint without its weights: settings, statistics, contract, tokenizer."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != WEIGHTS and not path.name.startswith("."):
            shutil.copyfile(path, target / path.name)


def load_network(info: CheckpointInfo, dtype: torch.dtype = torch.float32, *, views: bool = False) -> PolicyNetwork:
    """Build the network and fill in the weights.

    Args:
        info: the checkpoint.
        dtype: storage of frozen weights; trained parameters are always float32.
        views: make large tensors views of the file. The caller converts the network, or calls
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
    action_dim = len(action_names(info.contract))
    network = build_network(info.settings, checkpoint=info.folder, dtype=dtype, action_dim=action_dim)
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
    """Return the names of the tensors that a checkpoint holds: all, or those that differ from the published ones."""
    driving = {name for name in network.state_dict() if not name.startswith("locate.")}
    if not settings.backbone.has_base_weights:
        return driving
    # Adapters, ACT and head are never published, even if they do not learn any more.
    return {
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad or name.startswith("head.") or name == "backbone.act" or ".lora_" in name
    } & driving


def _like(tensor: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Return the tensor as the network stores it."""
    return tensor.to(dtype=place.dtype, device=None if place.is_meta else place.device)


def _listing(what: str, names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{len(names)} {what} tensors ({shown}) "
