"""What training and init may write over, and what happens when they cannot write."""

import csv
import errno
import fcntl
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from synthetic_episodes import train_settings

from mobile_vla_data.storage.folders import WriteError
from mobile_vla_data.storage.lock import FolderBusyError
from mobile_vla_policy.checkpoint import CheckpointError, load_network, read_info
from mobile_vla_policy.training import output as output_module
from mobile_vla_policy.training.output import LOCK, OutputError, OutputLock, bytes_left
from mobile_vla_policy.training.train import init, train

QUIET = Console(quiet=True)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_init_refuses_to_replace_anything_but_a_checkpoint(dataset: Path, tmp_path: Path) -> None:
    model_of_others, training, file = tmp_path / "model", tmp_path / "training", tmp_path / "file"
    model_of_others.mkdir()
    (model_of_others / "config.json").write_text('{"model_type": "kosmos-2"}')
    (model_of_others / "model.safetensors").write_bytes(b"years of work")
    init(train_settings(), dataset, training, QUIET)
    (training / "best").mkdir()
    file.write_text("a thesis")
    for folder in (dataset, model_of_others, training):
        before = content(folder)
        with pytest.raises(CheckpointError, match="exists and is not a checkpoint; give another folder"):
            init(train_settings(), dataset, folder, QUIET)
        assert content(folder) == before
    with pytest.raises(CheckpointError, match="exists and is not a checkpoint"):
        init(train_settings(), dataset, file, QUIET)
    assert file.read_text() == "a thesis"


def test_init_fills_an_empty_folder_and_replaces_a_checkpoint(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    for seed in (0, 1):
        init(train_settings(seed=seed), dataset, tmp_path / "checkpoint", QUIET)
        assert read_info(tmp_path / "checkpoint").training["steps"] == 0
        # Some tokenizers save a folder.
        (tmp_path / "checkpoint" / "additional_chat_templates").mkdir()


def test_a_training_is_overwritten_only_when_that_is_asked_for(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    train(train_settings(max_steps=3), dataset, output, QUIET)
    before = content(output)
    with pytest.raises(OutputError) as refused:
        train(train_settings(max_steps=1), dataset, output, QUIET)
    assert str(refused.value) == (
        f"{output} holds a training of 3 steps; add --resume or --overwrite, or change --output"
    )
    assert content(output) == before
    # What fails before training begins costs nothing.
    with pytest.raises(CheckpointError):
        train(train_settings(init_from=str(tmp_path / "none")), dataset, output, QUIET, overwrite=True)
    assert content(output) == before
    train(train_settings(max_steps=1), dataset, output, QUIET, overwrite=True)
    assert (output / "notes.txt").read_text() == "mine"
    assert read_info(output / "best").training["steps"] == read_info(output / "last").training["steps"] == 1
    with (output / "metrics.csv").open() as stream:
        assert {row["step"] for row in csv.DictReader(stream)} == {"1"}
    assert len(list((output / "tensorboard").iterdir())) == 1


def test_a_checkpoint_that_a_power_cut_set_aside_is_found_and_not_overwritten(dataset: Path, tmp_path: Path) -> None:
    train(train_settings(max_steps=2), dataset, tmp_path, QUIET)
    for name in ("resume", "best", "last"):
        (tmp_path / name).rename(tmp_path / f".{name}.old")
    (tmp_path / ".resume.a1b2c3").mkdir()
    with pytest.raises(OutputError, match="holds a training of 2 steps"):
        train(train_settings(max_steps=2), dataset, tmp_path, QUIET)
    train(train_settings(max_steps=3), dataset, tmp_path, QUIET, resume=True)
    assert read_info(tmp_path / "last").training["steps"] == 3
    train(train_settings(max_steps=1), dataset, tmp_path, QUIET, overwrite=True)
    assert not list(tmp_path.glob(".resume.*"))


@pytest.mark.parametrize("name", ["resume", "best", "last"])
def test_training_never_replaces_a_folder_that_is_not_its_own(name: str, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match=f"{name} exists and is not"):
        train(train_settings(max_steps=1), dataset, tmp_path, QUIET, overwrite=True)
    assert content(tmp_path) == {f"{name}/letter.txt": b"mine"}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """What a full disk is to whoever writes: from some byte on, the system refuses."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_while_saving_gives_one_line_and_keeps_the_old_files(
    dataset: Path, tmp_path: Path
) -> None:
    checkpoint, output = tmp_path / "checkpoint", tmp_path / "out"
    init(train_settings(), dataset, checkpoint, QUIET)
    before = content(checkpoint)
    with largest_file(100_000), pytest.raises(WriteError, match=f"{checkpoint}: cannot be written .*; free some space"):
        init(train_settings(seed=1), dataset, checkpoint, QUIET)
    assert content(checkpoint) == before
    size = sum(len(data) for data in before.values())
    # The checkpoint fits, the optimiser's state, three times as large, does not.
    with largest_file(2 * size), pytest.raises(WriteError, match=f"{output / 'resume'}: cannot be written"):
        train(train_settings(max_steps=1), dataset, output, QUIET)
    assert read_info(output / "last").training["steps"] == 1
    assert [path.name for path in tmp_path.rglob(".*")] == [LOCK]
    with largest_file(10), pytest.raises(WriteError, match=f"{tmp_path / 'full'}.*: cannot be written"):
        train(train_settings(max_steps=1), dataset, tmp_path / "full", QUIET)


def test_two_trainings_never_write_to_one_folder(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    train(train_settings(max_steps=1), dataset, output, QUIET)
    before = {path.name: path.stat().st_mtime_ns for path in output.rglob("*")}
    with OutputLock(output):
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(FolderBusyError, match=rf"{output}: pid {os.getpid()} on .* trains there; wait for it"):
                train(train_settings(max_steps=2), dataset, output, QUIET, **options)
        # A first start has saved nothing yet that would tell.
        with pytest.raises(FolderBusyError), OutputLock(tmp_path / "fresh"):
            train(train_settings(max_steps=1), dataset, tmp_path / "fresh", QUIET)
    assert {name: time for name, time in before.items() if name != LOCK} == {
        path.name: path.stat().st_mtime_ns for path in output.rglob("*") if path.name != LOCK
    }
    train(train_settings(max_steps=2), dataset, output, QUIET, resume=True)


def test_a_file_system_without_locks_is_trained_on(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    train(train_settings(max_steps=1), dataset, tmp_path / "out", QUIET)
    assert (tmp_path / "out" / "last" / "config.json").is_file()


def test_a_disk_that_is_too_small_is_noticed_before_the_first_step(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(OutputError, match=r"to resume from will take \d+ MB, and 1 MB are free there"):
        train(train_settings(), dataset, tmp_path / "out", QUIET)


def test_room_that_an_earlier_training_takes_is_room_for_the_one_that_replaces_it(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(train_settings(max_steps=1), dataset, tmp_path, QUIET)
    monkeypatch.setattr(output_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    before = content(tmp_path)
    with pytest.raises(OutputError, match="will take"):
        train(train_settings(max_steps=1, ema_decay=0.9), dataset, tmp_path, QUIET, overwrite=True)
    assert content(tmp_path).keys() == before.keys()
    train(train_settings(max_steps=1), dataset, tmp_path, QUIET, overwrite=True)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_training_leaves_as_much_as_was_looked_for(ema_decay: float | None, dataset: Path, tmp_path: Path) -> None:
    settings = train_settings(max_steps=1, ema_decay=ema_decay)
    train(settings, dataset, tmp_path / "out", QUIET)
    taken = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.safetensors"))
    network = load_network(read_info(tmp_path / "out" / "last"))
    assert taken == pytest.approx(bytes_left(network, settings), rel=0.02)
