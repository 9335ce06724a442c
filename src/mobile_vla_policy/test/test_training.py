import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from rich.console import Console
from safetensors.torch import load_file
from synthetic_episodes import CONTRACT, GOALS, network, policy_settings, train_settings, write_dataset, write_episode

from mobile_vla_data.action import displacement, gripper
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.stats import Statistics, VectorStatistics
from mobile_vla_data.episode.reader import EpisodeError
from mobile_vla_policy.backbones.kosmos2 import Kosmos2Settings
from mobile_vla_policy.config import ConfigError
from mobile_vla_policy.evaluation.evaluate import evaluate
from mobile_vla_policy.samples.episodes import TrainingDataError, normalisation_of, open_dataset
from mobile_vla_policy.samples.frames import FramesInMemory, FramesOnDisk
from mobile_vla_policy.samples.windows import WindowData, batches_of, cut_windows
from mobile_vla_policy.training import objective as objective_module
from mobile_vla_policy.training.objective import TrainingError
from mobile_vla_policy.training.optimisation import Schedule
from mobile_vla_policy.training.settings import load_train_settings
from mobile_vla_policy.training.train import init, require_instructions_that_fit, train

QUIET = Console(quiet=True)
OVERFIT = {"max_steps": 400, "evaluate_every": 1000, "learning_rate": 3e-3, "betas": (0.9, 0.98), "gripper_weight": 1.0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", episodes=12)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_every_step_is_in_exactly_one_window_of_an_epoch() -> None:
    import random

    for seed in range(5):
        windows = cut_windows([50, 3, 1, 24], 8, 3, random.Random(seed))
        steps = sorted((window.episode, step) for window in windows for step in window.steps)
        assert steps == [(e, s) for e, length in enumerate([50, 3, 1, 24]) for s in range(length)]
        assert all(0 < len(window.steps) <= 8 for window in windows)
        assert all(b - a == 3 for w in windows for a, b in zip(w.steps, w.steps[1:], strict=False))


def test_two_processes_share_every_batch_and_neither_runs_out() -> None:
    windows = cut_windows([50, 31], 8, 3, None)
    whole = batches_of(windows, 4)
    shares = [batches_of(windows, 2, rank, 2) for rank in range(2)]
    assert [len(share) for share in shares] == [len(whole)] * 2
    for together, first, second in zip(whole, *shares, strict=True):
        assert [w for w in first + second if w.counted] == together
        assert first
        assert second


def test_targets_are_the_next_actions_and_masked_beyond_the_end(dataset: Path) -> None:
    data = open_dataset(dataset, ["static"], seed=0)
    episode = data.splits["train"][0]
    data_of_episode = WindowData(
        [episode], FramesOnDisk([episode], ["static"], 32), data.normalisation, policy_settings().head
    )
    windows = cut_windows([episode.num_steps], 8, 1, None)
    batch = data_of_episode.batch(windows)
    actions = data.normalisation.action.denormalise(batch.target)
    positions = [(b, w, step) for b, window in enumerate(windows) for w, step in enumerate(window.steps)]
    for b, w, step in positions:
        for ahead in range(5):
            recorded = step + ahead < episode.num_steps
            assert bool(batch.mask[b, w, ahead]) == recorded
            if recorded:
                assert np.allclose(actions[b, w, ahead], episode.actions[step + ahead], atol=1e-6)
    assert int(batch.valid.sum()) == episode.num_steps == len(batch.frames)
    assert not batch.mask[~batch.valid].any()


def test_frames_in_memory_and_on_disk_are_the_same_bytes(dataset: Path) -> None:
    episodes = open_dataset(dataset, ["static"], seed=0).splits["train"][:2]
    memory, disk = FramesInMemory(episodes, ["static"], 32), FramesOnDisk(episodes, ["static"], 32)
    for steps in ([0, 5, 9], [2, 5, 8, 11], [7]):
        assert (memory.get(1, steps) == disk.get(1, steps)).all()


def test_normalisation_comes_back_to_the_same_values_and_leaves_the_gripper(dataset: Path) -> None:
    action = open_dataset(dataset, ["static"], seed=0).normalisation.action
    values = torch.tensor([[0.05, -0.03, 1.0], [0.0, 0.01, 0.0]])
    there = action.normalise(values)
    assert (gripper(there) == gripper(values)).all()
    assert torch.allclose(action.denormalise(there), values, atol=1e-7)
    corners = action.normalise(torch.tensor([[*action.q01, 0.0], [*action.q99, 0.0]]))
    assert torch.allclose(displacement(corners), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), atol=1e-5)


def test_the_learning_rate_warms_up_and_reaches_zero_with_the_budget() -> None:
    by_time = Schedule(warmup_steps=10, total_steps=None, total_s=100.0)
    assert by_time.factor(0, 0.0) == pytest.approx(0.1)
    assert by_time.factor(50, 50.0) == pytest.approx(0.5)
    assert by_time.factor(99, 100.0) == pytest.approx(0.0)
    assert by_time.over(1, 100.0)
    assert not Schedule(10, 20, None).over(19, 1e9)


def test_a_model_overfits_four_episodes(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", episodes=4, steps=10)
    ids = sorted(path.stem for path in dataset.glob("episode_*.h5"))
    (dataset / "splits.json").write_text(json.dumps({"splits": {"train": ids, "validation": [], "test": []}}))
    settings = train_settings(**OVERFIT)
    train(settings, dataset, tmp_path / "out", QUIET)
    result = evaluate(tmp_path / "out", dataset, "train", tolerance_m=0.01, device="cpu")
    assert result.overall.error_m < 0.01
    assert result.overall.gripper_accuracy == 1.0
    assert result.overall.transition_f1 == 1.0
    assert result.overall.within_tolerance > 0.9
    assert {"instruction", "black_images", "other_images", "state"} == set(result.sensitivity)
    assert not any("ignores the instruction" in warning for warning in result.warnings)


def test_a_lora_training_leaves_the_frozen_weights_alone(dataset: Path, tmp_path: Path) -> None:
    settings = train_settings(policy=policy_settings(lora=True), max_steps=3)
    init(settings, dataset, tmp_path / "before", QUIET)
    train(settings, dataset, tmp_path / "after", QUIET)
    before, after = weights(tmp_path / "before"), weights(tmp_path / "after" / "last")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert all("lora_" in name or name.startswith("head.") or name == "backbone.act" for name in changed)
    assert any("lora_A" in name for name in changed)


def test_training_uses_both_cameras_and_decodes_in_worker_processes(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", episodes=10, steps=10, cameras=("static", "gripper"))
    settings = train_settings(
        policy=policy_settings(cameras=("static", "gripper")), max_steps=2, cache_gb=0.0, workers=1
    )
    train(settings, dataset, tmp_path / "out", QUIET)
    assert (tmp_path / "out" / "best" / "config.json").is_file()


def test_a_loss_that_is_not_finite_stops_training_and_names_the_episodes(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = objective_module.to_float
    monkeypatch.setattr(objective_module, "to_float", lambda images: real(images) * float("nan"))
    with pytest.raises(TrainingError, match=r"the loss is nan at step 0, episodes episode_\d{6}"):
        train(train_settings(), dataset, tmp_path / "out", QUIET)


def test_a_dataset_that_was_not_split_is_split_with_a_note(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", episodes=10, steps=3)
    assert "was not split" in open_dataset(dataset, ["static"], 0).note
    assert open_dataset(dataset, ["static"], 0).note == ""


def test_episodes_recorded_after_the_split_are_mentioned_and_failures_are_not(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", episodes=10, steps=3)
    open_dataset(dataset, ["static"], 0)
    write_dataset(tmp_path / "more", episodes=3, steps=3)
    for number, path in enumerate(sorted((tmp_path / "more").glob("*.h5"))):
        path.rename(dataset / f"episode_00010{number}.h5")
    with h5py.File(dataset / "episode_000102.h5", "r+") as file:
        file.attrs["outcome"] = "failure"
    note = open_dataset(dataset, ["static"], 0).note
    assert note.startswith("2 episodes are in no split and are not used (first: episode_000100)")
    assert f"mobile-vla-data split {dataset} --keep assigns them" in note


def test_a_motion_that_is_rare_is_normalised_by_all_there_is_of_it() -> None:
    motion = np.zeros((1000, 3), dtype=np.float32)
    motion[:, 0] = np.linspace(-0.05, 0.05, 1000)
    motion[500:504, 1] = 0.03
    of = VectorStatistics.of(motion)
    action = normalisation_of(Statistics(1, 1000, of, of), Contract.load(CONTRACT)).action
    assert action.q99[0] == pytest.approx(0.049, abs=1e-3)
    assert (action.q01[1], action.q99[1]) == (0.0, pytest.approx(0.03))
    assert float(action.normalise(torch.from_numpy(motion))[..., 1].abs().max()) <= 1.0 + 1e-5
    still = VectorStatistics.of(np.zeros((10, 3), dtype=np.float32))
    held = normalisation_of(Statistics(1, 10, still, still), Contract.load(CONTRACT)).action.normalise(
        torch.zeros(1, 3)
    )
    assert held.tolist() == [[0.0, 0.0, 0.0]]


def test_a_bad_picture_is_one_line_from_a_worker_process_too(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", episodes=10, steps=4)
    bad = open_dataset(dataset, ["static"], 0).splits["train"][0].path
    with h5py.File(bad, "r+") as file:
        pictures = file["observations/images/static"]
        pictures[1] = pictures[1][:40]
    for workers in (0, 1):
        with pytest.raises(EpisodeError) as refused:
            train(train_settings(cache_gb=0.0, workers=workers), dataset, tmp_path / f"out{workers}", QUIET)
        assert str(refused.value).startswith(f"{bad}: ")
        assert "\n" not in str(refused.value)


def test_a_dataset_that_cannot_be_trained_on_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingDataError, match="no episodes"):
        open_dataset(tmp_path / "empty", ["static"], 0)
    with pytest.raises(TrainingDataError, match="cannot be"):
        open_dataset(write_dataset(tmp_path / "one", episodes=1, steps=3), ["static"], 0)
    dataset = write_dataset(tmp_path / "d", episodes=10, steps=3)
    with pytest.raises(TrainingDataError, match=r"no camera 'gripper'; set policy.backbone.cameras=\[static\]"):
        open_dataset(dataset, ["static", "gripper"], 0)
    other = yaml.safe_load(CONTRACT.read_text())
    other["control_rate_hz"] = 20.0
    shutil.rmtree(tmp_path / "d")
    dataset = write_dataset(tmp_path / "d", episodes=9, steps=3)
    random = np.random.default_rng(5)
    write_episode(dataset, Contract.from_dict(other), next(iter(GOALS)), random, 3, ("static",))
    with pytest.raises(TrainingDataError, match=r"under another contract .* control_rate_hz: "):
        open_dataset(dataset, ["static"], 0)


@pytest.mark.parametrize("name", ["train.yaml", "train_tiny.yaml"])
def test_the_shipped_settings_are_valid(name: str) -> None:
    load_train_settings(CONTRACT.parent / name)


def test_settings_can_be_overridden_and_errors_name_field_and_value(tmp_path: Path) -> None:
    path = CONTRACT.parent / "train_tiny.yaml"
    assert load_train_settings(path, ["policy.head.window=4", "precision=bf16"]).policy.head.window == 4
    for override, message in {
        "policy.head.windows=4": r"^'policy\.head\.windows=4': policy.head.windows: no .*head.window\? \(got 4\)$",
        "policy.lora=4": r"^'policy\.lora=4': policy.lora: .* \(got 4\)$",
        "learning_rate=-1": r"^'learning_rate=-1': learning_rate: .* greater than 0 \(got -1\)$",
        "seed": r"write an override as field=value",
        "precision.x=1": r"precision is not a group of fields",
    }.items():
        with pytest.raises(ConfigError, match=message):
            load_train_settings(path, [override])
    typing_error = tmp_path / "settings.yaml"
    typing_error.write_text("learningrate: 1.0e-4\n")
    with pytest.raises(ConfigError, match=r"^.*settings\.yaml: learningrate: no setting .* mean learning_rate\?"):
        load_train_settings(typing_error, ["seed=1"])
    with pytest.raises(ConfigError, match="no such settings file"):
        load_train_settings(tmp_path / "none.yaml")


def test_fewer_bits_are_refused_for_weights_that_are_random() -> None:
    with pytest.raises(ValidationError, match="load_in 4bit is for published weights, but these are random"):
        Kosmos2Settings(weights="random", load_in="4bit")


def test_four_bits_are_those_of_qlora(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="needs CUDA; set policy"):
        Kosmos2Settings(load_in="4bit").quantisation(torch.float16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    chosen = Kosmos2Settings(load_in="4bit").quantisation(torch.float16)["quantization_config"]
    assert (chosen.bnb_4bit_quant_type, chosen.bnb_4bit_use_double_quant) == ("nf4", True)
    assert chosen.bnb_4bit_compute_dtype == torch.float16


def test_an_instruction_that_the_policy_would_refuse_is_refused_before_training(dataset: Path) -> None:
    data = open_dataset(dataset, ["static"], seed=0)
    first = data.splits["train"][0]
    # Words that the tokenizer does not know fall apart into bytes.
    wordy = replace(data, splits={"train": [replace(first, instruction="부엌으로 가서 컵을 집어 " * 10)]})
    require_instructions_that_fit(network(), data)
    with pytest.raises(TrainingDataError, match=r"h5: the instruction has \d+ tokens, .* at most 128; shorten"):
        require_instructions_that_fit(network(), wordy)
