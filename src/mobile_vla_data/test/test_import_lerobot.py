"""LeRobotDatasets of others: what they lack, what other tools removed, and what is said about damaged ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from lerobot_files import IMAGES, VIDEO, require_equal_numbers

from mobile_vla_data.convert.lerobot.export import export_lerobot
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode

pytest.importorskip("av")
arrow = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def as_written_by_others(folder: Path) -> None:
    """Leave only what every LeRobotDataset has."""
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    ours = ("episode_id", "contract", "outcome", "category", "task_name", "split", "source", "jpeg_quality")
    pq.write_table(table.drop_columns(list(ours)), path)
    path = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    stamps = [name for name in table.column_names if name.startswith("stamp_ns")]
    pq.write_table(table.drop_columns([*stamps, "intervention"]), path, row_group_size=1000)
    info = json.loads((folder / "meta/info.json").read_text())
    for name in (*stamps, "intervention"):
        del info["features"][name]
    (folder / "meta/info.json").write_text(json.dumps(info))


@pytest.mark.parametrize("options", [IMAGES, VIDEO], ids=["images", "video"])
def test_a_dataset_of_others_needs_a_contract_and_a_category(options, small_dataset, robot_yaml, tmp_path, run):
    export_lerobot(small_dataset, tmp_path / "lerobot", options)
    as_written_by_others(tmp_path / "lerobot")
    done = run("import", "lerobot", tmp_path / "lerobot", tmp_path / "back")
    assert done.returncode == 1 and "--contract" in done.stderr
    done = run("import", "lerobot", tmp_path / "lerobot", tmp_path / "back", "--contract", robot_yaml)
    assert done.returncode == 1 and "--category" in done.stderr
    arguments = ("--contract", robot_yaml, "--category", "navigation", "--json")
    done = run("import", "lerobot", tmp_path / "lerobot", tmp_path / "back", *arguments)
    assert done.returncode == 0 and json.loads(done.stdout)["episodes"] == 10
    done = run("import", "lerobot", tmp_path / "lerobot", tmp_path / "back", *arguments)
    assert json.loads(done.stdout)["left_out"] == 10
    with Episode.open(tmp_path / "back/episode_000000.h5") as episode:
        assert episode.outcome == "unlabelled" and episode.metadata.category == "navigation"
        assert episode.metadata.task == episode.metadata.language.replace(" ", "_")


def as_edited_with_lerobot(folder: Path) -> None:
    """What LeRobot's dataset tools leave of meta/episodes when they delete or split: their own columns."""
    for path in folder.rglob("meta/episodes/*/*.parquet"):
        table = pq.read_table(path)
        kept = ("episode_index", "tasks", "length", "data/", "dataset_", "meta/", "videos/", "stats/")
        pq.write_table(table.select([name for name in table.column_names if name.startswith(kept)]), path)
    info = json.loads((folder / "meta/info.json").read_text())
    info["splits"] = {"train": f"0:{info['total_episodes']}"}
    (folder / "meta/info.json").write_text(json.dumps(info))


@pytest.mark.parametrize("options", [IMAGES, VIDEO], ids=["images", "video"])
def test_labels_that_other_tools_removed_come_from_the_original_dataset(options, small_dataset, tmp_path, run):
    export_lerobot(small_dataset, tmp_path / "lerobot", options)
    as_edited_with_lerobot(tmp_path / "lerobot")
    done = run("import", "lerobot", tmp_path / "lerobot", tmp_path / "back")
    assert done.returncode == 1 and "give --labels with the dataset" in done.stderr
    done = run("import", "lerobot", tmp_path / "lerobot", tmp_path / "back", "--labels", small_dataset)
    assert done.returncode == 0, done.stderr
    require_equal_numbers(small_dataset, tmp_path / "back")
    assert Dataset(small_dataset).splits() == Dataset(tmp_path / "back").splits()


def test_an_episode_that_the_original_dataset_does_not_have_is_named(small_dataset, record, tmp_path, run):
    export_lerobot(small_dataset, tmp_path / "lerobot", IMAGES)
    as_edited_with_lerobot(tmp_path / "lerobot")
    record(folder=tmp_path / "other", seed=99)
    done = run("import", "lerobot", tmp_path / "lerobot", tmp_path / "back", "--labels", tmp_path / "other")
    assert done.returncode == 1 and "episode 0: no episode of" in done.stderr and done.stderr.count("\n") == 1


def test_another_rate_than_the_contracts_is_refused(small_dataset, contract, robot_yaml, tmp_path, run):
    export_lerobot(small_dataset, tmp_path / "lerobot", IMAGES)
    as_written_by_others(tmp_path / "lerobot")
    edit_info(tmp_path / "lerobot", fps=30)
    given = ("--contract", robot_yaml, "--category", "navigation")
    done = run("import", "lerobot", tmp_path / "lerobot", tmp_path / "back", *given)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "has 30 steps per second, the contract's control_rate_hz is 10; give a contract with" in done.stderr


def edit_info(folder: Path, **changes: object) -> None:
    info = json.loads((folder / "meta/info.json").read_text())
    (folder / "meta/info.json").write_text(json.dumps({**info, **changes}))


@pytest.fixture
def foreign(small_dataset, tmp_path):
    """A dataset of others, with videos."""
    export_lerobot(small_dataset, tmp_path / "lerobot", VIDEO)
    as_written_by_others(tmp_path / "lerobot")
    return tmp_path / "lerobot"


def import_foreign(run, source: Path, target: Path, robot_yaml: Path, *more: object):
    return run("import", "lerobot", source, target, "--contract", robot_yaml, "--category", "navigation", *more)


def test_splits_of_others_are_read_and_one_split_of_everything_is_none(foreign, robot_yaml, tmp_path, run):
    edit_info(foreign, splits={"train": "0:7", "val": "7:9", "odd": "x"})
    assert import_foreign(run, foreign, tmp_path / "back", robot_yaml).returncode == 0
    splits = Dataset(tmp_path / "back").splits()
    assert len(splits["train"]) == 7 and splits["validation"] == ["episode_000007", "episode_000008"]
    edit_info(foreign, splits={"train": "0:10"})
    assert import_foreign(run, foreign, tmp_path / "whole", robot_yaml).returncode == 0
    assert Dataset(tmp_path / "whole").splits() is None


def edit_data(folder: Path, change) -> None:
    (path,) = folder.glob("data/*/*.parquet")
    pq.write_table(change(pq.read_table(path)), path)


def test_further_tasks_of_an_episode_are_not_lost_silently(foreign, robot_yaml, tmp_path, run):
    def change(table):
        tasks = table.column("task_index").to_pylist()
        tasks[3] = (tasks[3] + 1) % 3
        place = table.column_names.index("task_index")
        return table.set_column(place, "task_index", arrow.array(tasks))

    edit_data(foreign, change)
    done = import_foreign(run, foreign, tmp_path / "back", robot_yaml)
    assert done.returncode == 0 and "1 episodes have several tasks; each got that of its first step" in done.stderr


def test_episodes_without_a_task_need_an_instruction(foreign, robot_yaml, tmp_path, run):
    table = pq.read_table(foreign / "meta/tasks.parquet")
    pq.write_table(table.set_column(1, "task", arrow.array([""] * table.num_rows)), foreign / "meta/tasks.parquet")
    done = import_foreign(run, foreign, tmp_path / "back", robot_yaml)
    assert done.returncode == 1 and "give --language" in done.stderr and done.stderr.count("\n") == 1
    done = import_foreign(run, foreign, tmp_path / "back", robot_yaml, "--language", "go home")
    assert done.returncode == 0, done.stderr
    with Episode.open(tmp_path / "back/episode_000000.h5") as episode:
        assert episode.metadata.language == "go home"


def test_names_of_columns_are_sorted_by_their_positions(foreign, robot_yaml, tmp_path, run):
    info = json.loads((foreign / "meta/info.json").read_text())
    info["features"]["action"]["names"] = {"gripper": 2, "delta_x": 0, "delta_y": 1}
    (foreign / "meta/info.json").write_text(json.dumps(info))
    assert import_foreign(run, foreign, tmp_path / "back", robot_yaml).returncode == 0
    (path,) = foreign.glob("data/*/*.parquet")
    first = pq.read_table(path).column("action")[0].as_py()
    with Episode.open(tmp_path / "back/episode_000000.h5") as episode:
        np.testing.assert_array_equal(episode.actions[0], np.float32(first))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: edit_data(folder, lambda table: table.drop_columns(["task_index"])), "column 'task_index'"),
        (lambda folder: edit_data(folder, lambda table: table.drop_columns(["action"])), "column 'action' is missing"),
        (lambda folder: edit_info(folder, video_path=None), "'video_path' is missing"),
        (lambda folder: pq.write_table(pq.read_table(folder / "meta/tasks.parquet").drop_columns(["task_index"]),
                                       folder / "meta/tasks.parquet"), "needs the columns 'task_index' and 'task'"),
    ],
)  # fmt: skip
def test_what_a_dataset_of_others_lacks_is_named_in_one_line(spoil, said, foreign, robot_yaml, tmp_path, run):
    spoil(foreign)
    done = import_foreign(run, foreign, tmp_path / "back", robot_yaml)
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_an_image_that_is_missing_is_named(record, dataset, tmp_path, run):
    record(steps=12)
    export_lerobot(dataset, tmp_path / "lerobot", IMAGES)

    def change(table):
        name = "observation.images.static"
        images = table.column(name).to_pylist()
        images[4] = None
        place = table.schema.get_field_index(name)
        return table.set_column(place, name, arrow.array(images, table.schema.field(name).type))

    edit_data(tmp_path / "lerobot", change)
    done = run("import", "lerobot", tmp_path / "lerobot", tmp_path / "back")
    assert done.returncode == 1 and "observation.images.static, step 4: has no image" in done.stderr


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


OLDER = {"codebase_version": "v2.1", "fps": 10, "features": {}, "data_path": ""}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "meta/info.json").unlink(), "meta/info.json is missing"),
        (lambda folder: (folder / "meta/info.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "meta/info.json").write_text(json.dumps(OLDER)), "convert_dataset_v21_to_v30"),
        (lambda folder: cut_short(next(folder.rglob("data/*/*.parquet"))), "cannot be read as Parquet"),
        (lambda folder: cut_short(next(folder.rglob("*.mp4"))), ".mp4: cannot be opened as a video"),
        (lambda folder: next(folder.rglob("*.mp4")).unlink(), ".mp4: cannot be opened as a video"),
        (lambda folder: (folder / "meta/tasks.parquet").unlink(), "tasks.parquet: cannot be read"),
        (lambda folder: shutil.rmtree(folder / "data"), "no data file has episode 0"),
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_source_is_refused_in_one_line(spoil, said, record, dataset, tmp_path, run):
    record(steps=12)
    export_lerobot(dataset, tmp_path / "lerobot", VIDEO)
    spoil(tmp_path / "lerobot")
    done = run("import", "lerobot", tmp_path / "lerobot", tmp_path / "back")
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "back").exists() or Dataset(tmp_path / "back").episode_paths == []
    assert not list(tmp_path.glob("back/.episode*")), "a half-written episode stayed"
