"""A training that was interrupted goes on as if it had not been, or says what has changed since."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from power_cut import train_with_power_cut
from rich.console import Console
from safetensors.torch import load_file, save_file
from synthetic_episodes import CONTRACT, policy_settings, train_settings, write_dataset, write_episode

from mobile_vla_data.contract import Contract
from mobile_vla_policy.training import train as train_module
from mobile_vla_policy.training.log import COLUMNS
from mobile_vla_policy.training.optimisation import WeightAverage, make_optimiser
from mobile_vla_policy.training.resume import ResumeError, load_position, load_state, save_state
from mobile_vla_policy.training.train import train

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", episodes=12)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained") / "out"
    train(train_settings(max_steps=2, ema_decay=0.9), dataset, output, QUIET)
    return output


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def losses(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "metrics.csv").open() as stream:
        return [(row["step"], row["train_loss"], row["validation_loss"]) for row in csv.DictReader(stream)]


@pytest.mark.parametrize("save_every_minutes", [10.0, 1e-6])
def test_a_resumed_training_equals_an_uninterrupted_one(
    save_every_minutes: float, dataset: Path, tmp_path: Path
) -> None:
    policy = policy_settings().model_dump()
    policy["head"]["dropout"] = 0.1
    settings = train_settings(
        policy=policy, max_steps=12, evaluate_every=5, accumulation=2, batch_size=4, ema_decay=0.9,
        augment={"shift": 0.1}, log_every=1, save_every_minutes=save_every_minutes,
    )  # fmt: skip
    train(settings, dataset, tmp_path / "whole", QUIET)
    train_with_power_cut(settings, dataset, tmp_path / "parts", step=8)
    whole, parts = weights(tmp_path / "whole" / "last"), weights(tmp_path / "parts" / "last")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert (tmp_path / "whole" / "loss.png").stat().st_size > 1000


def test_the_state_is_saved_between_validations_too(dataset: Path, tmp_path: Path) -> None:
    settings = train_settings(max_steps=5, evaluate_every=100, save_every_minutes=1e-6)
    train_with_power_cut(settings, dataset, tmp_path, step=3)
    assert load_position(tmp_path / "resume").step == 5


def test_the_loss_scaling_of_fp16_goes_on_where_it_was(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GradScaler on the CPU, since fp16 itself needs CUDA."""
    real = train_module.Accelerator

    def scaling(**arguments: object) -> object:
        accelerator = real(**arguments)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=3)
        return accelerator

    monkeypatch.setattr(train_module, "Accelerator", scaling)
    settings = train_settings(max_steps=8, evaluate_every=5)
    train(settings, dataset, tmp_path / "whole", QUIET)
    train_with_power_cut(settings, dataset, tmp_path / "parts", step=7)
    whole, parts = (load_position(tmp_path / name / "resume").scaler for name in ("whole", "parts"))
    assert whole["scale"] == 4.0 * 2 * 2
    assert whole == parts


def test_averages_come_back_into_the_tensors_that_are_there(tmp_path: Path, trained: Path) -> None:
    """On CUDA, a tensor from the file would be one on the CPU, which cannot be averaged with."""
    network = torch.nn.Linear(3, 2)
    optimizer = make_optimiser(network, train_settings())
    network(torch.rand(1, 3)).sum().backward()
    optimizer.step()
    average = WeightAverage(network, 0.9)
    position = load_position(trained / "resume")
    save_state(tmp_path / "resume", position, network, optimizer, average.values)
    saved, places = {name: value.clone() for name, value in average.values.items()}, dict(average.values)
    for value in average.values.values():
        value.zero_()
    load_state(tmp_path / "resume", network, optimizer, average.values)
    for name, value in average.values.items():
        assert value is places[name]
        assert torch.equal(value, saved[name])


def test_another_training_is_refused_by_the_fields_that_differ(dataset: Path, trained: Path) -> None:
    other = train_settings(max_steps=2, ema_decay=0.9, seed=1, learning_rate=0.5)
    with pytest.raises(ResumeError, match=r"learning_rate is 0\.002 there and 0\.5 here; seed is 0 there and 1 here"):
        train(other, dataset, trained, QUIET, resume=True)
    shorter = train_settings(max_steps=1, ema_decay=0.9)
    with pytest.raises(ResumeError, match="max_steps is 2 there and 1 here"):
        train(shorter, dataset, trained, QUIET, resume=True)
    with pytest.raises(ResumeError, match="nothing to resume"):
        train(other, dataset, trained.parent / "empty", QUIET, resume=True)


def test_settings_that_change_no_weight_may_change_and_training_may_become_longer(
    dataset: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "out")
    free = {"workers": 0, "log_every": 3, "cache_gb": 1.0, "patience": 7}
    train(train_settings(max_steps=3, ema_decay=0.9, **free), dataset, tmp_path / "out", QUIET, resume=True)
    assert load_position(tmp_path / "out" / "resume").step == 3


def test_a_checkpoint_that_training_began_with_may_have_moved_but_not_changed(dataset: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    train(train_settings(max_steps=1), dataset, start, QUIET)
    settings = train_settings(max_steps=2, init_from=str(start))
    train(settings, dataset, tmp_path / "out", QUIET)
    start.rename(tmp_path / "moved")
    longer = {"max_steps": 3, "init_from": str(tmp_path / "moved")}
    train(train_settings(**longer), dataset, tmp_path / "out", QUIET, resume=True)
    assert load_position(tmp_path / "out" / "resume").step == 3
    train(train_settings(max_steps=1, seed=9), dataset, tmp_path / "other", QUIET)
    with pytest.raises(ResumeError, match=rf"init_from is {tmp_path / 'moved'} there and {tmp_path / 'other'} here"):
        train(
            train_settings(**{**longer, "init_from": str(tmp_path / "other")}),
            dataset,
            tmp_path / "out",
            QUIET,
            resume=True,
        )


def instruct_anew(dataset: Path, episode: str) -> None:
    with h5py.File(dataset / f"{episode}.h5", "r+") as file:
        file.attrs["language"] = "go to the desk"


def drive_anew(dataset: Path, episode: str) -> None:
    contract, random = Contract.load(CONTRACT), np.random.default_rng(7)
    write_episode(dataset, contract, "go to the sofa", random, 9, ("static",)).rename(dataset / f"{episode}.h5")


def split_anew(dataset: Path, episode: str) -> None:
    path = dataset / "splits.json"
    document = json.loads(path.read_text())
    document["splits"]["train"].remove(episode)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (instruct_anew, ["train instructions"]),
        (drive_anew, ["normalisation statistics", "train episode lengths", "train states and actions"]),
        (split_anew, ["train split", "train episode lengths"]),
    ],
)
def test_a_dataset_that_changed_in_between_is_refused_before_anything_is_decoded(
    change: Callable[[Path, str], None],
    named: list[str],
    dataset: Path,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(dataset, tmp_path / "dataset")
    change(tmp_path / "dataset", json.loads((dataset / "splits.json").read_text())["splits"]["train"][0])
    monkeypatch.setattr(train_module, "open_frames", None)
    with pytest.raises(ResumeError, match="the dataset has changed since") as refused:
        train(train_settings(max_steps=2, ema_decay=0.9), tmp_path / "dataset", trained, QUIET, resume=True)
    assert all(name in str(refused.value) for name in named)
    assert "validation" not in str(refused.value)


@pytest.mark.parametrize("lost", ["weights.head.output.bias", "averages.head.output.bias", "optimizer.0.exp_avg"])
def test_a_state_that_lacks_a_tensor_is_refused_by_its_name(
    lost: str, dataset: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "out")
    path = tmp_path / "out" / "resume" / "state.safetensors"
    tensors = load_file(path)
    del tensors[lost]
    save_file(tensors, path)
    with pytest.raises(ResumeError, match=f"{lost} is missing"):
        train(train_settings(max_steps=2, ema_decay=0.9), dataset, tmp_path / "out", QUIET, resume=True)


def test_a_log_with_torn_lines_keeps_its_whole_ones(dataset: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "out")
    log = tmp_path / "out" / "metrics.csv"
    before = log.read_text().splitlines()
    log.write_text("\n".join([before[0], "1,0.1,0.00", *before[1:], "2,\0\0\0", "2.5e"]))
    train(train_settings(max_steps=3, ema_decay=0.9), dataset, tmp_path / "out", QUIET, resume=True)
    after = log.read_text().splitlines()
    assert before[0] == ",".join(COLUMNS)
    assert after[: len(before)] == before
    assert [line.split(",")[0] for line in after[len(before) :]] == ["3"]
