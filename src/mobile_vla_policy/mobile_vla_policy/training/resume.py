"""The state of an interrupted training: weights, optimiser, random generator, position. No pickle here either."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mobile_vla_policy.checkpoint import replace_folder

FOLDER = "resume"


class ResumeError(ValueError):
    """A training cannot be resumed. The message is one line."""


@dataclass(frozen=True)
class Position:
    """Where training was."""

    step: int
    """Optimisation steps taken."""
    epoch: int
    batch: int
    """Batches of this epoch already used."""
    elapsed_s: float
    best_loss: float
    since_best: int
    """Validations without a better loss."""
    settings: str
    """The training's settings as JSON: another run cannot be resumed."""


def save_state(
    folder: Path,
    position: Position,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    averages: dict[str, torch.Tensor],
) -> None:
    """Write what training needs to go on as if it had never stopped; replaces an older state at once.

    ``averages`` are the moving averages of the weights, by name; empty without them.
    """
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        tensors: dict[str, torch.Tensor] = {
            f"weights.{name}": p for name, p in network.named_parameters() if p.requires_grad
        }
        tensors |= {f"averages.{name}": value for name, value in averages.items()}
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        tensors["random"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random_cuda"] = torch.cuda.get_rng_state()
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, part / "state.safetensors"
        )
        (part / "position.json").write_text(json.dumps(asdict(position), indent=2) + "\n", encoding="utf-8")
        replace_folder(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def load_position(folder: Path) -> Position:
    """Where the interrupted training was. Raises :class:`ResumeError`."""
    path = folder / "position.json"
    try:
        return Position(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ResumeError(f"{folder}: nothing to resume; train without --resume") from None
    except (json.JSONDecodeError, TypeError) as error:
        raise ResumeError(f"{path}: malformed: {error}") from None


def load_state(folder: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Put weights, optimiser and random generator back; returns the moving averages."""
    path = folder / "state.safetensors"
    try:
        tensors = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise ResumeError(f"{path}: missing or damaged: {error}") from None
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(tensors[f"weights.{name}"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    torch.set_rng_state(tensors["random"])
    if torch.cuda.is_available() and "random_cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random_cuda"])
    return {key.removeprefix("averages."): value for key, value in tensors.items() if key.startswith("averages.")}
