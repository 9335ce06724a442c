"""The state of an interrupted training: weights, optimiser, position, and a description of what it depends on.

No pickle, and no random state: every step seeds its own draws, so each of several processes continues with the draws
that it would have had.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mobile_vla_data.storage.folders import replacing
from mobile_vla_policy.checkpoint import RESUME
from mobile_vla_policy.model.settings import upgraded
from mobile_vla_policy.samples.episodes import TrainingData
from mobile_vla_policy.training.settings import TrainSettings
from mobile_vla_policy.weights import fingerprint

POSITION, STATE = "position.json", "state.safetensors"

#: Settings that do not change the weights.
_FREE = frozenset({"workers", "cache_gb", "feature_cache", "log_every", "patience", "save_every_minutes"})
#: Settings that may grow: training then goes on for longer, under the longer schedule.
_MAY_GROW = frozenset({"epochs", "max_steps", "max_minutes"})


class ResumeError(ValueError):
    """A training cannot be resumed. The message is one line."""


@dataclass(frozen=True)
class Position:
    """Position of a training, and everything that must stay the same until its end."""

    step: int
    """Optimisation steps taken."""
    epoch: int
    batch: int
    """Batches of this epoch already used, by every process."""
    elapsed_s: float
    best_loss: float | None
    """None before the first validation."""
    since_best: int
    """Validations without a better loss."""
    processes: int
    scaler: dict[str, float]
    """State of fp16's loss scaling; empty without."""
    settings: dict[str, Any]
    """Settings as JSON."""
    data: dict[str, str]
    """Digests of the training data, see :func:`digests`."""
    frozen: str
    """Digest of the weights that do not learn."""
    start: str = ""
    """Digest of the weights that learn, before the first step; empty if the training began with version 0.1.0."""

    @classmethod
    def of_start(
        cls, settings: TrainSettings, data: TrainingData, network: torch.nn.Module, processes: int
    ) -> Position:
        """Describe a training before its first step."""
        learning = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
        frozen = [(name, parameter) for name, parameter in network.named_parameters() if not parameter.requires_grad]
        return cls(
            step=0,
            epoch=0,
            batch=0,
            elapsed_s=0.0,
            best_loss=None,
            since_best=0,
            processes=processes,
            scaler={},
            settings=settings.model_dump(mode="json"),
            data=digests(data),
            frozen=fingerprint([*frozen, *network.named_buffers()])[:16],
            start=fingerprint(learning)[:16],
        )


def save_state(
    folder: Path,
    position: Position,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    averages: Mapping[str, torch.Tensor],
) -> None:
    """Write everything that training needs to continue as if it had never stopped; replace an older state at once.

    ``averages`` are the moving averages of the weights, by name; empty without them.

    Raises:
        WriteError: the disk is full, for example.
    """
    tensors = _weights_and_averages(network, averages)
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    text = json.dumps(asdict(position), indent=2, allow_nan=False) + "\n"
    with replacing(folder, SafetensorError) as part:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, part / STATE)
        (part / POSITION).write_text(text, encoding="utf-8")


def load_position(folder: Path) -> Position:
    """Read the position of an interrupted training. Raises :class:`ResumeError`."""
    path = folder / POSITION
    try:
        return Position(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ResumeError(f"{folder}: nothing to resume; train without --resume") from None
    except (json.JSONDecodeError, TypeError) as error:
        raise ResumeError(f"{path}: malformed, or of another version ({error}); train without --resume") from None


def how_to_continue(output: Path) -> str:
    """Say how an interrupted training in ``output`` is continued, as the end of a sentence."""
    try:
        step = load_position(output / RESUME).step
    except ResumeError:
        return " before the first step was done, so nothing was saved; train again"
    return f"; {output} holds everything up to step {step}; to continue, run the same command with --resume"


def load_state(
    folder: Path,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    averages: Mapping[str, torch.Tensor],
) -> None:
    """Restore weights, optimiser and ``averages`` in place, on any device.

    Raises:
        ResumeError: the state is missing, damaged, or from another network.
    """
    path = folder / STATE
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ResumeError(f"{path}: missing or damaged: {' '.join(str(error).split())}") from None
    places = _weights_and_averages(network, averages)
    for name, place in places.items():
        if name not in tensors or tensors[name].shape != place.shape:
            raise ResumeError(f"{path}: {name} is missing or of another shape; train without --resume")
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(tensors[name])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            moments.setdefault(int(index), {})[name] = value
    for number, values in moments.items():
        if lacking := {"step", "exp_avg", "exp_avg_sq"} - values.keys():
            raise ResumeError(f"{path}: optimizer.{number}.{min(lacking)} is missing; train without --resume")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def require_same_training(output: Path, position: Position, here: Position, source: str) -> None:
    """Raise :class:`ResumeError`, naming what differs, unless the training ``here`` is the one that was interrupted.

    ``here`` is a position :meth:`Position.of_start`; ``source`` says where its frozen weights come from.
    """
    _require_same_settings(output, position, here)
    if position.processes != here.processes:
        raise ResumeError(
            f"{output}: trained by {position.processes} processes, now there are {here.processes}; resume with as many"
        )
    names = sorted(here.data.keys() | position.data.keys())
    if differ := [name for name in names if here.data.get(name) != position.data.get(name)]:
        raise ResumeError(
            f"{output}: the dataset has changed since ({', '.join(differ)}); restore it, or train without --resume"
        )
    # They are not in the saved state, but come from the same source as at the start.
    if position.frozen != here.frozen:
        raise ResumeError(
            f"{output}: the frozen weights differ from before; restore {source}, or train without --resume"
        )


def _require_same_settings(output: Path, position: Position, here: Position) -> None:
    mine, theirs = dict(_flat(here.settings)), dict(_flat(_upgraded(position.settings)))
    # A checkpoint that was moved is still the same start.
    moved = {"init_from"} if position.start and position.start == here.start else set()
    changed = [
        f"{name} is {theirs.get(name)} there and {mine.get(name)} here"
        for name in sorted((mine.keys() | theirs.keys()) - moved)
        if mine.get(name) != theirs.get(name) and not _harmless(name, theirs.get(name), mine.get(name))
    ]
    if changed:
        raise ResumeError(f"{output}: trained with other settings: {'; '.join(changed)}; resume with the same ones")


def _upgraded(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the saved settings with the fields of this version, so that a new field does not look like a change."""
    data = {**settings, "policy": upgraded(settings.get("policy"))}
    try:
        return TrainSettings.model_validate(data).model_dump(mode="json")
    except ValidationError:
        return data


def digests(data: TrainingData) -> dict[str, str]:
    """Return digests of everything that training and validation depend on, except images, under names for messages."""
    found = {"contract": _digest(data.contract.to_json().encode())}
    found["normalisation statistics"] = _digest(data.normalisation.to_json().encode())
    for name in ("train", "validation"):
        episodes = data.splits.get(name, [])
        found[f"{name} split"] = _digest(*(episode.path.stem.encode() for episode in episodes))
        found[f"{name} episode lengths"] = _digest(*(str(episode.num_steps).encode() for episode in episodes))
        found[f"{name} instructions"] = _digest(*(said.encode() for episode in episodes for said in episode.wordings))
        found[f"{name} states and actions"] = _digest(*(episode.digest.encode() for episode in episodes))
    return found


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _weights_and_averages(network: torch.nn.Module, averages: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    learning = {f"weights.{name}": p for name, p in network.named_parameters() if p.requires_grad}
    return {**learning, **{f"averages.{name}": value for name, value in averages.items()}}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _harmless(name: str, before: Any, now: Any) -> bool:
    return name in _FREE or (name in _MAY_GROW and before is not None and now is not None and now >= before)
