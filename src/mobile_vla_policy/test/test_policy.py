import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file, save_file
from synthetic_episodes import CONTRACT, network, policy_settings, train_settings, write_dataset

from mobile_vla_data.contract import Contract, ContractError
from mobile_vla_data.episode.reader import Episode
from mobile_vla_policy.checkpoint import CheckpointError, load_network, read_info
from mobile_vla_policy.evaluation.metrics import transition_f1
from mobile_vla_policy.evaluation.predict import predict_episode
from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.policy import PolicyMemory, remember, strided
from mobile_vla_policy.preprocess import FrameError
from mobile_vla_policy.samples.episodes import open_dataset
from mobile_vla_policy.samples.frames import decode_frames
from mobile_vla_policy.training.train import init, train

QUIET = Console(quiet=True)
STATE = np.zeros(3, dtype=np.float32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", episodes=10, steps=12)


@pytest.fixture(scope="module")
def trained(dataset: Path) -> Path:
    settings = train_settings(policy=policy_settings(lora=True, stride=2), max_steps=5)
    train(settings, dataset, dataset.parent / "trained", QUIET)
    return dataset.parent / "trained"


@pytest.fixture
def checkpoint(dataset: Path, tmp_path: Path) -> Path:
    init(train_settings(), dataset, tmp_path / "checkpoint", QUIET)
    return tmp_path / "checkpoint"


def test_driving_predicts_what_offline_evaluation_predicts(trained: Path, dataset: Path) -> None:
    """Images from memory, a merged LoRA and a growing memory, against whole episodes with LoRA unmerged."""
    policy = load_policy(trained, device="cpu", contract=Contract.load(CONTRACT))
    info = read_info(trained / "best")
    data = open_dataset(dataset, ["static"], 0).splits["test"][0]
    frames = decode_frames(data, range(data.num_steps), ["static"], 32)
    offline = predict_episode(
        load_network(info), info.normalisation, info.contract, data, frames, data.instruction, 8, 2
    )  # fmt: skip
    memory = policy.initial_memory()
    with Episode.open(data.path) as episode:
        for step in range(data.num_steps):
            images = {"static": episode.image("static", step)}
            chunk, memory = policy.predict(images, episode.states[step], data.instruction, memory)
            assert chunk.deltas.shape == (5, 2)
            assert np.abs(chunk.deltas - offline.deltas[step]).max() < 1e-5
            assert ((chunk.gripper >= 0) & (chunk.gripper <= 1)).all()
    assert list(policy.stage_latency_s) == ["preprocess", "vision", "text", "head"]
    assert all(value >= 0 for value in policy.stage_latency_s.values())
    assert policy.horizon == 5


def test_a_prediction_leaves_the_memory_it_was_given_unchanged(trained: Path) -> None:
    policy = load_policy(trained, device="cpu")
    image = {"static": np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8)}
    _, memory = policy.predict(image, STATE, "go to the kitchen", policy.initial_memory())
    first, _ = policy.predict(image, STATE, "go to the kitchen", memory)
    second, _ = policy.predict(image, STATE, "go to the kitchen", memory)
    assert (first.deltas == second.deltas).all()


def test_preparing_before_a_frame_changes_no_prediction(trained: Path) -> None:
    """Neither when the frame comes as expected, nor when control periods were skipped or the memory is another."""
    prepared, plain = load_policy(trained, device="cpu"), load_policy(trained, device="cpu")
    random = np.random.default_rng(0)
    memory, other = prepared.initial_memory(), plain.initial_memory()
    used = 0
    for elapsed in (1, 1, 1, 2, 1, 1, 1, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1):
        image = {"static": random.integers(0, 255, (224, 224, 3), dtype=np.uint8)}
        with patch.object(prepared.engine.recurrent, "chunk", wraps=prepared.engine.recurrent.chunk) as step:
            ours, memory = prepared.predict(image, STATE, "go to the kitchen", memory, elapsed_periods=elapsed)
        used += step.call_count
        theirs, other = plain.predict(image, STATE, "go to the kitchen", other, elapsed_periods=elapsed)
        assert np.abs(ours.deltas - theirs.deltas).max() < 1e-6
        assert np.abs(ours.gripper - theirs.gripper).max() < 1e-6
        prepared.prepare(memory)
    assert used >= 10
    ours, _ = prepared.predict(image, STATE, "go to the kitchen", prepared.initial_memory())
    theirs, _ = plain.predict(image, STATE, "go to the kitchen", plain.initial_memory())
    assert (ours.deltas == theirs.deltas).all()


def test_memory_keeps_the_window_and_finds_strides_when_periods_were_skipped() -> None:
    memory = PolicyMemory()
    for _ in range(30):
        memory = remember(memory, torch.zeros(1), 1, span=21)
    assert len(memory.inputs) == len(memory.periods) == 22
    assert [memory.periods[i] for i in strided(memory.periods, 8, 3)] == list(range(8, 30, 3))
    assert [(0, 2, 4, 5, 9)[i] for i in strided((0, 2, 4, 5, 9), 4, 3)] == [0, 2, 5, 9]
    assert strided((0,), 8, 3) == [0]
    memory = remember(memory, torch.zeros(1), 50, span=21)
    assert len(memory.inputs) == 1


def test_a_missing_camera_a_broken_state_and_an_endless_instruction_are_refused(trained: Path) -> None:
    policy = load_policy(trained, device="cpu")
    image = np.zeros((224, 224, 3), dtype=np.uint8)
    with pytest.raises(FrameError, match="no image from camera 'static'"):
        policy.predict({"gripper": image}, STATE, "go", policy.initial_memory())
    with pytest.raises(FrameError, match=r"uint8 \[height, width, 3\], got uint8 \[224, 224\]"):
        policy.predict({"static": image[..., 0]}, STATE, "go", policy.initial_memory())
    with pytest.raises(FrameError, match="not finite"):
        policy.predict({"static": image}, STATE + np.float32("nan"), "go", policy.initial_memory())
    assert "is empty" in policy.check_instruction(" ")
    assert "at most 128" in policy.check_instruction("go " * 150)
    assert policy.check_instruction("go to the kitchen") == ""


def test_a_robot_with_another_contract_is_refused_by_field(trained: Path) -> None:
    other = yaml.safe_load(CONTRACT.read_text())
    other["control_rate_hz"] = 20.0
    with pytest.raises(ContractError, match=r"control_rate_hz: 10.0 != 20.0"):
        load_policy(trained, device="cpu", contract=Contract.from_dict(other))


def test_missing_extra_and_misshapen_tensors_are_refused_by_name(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    tensors = load_file(path)
    name = "head.output.bias"
    for broken, message in (
        ({k: v for k, v in tensors.items() if k != name}, rf"1 missing tensors \({name}\)"),
        ({**tensors, "head.other": torch.zeros(1)}, r"1 unknown tensors \(head.other\)"),
        ({**tensors, name: torch.zeros(3)}, rf"{name} has shape \[3\], the settings say \[15\]"),
    ):
        save_file(broken, path)
        with pytest.raises(CheckpointError, match=message):
            load_policy(checkpoint, device="cpu")


def test_damaged_incomplete_pickled_and_future_checkpoints_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_policy(tmp_path / "nowhere")
    unsafe = tmp_path / "unsafe"
    unsafe.mkdir()
    (unsafe / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(CheckpointError, match=r"'pytorch_model.bin' is a pickle"):
        load_policy(unsafe)
    weights, config = checkpoint / "model.safetensors", checkpoint / "config.json"
    data = weights.read_bytes()
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r"model.safetensors: damaged"):
        load_policy(checkpoint)
    weights.unlink()
    with pytest.raises(CheckpointError, match="missing; the checkpoint is incomplete"):
        load_policy(checkpoint)
    parsed = json.loads(config.read_text())
    config.write_text(json.dumps({**parsed, "format_version": 99}))
    with pytest.raises(CheckpointError, match="format_version is 99, this version reads 1"):
        load_policy(checkpoint)
    parsed["policy"]["head"]["horizons"] = 5
    config.write_text(json.dumps(parsed))
    with pytest.raises(CheckpointError, match=r"config.json: head.horizons: no setting .* mean head.horizon"):
        load_policy(checkpoint)


def test_a_checkpoint_of_a_published_backbone_holds_only_trained_tensors() -> None:
    from mobile_vla_policy.backbones.kosmos2 import Kosmos2Settings
    from mobile_vla_policy.checkpoint import saved_names

    whole, settings = network(lora=True), policy_settings(lora=True)
    published = settings.model_copy(update={"backbone": Kosmos2Settings(name="a/b")})
    names = saved_names(whole, published)
    assert all("lora_" in name or name.startswith("head.") or name == "backbone.act" for name in names)
    assert saved_names(whole, settings) == set(whole.state_dict())


def test_gripper_transitions_are_matched_within_two_periods() -> None:
    recorded = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 0], dtype=bool)
    assert transition_f1([(recorded, recorded)]) == 1.0
    assert transition_f1([(np.roll(recorded, 1), recorded)]) == 1.0
    assert transition_f1([(np.zeros(10, dtype=bool), recorded)]) == 0.0
    assert transition_f1([(np.zeros(10, dtype=bool), np.zeros(10, dtype=bool))]) is None


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mobile_vla_policy.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_commands_print_one_json_document_and_fail_in_one_line(
    trained: Path, dataset: Path, tmp_path: Path
) -> None:
    info = run("info", trained, "--json")
    assert info.returncode == 0
    assert json.loads(info.stdout)["backbone"] == "kosmos2-tiny"
    result = run("evaluate", trained, "--dataset", dataset, "--output", tmp_path, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == json.loads((tmp_path / "metrics.json").read_text())
    assert json.loads(result.stdout)["instruction_sensitivity"]["relative"] >= 0
    assert (tmp_path / "paths.png").stat().st_size > 1000
    missing = run("info", tmp_path / "nowhere")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.startswith("mobile-vla-policy: ")
    assert len(missing.stderr.splitlines()) == 1
    assert run("train").returncode == 2
