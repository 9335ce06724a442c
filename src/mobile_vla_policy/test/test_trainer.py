"""What the training loop does at its turns: accumulate, average, stop, keep the best, log, decode."""

import csv
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from synthetic_episodes import train_settings, write_dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mobile_vla_policy.checkpoint import read_info
from mobile_vla_policy.model.loss import ActionLoss
from mobile_vla_policy.samples import frames as frames_module
from mobile_vla_policy.training.optimisation import WeightAverage
from mobile_vla_policy.training.stopping import Stopping
from mobile_vla_policy.training.train import train
from mobile_vla_policy.training.trainer import Trainer

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", episodes=10, steps=11)


def rows(output: Path) -> list[dict[str, str]]:
    with (output / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_accumulated_batches_give_the_gradients_of_one_larger_batch(dataset: Path, tmp_path: Path) -> None:
    """Windows at an episode's end have fewer recorded actions: a mean of means would not be equal."""
    train(train_settings(max_steps=1, batch_size=4), dataset, tmp_path / "larger", QUIET)
    train(train_settings(max_steps=1, batch_size=2, accumulation=2), dataset, tmp_path / "parts", QUIET)
    # After one step, Adam's first moment is a tenth of the gradient.
    one, two = (load_file(tmp_path / name / "resume" / "state.safetensors") for name in ("larger", "parts"))
    moments = [name for name in one if name.endswith("exp_avg")]
    assert max(float(one[name].abs().max()) for name in moments) > 1e-3
    assert max(float((one[name] - two[name]).abs().max()) for name in moments) < 1e-6
    loss, parts = (float(rows(tmp_path / name)[0]["train_loss"]) for name in ("larger", "parts"))
    assert loss == pytest.approx(parts, rel=1e-4)


def test_an_epoch_has_as_many_steps_with_accumulation_as_with_the_larger_batch(dataset: Path, tmp_path: Path) -> None:
    steps = set()
    for name, size, accumulation in (("larger", 6, 1), ("parts", 2, 3)):
        settings = train_settings(max_steps=None, epochs=2, batch_size=size, accumulation=accumulation)
        train(settings, dataset, tmp_path / name, QUIET)
        steps.add(read_info(tmp_path / name / "last").training["steps"])
    assert len(steps) == 1
    assert steps.pop() > 4


def test_training_stops_when_validation_is_no_better_and_the_best_stays_the_best(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 1.0, 2.0, 1.5, 0.1])
    monkeypatch.setattr(Trainer, "_validate", lambda *_: ActionLoss(*[torch.tensor(next(losses))] * 3))
    result = train(train_settings(max_steps=50, evaluate_every=1, patience=2), dataset, tmp_path, QUIET)
    assert (result.steps, result.best_loss) == (4, 1.0)
    kept, newest = (read_info(tmp_path / name).training for name in ("best", "last"))
    assert (kept["steps"], kept["validation_loss"]) == (2, 1.0)
    assert (newest["steps"], newest["validation_loss"]) == (4, 1.5)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("best", "last"))
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_without_a_validation_split_the_newest_is_the_best(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", episodes=4, steps=4)
    ids = sorted(path.stem for path in dataset.glob("episode_*.h5"))
    (dataset / "splits.json").write_text(json.dumps({"splits": {"train": ids, "validation": [], "test": []}}))
    result = train(train_settings(max_steps=3, evaluate_every=1), dataset, tmp_path / "out", QUIET)
    assert (result.steps, result.best_loss) == (3, None)
    assert read_info(tmp_path / "out" / "best").training["steps"] == 3


def test_the_average_follows_the_weights_and_replaces_them_only_while_it_is_applied() -> None:
    network = torch.nn.Linear(2, 1, bias=False)
    network.weight.data = torch.tensor([[0.0, 0.0]])
    average = WeightAverage(network, decay=0.25)
    network.weight.data = torch.tensor([[1.0, 2.0]])
    average.update(step=1)  # forgets by 2 / 11 so early, not by 0.25
    assert average.values["weight"].tolist() == [pytest.approx([9 / 11, 18 / 11])]
    average.update(step=100)
    assert average.values["weight"].tolist() == [pytest.approx([1 - 2 / 11 / 4, 2 - 4 / 11 / 4])]
    with pytest.raises(RuntimeError, match="full"), average.applied():
        assert network.weight.tolist() == [pytest.approx([1 - 2 / 11 / 4, 2 - 4 / 11 / 4])]
        raise RuntimeError("the disk is full")
    assert network.weight.tolist() == [[1.0, 2.0]]


def test_the_average_is_validated_and_saved(dataset: Path, tmp_path: Path) -> None:
    train(train_settings(max_steps=8, ema_decay=0.9, evaluate_every=4), dataset, tmp_path, QUIET)
    state, saved = load_file(tmp_path / "resume" / "state.safetensors"), load_file(tmp_path / "last/model.safetensors")
    names = [name.removeprefix("averages.") for name in state if name.startswith("averages.")]
    assert len(names) > 50
    assert all(torch.equal(saved[name], state[f"averages.{name}"]) for name in names)
    assert any(not torch.equal(saved[name], state[f"weights.{name}"]) for name in names)


def test_tensorboard_and_csv_hold_the_same_values(dataset: Path, tmp_path: Path) -> None:
    train(train_settings(max_steps=4, evaluate_every=2, log_every=1), dataset, tmp_path, QUIET)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    for column in ("train_loss", "train_motion", "train_gripper", "validation_loss", "learning_rate"):
        events = [(event.step, event.value) for event in board.Scalars(column.replace("_", "/", 1))]
        recorded = [(int(row["step"]), float(row[column])) for row in rows(tmp_path) if row[column]]
        assert [step for step, _ in events] == [step for step, _ in recorded]
        assert [value for _, value in events] == pytest.approx([value for _, value in recorded], rel=1e-4)


@pytest.mark.parametrize(("cache_gb", "times"), [(0.0, 2), (4.0, 1)])
def test_each_frame_is_decoded_once_an_epoch_or_once_if_frames_are_kept(
    cache_gb: float, times: int, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[tuple[str, int]] = Counter()
    real = frames_module._decode

    def counting(file: frames_module.Episode, steps: Sequence[int], *more: object) -> object:
        decoded.update((file.path.stem, step) for step in steps)
        return real(file, steps, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(frames_module, "_decode", counting)
    monkeypatch.setattr(Trainer, "_validate", lambda *_: ActionLoss(*[torch.tensor(1.0)] * 3))
    settings = train_settings(max_steps=None, epochs=2, cache_gb=cache_gb, workers=0, batch_size=4)
    train(settings, dataset, tmp_path, QUIET)
    assert dict(decoded) == dict.fromkeys(frames_of_training(dataset, cache_gb > 0), times)


def frames_of_training(dataset: Path, validation: bool) -> Iterator[tuple[str, int]]:
    splits = json.loads((dataset / "splits.json").read_text())["splits"]
    for name in ("train", "validation") if validation else ("train",):
        for episode in splits[name]:
            yield from ((episode, step) for step in range(11))


def test_the_first_ctrl_c_is_remembered_and_the_second_stops_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        with pytest.raises(KeyboardInterrupt), Stopping() as stopping:
            os.kill(os.getpid(), signal.SIGINT)
            assert stopping.asked
            if (child := os.fork()) == 0:
                # As a worker of the loader: it is not its business.
                os.kill(os.getpid(), signal.SIGINT)
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is stop
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr().err.count("Ctrl-C again stops at once") == 1
