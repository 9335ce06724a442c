"""benchmarks/bench_gpu.py, as far as it runs without a GPU: on the CPU, with a small network."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"
CPU = torch.device("cpu")

sys.path.insert(0, str(BENCHMARKS))

import bench_gpu  # noqa: E402
import full_size  # noqa: E402
import gpu_step  # noqa: E402
import parts  # noqa: E402
from common import Figure  # noqa: E402

from mobile_vla_data.contract import Contract  # noqa: E402
from mobile_vla_policy.backbones.kosmos2_tiny import Kosmos2TinySettings  # noqa: E402
from mobile_vla_policy.checkpoint import save_checkpoint  # noqa: E402
from mobile_vla_policy.engine.choices import EngineOptions  # noqa: E402
from mobile_vla_policy.model.head import HeadSettings  # noqa: E402
from mobile_vla_policy.model.lora import LoraSettings  # noqa: E402
from mobile_vla_policy.model.network import build_network  # noqa: E402
from mobile_vla_policy.model.settings import PolicySettings  # noqa: E402
from mobile_vla_policy.normalisation import Normalisation, Range  # noqa: E402

INSTRUCTION = full_size.INSTRUCTION
OPTIONS = [EngineOptions("cpu", "eager", "fp32"), EngineOptions("cuda:7", "eager", "fp32")]


def settings(lora: bool = False) -> PolicySettings:
    return PolicySettings(
        backbone=Kosmos2TinySettings(width=64, layers=2, image_size=64, freeze=False),
        lora=LoraSettings(enabled=lora),
        head=HeadSettings(input_size=64, hidden_size=64, layers=1),
    )


def write(folder: Path) -> None:
    ranges = Normalisation(Range((-0.06, -0.06), (0.06, 0.06)), Range((-3.0, -3.0), (3.0, 3.0)))
    contract = Contract.load(ROOT / "config/robot.yaml")
    built = build_network(settings(), instructions=["go to the kitchen"])
    save_checkpoint(folder, built, settings(), ranges, contract, {"steps": 0})


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(settings(), instructions=[INSTRUCTION]).eval().requires_grad_(False)


def test_without_a_gpu_one_line_says_so() -> None:
    # Hidden, where there is one.
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, BENCHMARKS / "bench_gpu.py", "--quick"]
    done = subprocess.run(line, capture_output=True, text=True, env=env)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "bench-gpu: torch sees no CUDA GPU on this machine; nothing was measured\n"


def test_an_unknown_part_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench_gpu.main(["--only", "memory"])
    assert stopped.value.code == 2 and "invalid choice: 'memory'" in capsys.readouterr().err


def test_every_named_part_can_be_measured() -> None:
    assert tuple(bench_gpu.parts_on(CPU, quick=True, in_time=lambda: True)) == bench_gpu.PARTS


def test_what_would_begin_after_eight_minutes_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def part(*_: object) -> list[Figure]:
        late_s = time.monotonic() + bench_gpu.LIMIT_S
        monkeypatch.setattr("time.monotonic", lambda: late_s)
        return [Figure("measured", 1.0, "s")]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(parts, "OUT", tmp_path)
    with monkeypatch.context() as stand_ins:
        for name in bench_gpu.PARTS:
            stand_ins.setattr(bench_gpu, name, part)
        status = bench_gpu.main(["--quick"])
    assert status == 1
    assert list(json.loads((tmp_path / "gpu.json").read_text())["parts"]) == ["step"]
    said = capsys.readouterr().err
    assert all(f"gpu: {part} is left out: no time is left" in said for part in ("parity", "training", "backends"))
    assert bench_gpu.training(CPU, 2, lambda: False) == bench_gpu.backends(CPU, OPTIONS, 3, lambda: False, write) == []
    said = capsys.readouterr().err
    assert "training step, without gradient checkpointing: left out" in said and "eager fp32: left out" in said


def test_a_step_is_timed_beside_the_products_of_its_shapes(network) -> None:
    images, tokens = torch.rand(1, 2, 3, 64, 64), network.backbone.tokenise([INSTRUCTION])
    figures = {f.name: f for f in gpu_step.step_figures(network, images, tokens, 2, ("bf16",))}
    names = {"step bf16, median", "products bf16 beside bf16, median", "step bf16 over its products"}
    assert set(figures) == names
    assert all(figure.value > 0 for figure in figures.values())


def test_a_precision_that_does_not_fit_leaves_the_others(network, monkeypatch, capsys) -> None:
    def optimise(copy, precision):
        if precision == "fp16":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return whole(copy, precision)

    whole = gpu_step.optimise
    monkeypatch.setattr(gpu_step, "optimise", optimise)
    images, tokens = torch.rand(1, 2, 3, 64, 64), network.backbone.tokenise([INSTRUCTION])
    figures = gpu_step.step_figures(network, images, tokens, 2, ("fp16", "bf16"))
    assert [f.name for f in figures if "over" in f.name] == ["step bf16 over its products"]
    assert "fp16 does not run on cpu: CUDA out of memory" in capsys.readouterr().err


def test_onnx_runtime_on_the_cpu_is_no_figure_of_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    options = [EngineOptions("cuda", "onnxruntime", "fp16")]
    assert bench_gpu.backends(torch.device("cuda"), options, 3, lambda: True, write) == []
    assert "onnxruntime fp16: left out: this ONNX Runtime cannot use cuda" in capsys.readouterr().err
    assert bench_gpu._has_provider(CPU)


def test_actions_are_compared_with_those_on_the_cpu(network) -> None:
    frames, tokens = [torch.rand(1, 2, 3, 64, 64) for _ in range(2)], network.backbone.tokenise([INSTRUCTION])
    (same,) = gpu_step.parity_figures(network, frames, tokens, CPU, ("fp32",))
    (rounded,) = gpu_step.parity_figures(network, frames, tokens, CPU, ("bf16",))
    assert same.value < 0.01 < rounded.value < 20
    assert same.holds


def test_actions_of_other_weights_do_not_meet_the_goal(network, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    other = build_network(settings(), instructions=[INSTRUCTION]).eval()
    monkeypatch.setattr(gpu_step, "optimise", lambda *_: other)
    frames, tokens = [torch.rand(1, 2, 3, 64, 64)], network.backbone.tokenise([INSTRUCTION])
    (figure,) = gpu_step.parity_figures(network, frames, tokens, CPU, ("bf16",))
    assert figure.holds is False


def test_backends_are_timed_and_one_that_cannot_run_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    figures = bench_gpu.backends(CPU, OPTIONS, 3, lambda: True, write)
    assert [figure.name for figure in figures] == ["policy, eager fp32, median", "policy, eager fp32, p99"]
    assert "does not run here" in capsys.readouterr().err


@pytest.mark.parametrize("checkpointing", [True, False])
def test_training_steps_are_timed_with_and_without_gradient_checkpointing(checkpointing: bool) -> None:
    found = full_size.training_steps(CPU, 2, checkpointing=checkpointing, settings=settings(lora=True))
    assert len(found.steps_s) == 2 and min(found.steps_s) > 0 and found.learns > 1000
