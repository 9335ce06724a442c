"""Recordings to episodes: message types, topics, frames and silence."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags")

from bags import (
    MS,
    START_NS,
    TYPES,
    compressed_message,
    drive,
    header,
    image,
    image_message,
    import_one,
    make,
    mapping,
    transform,
    twist,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mobile_vla_data.action import gripper
from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.rosbag import messages as ros
from mobile_vla_data.convert.rosbag.bag import open_bag
from mobile_vla_data.convert.rosbag.importing import BagImport, import_rosbags
from mobile_vla_data.convert.rosbag.mapping import BagMapping
from mobile_vla_data.sampling.commands import COMMAND_MAX_AGE_S


@pytest.mark.parametrize("writer", ["mcap", "sqlite3", "single mcap file of another writer", "ROS 1"])
def test_a_recording_of_each_kind_becomes_the_same_episode(writer, contract, dataset, tmp_path):
    recording = drive(size=(224, 224))
    if writer == "mcap":
        bag = recording.write(tmp_path / "bag")
    elif writer == "sqlite3":
        bag = recording.write(tmp_path / "bag", StoragePlugin.SQLITE3)
    elif writer == "ROS 1":
        bag = recording.write_ros1(tmp_path / "drive.bag")
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


def closed_gripper(msgtype: str, time_ns: int):
    """A message in which the second value, that of the finger, is 1."""
    names, values = ["wheel", "finger"], np.array([0.0, 1.0])
    kind, numbers = TYPES[msgtype], np.zeros(0)
    if msgtype == ros.GRIPPER_STATE:
        return kind(header(time_ns), 1.0, False)
    if msgtype == ros.GRIPPER_COMMAND:
        return kind(header(time_ns), 1.0)
    if msgtype == ros.JOINT_STATE:
        return kind(header(time_ns), names, values, numbers, numbers)
    if msgtype == ros.TRAJECTORY:
        point, after = TYPES["trajectory_msgs/msg/JointTrajectoryPoint"], TYPES["builtin_interfaces/msg/Duration"](1, 0)
        through = [point(moved, numbers, numbers, numbers, after) for moved in (np.zeros(2), values)]
        return kind(header(time_ns), names, through)
    if msgtype in ros.ARRAY_TYPES:
        layout = TYPES["std_msgs/msg/MultiArrayLayout"]([], 0)
        return kind(layout, values.astype(np.float32 if "32" in msgtype else np.float64))
    return kind(True if msgtype == ros.BOOL else 1)


@pytest.mark.parametrize("msgtype", ros.GRIPPER_TYPES)
def test_every_type_of_gripper_message_is_understood(msgtype, contract, dataset, tmp_path):
    recording = drive(1.0, skip=("/gripper/state",))
    for at_ms in range(0, 1000, 50):
        recording.add(at_ms, "/fingers", msgtype, closed_gripper(msgtype, START_NS + at_ms * MS))
    fingers = {"topic": "/fingers", "index": 1}
    if msgtype in (ros.JOINT_STATE, ros.TRAJECTORY):
        fingers = {"topic": "/fingers", "joint": "finger"}
    used = mapping(gripper_state=fingers, gripper_command=fingers)
    (episode,) = import_one(recording.write(tmp_path / "bag"), dataset, contract, used)
    assert episode.num_steps >= 7 and gripper(episode.states).all() and gripper(episode.actions).all()


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


def test_each_recording_is_read_by_its_own_definitions(tmp_path):
    written = {"count": ("int32", 7), "metres": ("float64", 0.5)}
    for name, (kind, value) in written.items():
        store = get_typestore(Stores.ROS2_HUMBLE)
        store.register(get_types_from_msg(f"{kind} {name}", "robot_msgs/msg/Own"))
        with Writer(tmp_path / name, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            topic = writer.add_connection("/own", "robot_msgs/msg/Own", typestore=store)
            message = store.types["robot_msgs/msg/Own"](value)
            writer.write(topic, START_NS, store.serialize_cdr(message, "robot_msgs/msg/Own"))
    for name in ("count", "metres", "count"):
        with open_bag(tmp_path / name) as bag:
            (message,) = bag.messages({"own"})
            assert getattr(bag.decode(message), name) == written[name][1]
