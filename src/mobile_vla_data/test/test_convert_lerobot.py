"""LeRobotDataset v3.0 there and back; only the benchmarks give an export to LeRobot (judge_interop.py)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.building import work_folder
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.lerobot import export as export_module
from mobile_vla_data.convert.lerobot.export import LeRobotExport, export_lerobot
from mobile_vla_data.convert.lerobot.importing import LeRobotImport, import_lerobot
from mobile_vla_data.convert.lerobot.shard import VideoSettings
from mobile_vla_data.dataset.edit import Labels, relabel
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import split_dataset
from mobile_vla_data.episode.reader import Episode

av = pytest.importorskip("av")
arrow = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

IMAGES = LeRobotExport(None)
VIDEO = LeRobotExport(VideoSettings("h264", 20))
NUMBERS = ("states", "actions", "timestamps_ns", "takeover", "target")
WORDS = (
    *("metadata", "outcome", "created_at", "dropped_ticks", "recovered", "contract", "input_counters", "episode_id"),
    *("lost_yaw_rad", "language_alternatives"),
)


def round_trip(dataset: Path, options: LeRobotExport, tmp_path: Path) -> Path:
    export_lerobot(dataset, tmp_path / "lerobot", options)
    import_lerobot(tmp_path / "lerobot", tmp_path / "back", LeRobotImport())
    return tmp_path / "back"


def require_equal_numbers(first: Path, second: Path) -> None:
    assert Dataset(first).episode_ids == Dataset(second).episode_ids
    for before_path, after_path in zip(Dataset(first).episode_paths, Dataset(second).episode_paths, strict=True):
        with Episode.open(before_path) as before, Episode.open(after_path) as after:
            for name in NUMBERS:
                np.testing.assert_array_equal(getattr(before, name), getattr(after, name), err_msg=name)
            for name in WORDS:
                assert getattr(before, name) == getattr(after, name), name
            for camera in before.cameras:
                assert before.source_encoding(camera) == after.source_encoding(camera)
            assert before.stamps_ns.keys() == after.stamps_ns.keys()
            for stream, stamps in before.stamps_ns.items():
                np.testing.assert_array_equal(stamps, after.stamps_ns[stream], err_msg=stream)


def psnr_db(first: np.ndarray, second: np.ndarray) -> float:
    error = ((first.astype(float) - second.astype(float)) ** 2).mean()
    return float(10 * np.log10(255**2 / error)) if error else np.inf


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def with_target_and_takeover(index: int, step: dict) -> dict:
    return {**step, "target": (index, 100) if index > 3 else None, "takeover": index % 2 == 0}


@pytest.fixture
def small_dataset(record, dataset):
    """Ten episodes of different lengths, split; one has a target and takeovers, one failed."""
    for seed in range(9):
        record(steps=12 + seed, seed=seed, task=f"task_{seed % 3}", language=f"do what {seed % 3} says")
    environment = {"room": "kitchen", "n": [1, 2]}
    path = record(
        steps=30,
        seed=20,
        language="두 번째 방으로 가",
        outcome="failure",
        environment=environment,
        dropped_ticks=3,
        change_step=with_target_and_takeover,
    )
    relabel(path, Labels(language_alternatives=("두 번째 방", "go to the second room")))
    with h5py.File(path, "r+") as file:
        file.attrs["input_counters"] = json.dumps({"static": {"late": 2}})
        file.attrs["lost_yaw_rad"] = 0.25
    split_dataset(dataset)
    return dataset


def test_images_come_back_to_the_byte_with_every_number_label_and_split(small_dataset, tmp_path):
    back = round_trip(small_dataset, IMAGES, tmp_path)
    require_equal_numbers(small_dataset, back)
    assert Dataset(small_dataset).splits() == Dataset(back).splits()
    for path in Dataset(small_dataset).episode_paths:
        with Episode.open(path) as before, Episode.open(back / path.name) as after:
            for camera in before.cameras:
                for step in range(before.num_steps):
                    assert before.jpeg(camera, step) == after.jpeg(camera, step)


def test_a_video_has_one_frame_for_each_step_and_every_number_comes_back(small_dataset, tmp_path):
    back = round_trip(small_dataset, VIDEO, tmp_path)
    require_equal_numbers(small_dataset, back)
    steps = sum(Episode.open(path).num_steps for path in Dataset(small_dataset).episode_paths)
    for video in (tmp_path / "lerobot").rglob("*.mp4"):
        with av.open(str(video)) as container:
            assert sum(1 for _ in container.decode(video=0)) == steps
    worst = np.inf
    for path in Dataset(small_dataset).episode_paths:
        with Episode.open(path) as before, Episode.open(back / path.name) as after:
            for camera in before.cameras:
                for step in range(before.num_steps):
                    worst = min(worst, psnr_db(before.image(camera, step), after.image(camera, step)))
    assert worst > 33, "a frame that belongs to another step, or one that lost too much"


@pytest.mark.parametrize("options", [IMAGES, VIDEO], ids=["images", "video"])
def test_other_camera_names_a_yaw_column_raw_images_and_further_wordings_survive(
    options, record, contract, dataset, tmp_path
):
    fields = contract.model_dump(mode="json")
    fields["cameras"] = {"front": fields["cameras"]["static"], "left": fields["cameras"]["gripper"]}
    fields["action"]["yaw"] = True
    other = Contract.from_dict(fields)

    def change(index: int, step: dict) -> dict:
        images = dict(zip(("front", "left"), step["images"].values(), strict=True))
        encodings = {"front": "bgr8"}
        stamps = {"front": step["stamps_ns"]["static"], "left": step["stamps_ns"]["gripper"], "odom": step["stamp_ns"]}
        action = np.append(step["action"], np.float32(0.01 * index))
        return {**step, "images": images, "stamps_ns": stamps, "action": action, "source_encodings": encodings}

    both = ("static", "gripper")
    record(with_contract=other, cameras=("front", "left"), record_cameras=both, change_step=change, encoding="raw")
    back = round_trip(dataset, options, tmp_path)
    require_equal_numbers(dataset, back)
    features = json.loads((tmp_path / "lerobot/meta/info.json").read_text())["features"]
    assert features["action"]["names"] == ["delta_x", "delta_y", "gripper", "delta_yaw"]
    assert {"observation.images.front", "observation.images.left"} <= features.keys()
    if options is IMAGES:
        with Episode.open(dataset / "episode_000000.h5") as before, Episode.open(back / "episode_000000.h5") as after:
            np.testing.assert_array_equal(before.images("left"), after.images("left"))


def test_statistics_are_exact_for_the_dataset_and_for_each_episode(small_dataset, tmp_path):
    export_lerobot(small_dataset, tmp_path / "lerobot", IMAGES)
    stats = json.loads((tmp_path / "lerobot/meta/stats.json").read_text())
    paths = Dataset(small_dataset).episode_paths
    actions = np.concatenate([Episode.open(path).actions for path in paths]).astype(np.float64)
    images = np.concatenate([Episode.open(path).images("gripper") for path in paths]) / 255
    for name, expected in (
        ("mean", actions.mean(0)), ("std", actions.std(0)), ("min", actions.min(0)), ("max", actions.max(0)),
        ("q01", np.quantile(actions, 0.01, axis=0)), ("q99", np.quantile(actions, 0.99, axis=0)),
    ):  # fmt: skip
        np.testing.assert_allclose(stats["action"][name], expected, rtol=1e-12, err_msg=name)
    of_images = stats["observation.images.gripper"]
    np.testing.assert_allclose(np.ravel(of_images["mean"]), images.mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(np.ravel(of_images["std"]), images.std((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(np.ravel(of_images["q50"]), np.median(images, (0, 1, 2)), atol=1 / 255)
    assert np.shape(of_images["q99"]) == (3, 1, 1) and of_images["count"] == [len(images)]
    row = pq.read_table(tmp_path / "lerobot/meta/episodes/chunk-000/file-000.parquet").to_pylist()[-1]
    with Episode.open(small_dataset / f"{row['episode_id']}.h5") as episode:
        np.testing.assert_allclose(row["stats/observation.state/max"], episode.states.max(0))
        assert row["stats/observation.state/count"] == [episode.num_steps]


def test_each_split_is_one_range_of_episodes_and_the_unsplit_come_last(small_dataset, tmp_path):
    done = export_lerobot(small_dataset, tmp_path / "lerobot", IMAGES)
    rows = pq.read_table(tmp_path / "lerobot/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    splits = json.loads((tmp_path / "lerobot/meta/info.json").read_text())["splits"]
    for name, ids in Dataset(small_dataset).splits().items():
        first, last = map(int, splits[name].split(":"))
        assert {row["episode_id"] for row in rows[first:last]} == set(ids)
    assert rows[-1]["split"] == "" and rows[-1]["outcome"] == "failure"
    assert done.splits == {name: len(ids) for name, ids in Dataset(small_dataset).splits().items()}


class StopError(Exception):
    pass


def stop_after(images: int):
    def progress(done: int, total: int) -> None:
        if done > images:
            raise StopError

    return progress


@pytest.mark.parametrize("options", [IMAGES, VIDEO], ids=["images", "video"])
def test_an_interrupted_export_looks_unfinished_and_is_continued_to_the_same_bytes(
    options, small_dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(export_module, "_SHARD_BYTES", 1 << 20)
    export_lerobot(small_dataset, tmp_path / "whole", options)
    with pytest.raises(StopError):
        export_lerobot(small_dataset, tmp_path / "cut", options, stop_after(150))
    assert not (tmp_path / "cut").exists()
    work = work_folder(tmp_path / "cut")
    assert not (work / "meta/info.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in work.rglob("meta/episodes/*/*.parquet")}
    assert kept, "nothing was finished before the interruption"
    done = export_lerobot(small_dataset, tmp_path / "cut", options)
    assert done.continued and not work.exists()
    for path, mtime_ns in kept.items():
        assert (tmp_path / "cut" / path.relative_to(work)).stat().st_mtime_ns == mtime_ns
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "cut")


def test_an_interrupted_export_starts_over_when_the_dataset_changed(small_dataset, record, tmp_path):
    with pytest.raises(StopError):
        export_lerobot(small_dataset, tmp_path / "out", IMAGES, stop_after(50))
    record(seed=77)
    done = export_lerobot(small_dataset, tmp_path / "out", IMAGES)
    assert not done.continued and done.episodes == 11


def test_an_existing_folder_is_never_written_to(small_dataset, tmp_path, run):
    (tmp_path / "out").mkdir()
    done = run("export", "lerobot", small_dataset, tmp_path / "out")
    assert done.returncode == 1 and "exists already" in done.stderr and done.stderr.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_an_episode_without_the_camera_is_named_and_the_camera_can_be_left_out(record, dataset, tmp_path, run):
    record(seed=1)
    record(seed=2, cameras=("static",))
    done = run("export", "lerobot", dataset, tmp_path / "out", "--images")
    assert done.returncode == 1 and "episode_000001.h5: has no camera 'gripper'" in done.stderr
    done = run("export", "lerobot", dataset, tmp_path / "out", "--images", "--camera", "static", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["episodes"] == 2
    assert "observation.images.gripper" not in json.loads((tmp_path / "out/meta/info.json").read_text())["features"]


def test_only_the_wanted_outcomes_are_exported(small_dataset, tmp_path, run):
    done = run("export", "lerobot", small_dataset, tmp_path / "out", "--images", "--outcome", "failure", "--json")
    assert json.loads(done.stdout)["episodes"] == 1
    done = run("export", "lerobot", small_dataset, tmp_path / "other", "--outcome", "unlabelled")
    assert done.returncode == 1 and "no episodes with outcome unlabelled" in done.stderr


def test_importing_twice_adds_nothing_and_other_episodes_keep_their_ids(small_dataset, record, tmp_path):
    export_lerobot(small_dataset, tmp_path / "lerobot", IMAGES)
    target = tmp_path / "target"
    record(folder=target, seed=99)
    before = (target / "episode_000000.h5").read_bytes()
    first = import_lerobot(tmp_path / "lerobot", target, LeRobotImport())
    again = import_lerobot(tmp_path / "lerobot", target, LeRobotImport())
    assert (first.episodes, first.left_out) == (10, 0) and (again.episodes, again.left_out) == (0, 10)
    assert (target / "episode_000000.h5").read_bytes() == before
    assert len(Dataset(target).episode_ids) == 11


def test_an_interrupted_import_leaves_whole_episodes_and_is_repeated_for_the_rest(small_dataset, tmp_path):
    export_lerobot(small_dataset, tmp_path / "lerobot", VIDEO)
    with pytest.raises(StopError):
        import_lerobot(tmp_path / "lerobot", tmp_path / "back", LeRobotImport(), stop_after(3))
    assert len(Dataset(tmp_path / "back").episode_ids) == 4
    done = import_lerobot(tmp_path / "lerobot", tmp_path / "back", LeRobotImport())
    assert (done.episodes, done.left_out) == (6, 4)
    require_equal_numbers(small_dataset, tmp_path / "back")
    assert Dataset(small_dataset).splits() == Dataset(tmp_path / "back").splits()


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


def test_a_loader_without_lerobots_metadata_knows_that_bytes_are_an_image(small_dataset, tmp_path):
    export_lerobot(small_dataset, tmp_path / "lerobot", IMAGES)
    (path,) = (tmp_path / "lerobot").glob("data/*/*.parquet")
    schema = pq.read_schema(path)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["observation.images.static"] == {"_type": "Image"}
    vector = {"feature": {"dtype": "float32", "_type": "Value"}, "length": 3, "_type": "Sequence"}
    assert features["action"] == vector and features["index"] == {"dtype": "int64", "_type": "Value"}


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


def test_a_missing_library_is_named_with_the_command_that_brings_it(record, dataset, tmp_path, run, monkeypatch):
    record(steps=12)

    def absent(name: str):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name.split(".")[0])

    monkeypatch.setattr("mobile_vla_data.convert.extras.import_module", absent)
    done = run("export", "lerobot", dataset, tmp_path / "out")
    assert done.returncode == 1 and "pip install 'mobile_vla_data[lerobot]'" in done.stderr


def test_odd_image_sizes_are_refused_as_video_and_taken_as_images(record, contract, dataset, tmp_path):
    fields = contract.model_dump(mode="json")
    fields["cameras"] = {"static": {**fields["cameras"]["static"], "height": 61, "width": 61}}

    def change(index: int, step: dict) -> dict:
        return {**step, "images": {"static": step["images"]["static"][:61, :61].copy()}}

    record(with_contract=Contract.from_dict(fields), cameras=("static",), change_step=change)
    with pytest.raises(ConvertError, match="sizes must be even"):
        export_lerobot(dataset, tmp_path / "video", VIDEO)
    require_equal_numbers(dataset, round_trip(dataset, IMAGES, tmp_path))
