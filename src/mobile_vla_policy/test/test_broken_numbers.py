"""What is no number, in data, weights or statistics, is found and named: never trained on, never printed."""

import json
import shutil
from pathlib import Path

import h5py
import pytest
from rich.console import Console
from safetensors.torch import load_file, save_file
from synthetic_episodes import train_settings

from mobile_vla_policy.evaluation.evaluate import evaluate
from mobile_vla_policy.evaluation.predict import PredictionError
from mobile_vla_policy.model.loss import ActionLoss
from mobile_vla_policy.normalisation import NormalisationError
from mobile_vla_policy.samples.episodes import TrainingDataError
from mobile_vla_policy.samples.windows import Batch
from mobile_vla_policy.training import trainer as trainer_module
from mobile_vla_policy.training.objective import Objective, TrainingError
from mobile_vla_policy.training.resume import load_position
from mobile_vla_policy.training.train import train

QUIET = Console(quiet=True)
NAN = float("nan")


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained") / "out"
    train(train_settings(max_steps=1), dataset, output, QUIET)
    return output


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("path", ["observations/state", "actions"])
def test_an_episode_with_a_value_that_is_not_finite_is_refused_by_name(
    split: str, path: str, dataset: Path, trained: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "dataset"
    shutil.copytree(dataset, broken)
    episode = json.loads((broken / "splits.json").read_text())["splits"][split][0]
    with h5py.File(broken / f"{episode}.h5", "r+") as file:
        file[path][2, 1] = NAN
    with pytest.raises(TrainingDataError, match=rf"{episode}\.h5: {path}, step 2 is \[.*nan.*\], which is not finite"):
        train(train_settings(), broken, tmp_path / "out", QUIET)
    with pytest.raises(TrainingDataError, match="not finite"):
        evaluate(trained, broken, "test", 0.01, "cpu")


def test_a_validation_loss_that_is_not_finite_stops_training_and_names_the_episodes(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Objective.validate

    def broken(self: Objective, batch: Batch) -> ActionLoss:
        loss = real(self, batch)
        return ActionLoss(loss.total * NAN, loss.motion, loss.gripper)

    monkeypatch.setattr(Objective, "validate", broken)
    with pytest.raises(TrainingError, match=r"the validation loss is nan at step 10, episodes episode_\d{6}"):
        train(train_settings(), dataset, tmp_path / "out", QUIET)
    assert not (tmp_path / "out" / "best").exists()


def test_a_training_that_never_validated_saves_valid_json(dataset: Path, tmp_path: Path) -> None:
    settings = train_settings(max_steps=2, save_every_minutes=1e-6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module.Trainer, "_validate_and_save", lambda *_: None)
        train(settings, dataset, tmp_path, QUIET)
    assert load_position(tmp_path / "resume").best_loss is None
    json.loads((tmp_path / "resume" / "position.json").read_text(), parse_constant=pytest.fail)


def test_weights_that_are_not_finite_cannot_be_evaluated(dataset: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "best", tmp_path / "best")
    tensors = load_file(tmp_path / "best" / "model.safetensors")
    tensors["head.output.bias"][0] = NAN
    save_file(tensors, tmp_path / "best" / "model.safetensors")
    with pytest.raises(PredictionError, match=r"best: episode_\d{6}, step 0: the prediction is \[nan.*train it again"):
        evaluate(tmp_path, dataset, "test", 0.01, "cpu")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_statistics_that_are_not_finite_are_refused_with_their_file(value: str, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "best", tmp_path / "best")
    path = tmp_path / "best" / "stats.json"
    data = json.loads(path.read_text())
    data["state"]["q99"][1] = "VALUE"
    path.write_text(json.dumps(data).replace('"VALUE"', value))
    with pytest.raises(NormalisationError, match=r"stats\.json: quantiles are .*; they must be finite"):
        evaluate(tmp_path, trained, "test", 0.01, "cpu")
