"""Exports equal eager, options that do not fit are refused, and damaged files are named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from synthetic_episodes import CONTRACT, GOALS, write_dataset

from mobile_vla_data.contract import Contract
from mobile_vla_policy.backbones.kosmos2_driving import attend
from mobile_vla_policy.backbones.kosmos2_tiny import Kosmos2TinySettings
from mobile_vla_policy.benchmark.products import products_of
from mobile_vla_policy.checkpoint import CheckpointError, load_network, read_info, save_checkpoint
from mobile_vla_policy.engine import onnxruntime
from mobile_vla_policy.engine.choices import EngineError
from mobile_vla_policy.engine.eager import load_portable
from mobile_vla_policy.engine.onnxruntime import OPSET, TENSORRT_OPERATORS, operators
from mobile_vla_policy.export.export import TOLERANCE, ExportSettings, export
from mobile_vla_policy.export.verify import compare, random_run, recorded_runs
from mobile_vla_policy.info import describe
from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.model.head import HeadSettings
from mobile_vla_policy.model.lora import LoraSettings
from mobile_vla_policy.model.network import build_network
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.normalisation import Normalisation, Range

BACKENDS = {"torchscript": "torchscript", "onnx": "onnxruntime", "pt2": "aoti"}
SETTINGS = PolicySettings(
    backbone=Kosmos2TinySettings(cameras=("static",), freeze=True, width=32, layers=1, image_size=32, latents=4),
    lora=LoraSettings(rank=4, dropout=0.0),
    head=HeadSettings(input_size=32, hidden_size=32, layers=1, dropout=0.0, frame_stride=2, state="full"),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", episodes=4, steps=12)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = build_network(SETTINGS, instructions=list(GOALS))
    for name, parameter in network.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.05)
    ranges = Normalisation(Range((-0.06, -0.06), (0.06, 0.06)), Range((-3.0, -3.0), (3.0, 3.0)))
    folder = tmp_path_factory.mktemp("policy") / "checkpoint"
    save_checkpoint(folder, network, SETTINGS, ranges, Contract.load(CONTRACT), {"steps": 0})
    return folder


@pytest.fixture(scope="module")
def exported(checkpoint: Path, dataset: Path) -> Path:
    folder = checkpoint.parent / "exported"
    export(checkpoint, folder, ExportSettings("torchscript", dataset=dataset))
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "exported"))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mobile_vla_policy.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("format_", ["torchscript", "onnx", "pt2"])
def test_every_format_predicts_the_same(format_: str, checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    """Against the policy as it drives from the checkpoint, on random and on recorded frames, within 1e-4."""
    folder = tmp_path / "exported"
    report = export(checkpoint, folder, ExportSettings(format_, dataset=dataset))
    assert report.verified.real_frames > 0 and report.verified.deviation <= TOLERANCE["fp32"] == 1e-3
    info = read_info(checkpoint)
    policy = load_policy(folder, device="cpu", contract=Contract.load(CONTRACT))
    assert policy.engine.backend == BACKENDS[format_] and policy.engine.precision == "fp32"
    runs = [random_run(info), *recorded_runs(info, dataset)]
    assert compare(load_policy(checkpoint, device="cpu"), policy, runs) < 1e-4
    assert list(policy.stage_latency_s) == ["preprocess", "vision", "text", "head"]
    assert "at most 24" in policy.check_instruction("go " * 30)
    assert not list(tmp_path.glob(".*"))
    if format_ == "onnx":
        tensorrt_takes(folder)


def tensorrt_takes(folder: Path) -> None:
    """Constant shapes, one opset, operators of its support matrix only."""
    for stage in ("vision", "text", "head"):
        model = onnx.load(str(folder / f"{stage}.onnx"))
        onnx.checker.check_model(model)
        assert [(item.domain, item.version) for item in model.opset_import] == [("", OPSET)]
        assert operators(model) <= TENSORRT_OPERATORS
        for value in [*model.graph.input, *model.graph.output]:
            assert all(size.dim_value > 0 for size in value.type.tensor_type.shape.dim), value.name


def test_causal_attention_is_exported_with_operators_that_tensorrt_takes(tmp_path: Path) -> None:
    """A triangle of 160 x 160 is too large for the exporter to make a constant of, as it does with a tiny network's."""

    class Causal(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return attend(x, x, x, causal=True)

    path, x = tmp_path / "causal.onnx", torch.rand(1, 2, 160, 16)
    onnxruntime.write(Causal(), (x,), ("x",), path)
    assert torch.allclose(onnxruntime.load(path, torch.device("cpu"))(x), Causal()(x), atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_sixteen_bits_differ_by_their_rounding(precision: str, checkpoint: Path, tmp_path: Path) -> None:
    report = export(checkpoint, tmp_path / "exported", ExportSettings("torchscript", precision))
    assert 0 < report.verified.deviation <= TOLERANCE[precision]
    full = load_policy(checkpoint, device="cpu", precision="fp32")
    frames = [random_run(read_info(checkpoint))]
    assert 1e-5 < compare(full, load_policy(tmp_path / "exported", device="cpu"), frames) < 0.1
    assert 1e-5 < compare(full, load_policy(checkpoint, device="cpu", precision=precision), frames) < 0.1


def test_a_compiled_policy_predicts_what_the_eager_one_predicts(checkpoint: Path) -> None:
    eager, compiled = (load_policy(checkpoint, device="cpu", compile=value) for value in (False, True))
    assert compare(eager, compiled, [random_run(read_info(checkpoint))]) < 1e-4


def test_a_backend_named_for_a_checkpoint_exports_once_and_again_when_it_is_damaged(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_policy(checkpoint, device="cpu", backend="torchscript").engine.backend == "torchscript"
    (folder,) = (tmp_path / "mobile_vla" / "engines").iterdir()
    written = (folder / "text.ts").stat().st_mtime_ns
    assert load_policy(checkpoint, device="cpu", backend="torchscript").engine.backend == "torchscript"
    assert (folder / "text.ts").stat().st_mtime_ns == written
    (folder / "text.ts").write_bytes(b"cut off")
    assert load_policy(checkpoint, device="cpu", backend="torchscript").engine.backend == "torchscript"
    assert (folder / "text.ts").stat().st_size > 1000


def test_the_policy_remembers_a_window_whatever_its_length(exported: Path, checkpoint: Path) -> None:
    """Padding behind the newest frame changes nothing: from the first frame on, eager head without padding agrees."""
    policy = load_policy(exported, device="cpu")
    head = load_portable(read_info(checkpoint), torch.device("cpu"), "fp32").head
    inputs = torch.rand(8, 32)
    for length in range(1, 9):
        expected = head(inputs[None, :length])[0][0, -1]
        assert (policy.engine.act(inputs[:length]) - expected).abs().max() < 1e-5


def test_a_result_beyond_the_tolerance_is_refused_and_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    done = run("export", checkpoint, tmp_path / "out", "--format", "torchscript", "--precision", "bf16",
               "--tolerance", "1e-9")  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert "deviates from eager by" in done.stderr and "more than 1e-09" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_on_the_disk_before_the_folder_is_in_its_place(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def note_replace(part: Path, folder: Path) -> None:
        done.append(f"in place: {Path(folder).name}")
        replace(part, folder)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    export(checkpoint, tmp_path / "out", ExportSettings("torchscript"))
    placed = done.index("in place: out")
    assert {path.name for path in (tmp_path / "out").iterdir()} <= set(done[:placed])
    assert tmp_path.name in done[placed:]


def test_the_command_prints_one_json_document(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    done = run("export", checkpoint, tmp_path / "out", "--format", "torchscript", "--dataset", dataset, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["backend"] == "torchscript" and report["verified"]["real_frames"] > 0
    assert "comparing with eager on 9 random" in done.stderr
    assert describe(tmp_path / "out")["exported"].startswith("torchscript, fp32")
    done = run("benchmark", tmp_path / "out", "--steps", "3", "--trace", tmp_path / "trace.json", "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert list(result["stages_s"]) == ["preprocess", "vision", "text", "head", "total"]
    assert result["steps"] == 3 and result["rate_hz"] > 0 and result["products_s"] > 0
    names = {event["name"] for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]}
    assert {"vision", "text", "head"} <= names


@pytest.mark.parametrize("file", ["text.ts", "stats.json", "config.json", "tokenizer.json"])
def test_a_damaged_file_is_refused_by_name(file: str, copy: Path) -> None:
    with (copy / file).open("ab") as damaged:
        damaged.write(b"\n")
    with pytest.raises(EngineError, match=rf"{file}: damaged, or from another export"):
        load_policy(copy, device="cpu")


def test_an_incomplete_or_foreign_export_is_refused(copy: Path) -> None:
    manifest = copy / "export.json"
    good = json.loads(manifest.read_text())
    for change, message in (
        ({"format_version": 99}, "format_version is 99, this version reads 1"),
        ({"device": "cuda"}, "exported on cuda, to be run on cpu"),
        ({"format": "onnx", "precision": "bf16"}, "onnx cannot hold precision bf16"),
        ({"format": "pt2", "versions": {"torch": "1.0"}}, "compiled with torch 1.0, this is"),
        ({"surprise": 1}, "surprise: no setting has this name"),
    ):
        manifest.write_text(json.dumps({**good, **change}))
        with pytest.raises(EngineError, match=message):
            load_policy(copy, device="cpu")
    manifest.write_text(json.dumps(good))
    (copy / "head.ts").unlink()
    with pytest.raises(EngineError, match=r"head.ts: missing; the export is incomplete"):
        load_policy(copy, device="cpu")
    manifest.unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors: missing"):
        load_policy(copy, device="cpu")


def test_an_export_where_weights_are_wanted_is_called_one(exported: Path) -> None:
    with pytest.raises(CheckpointError, match="exported: an export; give the checkpoint that it was made from"):
        load_network(read_info(exported))


def test_options_that_do_not_go_together_are_refused_in_one_line(exported: Path, checkpoint: Path) -> None:
    for folder, options, message in (
        (exported, {"backend": "aoti"}, "is an export for torchscript; backend aoti cannot run it"),
        (exported, {"precision": "bf16"}, "was exported in fp32, not bf16; export again with that"),
        (exported, {"compile": True}, "compile is for checkpoints"),
        (checkpoint, {"backend": "tensorrt"}, "backend is 'tensorrt'; it must be one of auto, eager"),
        (checkpoint, {"precision": "fp8"}, "precision is 'fp8'"),
        (checkpoint, {"backend": "aoti", "compile": True}, "compile is for backend eager"),
        (checkpoint, {"backend": "onnxruntime", "precision": "int8"}, "onnx cannot hold precision int8"),
    ):
        with pytest.raises(EngineError, match=message):
            load_policy(folder, **{"device": "cpu", **options})


def test_an_export_goes_neither_over_a_checkpoint_nor_into_another_export(checkpoint: Path, exported: Path) -> None:
    with pytest.raises(EngineError, match="exists and is not an export"):
        export(checkpoint, checkpoint, ExportSettings("torchscript"))
    with pytest.raises(EngineError, match="is an export already"):
        export(exported, exported.parent / "again", ExportSettings("torchscript"))
    with pytest.raises(EngineError, match="tokens is 0"):
        export(checkpoint, exported.parent / "again", ExportSettings("torchscript", instruction_tokens=0))


def test_full_size_products_are_those_that_were_counted_by_hand() -> None:
    """701 GFLOP for two cameras and 20 tokens, the head's own 0.1 aside."""
    products = products_of(PolicySettings(), 20)
    assert products is not None
    assert products.flops / 1e9 == pytest.approx(701, rel=0.02)
    assert np.isfinite(products.flops)
