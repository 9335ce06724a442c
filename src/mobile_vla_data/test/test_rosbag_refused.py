"""Recordings and mappings that cannot be used, and what is said about them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rosbags")

from bags import (
    MS,
    START_NS,
    Recording,
    drive,
    import_one,
    mapping,
    odometry_message,
    text,
)
from rosbags.rosbag2 import StoragePlugin

from mobile_vla_data.convert.rosbag.mapping import BagMapping
from mobile_vla_data.dataset.folder import Dataset


def cut_short(bag: Path) -> Path:
    (file,) = (path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    return bag


def flipped(bag: Path) -> Path:
    """Flip bits in a compressed chunk of an MCAP file."""
    data = bytearray(bag.read_bytes())
    for place in range(len(data) // 3, min(len(data) // 3 + 20_000, len(data) // 2)):
        data[place] ^= 0xFF
    bag.write_bytes(data)
    return bag


def broken_pages(bag: Path) -> Path:
    """Break the chains of pages in which SQLite keeps large messages; such a file can still be opened."""
    (file,) = bag.glob("*.db3")
    data, page_bytes = bytearray(file.read_bytes()), 4096
    for page in range(len(data) // page_bytes // 2 * page_bytes, len(data), page_bytes):
        if data[page] == 0:
            data[page : page + 4] = b"\xff" * 4
    file.write_bytes(data)
    return bag


def no_recording(path: Path) -> Path:
    path.write_bytes(b"these are not the messages you are looking for" * 10)
    return path


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: cut_short(drive(1).write(folder / "bag")), "no readable recording"),
        (lambda folder: cut_short(drive(1).write(folder / "bag", StoragePlugin.SQLITE3)), "no readable recording"),
        (lambda folder: flipped(drive(1).write_with_mcap(folder / "bag.mcap")), "no readable recording"),
        (lambda folder: flipped(drive(1).write_with_mcap(folder / "bag.mcap", "LZ4")), "no readable recording"),
        (lambda folder: broken_pages(drive(1).write(folder / "bag", StoragePlugin.SQLITE3)), "no readable recording"),
        (lambda folder: no_recording(folder / "notes.mcap"), "no readable recording"),
        (lambda folder: no_recording(folder / "notes.db3"), "no readable recording"),
        (lambda folder: folder / "absent", "no such recording"),
        (lambda folder: folder, "no readable recording"),
        (lambda folder: Recording().write(folder / "bag"), "has no messages"),
        (lambda folder: drive(2, skip=("/cmd_vel",)).write(folder / "bag"), "no topic '/cmd_vel'; it has"),
        (lambda folder: drive(2, skip=("/gripper/state",)).write(folder / "bag"), "no topic '/gripper/state'"),
        (lambda folder: drive(0.3).write(folder / "bag"), "only"),
    ],
)  # fmt: skip
def test_recordings_that_cannot_be_used_are_refused_in_one_line(spoil, said, robot_yaml, dataset, tmp_path, run):
    (tmp_path / "source").mkdir()
    bag = spoil(tmp_path / "source")
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(mapping().model_dump(mode="json")))
    arguments = ("--contract", robot_yaml, "--mapping", tmp_path / "mapping.yaml")
    done = run("import", "rosbag", bag, dataset, *arguments)
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert Dataset(dataset).episode_ids == [] and Dataset(dataset).unfinished_paths == []


def test_a_recording_that_cannot_be_used_does_not_end_the_import(robot_yaml, dataset, tmp_path, run):
    bags = [drive(3, speed_m_s=0.1 * number).write(tmp_path / f"bag_{number}") for number in (1, 2, 3)]
    cut_short(bags[1])
    short = drive(0.3).write(tmp_path / "bag_short")
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(mapping().model_dump(mode="json")))
    arguments = ("--contract", robot_yaml, "--mapping", tmp_path / "mapping.yaml")
    done = run("import", "rosbag", bags[0], bags[1], short, bags[2], dataset, *arguments)
    assert done.returncode == 1 and len(Dataset(dataset).episode_ids) == 2
    assert "bag_1, 0.0 to 3.0 s: episode_000000" in done.stdout and "bag_3, 0.0 to 3.0 s: episode_000001" in done.stdout
    broken, too_short = done.stderr.splitlines()
    assert "bag_2: no readable recording" in broken and "bag_short: no episode could be made: only" in too_short
    done = run("import", "rosbag", bags[0], bags[1], dataset, *arguments, "--json")
    assert done.returncode == 1 and len(json.loads(done.stdout)["problems"]) == 1


def test_a_topic_of_the_wrong_type_is_named_with_the_types_that_do(contract, dataset, tmp_path):
    recording = drive(skip=("/odom",))
    recording.add(0, "/odom", "std_msgs/msg/String", text("hello"))
    with pytest.raises(ValueError, match="'/odom' is std_msgs/msg/String; use one of nav_msgs/msg/Odometry"):
        import_one(recording.write(tmp_path / "bag"), dataset, contract, mapping())


def test_inputs_that_never_fit_are_told_as_the_recorder_would(contract, dataset, tmp_path):
    recording = drive(skip=("/odom",))
    for at_ms in range(0, 4000, 20):
        message = odometry_message(START_NS + at_ms * MS, 0.0, 0.0, "somewhere")
        recording.add(at_ms, "/odom", "nav_msgs/msg/Odometry", message)
    with pytest.raises(ValueError, match="frame_id is 'somewhere', the contract says 'odom'"):
        import_one(recording.write(tmp_path / "bag"), dataset, contract, mapping())


def test_an_unstamped_publisher_is_refused_unless_arrival_counts(contract, dataset, tmp_path):
    recording = drive(skip=("/odom",))
    for at_ms in range(0, 4000, 20):
        recording.add(at_ms, "/odom", "nav_msgs/msg/Odometry", odometry_message(0, 0.0, 0.0))
    bag = recording.write(tmp_path / "bag")
    with pytest.raises(ValueError, match=r"header\.stamp is zero"):
        import_one(bag, dataset, contract, mapping())
    (episode,) = import_one(bag, dataset, contract, mapping(stamps="arrival"))
    assert episode.num_steps > 30


def test_a_mistake_in_the_mapping_file_is_named(robot_yaml, dataset, tmp_path, run):
    bag = drive(1).write(tmp_path / "bag")
    (tmp_path / "mapping.yaml").write_text("mapping_version: 1\ncameras: {static: a}\nodometry: {topc: odom}\n")
    done = run("import", "rosbag", bag, dataset, "--contract", robot_yaml, "--mapping", tmp_path / "mapping.yaml")
    assert done.returncode == 1 and "mapping.yaml: " in done.stderr and "odometry.topc" in done.stderr


def test_the_example_mapping_file_is_valid(robot_yaml):
    BagMapping.load(robot_yaml.parent / "rosbag_mapping.yaml")
