"""What training and init may write over, and what happens when they cannot write."""

import shutil
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_episodes import train_settings, write_dataset

from mobile_vla_policy.checkpoint import CheckpointError, read_info
from mobile_vla_policy.training.run import init, train

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", episodes=10, steps=6)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_init_refuses_to_replace_what_is_no_checkpoint(dataset: Path, tmp_path: Path) -> None:
    model_of_others, training, file = tmp_path / "model", tmp_path / "training", tmp_path / "file"
    model_of_others.mkdir()
    (model_of_others / "config.json").write_text('{"model_type": "kosmos-2"}')
    (model_of_others / "model.safetensors").write_bytes(b"years of work")
    init(train_settings(), dataset, training, QUIET)
    (training / "best").mkdir()
    file.write_text("a thesis")
    for folder in (dataset, model_of_others, training):
        before = content(folder)
        with pytest.raises(CheckpointError, match="exists and is no checkpoint; give another folder"):
            init(train_settings(), dataset, folder, QUIET)
        assert content(folder) == before
    with pytest.raises(CheckpointError, match="exists and is no checkpoint"):
        init(train_settings(), dataset, file, QUIET)
    assert file.read_text() == "a thesis"


def test_init_fills_an_empty_folder_and_replaces_a_checkpoint(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    for seed in (0, 1):
        init(train_settings(seed=seed), dataset, tmp_path / "checkpoint", QUIET)
        assert read_info(tmp_path / "checkpoint").training["steps"] == 0
