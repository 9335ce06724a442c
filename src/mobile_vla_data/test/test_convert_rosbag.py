"""Recordings to episodes: types, cutting, labels, and what is said about recordings that cannot be used."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags")
sys.path.insert(0, str(Path(__file__).parent))

from bags import (
    MS,
    START_NS,
    TYPES,
    Recording,
    compressed_message,
    header,
    image,
    image_message,
    make,
    odometry_message,
    text,
    transform,
    twist,
)
from rosbags.rosbag2 import StoragePlugin

from mobile_vla_data.action import gripper
from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.rosbag.bag import typestore
from mobile_vla_data.convert.rosbag.export import BagExport, export_rosbag
from mobile_vla_data.convert.rosbag.importing import BagImport, import_rosbags
from mobile_vla_data.convert.rosbag.mapping import BagMapping
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.sampling.commands import COMMAND_MAX_AGE_S

MESSAGES = Path(__file__).resolve().parents[2] / "mobile_vla_msgs" / "msg"


def mapping(**changes) -> BagMapping:
    fields = {
        "mapping_version": 1,
        "cameras": {"static": "/static_camera/image_raw", "gripper": "/gripper_camera/image_raw"},
        "odometry": {"topic": "/odom"},
        "gripper_state": {"topic": "/gripper/state"},
        "velocity": {"topic": "/cmd_vel"},
        "labels": {"language": "go to the kitchen", "category": "navigation"},
    }
    return BagMapping.model_validate({**fields, **changes})


def import_one(bag: Path, dataset: Path, contract: Contract, used: BagMapping) -> list[Episode]:
    import_rosbags([bag], dataset, BagImport(contract, used))
    return [Episode.open(path) for path in Dataset(dataset).episode_paths]


def drive(seconds: float = 4.0, **options) -> Recording:
    recording = Recording()
    recording.drive(0, round(seconds * 1000), **options)
    return recording


@pytest.mark.parametrize("writer", ["mcap", "sqlite3", "single mcap file of another writer"])
def test_a_recording_of_each_kind_becomes_the_same_episode(writer, contract, dataset, tmp_path):
    recording = drive(size=(224, 224))
    if writer == "mcap":
        bag = recording.write(tmp_path / "bag")
    elif writer == "sqlite3":
        bag = recording.write(tmp_path / "bag", StoragePlugin.SQLITE3)
    else:
        bag = recording.write_with_mcap(tmp_path / "bag.mcap")
    (episode,) = import_one(bag, dataset, contract, mapping())
    assert check_episode(episode.path) == []
    # Everything is there after 4 ms, so the second tick is the first with an observation; the last has no action.
    assert episode.num_steps == 38 and episode.dropped_ticks == 0
    np.testing.assert_array_equal(np.diff(episode.timestamps_ns), contract.period_ns)
    np.testing.assert_allclose(episode.actions, [[0.02, 0.002, 0.0]] * 38, rtol=1e-6)
    ages_ns = episode.timestamps_ns - episode.stamps_ns["static"]
    assert (ages_ns >= 8 * MS).all() and (ages_ns < 42 * MS).all()
    x = 0.2 * (episode.stamps_ns["odom"] + 2 * MS - START_NS) * 1e-9
    np.testing.assert_allclose(episode.states[:, 0], x, atol=1e-6)
    shown = round((int(episode.stamps_ns["static"][7]) + 8 * MS - START_NS) / (33 * MS))
    assert np.abs(episode.image("static", 7).astype(int) - image(shown).astype(int)).mean() < 1
    assert episode.source_encoding("static") == "rgb8"
    assert episode.metadata.task == "go_to_the_kitchen" and episode.outcome == "unlabelled"
    assert episode.created_at.startswith("2026-09-21")


def test_compressed_images_are_found_by_their_topic_and_others_decoded(contract, dataset, tmp_path):
    recording = drive(skip=("/static_camera/image_raw", "/gripper_camera/image_raw"))
    for number, at_ms in enumerate(range(0, 4000, 33)):
        stamp_ns = START_NS + at_ms * MS
        for topic, kind in (("/static_camera/image_raw/compressed", "jpeg"), ("/gripper_camera/image_raw", "png")):
            message = compressed_message(stamp_ns, image(number, (240, 320)), kind)
            recording.add(at_ms + 9, topic, "sensor_msgs/msg/CompressedImage", message)
    (episode,) = import_one(recording.write(tmp_path / "bag"), dataset, contract, mapping())
    assert episode.cameras == ("static", "gripper") and episode.num_steps > 30
    assert episode.image("gripper", 5).shape == (224, 224, 3)
    assert episode.source_encoding("static") == "jpeg"


def test_blue_and_red_stay_what_they_are(contract, dataset, tmp_path):
    recording = drive(skip=("/static_camera/image_raw",))
    for number, at_ms in enumerate(range(0, 4000, 33)):
        message = image_message(START_NS + at_ms * MS, image(number), "bgr8")
        recording.add(at_ms, "/static_camera/image_raw", "sensor_msgs/msg/Image", message)
    (episode,) = import_one(recording.write(tmp_path / "bag"), dataset, contract, mapping())
    red, _, blue = episode.image("static", 5).reshape(-1, 3).max(0)
    assert red > 200 and blue < 110 and episode.source_encoding("static") == "bgr8"


def test_a_camera_that_is_not_required_may_be_missing_and_one_that_is_may_not(contract, dataset, tmp_path):
    bag = drive(skip=("/gripper_camera/image_raw",)).write(tmp_path / "bag")
    (episode,) = import_one(bag, dataset, contract, mapping())
    assert episode.cameras == ("static",)
    bag = drive(skip=("/static_camera/image_raw",)).write(tmp_path / "other")
    with pytest.raises(ValueError, match="no topic '/static_camera/image_raw'; it has /cmd_vel"):
        import_one(bag, dataset, contract, mapping())


def test_position_from_tf_is_that_of_the_chain_of_frames_and_as_old_as_its_oldest_part(contract, dataset, tmp_path):
    fields = contract.model_dump(mode="json")
    fields["state"]["odometry_frame"] = "map"
    recording = drive(skip=("/odom",))
    # The robot's frame lies 1 m before its wheels; the map is turned by 90 degrees and shifted.
    fixed = TYPES["tf2_msgs/msg/TFMessage"]([transform(START_NS, "base_link", "head", 1.0, 0.0)])
    recording.add(0, "/tf_static", "tf2_msgs/msg/TFMessage", fixed)
    for at_ms in range(0, 4000, 20):
        now_ns = START_NS + at_ms * MS
        transforms = [
            transform(now_ns - 30 * MS, "map", "odom", 3.0, 4.0, np.pi / 2),
            transform(now_ns, "odom", "base_link", 0.2 * at_ms * 1e-3, 0.0),
        ]
        recording.add(at_ms + 1, "/tf", "tf2_msgs/msg/TFMessage", TYPES["tf2_msgs/msg/TFMessage"](transforms))
    used = mapping(odometry={"topic": "/tf", "parent": "map", "child": "head"})
    (episode,) = import_one(recording.write(tmp_path / "bag"), dataset, Contract.from_dict(fields), used)
    np.testing.assert_allclose(episode.states[:, 0], 3.0, atol=1e-6)
    travelled = 0.2 * (episode.stamps_ns["odom"] + 30 * MS - START_NS) * 1e-9
    np.testing.assert_allclose(episode.states[:, 1], 4.0 + 1.0 + travelled, atol=1e-6)
    fields["state"]["pose"] = "tf"
    by_contract = BagMapping.of_contract(Contract.from_dict(fields)).odometry
    assert (by_contract.topic, by_contract.parent, by_contract.child) == ("/tf", "map", "base_link")


def test_a_gripper_may_be_a_joint_with_its_own_ends_and_its_command_a_number(contract, dataset, tmp_path):
    recording = drive(skip=("/gripper/state",))
    for at_ms in range(0, 4000, 50):
        opening_m = 0.04 if at_ms < 2000 else 0.0
        message = TYPES["sensor_msgs/msg/JointState"](
            header(START_NS + at_ms * MS), ["wheel", "finger"], np.array([9.0, opening_m]), np.zeros(0), np.zeros(0)
        )
        recording.add(at_ms + 2, "/joint_states", "sensor_msgs/msg/JointState", message)
    for at_ms, width_mm in ((100, 80.0), (1900, 0.0)):
        recording.add(at_ms, "/gripper_width", "std_msgs/msg/Float64", TYPES["std_msgs/msg/Float64"](width_mm))
    used = mapping(
        gripper_state={"topic": "joint_states", "joint": "finger", "open": 0.04, "closed": 0.0},
        gripper_command={"topic": "gripper_width", "open": 80.0, "closed": 0.0},
    )
    (episode,) = import_one(recording.write(tmp_path / "bag"), dataset, contract, used)
    closed = episode.timestamps_ns >= START_NS + 2000 * MS
    np.testing.assert_array_equal(gripper(episode.states)[~closed], 0.0)
    assert gripper(episode.states)[-1] == 1.0
    assert gripper(episode.actions)[-1] == 1.0 and gripper(episode.actions)[3] == 0.0


def test_a_robot_without_a_gripper_is_imported_with_it_open(contract, dataset, tmp_path):
    bag = drive(skip=("/gripper/state",)).write(tmp_path / "bag")
    (episode,) = import_one(bag, dataset, contract, mapping(gripper_state=None))
    assert episode.num_steps > 30 and not gripper(episode.states).any()


def test_twist_with_a_stamp_is_understood(contract, dataset, tmp_path):
    recording = drive(skip=("/cmd_vel",))
    for at_ms in range(0, 4000, 50):
        message = make("TwistStamped", header(START_NS + at_ms * MS), twist(0.3))
        recording.add(at_ms, "/cmd_vel", "geometry_msgs/msg/TwistStamped", message)
    (episode,) = import_one(recording.write(tmp_path / "bag"), dataset, contract, mapping())
    np.testing.assert_allclose(episode.actions[:, 0], 0.03, rtol=1e-6)


def test_silence_of_the_command_drops_ticks_or_means_standing_still_as_the_mapping_says(contract, tmp_path):
    recording = drive(skip=("/cmd_vel",))
    for at_ms in (*range(0, 1000, 50), *range(3000, 4000, 50)):
        recording.add(at_ms, "/cmd_vel", "geometry_msgs/msg/Twist", twist(0.3))
    bag = recording.write(tmp_path / "bag")
    (dropping,) = import_one(bag, tmp_path / "drop", contract, mapping())
    assert 15 <= dropping.dropped_ticks <= 19
    used = mapping(velocity={"topic": "/cmd_vel", "when_silent": "stop"})
    (standing,) = import_one(bag, tmp_path / "stop", contract, used)
    assert standing.dropped_ticks == 0 and standing.num_steps == 38
    still = np.abs(standing.actions[:, 0]) < 1e-9
    assert 15 <= still.sum() <= 19


def test_pauses_cut_a_recording_into_episodes(contract, dataset, tmp_path):
    recording = Recording()
    recording.drive(0, 3000)
    recording.drive(3000, 8000, speed_m_s=0.0, first=100)
    recording.drive(8000, 11000, first=300)
    used = mapping(episodes={"by": "idle", "idle_s": 2.0, "lead_s": 0.3})
    episodes = import_one(recording.write(tmp_path / "bag"), dataset, contract, used)
    assert [episode.num_steps for episode in episodes] == pytest.approx([32, 34], abs=2)
    gap_s = (episodes[1].timestamps_ns[0] - episodes[0].timestamps_ns[-1]) * 1e-9
    assert 4.0 < gap_s < 5.0


def test_a_marker_cuts_a_recording_and_names_its_instructions(contract, dataset, tmp_path):
    recording = Recording()
    recording.drive(0, 9000)
    for at_ms, said in ((1000, "go to the kitchen"), (3000, ""), (5000, "open the drawer"), (7000, "go home")):
        recording.add(at_ms, "/episode", "std_msgs/msg/String", text(said))
    used = mapping(episodes={"by": "marker", "marker": "episode"})
    episodes = import_one(recording.write(tmp_path / "bag"), dataset, contract, used)
    assert [episode.metadata.language for episode in episodes] == ["go to the kitchen", "open the drawer", "go home"]
    assert all(18 <= episode.num_steps <= 20 for episode in episodes)


def test_pauses_shorter_than_what_belongs_to_two_episodes_are_refused(robot_yaml, dataset, tmp_path, run):
    bag = drive(1).write(tmp_path / "bag")
    fields = mapping().model_dump(mode="json")
    fields["episodes"] |= {"by": "idle", "idle_s": 0.9, "lead_s": 0.5}
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(fields))
    done = run("import", "rosbag", bag, dataset, "--contract", robot_yaml, "--mapping", tmp_path / "mapping.yaml")
    assert done.returncode == 1 and "idle_s 0.9 is less than twice lead_s 0.5" in done.stderr


def test_no_tick_after_the_end_of_a_recording_counts_as_dropped(contract, dataset, tmp_path):
    used = mapping(episodes={"by": "idle", "lead_s": 1.0})
    (episode,) = import_one(drive().write(tmp_path / "bag"), dataset, contract, used)
    assert episode.dropped_ticks == 0 and episode.num_steps == 38


def test_a_marker_of_the_wrong_type_is_named_with_the_types_that_do(contract, dataset, tmp_path):
    recording = drive()
    recording.add(100, "/episode", "std_msgs/msg/Int32", TYPES["std_msgs/msg/Int32"](1))
    used = mapping(episodes={"by": "marker", "marker": "episode"})
    with pytest.raises(ValueError, match="'/episode' is std_msgs/msg/Int32; use one of mobile_vla_msgs"):
        import_one(recording.write(tmp_path / "bag"), dataset, contract, used)


def test_images_from_long_before_an_episode_count_if_the_contract_lets_them(contract, dataset, tmp_path):
    fields = contract.model_dump(mode="json")
    for camera in fields["cameras"].values():
        camera["max_age_s"] = 5.0
    recording = Recording()
    recording.drive(0, 1000)
    recording.drive(1000, 4000, speed_m_s=0.0, skip=("/static_camera/image_raw", "/gripper_camera/image_raw"))
    for at_ms, is_open in ((3000, True), (3900, False)):
        recording.add(at_ms, "/episode", "std_msgs/msg/Bool", TYPES["std_msgs/msg/Bool"](is_open))
    used = mapping(episodes={"by": "marker", "marker": "episode"})
    (episode,) = import_one(recording.write(tmp_path / "bag"), dataset, Contract.from_dict(fields), used)
    assert episode.num_steps >= 8 and episode.cameras == ("static", "gripper")


def test_a_topic_may_serve_two_purposes(contract, dataset, tmp_path):
    recording = drive(skip=("/gripper/state",))
    for at_ms in range(0, 4000, 50):
        values = np.array([0.0 if at_ms < 2000 else 1.0, 0.0 if at_ms < 1000 else 1.0])
        message = TYPES["sensor_msgs/msg/JointState"](
            header(START_NS + at_ms * MS), ["finger", "finger_target"], values, np.zeros(0), np.zeros(0)
        )
        recording.add(at_ms + 2, "/joint_states", "sensor_msgs/msg/JointState", message)
    used = mapping(
        gripper_state={"topic": "joint_states", "joint": "finger"},
        gripper_command={"topic": "joint_states", "joint": "finger_target"},
    )
    (episode,) = import_one(recording.write(tmp_path / "bag"), dataset, contract, used)
    assert 8 <= np.argmax(gripper(episode.actions)) <= 10 and 18 <= np.argmax(gripper(episode.states)) <= 20


def test_two_cameras_on_one_topic_are_refused(contract, dataset, tmp_path):
    used = mapping(cameras={"static": "static_camera/image_raw", "gripper": "/static_camera/image_raw"})
    with pytest.raises(ValueError, match="cameras 'static' and 'gripper' have the same topic"):
        import_one(drive().write(tmp_path / "bag"), dataset, contract, used)


def test_a_topic_without_messages_is_absent(contract, dataset, tmp_path):
    recording = drive(skip=("/static_camera/image_raw",))
    for number, at_ms in enumerate(range(0, 4000, 33)):
        message = compressed_message(START_NS + at_ms * MS, image(number))
        recording.add(at_ms, "/static_camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage", message)
    silent = {"/static_camera/image_raw": "sensor_msgs/msg/Image", "/gate/status": "mobile_vla_msgs/msg/GateStatus"}
    bag = recording.write(tmp_path / "bag", silent=silent)
    (episode,) = import_one(bag, dataset, contract, mapping(driver="gate/status"))
    assert episode.source_encoding("static") == "jpeg"


def test_recorder_and_import_call_commands_silent_after_the_same_time(robot_yaml):
    parameters = yaml.safe_load((robot_yaml.parent / "collect.yaml").read_text())["/**"]["ros__parameters"]
    example = BagMapping.load(robot_yaml.parent / "rosbag_mapping.yaml")
    assert parameters["command_max_age_s"] == COMMAND_MAX_AGE_S == example.velocity.max_age_s


def test_a_raw_recording_says_when_commands_are_silent_unless_the_mapping_does(contract, tmp_path):
    recording = drive(skip=("/cmd_vel",))
    for at_ms in (*range(0, 1000, 50), *range(3000, 4000, 50)):
        recording.add(at_ms, "/cmd_vel", "geometry_msgs/msg/Twist", twist(0.3))
    bag = recording.write(tmp_path / "bag", labels={"command_max_age_s": 2.5})
    (patient,) = import_one(bag, tmp_path / "patient", contract, mapping())
    assert patient.dropped_ticks == 0
    (strict,) = import_one(bag, tmp_path / "strict", contract, mapping(velocity={"topic": "cmd_vel", "max_age_s": 0.3}))
    assert strict.dropped_ticks >= 15


def test_what_a_raw_recording_lacks_is_said(contract, dataset, tmp_path):
    bag = drive().write(tmp_path / "bag", labels={"lost_messages": 7, "cut_off": "2 MB free"})
    (segment,) = import_rosbags([bag], dataset, BagImport(contract, mapping())).segments
    assert "lacks 7 messages" in segment.remark and "ended before the episode: 2 MB free" in segment.remark


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


def test_another_rate_makes_another_dataset_of_the_same_recording(contract, tmp_path):
    bag = drive().write(tmp_path / "bag")
    fast = Contract.from_dict({**contract.model_dump(mode="json"), "control_rate_hz": 20.0})
    (slow_episode,) = import_one(bag, tmp_path / "slow", contract, mapping())
    (fast_episode,) = import_one(bag, tmp_path / "fast", fast, mapping())
    assert abs(fast_episode.num_steps - 2 * slow_episode.num_steps) <= 2
    np.testing.assert_allclose(fast_episode.actions[5, 0], slow_episode.actions[5, 0] / 2, rtol=1e-6)


def test_importing_a_recording_again_adds_nothing(contract, dataset, tmp_path):
    bag = drive().write(tmp_path / "bag")
    first = import_rosbags([bag], dataset, BagImport(contract, mapping()))
    again = import_rosbags([bag], dataset, BagImport(contract, mapping()))
    assert (first.episodes, first.left_out, again.episodes, again.left_out) == (1, 0, 0, 1)
    assert len(Dataset(dataset).episode_ids) == 1 and Dataset(dataset).unfinished_paths == []


def test_an_interrupted_import_leaves_no_half_episode(contract, dataset, tmp_path):
    bag = drive().write(tmp_path / "bag")

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_rosbags([bag], dataset, BagImport(contract, mapping()), stop)
    assert Dataset(dataset).episode_ids == [] and Dataset(dataset).unfinished_paths == []


def test_an_exported_episode_comes_back_with_its_ticks_stamps_states_and_labels(record, dataset, tmp_path, run):
    path = record(steps=30, outcome="success", environment={"room": "kitchen"}, edit=as_driven)
    done = run("export", "rosbag", dataset, tmp_path / "bags")
    assert done.returncode == 0, done.stderr
    done = run("import", "rosbag", tmp_path / "bags/episode_000000", tmp_path / "back", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["episodes"] == 1, done.stderr
    with Episode.open(path) as before, Episode.open(tmp_path / "back/episode_000000.h5") as after:
        np.testing.assert_array_equal(before.timestamps_ns, after.timestamps_ns)
        np.testing.assert_array_equal(before.states, after.states)
        np.testing.assert_allclose(before.actions, after.actions, atol=1e-7)
        assert before.stamps_ns.keys() == after.stamps_ns.keys()
        for stream, stamps in before.stamps_ns.items():
            np.testing.assert_array_equal(stamps, after.stamps_ns[stream], err_msg=stream)
        assert before.metadata == after.metadata and before.outcome == after.outcome
        for step in range(before.num_steps):
            error = before.image("static", step).astype(int) - after.image("static", step).astype(int)
            assert np.abs(error).mean() < 1


def as_driven(drive) -> None:
    """Commands last a whole period by the contract: real ticks are a little early or late."""
    drive.stamps = drive.stamps[0] + np.arange(len(drive)) * 10**8


def test_an_export_is_read_by_the_mcap_library_and_played_in_order(record, dataset, tmp_path):
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    record(steps=12, encoding="raw")
    export_rosbag(dataset, tmp_path / "bags", BagExport(stamped=True))
    with open(tmp_path / "bags/episode_000000/episode_000000.mcap", "rb") as stream:
        read = list(make_reader(stream, decoder_factories=[DecoderFactory()]).iter_decoded_messages())
    times = [message.log_time for _, _, message, _ in read]
    assert times == sorted(times)
    topics = {channel.topic: schema.name for schema, channel, _, _ in read}
    assert topics["/cmd_vel"] == "geometry_msgs/msg/TwistStamped"
    assert topics["/static_camera/image_raw"] == "sensor_msgs/msg/Image"
    assert sum(channel.topic == "/static_camera/image_raw" for _, channel, _, _ in read) == 12


def test_the_message_definitions_are_those_of_the_message_package():
    store = typestore()
    for file in MESSAGES.glob("*.msg"):
        assert f"mobile_vla_msgs/msg/{file.stem}" in store.fielddefs


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
