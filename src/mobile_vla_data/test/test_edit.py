from __future__ import annotations

import json
import os

import h5py
import numpy as np
import pytest

from mobile_vla_data.checks.validate import check_episode, validate_dataset
from mobile_vla_data.contract import Contract, ContractError
from mobile_vla_data.dataset import edit, trash
from mobile_vla_data.dataset.edit import EditError, Labels
from mobile_vla_data.dataset.folder import Dataset, DatasetError
from mobile_vla_data.dataset.split import split_dataset
from mobile_vla_data.episode.metadata import MetadataError
from mobile_vla_data.episode.reader import Episode


def test_relabel_changes_what_was_asked_and_nothing_else(record):
    path = record(environment={"room": "kitchen"})
    with Episode.open(path) as episode:
        before, picture = episode.actions, episode.jpeg("static", 7)
    edit.relabel(path, Labels(language="거실로 가", outcome="failure"))
    with Episode.open(path) as episode:
        assert (episode.metadata.language, episode.outcome, episode.metadata.task) == (
            "거실로 가",
            "failure",
            "go_to_kitchen",
        )
        assert episode.metadata.environment == {"room": "kitchen"} and episode.jpeg("static", 7) == picture
        np.testing.assert_array_equal(episode.actions, before)
    assert check_episode(path) == [] and sorted(os.listdir(path.parent)) == [".editing.lock", path.name]


def test_relabel_repairs_an_empty_instruction(record):
    path = record()
    with h5py.File(path, "r+") as file:
        file.attrs["language"] = ""
    edit.relabel(path, Labels(language="go there", environment={"room": "bedroom"}))
    assert check_episode(path) == []


@pytest.mark.parametrize("labels", [Labels(language=" "), Labels(category="flying"), Labels(outcome="good")])
def test_a_label_that_cannot_be_leaves_the_file_as_it_was(record, labels):
    path = record()
    before = path.read_bytes()
    with pytest.raises(MetadataError):
        edit.relabel(path, labels)
    assert path.read_bytes() == before and sorted(os.listdir(path.parent)) == [".editing.lock", path.name]


@pytest.mark.parametrize("encoding", ["jpeg", "raw"])
def test_trim_keeps_the_steps_between_and_the_whole_in_the_trash(record, dataset, make_demonstration, encoding):
    path = record(steps=50, encoding=encoding)
    edit.trim(path, 5, 44)
    demonstration = make_demonstration(50)
    with Episode.open(path) as episode:
        assert episode.num_steps == 40 and episode.episode_id == "episode_000000" and episode.outcome == "success"
        np.testing.assert_array_equal(episode.actions, demonstration.actions[5:45])
        np.testing.assert_array_equal(episode.timestamps_ns, demonstration.stamps[5:45])
        assert np.abs(episode.image("gripper", 39).astype(int) - demonstration.image("gripper", 44)).mean() < 2
    assert check_episode(path) == []
    (kept,) = (dataset / ".trash").iterdir()
    with Episode.open(kept) as episode:
        assert episode.num_steps == 50


def test_an_episode_comes_back_from_the_trash_unless_another_has_its_place(record, dataset):
    path = record()
    before = path.read_bytes()
    (moved,) = trash.delete(dataset, ["episode_000000"])
    assert trash.restore(dataset, moved.name) == "episode_000000"
    assert path.read_bytes() == before and os.listdir(dataset / ".trash") == []
    with pytest.raises(DatasetError, match=r"the trash has no episode file '\.\./episode_000000\.h5'"):
        trash.restore(dataset, "../episode_000000.h5")
    (moved,) = trash.delete(dataset, ["episode_000000"])
    path.write_bytes(b"another")
    with pytest.raises(DatasetError, match=r"exists; delete it before you restore"):
        trash.restore(dataset, moved.name)
    assert path.read_bytes() == b"another"


@pytest.mark.parametrize("earlier", ["with a raw recording", "without"])
def test_a_raw_recording_comes_back_with_its_episode_where_the_trash_has_another_of_that_name(record, dataset, earlier):
    path = record()
    raw, whole = path.with_suffix(".mcap"), path.read_bytes()
    if earlier == "with a raw recording":
        raw.write_bytes(b"earlier")
    trash.delete(dataset, [path.stem])
    path.write_bytes(whole)
    raw.write_bytes(b"its own")
    (moved,) = trash.delete(dataset, [path.stem])
    assert moved.name == f"{path.name}.1" and not raw.exists()
    trash.restore(dataset, moved.name)
    assert raw.read_bytes() == b"its own"


@pytest.mark.parametrize(("first", "last"), [(5, 4), (0, 20), (-1, 3)])
def test_trim_refuses_a_range_outside_the_episode(record, first, last):
    path = record()
    with pytest.raises(EditError, match=r"are not within 0 .. 19"):
        edit.trim(path, first, last)
    assert Episode.open(path).num_steps == 20


def test_delete_moves_to_the_trash_and_out_of_the_splits(record, dataset):
    for seed in range(10):
        record(seed=seed, steps=5, cameras=("static",), language=f"go {seed}")
    split_dataset(dataset)
    trash.delete(dataset, ["episode_000003", "episode_000004"])
    assert len(Dataset.open(dataset).episode_ids) == 8 and validate_dataset(dataset).findings == []
    assert sorted(os.listdir(dataset / ".trash")) == ["episode_000003.h5", "episode_000004.h5"]
    # The id of a deleted episode is not given again, even the highest.
    trash.delete(dataset, ["episode_000009"])
    assert record(seed=20, steps=5, cameras=("static",)).name == "episode_000010.h5"


def test_delete_of_an_unknown_episode_deletes_nothing(record, dataset):
    record()
    with pytest.raises(DatasetError, match="no episode 'episode_000007'"):
        trash.delete(dataset, ["episode_000000", "episode_000007"])
    assert Dataset.open(dataset).episode_ids == ["episode_000000"]


def test_merge_gives_new_ids_and_can_be_repeated(record, dataset, tmp_path):
    other = tmp_path / "other"
    for seed in range(3):
        record(seed=seed, language=f"go {seed}")
    for seed in range(2, 5):
        record(seed=seed, folder=other, language=f"go {seed}")
    copied = edit.merge(dataset, [other])
    assert list(copied.values()) == ["episode_000003", "episode_000004"]
    assert validate_dataset(dataset).findings == [] and len(Dataset.open(other).episode_ids) == 3
    assert edit.merge(dataset, [other]) == {}


def test_merge_refuses_another_robot_and_copies_nothing(record, dataset, tmp_path, contract):
    record()
    changed = Contract.from_json(contract.to_json().replace('"odometry_frame":"odom"', '"odometry_frame":"map"'))
    record(seed=1, folder=tmp_path / "other", with_contract=changed)
    with pytest.raises(ContractError, match=r"state.odometry_frame: odom != map"):
        edit.merge(dataset, [tmp_path / "other"])
    assert Dataset.open(dataset).episode_ids == ["episode_000000"]


def test_the_commands_edit_under_the_lock(run, record, dataset, tmp_path):
    path = record(steps=30)
    assert run("relabel", path, "--language", "go now", "--environment", '{"room": "bedroom"}').returncode == 0
    assert run("trim", path, "--first", "2").stdout == f"{path}: 28 of 30 steps kept\n"
    assert json.loads(run("merge", tmp_path / "new", dataset, "--json").stdout)["copied"] == {
        str(path): "episode_000000"
    }
    assert run("delete", dataset, "episode_000000").returncode == 0 and Dataset.open(dataset).episode_ids == []
    assert run("relabel", path).returncode == 2
    assert run("delete", dataset, "episode_000000").returncode == 1
    from mobile_vla_data.storage.lock import DatasetLock

    with DatasetLock(tmp_path / "new"):
        done = run("delete", tmp_path / "new", "episode_000000")
    assert done.returncode == 1 and "is being recorded by pid" in done.stderr


@pytest.mark.parametrize("kind", ["ascii", "utf-8", "array"])
def test_labels_stored_as_text_of_fixed_length_are_kept_by_an_edit(record, run, kind):
    path = record(language="부엌으로 가" if kind == "utf-8" else "go to the kitchen")
    with h5py.File(path, "r+") as file:
        for name in ("language", "task", "category", "source", "outcome", "environment"):
            text = file.attrs[name].encode()
            if kind == "utf-8":
                file.attrs.create(name, text, dtype=h5py.string_dtype("utf-8", len(text) + 4))
            else:
                file.attrs[name] = np.bytes_(text) if kind == "ascii" else np.array([text])
        file["observations/images/static"].attrs["encoding"] = np.bytes_(b"jpeg")
    assert check_episode(path) == []
    with Episode.open(path) as episode:
        before = episode.metadata
        assert episode.encoding("static") == "jpeg"
    assert run("relabel", path, "--outcome", "failure").returncode == 0
    with Episode.open(path) as episode:
        assert episode.metadata == before and episode.outcome == "failure"
    assert check_episode(path) == []


@pytest.mark.parametrize("command", [["relabel", "--task", "go"], ["trim", "--last", "9"], ["annotate", "--at", "3,4"]])
def test_an_edit_through_a_symbolic_link_changes_the_file_it_points_to(record, run, tmp_path, dataset, command):
    path = record(folder=tmp_path / "elsewhere")
    link = dataset / "episode_000000.h5"
    link.symlink_to(path)
    before = path.read_bytes()
    name, *options = command
    assert run(name, link, *options).returncode == 0
    assert link.is_symlink() and path.read_bytes() != before and check_episode(link) == []
    assert not list(dataset.glob(".episode*"))


def test_splits_and_plans_behind_a_symbolic_link_are_rewritten_where_they_are(record, dataset, tmp_path):
    for seed in range(3):
        record(seed=seed)
    shared = tmp_path / "shared.json"
    shared.write_text("{}")
    (dataset / "splits.json").symlink_to(shared)
    split_dataset(dataset, (0.34, 0.33, 0.33))
    assert (dataset / "splits.json").is_symlink() and "train" in shared.read_text()


def test_a_deleted_link_still_points_to_its_file_from_the_trash(record, dataset, tmp_path, run):
    path = record(folder=dataset.parent / "elsewhere")
    (dataset / "episode_000000.h5").symlink_to("../elsewhere/episode_000000.h5")
    assert run("delete", dataset, "episode_000000").returncode == 0
    assert (dataset / ".trash" / "episode_000000.h5").resolve() == path and path.exists()
