"""What ONNX Runtime is asked for on a GPU; there is none here, so TensorRT itself is not tried."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mobile_vla_policy.engine.onnxruntime import _providers

ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
GPU = torch.device("cuda:1")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mobile_vla" / "tensorrt"


def stage(folder: Path, weights: bytes) -> Path:
    folder.mkdir()
    (folder / "text.onnx").write_bytes(b"the same graph")
    (folder / "text.onnx.data").write_bytes(weights)
    return folder / "text.onnx"


def engines(path: Path) -> Path:
    name, options = _providers(path, GPU, ALL)[0]
    assert name == "TensorrtExecutionProvider" and options["trt_engine_cache_enable"] is True
    return Path(options["trt_engine_cache_path"])


def test_engines_are_kept_and_those_of_other_weights_are_kept_apart(tmp_path: Path, cache: Path) -> None:
    first = stage(tmp_path / "first", b"1")
    assert engines(first).parent == cache and engines(first).is_dir()
    assert engines(first) == engines(stage(tmp_path / "copy", b"1")), "found again wherever it is"
    assert engines(first) != engines(stage(tmp_path / "second", b"2")), "the graph alone does not say whose it is"


def test_only_available_providers_are_used_on_the_named_device(tmp_path: Path, cache: Path) -> None:
    path = stage(tmp_path / "export", b"1")
    assert [name for name, _ in _providers(path, GPU, ALL)] == ALL
    assert _providers(path, GPU, ALL[1:]) == [("CUDAExecutionProvider", {"device_id": 1}), ("CPUExecutionProvider", {})]
    assert _providers(path, torch.device("cpu"), ALL) == [("CPUExecutionProvider", {})]


def test_without_a_place_for_engines_they_are_built_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert _providers(stage(tmp_path / "export", b"1"), GPU, ALL)[0][1] == {"device_id": 1}
