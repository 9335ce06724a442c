"""What schema 1.1 adds: targets, source encodings, alternatives, the fourth action column; and that 1.0 is read."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import yaml

from mobile_vla_data.action import ACTION, DELTA_YAW, action_names
from mobile_vla_data.checks.validate import check_episode, validate_dataset
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.edit import trim
from mobile_vla_data.episode import schema
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.episode.step_checks import WriterError
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_data.image import fit
from mobile_vla_data.repair.recover import recover_dataset


@pytest.fixture(scope="module")
def turning(robot_yaml):
    data = yaml.safe_load(robot_yaml.read_text())
    data["action"]["yaw"] = True
    return Contract.from_dict(data)


@pytest.fixture(scope="module")
def renamed(robot_yaml):
    """A robot with three cameras, none of them called as in config/robot.yaml."""
    data = yaml.safe_load(robot_yaml.read_text())
    camera = data["cameras"]["gripper"]
    data["cameras"] = {
        "overhead": {**data["cameras"]["static"], "topic": "overhead/image"},
        "wrist_left": {**camera, "topic": "left/image", "required": True},
        "back": {**camera, "topic": "back/image", "height": 64, "width": 96},
    }
    return Contract.from_dict(data)


def with_target(index, step):
    return {**step, "target": (100 + index, 50) if index < 12 else None}


def as_1_0(path):
    """Make a file what version 0.1.0 wrote."""
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = "1.0"
        contract = json.loads(file.attrs["contract"])
        del contract["action"]["yaw"]
        file.attrs["contract"] = json.dumps(contract)


def test_a_file_of_schema_1_0_is_read_and_valid(record):
    path = record()
    as_1_0(path)
    assert check_episode(path) == []
    with Episode.open(path) as episode:
        assert episode.target is None and episode.language_alternatives == () and episode.lost_yaw_rad is None
        assert episode.source_encoding("static") == "" and episode.actions.shape == (20, 3)
        assert not episode.contract.action.yaw


def test_targets_are_stored_where_they_are_known_and_survive_trim_and_a_crash(record, dataset, contract):
    path = record(change_step=with_target)
    with Episode.open(path) as episode:
        assert episode.target.dtype == np.int32 and episode.target.shape == (20, 2)
        assert episode.target[11].tolist() == [111, 50] and episode.target[12].tolist() == [-1, -1]
    trim(path, 10, 14)
    with Episode.open(path) as episode:
        assert episode.target.tolist() == [[110, 50], [111, 50], [-1, -1], [-1, -1], [-1, -1]]
    assert check_episode(path) == []


def test_a_target_outside_the_image_is_refused_before_it_is_written(record):
    with pytest.raises(WriterError, match=r"target \(224, 0\) is outside the 224x224 image of camera 'static'"):
        record(change_step=lambda index, step: {**step, "target": (224, 0)})


def test_a_target_outside_the_image_is_found(record):
    path = record(change_step=with_target)
    with h5py.File(path, "r+") as file:
        file["annotations/target"][3] = (5, 300)
    (finding,) = check_episode(path)
    assert (finding.code, finding.step) == ("target-outside", 3)


def test_what_a_killed_recorder_knew_of_targets_encodings_and_wordings_is_recovered(
    dataset, contract, make_demonstration
):
    metadata = EpisodeMetadata("go to the kitchen", "t", "navigation", language_alternatives=("부엌으로 가",))
    writer = EpisodeWriter(dataset, contract, metadata, cameras=("static",))
    demonstration = make_demonstration(8)
    for index in range(8):
        step = demonstration.step(index, ("static",))
        writer.add_step(**step, target=(3, 4), source_encodings={"static": "bgr8" if index else "rgb8"})
    writer.abandon()
    (recovery,) = recover_dataset(dataset)
    with Episode.open(recovery.path) as episode:
        assert (episode.target == (3, 4)).all() and len(episode.target) == 8
        assert episode.source_encoding("static") == "rgb8,bgr8"
        assert episode.metadata.language_alternatives == ("부엌으로 가",)


def test_the_fourth_column_is_recorded_where_the_contract_has_it(record, turning, contract):
    assert action_names(turning) == (*ACTION, DELTA_YAW) and action_names(contract) == ACTION

    def turn(index, step):
        return {**step, "action": [*step["action"], 0.05]}

    path = record(with_contract=turning, change_step=turn)
    with Episode.open(path) as episode:
        assert episode.actions.shape == (20, 4) and episode.actions[:, 3] == pytest.approx(0.05)
    assert check_episode(path) == []
    with pytest.raises(WriterError, match="expects \\[4\\]: delta_x, delta_y, gripper, delta_yaw"):
        record(with_contract=turning)
    with pytest.raises(WriterError, match="action has shape \\[4\\]"):
        record(change_step=turn)


def test_a_turn_faster_than_the_limit_is_found(record, turning):
    path = record(with_contract=turning, change_step=lambda _, step: {**step, "action": [*step["action"], 0.2]})
    (finding,) = check_episode(path)
    assert finding.code == "action-limit" and "2.00 rad/s" in finding.message


def test_turning_that_no_action_carries_is_a_finding(record, dataset):
    path = record()
    with h5py.File(path, "r+") as file:
        file.attrs[schema.LOST_YAW_RAD] = 3.2
    (finding,) = check_episode(path)
    assert finding.code == "turning-lost" and finding.severity == "error" and "183 degrees" in finding.message
    with Episode.open(path) as episode:
        assert episode.lost_yaw_rad == 3.2


def test_any_number_of_cameras_under_any_name_is_recorded_in_the_contracts_order(record, renamed, make_demonstration):
    def images(index, step):
        streams = dict.fromkeys(renamed.cameras, step["stamps_ns"]["static"])
        return {
            **step,
            "images": {name: fit(step["images"]["static"], camera) for name, camera in renamed.cameras.items()},
            "stamps_ns": {**streams, **{n: step["stamps_ns"][n] for n in ("odom", "gripper_state")}},
        }

    path = record(
        with_contract=renamed,
        record_cameras=("static",),
        cameras=renamed.camera_names,
        change_step=images,
    )
    assert check_episode(path) == []
    with Episode.open(path) as episode:
        assert episode.cameras == ("overhead", "wrist_left", "back")
        assert episode.image("back", 3).shape == (64, 96, 3)
    trim(path, 2, 15)
    with Episode.open(path) as episode:
        assert episode.cameras == ("overhead", "wrist_left", "back") and episode.num_steps == 14


def test_episodes_whose_images_came_in_another_encoding_are_named(record, dataset):
    def came_as(encoding, swap=False):
        def change(_, step):
            images = {name: image[..., ::-1].copy() if swap else image for name, image in step["images"].items()}
            return {**step, "images": images, "source_encodings": dict.fromkeys(images, encoding)}

        return change

    for seed in range(3):
        record(seed=seed, language=f"go ({seed})", change_step=came_as("rgb8"))
    assert validate_dataset(dataset).findings == []
    other = record(seed=7, language="go on", change_step=came_as("bgr8"))
    findings = validate_dataset(dataset).findings
    assert {(item.code, item.severity, item.file) for item in findings} == {("encoding-differs", "warning", str(other))}


def test_an_encoding_that_changes_within_an_episode_is_named(record, dataset):
    def came_as(index, step):
        return {**step, "source_encodings": {"static": "rgb8" if index < 9 else "bgr8"}}

    record(change_step=came_as)
    (finding,) = validate_dataset(dataset).findings
    assert (finding.code, finding.severity) == ("encoding-differs", "warning")
    assert "came as rgb8,bgr8, changing within the episode" in finding.message


def test_swapped_red_and_blue_are_an_error_when_the_encodings_differ(record, dataset):
    def reddish(encoding, order):
        def change(_, step):
            images = {}
            for name, image in step["images"].items():
                tinted = image.copy()
                tinted[..., 2] //= 3
                images[name] = np.ascontiguousarray(tinted[..., order])
            return {**step, "images": images, "source_encodings": dict.fromkeys(images, encoding)}

        return change

    for seed in range(3):
        record(seed=seed, language=f"go ({seed})", change_step=reddish("rgb8", [0, 1, 2]))
    record(seed=7, language="go on", change_step=reddish("bgr8", [2, 1, 0]))
    findings = validate_dataset(dataset).findings
    assert findings and all((item.code, item.severity) == ("encoding-differs", "error") for item in findings)
    assert "red and blue look swapped" in findings[0].message


def test_wordings_are_relabelled_and_kept(record, run):
    path = record()
    assert run("relabel", path, "--alternative", "to the kitchen", "--alternative", "부엌으로 가").returncode == 0
    with Episode.open(path) as episode:
        assert episode.language_alternatives == ("to the kitchen", "부엌으로 가")
    assert run("relabel", path, "--outcome", "failure").returncode == 0
    with Episode.open(path) as episode:
        assert episode.language_alternatives == ("to the kitchen", "부엌으로 가") and episode.outcome == "failure"
    assert check_episode(path) == []


def test_a_target_is_annotated_until_the_gripper_closes_on_it(record, run):
    path = record(category="manipulation")  # the gripper closes at step 10
    done = run("annotate", path, "--at", "120,45")
    assert done.returncode == 0 and "column 120, row 45 in the first 10 steps" in done.stdout
    with Episode.open(path) as episode:
        assert (episode.target[:10] == (120, 45)).all() and (episode.target[10:] == -1).all()
    assert check_episode(path) == []
    assert run("annotate", path, "--at", "7,8").returncode == 0
    with Episode.open(path) as episode:
        assert episode.target[0].tolist() == [7, 8]


def test_a_place_that_is_no_place_changes_nothing(record, run):
    path = record()
    before = path.read_bytes()
    for place, status in (("300,45", 1), ("-1,4", 1), ("a,b", 2), ("5", 2)):
        done = run("annotate", path, f"--at={place}")
        assert done.returncode == status, done.stderr
    assert path.read_bytes() == before


def test_without_a_screen_annotate_says_how_to_give_the_place(record, run, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    done = run("annotate", record())
    assert done.returncode == 1 and "--at COLUMN,ROW" in done.stderr


_BACKEND = """
from matplotlib.backend_bases import FigureManagerBase, MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg

class FigureCanvas(FigureCanvasAgg):
    '''A window in which somebody clicks as soon as it waits for a click.'''
    required_interactive_framework = "headless"

    def flush_events(self):
        (axes,) = self.figure.axes
        x, y = axes.transData.transform((60.2, 33.7))
        MouseEvent("button_press_event", self, x, y, button=1)._process()

FigureManager = FigureManagerBase
"""


def test_a_click_in_the_window_marks_the_pixel_that_was_clicked(record, run, tmp_path, monkeypatch):
    (tmp_path / "clicking_backend.py").write_text(_BACKEND)
    monkeypatch.syspath_prepend(str(tmp_path))
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = pyplot.get_backend()
    pyplot.switch_backend("module://clicking_backend")
    try:
        path = record(language="pick up the $5 cup_{x}")
        done = run("annotate", path)
    finally:
        pyplot.switch_backend(before)
    assert done.returncode == 0, done.stderr
    with Episode.open(path) as episode:
        assert episode.target[0].tolist() == [60, 34]
