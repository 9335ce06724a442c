"""LeRobotDataset v3.0 there and back; only the benchmarks give an export to LeRobot (judge_interop.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from lerobot_files import IMAGES, VIDEO, require_equal_numbers, round_trip

from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.building import work_folder
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.convert.lerobot import export as export_module
from mobile_vla_data.convert.lerobot.export import export_lerobot
from mobile_vla_data.convert.lerobot.importing import LeRobotImport, import_lerobot
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode

av = pytest.importorskip("av")
pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def psnr_db(first: np.ndarray, second: np.ndarray) -> float:
    error = ((first.astype(float) - second.astype(float)) ** 2).mean()
    return float(10 * np.log10(255**2 / error)) if error else np.inf


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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
    for row in pq.read_table(tmp_path / "lerobot/meta/episodes/chunk-000/file-000.parquet").to_pylist():
        with Episode.open(small_dataset / f"{row['episode_id']}.h5") as episode:
            states, images = episode.states.astype(np.float64), episode.images("static") / 255
        assert row["stats/observation.state/count"] == row["stats/observation.images.static/count"] == [len(states)]
        for share in (1, 10, 50, 90, 99):
            quantile = row[f"stats/observation.state/q{share:02d}"]
            np.testing.assert_allclose(quantile, np.quantile(states, share / 100, axis=0), rtol=1e-12)
        for name in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(row[f"stats/observation.state/{name}"], getattr(states, name)(0), rtol=1e-12)
            found = np.ravel(list(map(np.ravel, row[f"stats/observation.images.static/{name}"])))
            np.testing.assert_allclose(found, getattr(images, name)((0, 1, 2)), rtol=1e-9, err_msg=name)


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


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_other_codecs_have_one_frame_for_each_step_too(codec, record, dataset, tmp_path, run):
    path = record(steps=25)
    done = run("export", "lerobot", dataset, tmp_path / "lerobot", "--codec", codec)
    assert done.returncode == 0, done.stderr
    videos = list((tmp_path / "lerobot").rglob("*.mp4"))
    assert len(videos) == 2
    with Episode.open(path) as episode:
        for video in videos:
            camera = video.parents[1].name.removeprefix("observation.images.")
            with av.open(str(video)) as container:
                assert container.streams.video[0].codec_context.name in (codec, "libdav1d", "libaom-av1")
                frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert len(frames) == 25
            assert min(psnr_db(episode.image(camera, step), frame) for step, frame in enumerate(frames)) > 33


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


def test_a_loader_without_lerobots_metadata_knows_that_bytes_are_an_image(small_dataset, tmp_path):
    export_lerobot(small_dataset, tmp_path / "lerobot", IMAGES)
    (path,) = (tmp_path / "lerobot").glob("data/*/*.parquet")
    schema = pq.read_schema(path)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["observation.images.static"] == {"_type": "Image"}
    vector = {"feature": {"dtype": "float32", "_type": "Value"}, "length": 3, "_type": "Sequence"}
    assert features["action"] == vector and features["index"] == {"dtype": "int64", "_type": "Value"}


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
