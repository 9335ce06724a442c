from __future__ import annotations

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.metadata import EpisodeMetadata, MetadataError
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.episode.writer import DiskFullError, EpisodeWriter, WriterError
from mobile_vla_data.repair.recover import recover_dataset

KITCHEN = EpisodeMetadata("go to the kitchen", "go_to_kitchen", "navigation")


def test_what_is_read_is_what_was_written(dataset, contract, make_demonstration):
    demonstration = make_demonstration(40)
    writer = EpisodeWriter(
        dataset, contract, EpisodeMetadata("거실로 가", "go", "navigation", "expert", {"room": "거실"}),
        cameras=("static", "gripper"), encoding="raw",
    )  # fmt: skip
    for index in range(40):
        writer.add_step(**demonstration.step(index), takeover=index % 3 == 0)
    path = writer.commit("failure", dropped_ticks=2, input_counters={"static": {"late": 1}})
    with Episode.open(path) as episode:
        assert episode.metadata == EpisodeMetadata("거실로 가", "go", "navigation", "expert", {"room": "거실"})
        assert (episode.outcome, episode.dropped_ticks, episode.num_steps) == ("failure", 2, 40)
        assert episode.contract == contract and episode.cameras == ("static", "gripper")
        assert episode.input_counters == {"static": {"late": 1}} and not episode.recovered
        np.testing.assert_array_equal(episode.actions, demonstration.actions)
        np.testing.assert_array_equal(episode.states, demonstration.states)
        np.testing.assert_array_equal(episode.timestamps_ns, demonstration.stamps)
        np.testing.assert_array_equal(episode.takeover, np.arange(40) % 3 == 0)
        for camera in ("static", "gripper"):
            np.testing.assert_array_equal(episode.images(camera)[17], demonstration.image(camera, 17))
            assert episode.jpeg(camera, 0) is None
        assert episode.stamps_ns["odom"][5] == demonstration.step(5)["stamps_ns"]["odom"]
        assert episode.real_rate_hz == pytest.approx(10.0, rel=0.01)


def test_jpeg_images_are_stored_as_the_bytes_that_the_encoder_made(record, make_demonstration):
    path = record(steps=40, jpeg_quality=90)
    demonstration = make_demonstration(40)
    with Episode.open(path) as episode:
        assert episode.encoding("static") == "jpeg" and episode.jpeg_quality("static") == 90
        for index in (0, 31, 32, 39):
            assert episode.jpeg("gripper", index) == jpeg.encode(demonstration.image("gripper", index), 90)
        error = np.abs(episode.image("static", 33).astype(int) - demonstration.image("static", 33)).mean()
    assert error < 2.0


def test_a_committed_file_reads_with_plain_h5py(record):
    with h5py.File(record(steps=3), "r") as file:
        assert file.attrs["language"] == "go to the kitchen" and file.attrs["num_steps"] == 3
        assert file["/observations/images/static"][2][:2].tobytes() == b"\xff\xd8"
        assert file["/actions"].shape == (3, 3) and file["/takeover"].dtype == bool


def test_an_image_is_written_once_and_lies_in_the_file_where_the_log_had_it(dataset, contract, make_demonstration):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    for index in range(20):
        writer.add_step(**make_demonstration(20).step(index, ("static",)))
    log = (dataset / ".episode_000000.h5.part").read_bytes()
    whole = writer.commit("success").read_bytes()
    assert whole[8192 : len(log)] == log[8192:] and len(whole) - len(log) < 50_000


def test_many_steps_and_tiny_images_read_with_plain_h5py(dataset, contract, make_demonstration):
    """Heaps smaller than HDF5's least size, and more references than one chunk holds."""
    camera = contract.cameras["static"].model_copy(update={"width": 8, "height": 8})
    small = contract.model_copy(update={"cameras": {"static": camera}})
    writer = EpisodeWriter(dataset, small, KITCHEN, cameras=("static",))
    step = make_demonstration(1).step(0, ("static",))
    for index in range(5000):
        image = np.full((8, 8, 3), index % 256, np.uint8)
        writer.add_step(**{**step, "stamp_ns": index + 1, "images": {"static": image}})
    with h5py.File(writer.commit("success"), "r") as file:
        images = file["/observations/images/static"]
        assert len(images) == 5000
        for index in (0, 4095, 4096, 4999):
            assert images[index].tobytes() == jpeg.encode(np.full((8, 8, 3), index % 256, np.uint8), 95)


def test_raw_images_are_chunked_by_the_frame(record):
    with h5py.File(record(steps=3, encoding="raw"), "r") as file:
        assert file["/observations/images/static"].chunks == (1, 224, 224, 3)
        assert file["/observations/images/static"].attrs["encoding"] == "raw"


def test_while_an_episode_is_open_nothing_has_its_final_name(dataset, contract, make_demonstration):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    writer.add_step(**make_demonstration(5).step(0, ("static",)))
    assert Dataset.open(dataset).episode_paths == []
    assert (dataset / ".episode_000000.h5.part").exists()
    writer.commit("success")
    assert sorted(os.listdir(dataset)) == ["episode_000000.h5"]


def test_a_discarded_episode_leaves_nothing(dataset, contract, make_demonstration):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    writer.add_step(**make_demonstration(5).step(0, ("static",)))
    writer.discard()
    writer.discard()
    assert os.listdir(dataset) == []
    with pytest.raises(WriterError, match="closed"):
        writer.commit("success")


def test_discarding_after_commit_keeps_the_episode(dataset, contract, make_demonstration):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    writer.add_step(**make_demonstration(5).step(0, ("static",)))
    path = writer.commit("success")
    writer.discard()
    assert path.exists()


def test_the_next_id_is_above_every_id_ever_used(dataset, contract, record):
    record()
    assert record().name == "episode_000001.h5"
    (dataset / ".trash").mkdir()
    (dataset / ".trash" / "episode_000007.h5").touch()
    assert record().name == "episode_000008.h5"
    (dataset / ".episode_000011.h5.part").touch()
    assert record().name == "episode_000012.h5"
    (dataset / ".episode_000020.h5.part").touch()
    assert EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",)).episode_id == "episode_000021"


def test_two_writers_never_share_an_id(dataset, contract):
    ids = {EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",)).episode_id for _ in range(5)}
    assert len(ids) == 5


def test_a_taken_id_is_refused(dataset, contract, record):
    path = record(episode_id="episode_000004")
    with pytest.raises(WriterError, match="exists already"):
        record(episode_id="episode_000004")
    assert Episode.open(path).num_steps == 20
    EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",), episode_id="episode_000009")
    with pytest.raises(WriterError, match="recover"):
        EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",), episode_id="episode_000009")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": np.zeros(2, np.float32)}, "state has shape [2]; the contract expects [3]: x, y, gripper"),
        ({"action": np.array([0, np.nan, 0], np.float32)}, "action is [0.0, nan, 0.0]; every value must be finite"),
        ({"images": {}}, "camera 'static' is missing"),
        ({"images": {"static": np.zeros((8, 8, 3), np.uint8)}}, "has uint8 [8, 8, 3]; the contract says uint8"),
        ({"images": {"static": np.zeros((224, 224, 3), np.float32)}}, "has float32"),
        ({"stamp_ns": 5}, "stamp_ns 5 is not later than the step before"),
        ({"stamps_ns": {"static": 1}}, "stamps_ns has streams ['static']; the first step had"),
    ],
)
def test_a_step_that_does_not_fit_is_refused_and_the_episode_goes_on(
    dataset, contract, make_demonstration, change, words
):
    demonstration = make_demonstration(5)
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    writer.add_step(**demonstration.step(0, ("static",)))
    with pytest.raises(WriterError) as error:
        writer.add_step(**{**demonstration.step(1, ("static",)), **change})
    assert words in str(error.value) and "\n" not in str(error.value)
    writer.add_step(**demonstration.step(2, ("static",)))
    with Episode.open(writer.commit("success")) as episode:
        assert episode.num_steps == 2 == len(episode.states)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cameras": ("gripper",)}, "requires ['static']"),
        ({"cameras": ("static", "rear")}, "the contract has ['static', 'gripper']"),
        ({"encoding": "png"}, "encoding is 'png'; use one of jpeg, raw"),
        ({"jpeg_quality": 0}, "jpeg_quality is 0"),
        ({"episode_id": "7"}, "episode_id is '7'"),
    ],
)
def test_wrong_arguments_are_refused_before_any_file_exists(dataset, contract, options, words):
    with pytest.raises(WriterError) as error:
        EpisodeWriter(dataset, contract, KITCHEN, **{"cameras": ("static",), **options})
    assert words in str(error.value) and os.listdir(dataset) == []


def test_an_episode_without_steps_cannot_be_committed(dataset, contract):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    with pytest.raises(WriterError, match="has no steps; discard it"):
        writer.commit("success")


def test_an_unknown_outcome_is_refused(dataset, contract, make_demonstration):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    writer.add_step(**make_demonstration(5).step(0, ("static",)))
    with pytest.raises(MetadataError, match="outcome is 'good'; use one of success, failure, unlabelled"):
        writer.commit("good")
    assert writer.commit("success").exists()


def test_the_callers_image_buffer_may_be_reused(dataset, contract, make_demonstration):
    demonstration = make_demonstration(5)
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",), encoding="raw")
    buffer = demonstration.image("static", 0)
    for index in range(3):
        buffer[:] = index
        writer.add_step(**{**demonstration.step(index, ("static",)), "images": {"static": buffer}})
    with Episode.open(writer.commit("success")) as episode:
        assert episode.images("static")[:, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("  ", "t", "navigation"), "language is empty"),
        (("go", "", "navigation"), "task is empty"),
        (("go", "t", "flying"), "category is 'flying'; use one of navigation, manipulation, combined"),
        (("go", "t", "navigation", "robot"), "source is 'robot'"),
        (("go", "t", "navigation", "teleop", {"x": object()}), "environment is not a JSON object"),
    ],
)
def test_metadata_refuses_what_cannot_be(fields, words):
    with pytest.raises(MetadataError) as error:
        EpisodeMetadata(*fields)
    assert words in str(error.value)


_FILL_DISK = """
import json, sys
import numpy as np
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import DiskFullError, EpisodeWriter
contract = Contract.load(sys.argv[2])
writer = EpisodeWriter(sys.argv[1], contract, EpisodeMetadata("go", "go", "navigation"),
                       cameras=("static",), encoding="raw")
rng, steps = np.random.default_rng(0), 0
try:
    for steps in range(1000):
        stamp = 10**18 + steps * 10**8
        image = rng.integers(0, 255, (224, 224, 3), dtype=np.uint8)
        writer.add_step(stamp_ns=stamp, images={"static": image}, state=np.zeros(3),
                        action=np.zeros(3), stamps_ns={"static": stamp})
except DiskFullError as error:
    print(json.dumps({"steps": steps, "message": str(error)}))
"""


@pytest.fixture
def small_disk(tmp_path):
    """An 8 MB file system; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_one_line_and_what_was_written_is_recoverable(small_disk, tmp_path, robot_yaml):
    done = subprocess.run(
        [sys.executable, "-c", _FILL_DISK, small_disk, robot_yaml], capture_output=True, text=True, timeout=60
    )
    result = json.loads(done.stdout)
    assert "disk full" in result["message"] and "free some space" in result["message"] and result["steps"] > 5
    for path in small_disk.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (recovered,) = recover_dataset(tmp_path)
    assert recovered.steps == result["steps"]


def test_an_episode_whose_end_finds_the_disk_full_can_be_recovered(small_disk, contract, make_demonstration):
    writer = EpisodeWriter(small_disk, contract, KITCHEN, cameras=("static",))
    for index in range(20):
        writer.add_step(**make_demonstration(20).step(index, ("static",)))
    (small_disk / "ballast").write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
    with pytest.raises(DiskFullError, match="disk full; free some space"):
        writer.commit("success")
    with pytest.raises(DiskFullError, match="disk full; free some space"):
        recover_dataset(small_disk)
    (small_disk / "ballast").unlink()
    (recovered,) = recover_dataset(small_disk)
    assert (recovered.result, recovered.steps) == ("recovered", 20)
    with Episode.open(recovered.path) as episode:
        assert len(episode.images("static")) == 20


def test_on_a_full_disk_no_episode_is_begun(small_disk, contract):
    with open(small_disk / "ballast", "wb") as ballast:
        ballast.write(bytes(7_800_000))
    with pytest.raises(DiskFullError, match=r"disk full \(0.* MB free\); free some space"):
        EpisodeWriter(small_disk, contract, KITCHEN, cameras=("static",))
    assert os.listdir(small_disk) == ["ballast"]
