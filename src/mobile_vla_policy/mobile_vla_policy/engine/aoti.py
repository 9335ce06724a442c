"""pt2: torch.export, compiled ahead of time by AOTInductor to machine code for this processor or GPU.

It starts in a second where torch.compile takes minutes, but runs only on a machine like the one that made it, with the
same torch. Exporting needs a C++ compiler. The file is native code: load only files that you made yourself.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobile_vla_policy.engine.choices import EngineError
from mobile_vla_policy.engine.protocol import RunStage

SUFFIX = ".pt2"

#: Use the number of threads of the machine that runs it.
_OPTIONS = {"cpp.dynamic_threads": True}


def write(stage: nn.Module, arguments: tuple[torch.Tensor, ...], names: tuple[str, ...], path: Path) -> None:
    """Compile ``stage`` for these arguments; ``names`` are not kept by this format.

    Raises:
        EngineError: torch is too old, or the compiler fails.
    """
    del names
    inductor = _inductor()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(stage, arguments)
        try:
            inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=_OPTIONS)
        except RuntimeError as error:
            raise EngineError(
                f"AOTInductor failed (is a C++ compiler installed?): {str(error).splitlines()[0]}"
            ) from None


def load(path: Path, device: torch.device) -> RunStage:
    """Read a stage; the device is the one it was compiled for."""
    inductor = _inductor()
    try:
        index = -1 if device.index is None else device.index
        stage: RunStage = inductor.aoti_load_package(str(path), device_index=index)
    except RuntimeError as error:
        raise EngineError(f"{path}: cannot be loaded: {str(error).splitlines()[0]}") from None
    return stage


def _inductor() -> Any:
    import torch._inductor as inductor

    if not hasattr(inductor, "aoti_compile_and_package"):
        raise EngineError(f"backend aoti needs torch 2.6 or later, this is {torch.__version__}")
    return inductor
