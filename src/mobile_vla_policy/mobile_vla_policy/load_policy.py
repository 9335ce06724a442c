"""The only way to load a policy: the name of a checkpoint or export in, a policy that is ready to drive out."""

from __future__ import annotations

from pathlib import Path

from mobile_vla_data.contract import Contract
from mobile_vla_policy.checkpoint import CheckpointInfo, is_export, read_info, resolve
from mobile_vla_policy.engine.choices import BACKEND_OF_FORMAT, EngineError, EngineOptions
from mobile_vla_policy.engine.device import pick_device
from mobile_vla_policy.engine.eager import load_eager
from mobile_vla_policy.engine.exported import load_export
from mobile_vla_policy.engine.protocol import Engine
from mobile_vla_policy.export.cache import cached_export
from mobile_vla_policy.policy import Policy


def load_policy(
    checkpoint: str | Path,
    *,
    device: str = "auto",
    contract: Contract | None = None,
    backend: str = "auto",
    precision: str = "auto",
    compile: bool = False,
) -> Policy:
    """Load a checkpoint or an export.

    Args:
        checkpoint: its folder, the output folder of a training (its best checkpoint is loaded), or hf:user/name.
        device: auto (CUDA if there is one), cpu, cuda, cuda:1 ...
        contract: the robot's; a policy trained for another robot is refused.
        backend: auto (an export's own, else eager), eager, torchscript, onnxruntime or aoti. For one of the last three,
            a checkpoint is exported first; the export is kept in the user's cache folder.
        precision: auto, fp32, bf16, fp16, int8.
        compile: eager only: compile the vision and the text stage.

    Raises:
        CheckpointError: the checkpoint is missing, incomplete or damaged.
        EngineError: backend, precision and folder contradict each other, or an export is damaged.
        ContractError: the robot's contract differs in meaning; the message names the fields.
        BackboneError: base weights cannot be loaded.
    """
    info = read_info(resolve(checkpoint))
    if contract is not None:
        info.contract.require_same(contract, f"the checkpoint {info.folder}", "this robot")
    return Policy(load_engine(info, EngineOptions(device, backend, precision, compile)), info)


def load_engine(info: CheckpointInfo, options: EngineOptions) -> Engine:
    """Load the engine for a checkpoint or an export.

    Raises:
        EngineError: the options do not fit the folder or this machine, or an export is damaged.
        CheckpointError, BackboneError: the weights cannot be loaded.
    """
    if problem := options.problem():
        raise EngineError(problem)
    device = pick_device(options.device)
    if is_export(info.folder):
        return load_export(info, options, device)
    if options.backend in ("auto", "eager"):
        return load_eager(info, device, options.precision, options.compile)
    format_ = next(name for name, backend in BACKEND_OF_FORMAT.items() if backend == options.backend)
    return load_export(cached_export(info, format_, options.precision, device), options, device)
