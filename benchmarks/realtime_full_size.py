"""Full-size Kosmos-2, random weights, both cameras: every backend for driving, compared with the straightforward way.

Each backend has its own process, in which the two take turns: a machine that changes its pace changes it for both.
A step is all that policy_node computes for a frame, from uint8 images to actions; exports are made again, for
instructions as long as the one that is followed. ONNX Runtime has no bf16 on a CPU: there it is fp32.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from common import Figure, say
from full_size import (
    INSTRUCTION_TOKENS,
    figures_of_process,
    network_and_input,
    peak_gb,
    reset_peak,
    straightforward_way,
    tell,
    time_of,
    write_checkpoint,
)

from mobile_vla_policy.checkpoint import read_info
from mobile_vla_policy.export.verify import random_run
from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.policy import Policy

#: Backend, precision, format of its export, and the goals: straightforward way over it, peak memory [GB].
_BACKENDS = (
    ("eager", "bf16", "", ">= 1.2", "<= 5"),
    ("eager", "int8", "", ">= 1.6", "<= 3.5"),
    ("torchscript", "bf16", "torchscript", "", ""),
    ("aoti", "bf16", "pt2", "", ""),
    ("onnxruntime", "fp32", "onnx", "", ""),
)


def measure(quick: bool) -> list[Figure]:
    """All of them; ``quick`` leaves out what has to be exported."""
    figures = []
    with TemporaryDirectory(prefix="bench_backends_") as name:
        folder = Path(name)
        figures_of_process(Path(__file__), "checkpoint", name)
        for backend, precision, format_, faster, memory in _BACKENDS:
            if format_ and quick:
                continue
            what = f"full size, {backend} {precision}"
            say(what)
            _export(folder, format_, precision)
            found = figures_of_process(Path(__file__), "turns", name, format_, precision, "3" if quick else "15")
            figures += [
                Figure(f"{what}: steps", 1 / found["step_s"], "1/s"),
                Figure(f"{what}: straightforward way over it", found["plain_over_step"], "x", faster),
                Figure(f"{what}: peak memory, loading too", found["peak_gb"], "GB", memory),
                Figure(f"{what}: memory while driving", found["driving_gb"], "GB"),
            ]
    return figures


def _export(folder: Path, format_: str, precision: str) -> None:
    """Into ``folder/export``, in the place of the one before; nothing for eager."""
    if not format_:
        return
    command = [sys.executable, "-m", "mobile_vla_policy.cli", "export", "--format", format_, "--precision", precision]
    command += ["--tokens", str(INSTRUCTION_TOKENS), str(folder / "checkpoint"), str(folder / "export")]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def turns(checkpoint: Path, precision: str, count: int) -> dict[str, float]:
    """Times of one backend and of the straightforward way; memory is taken before the latter is there."""
    tell(f"loading {checkpoint.name} in {precision}")
    policy = load_policy(checkpoint, device="cpu", precision=precision)
    drive, instruction = random_run(read_info(checkpoint)), _instruction(policy)
    memory = policy.initial_memory()

    def step(number: int = 0) -> None:
        nonlocal memory
        frame = drive[number % len(drive)]
        _, memory = policy.predict(frame.images, frame.state, instruction, memory)

    for number in range(3):
        step(number)
    loading_gb = peak_gb()
    reset_peak()
    step()
    driving_gb = peak_gb()
    plain = torch.inference_mode()(straightforward_way(*network_and_input()))
    plain()
    taken = []
    for number in range(count):
        taken.append((time_of(lambda n=number: step(n)), time_of(plain)))  # type: ignore[misc]
        tell(f"turn {number + 1}: step {taken[-1][0]:.3f} s, straightforward way {taken[-1][1]:.3f} s")
    return {
        "step_s": median(ours for ours, _ in taken),
        "plain_over_step": median(plain_s / ours for ours, plain_s in taken),
        "peak_gb": max(loading_gb, driving_gb),
        "driving_gb": driving_gb,
    }


def _instruction(policy: Policy) -> str:
    """One of the length that the straightforward way reads."""
    texts = (" ".join(["go"] * words) for words in range(1, 2 * INSTRUCTION_TOKENS))
    return next(text for text in texts if policy.instruction_length(text) == INSTRUCTION_TOKENS)


def _part(name: str, folder: Path, *arguments: str) -> dict[str, float]:
    if name == "checkpoint":
        write_checkpoint(folder / "checkpoint")
        return {}
    format_, precision, count = arguments
    return turns(folder / ("export" if format_ else "checkpoint"), precision, int(count))


if __name__ == "__main__":
    print(json.dumps(_part(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])))
