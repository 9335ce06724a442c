"""Time forward passes as on the robot: camera images in, a chunk out, with memory."""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from mobile_vla_policy.benchmark.products import products_of, runner
from mobile_vla_policy.engine.choices import BACKENDS, EngineOptions
from mobile_vla_policy.engine.device import dtype_of
from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.policy import Policy, PredictedChunk
from mobile_vla_policy.runtime.inference import ForwardPass
from mobile_vla_policy.runtime.statistics import LatencyWindow
from mobile_vla_policy.runtime.trace import TraceRecorder

_WARM_UP_STEPS = 10
#: Different images in turn, so that no result can be reused.
_IMAGES = 4
_PRODUCT_ROUNDS = 5


@dataclass(frozen=True)
class BenchmarkSettings:
    """Settings of a measurement."""

    steps: int = 100
    instruction: str = "go to the kitchen"
    trace: Path | None = None
    """File for a Chrome trace."""


@dataclass(frozen=True)
class BenchmarkResult:
    """Result of a measurement; times in seconds."""

    backend: str
    precision: str = ""
    device: str = ""
    threads: int = 0
    steps: int = 0
    load_s: float = 0.0
    """Time to load, including a new export [s]."""
    stages_s: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Stage -> median and 99th percentile; ``total`` is the whole forward pass."""
    rate_hz: float = 0.0
    peak_memory_bytes: int = 0
    """Largest resident memory of the process, loading included."""
    products_s: float | None = None
    """Time of the matrix products alone; None if they are not known."""
    gflop: float | None = None
    """Operations of one forward pass [GFLOP]; None if they are not known."""
    error: str = ""
    """Reason for a missing measurement; empty otherwise."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return asdict(self)


def measure(checkpoint: Path, options: EngineOptions, settings: BenchmarkSettings) -> BenchmarkResult:
    """Load a policy and time it in this process.

    Raises:
        ValueError, OSError, RuntimeError: it cannot be loaded or cannot follow the instruction.
    """
    began_s = time.perf_counter()
    policy = load_policy(
        checkpoint,
        device=options.device,
        backend=options.backend,
        precision=options.precision,
        compile=options.compile,
    )
    load_s = time.perf_counter() - began_s
    if problem := policy.check_instruction(settings.instruction):
        raise ValueError(problem)
    steps = _passes(policy, settings)
    if settings.trace is not None:
        _write_trace(steps, settings.trace)
    window = LatencyWindow(len(steps))
    for step in steps:
        for stage, seconds in step.stages_s.items():
            window.add(stage, seconds)
        window.add("total", step.inference_s)
    engine, peak = policy.engine, _peak_bytes()
    tokens = engine.shape.instruction_tokens or policy.instruction_length(settings.instruction)
    products = products_of(policy.config, tokens)
    del policy
    gc.collect()
    dtype = dtype_of(engine.precision, engine.device)
    return BenchmarkResult(
        backend=engine.backend + (" compiled" if options.compile else ""),
        precision=engine.precision,
        device=str(engine.device),
        threads=torch.get_num_threads(),
        steps=len(steps),
        load_s=load_s,
        stages_s=window.percentiles(),
        rate_hz=len(steps) / sum(step.inference_s for step in steps),
        peak_memory_bytes=peak,
        products_s=None if products is None else _time(runner(products, dtype, engine.device)),
        gflop=None if products is None else products.flops / 1e9,
    )


def measure_all(
    checkpoint: Path, device: str, precision: str, settings: BenchmarkSettings, console: Console
) -> list[BenchmarkResult]:
    """Time every backend, each in a new process; ``error`` says why one cannot run."""
    results = []
    for backend in BACKENDS[1:]:
        console.print(f"{backend} ...")
        command = [sys.executable, "-m", "mobile_vla_policy.cli", "benchmark", str(checkpoint), "--json"]
        command += ["--backend", backend, "--device", device, "--precision", precision]
        command += ["--steps", str(settings.steps), "--instruction", settings.instruction]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            results += [BenchmarkResult(**item) for item in json.loads(done.stdout)]
        else:
            said = done.stderr.strip().splitlines() or ["ended without a message"]
            results.append(BenchmarkResult(backend, error=said[-1].removeprefix("mobile-vla-policy: ")))
    return results


def _passes(policy: Policy, settings: BenchmarkSettings) -> list[ForwardPass]:
    random = np.random.default_rng(0)
    images = [
        {
            name: random.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
            for name, camera in policy.contract.cameras.items()
        }
        for _ in range(_IMAGES)
    ]
    state, memory = np.zeros(3, dtype=np.float32), policy.initial_memory()
    steps = []
    for number in range(_WARM_UP_STEPS + settings.steps):
        started_ns, began_s = time.time_ns(), time.perf_counter()
        chunk, memory = policy.predict(images[number % _IMAGES], state, settings.instruction, memory)
        step = _pass(policy, settings.instruction, chunk, started_ns, time.perf_counter() - began_s)
        if number >= _WARM_UP_STEPS:
            steps.append(step)
    return steps


def _pass(policy: Policy, instruction: str, chunk: PredictedChunk, started_ns: int, inference_s: float) -> ForwardPass:
    stages = dict(policy.stage_latency_s)
    return ForwardPass(0, instruction, started_ns, chunk.deltas, chunk.gripper, started_ns, stages, inference_s)


def _write_trace(steps: list[ForwardPass], path: Path) -> None:
    trace = TraceRecorder()
    for number, step in enumerate(steps, start=1):
        trace.add(number, step, step.started_ns + round(step.inference_s * 1e9))
    trace.write(path)


@torch.inference_mode()
def _time(run: Any) -> float:
    """Return the median of some runs, after one to warm up [s]."""
    run()
    taken = []
    for _ in range(_PRODUCT_ROUNDS):
        began_s = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began_s)
    return sorted(taken)[len(taken) // 2]


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
