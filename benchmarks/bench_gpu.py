"""make bench-gpu: the policy's network at full size on a CUDA GPU; without one, it says so in one line and ends.

step      bf16, fp16 and int8, with and without CUDA graphs, beside the matrix products of the same shapes
parity    actions on the GPU beside those on the CPU
training  one step with and without gradient checkpointing, and its memory
backends  a policy from images to actions: eager, torch.compile, TorchScript, ONNX Runtime

What would begin after eight minutes is left out and named. It was not run on a GPU yet: its tests use the CPU.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import Figure
from full_size import CAMERAS, IMAGE_PX, network_and_input, tell, training_steps, write_checkpoint
from gpu_step import one_line, parity_figures, step_figures
from parts import parser_of, run_parts

from mobile_vla_policy.benchmark.measure import BenchmarkSettings, measure
from mobile_vla_policy.engine.choices import EngineOptions

PARTS = ("step", "parity", "training", "backends")
LIMIT_S = 8 * 60.0
TRAINING_GB = "<= 14"

InTime = Callable[[], bool]
"""Returns whether another measurement may begin."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every part, or those of --only, into out/bench/gpu.json; return the exit status."""
    given = parser_of(__doc__, PARTS).parse_args(arguments)
    if not torch.cuda.is_available():
        print("bench-gpu: torch sees no CUDA GPU on this machine; nothing was measured", file=sys.stderr)
        return 1
    until_s = time.monotonic() + LIMIT_S

    def in_time() -> bool:
        return time.monotonic() < until_s

    parts = parts_on(torch.device("cuda"), quick=given.quick, in_time=in_time)
    return run_parts("gpu", parts, given.only, quick=given.quick, in_time=in_time)


def parts_on(device: torch.device, *, quick: bool, in_time: InTime) -> dict[str, Callable[[], Iterable[Figure]]]:
    """Return the parts by name."""
    return {
        "step": lambda: step(device, quick),
        "parity": lambda: parity(device),
        "training": lambda: training(device, 2 if quick else 4, in_time),
        "backends": lambda: backends(device, backend_options(device), 20 if quick else 100, in_time),
    }


def step(device: torch.device, quick: bool) -> list[Figure]:
    """Time one frame from pixels to actions."""
    network, images, tokens = network_and_input()
    return step_figures(network, images.to(device), tokens.to(device), 10 if quick else 50)


def parity(device: torch.device) -> list[Figure]:
    """Compare four frames."""
    network, _, tokens = network_and_input()
    frames = [torch.rand(1, CAMERAS, 3, IMAGE_PX, IMAGE_PX) for _ in range(4)]
    return parity_figures(network, frames, tokens, device)


def backend_options(device: torch.device) -> list[EngineOptions]:
    """Return the backends and precisions to compare."""
    name = device.type
    eager = [EngineOptions(name, "eager", precision) for precision in ("bf16", "fp16", "int8")]
    exported = [EngineOptions(name, "torchscript", "fp16"), EngineOptions(name, "onnxruntime", "fp16")]
    return [*eager, EngineOptions(name, "eager", "bf16", compile=True), *exported]


def backends(
    device: torch.device,
    options: Sequence[EngineOptions],
    steps: int,
    in_time: InTime,
    write: Callable[[Path], None] = write_checkpoint,
) -> list[Figure]:
    """Time a policy with each backend; one that cannot run here is left out with a line on standard error."""
    figures = []
    with TemporaryDirectory(prefix="bench_gpu_") as folder:
        checkpoint = Path(folder) / "checkpoint"
        write(checkpoint)
        for option in options:
            name = f"{option.backend} {option.precision}{' compiled' if option.compile else ''}"
            if not _may_begin(name, in_time):
                continue
            if option.backend == "onnxruntime" and not _has_provider(device):
                tell(f"{name}: left out: this ONNX Runtime cannot use {device}; install onnxruntime-gpu instead")
                continue
            tell(name)
            _reset_peak(device)
            try:
                result = measure(checkpoint, option, BenchmarkSettings(steps))
            except (ValueError, OSError, RuntimeError, ImportError) as error:
                tell(f"{name}: does not run here: {one_line(error)}")
                continue
            median_s, p99_s = result.stages_s["total"]
            figures += [Figure(f"policy, {name}, median", median_s, "s"), Figure(f"policy, {name}, p99", p99_s, "s")]
            if device.type == "cuda":
                figures.append(Figure(f"policy, {name}, peak GPU memory", _peak_gb(device), "GB"))
    return figures


def training(device: torch.device, steps: int, in_time: InTime) -> list[Figure]:
    """Time training steps, without the first, which allocates; and the peak of the GPU's memory."""
    figures = []
    for checkpointing in (True, False):
        name = f"training step, {'with' if checkpointing else 'without'} gradient checkpointing"
        if not _may_begin(name, in_time):
            continue
        _reset_peak(device)
        try:
            found = training_steps(device, steps, checkpointing=checkpointing)
        except torch.cuda.OutOfMemoryError as error:
            tell(f"{name}: {one_line(error)}")
            continue
        figures.append(Figure(name, min(found.steps_s[1:]), "s"))
        figures.append(Figure(f"{name}, peak GPU memory", _peak_gb(device), "GB", TRAINING_GB))
    return figures


def _may_begin(name: str, in_time: InTime) -> bool:
    if in_time():
        return True
    tell(f"{name}: left out: no time is left")
    return False


def _has_provider(device: torch.device) -> bool:
    """Return whether ONNX Runtime runs on the device: without CUDA of its own, it takes the CPU and says nothing."""
    try:
        from onnxruntime import get_available_providers
    except ImportError:
        return False
    return f"{device.type.upper()}ExecutionProvider" in get_available_providers()


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak_gb(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 1e9


if __name__ == "__main__":
    sys.exit(main())
