"""Training with several processes: only the command that starts them differs."""

import csv
import json
import multiprocessing
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from power_cut import train_with_power_cut
from rich.console import Console
from safetensors.torch import load_file
from synthetic_episodes import policy_settings, train_settings, write_dataset

from mobile_vla_policy.training.resume import ResumeError
from mobile_vla_policy.training.settings import TrainSettings
from mobile_vla_policy.training.train import train
from mobile_vla_policy.training.trainer import Trainer

QUIET = Console(quiet=True)


@dataclass(frozen=True)
class Trainings:
    """The same training by one process with the whole batch, and by two with half of it each."""

    dataset: Path
    settings: TrainSettings
    alone: Path
    shared: Path
    said: str
    """What the two printed to stdout under --json."""


def launch(settings: TrainSettings, dataset: Path, output: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """Two processes on the CPU: accelerate launch starts several there only where it is told that they are GPUs."""
    path = output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    command = ["accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", str(free_port())]
    command += ["-m", "mobile_vla_policy.cli", "train", "--config", str(path), "--dataset", str(dataset)]
    return subprocess.run(
        [*command, "--output", str(output), *more],
        capture_output=True, text=True, timeout=180, check=False, env={**os.environ, "ACCELERATE_USE_CPU": "true"},
    )  # fmt: skip


def in_two_processes(work: Callable[[], None]) -> None:
    """The same without importing everything again."""
    port = str(free_port())

    def child(rank: int) -> None:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        AcceleratorState._reset_state(True)
        work()

    children = [multiprocessing.get_context("fork").Process(target=child, args=(rank,)) for rank in range(2)]
    for process in children:
        process.start()
    try:
        for process in children:
            process.join(120)
            assert process.exitcode == 0
    finally:
        for process in children:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rows(output: Path) -> list[dict[str, str]]:
    with (output / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


def state(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "resume" / "state.safetensors")


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    folder = tmp_path_factory.mktemp("processes")
    dataset = write_dataset(folder / "dataset", episodes=10, steps=11)
    alone = train_settings(max_steps=1, batch_size=8, log_every=1, evaluate_every=1)
    shared = alone.model_copy(update={"batch_size": 4})
    train(alone, dataset, folder / "alone", QUIET)
    done = launch(shared, dataset, folder / "shared", "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    return Trainings(dataset, shared, folder / "alone", folder / "shared", done.stdout)


def test_two_gloo_processes_have_the_gradients_of_one_process(trainings: Trainings) -> None:
    """Half the batch each. Windows differ in their number of masked actions, so plain averaging would not be equal."""
    # After one step, Adam's first moment is a tenth of the gradient.
    one, two = state(trainings.alone), state(trainings.shared)
    moments = [name for name in one if name.endswith("exp_avg")]
    assert len(moments) > 50
    assert max(float(one[name].abs().max()) for name in moments) > 1e-3
    assert max(float((one[name] - two[name]).abs().max()) for name in moments) < 1e-6


def test_two_processes_keep_one_log_and_print_one_document(trainings: Trainings) -> None:
    assert json.loads(trainings.said)["training"]["steps"] == 1
    assert len(list((trainings.shared / "tensorboard").glob("events*"))) == 1
    one, two = rows(trainings.alone), rows(trainings.shared)
    assert [row["step"] for row in one] == [row["step"] for row in two]
    for mine, theirs in zip(one, two, strict=True):
        for name in ("train_loss", "train_motion", "train_gripper", "validation_loss"):
            assert bool(mine[name]) == bool(theirs[name])
            assert not mine[name] or float(mine[name]) == pytest.approx(float(theirs[name]), rel=1e-4)


def test_two_processes_are_resumed_by_two_and_refused_to_one(trainings: Trainings) -> None:
    longer = trainings.settings.model_copy(update={"max_steps": 3})
    with pytest.raises(ResumeError, match="trained by 2 processes, now there are 1; resume with as many"):
        train(longer, trainings.dataset, trainings.shared, QUIET, resume=True)
    before = rows(trainings.shared)
    done = launch(longer, trainings.dataset, trainings.shared, "--resume")
    assert done.returncode == 0, done.stderr[-2000:]
    after = rows(trainings.shared)
    assert after[: len(before)] == before
    assert [row["step"] for row in after] == ["1", "1", "2", "2", "3", "3"]


def test_two_resumed_processes_draw_the_same_as_uninterrupted_ones(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", episodes=10, steps=6)
    policy = policy_settings().model_dump()
    policy["head"]["dropout"] = 0.3
    settings = train_settings(policy=policy, max_steps=4, batch_size=4, evaluate_every=2, augment={"shift": 0.2})
    in_two_processes(lambda: train(settings, dataset, tmp_path / "whole", QUIET))
    in_two_processes(lambda: train_with_power_cut(settings, dataset, tmp_path / "parts", step=3))
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_two_processes_with_a_time_budget_keep_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = write_dataset(tmp_path / "dataset", episodes=10, steps=6)
    settings = train_settings(max_steps=None, max_minutes=0.05, batch_size=4, evaluate_every=1000)
    after = Trainer._after_step

    def keep(trainer: Trainer, *arguments: Any) -> None:
        after(trainer, *arguments)
        weights = {name: parameter.detach().clone() for name, parameter in trainer._network.named_parameters()}
        torch.save((trainer.progress.step, weights), tmp_path / f"rank{trainer._accelerator.process_index}.pt")

    monkeypatch.setattr(Trainer, "_after_step", keep)
    in_two_processes(lambda: train(settings, dataset, tmp_path / "out", QUIET))
    (steps, first), (others, second) = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert steps == others
    assert steps > 1
    assert all(torch.equal(first[name], second[name]) for name in first)
