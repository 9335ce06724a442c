"""Episodes to recordings and back: takeovers, gaps, slow robots, positions from TF."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags")

from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability

from mobile_vla_data.action import position
from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.rosbag.bag import typestore
from mobile_vla_data.convert.rosbag.export import BagExport, export_rosbag
from mobile_vla_data.convert.rosbag.importing import BagImport, import_rosbags
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode

MESSAGES = Path(__file__).resolve().parents[2] / "mobile_vla_msgs" / "msg"
NUMBERS = ("states", "timestamps_ns", "takeover")


def require_round_trip(dataset: Path, tmp_path: Path, *, stamped: bool = False) -> None:
    """Export and import a dataset without mapping and contract; every step must come back."""
    export_rosbag(dataset, tmp_path / "bags", BagExport(stamped=stamped))
    import_rosbags(sorted((tmp_path / "bags").iterdir()), tmp_path / "back", BagImport())
    for path in Dataset(dataset).episode_paths:
        with Episode.open(path) as before, Episode.open(tmp_path / "back" / path.name) as after:
            for name in NUMBERS:
                np.testing.assert_array_equal(getattr(before, name), getattr(after, name), err_msg=name)
            np.testing.assert_allclose(before.actions, after.actions, atol=1e-7)
            for stream, stamps in before.stamps_ns.items():
                np.testing.assert_array_equal(stamps, after.stamps_ns[stream], err_msg=stream)
            assert before.metadata == after.metadata and before.contract == after.contract


def every(period_ns: int):
    """Ticks exactly a period apart: commands last a whole period."""

    def edit(drive) -> None:
        drive.stamps = drive.stamps[0] + np.arange(len(drive)) * period_ns

    return edit


@pytest.mark.parametrize("stamped", [False, True], ids=["Twist", "TwistStamped"])
@pytest.mark.parametrize("pose", ["odom", "tf"])
def test_the_position_comes_back_wherever_the_robot_has_it_from(pose, stamped, record, contract, dataset, tmp_path):
    fields = contract.model_dump(mode="json")
    fields["state"] |= {"pose": pose, "odometry_frame": "map" if pose == "tf" else "odom"}
    record(steps=20, with_contract=Contract.from_dict(fields), edit=every(10**8))
    require_round_trip(dataset, tmp_path, stamped=stamped)


@pytest.mark.parametrize("pattern", ["..TT......", "TT....TTTT", ".T.T.T.T.T", "..........", "TTTTTTTTTT"])
def test_a_takeover_is_as_long_as_it_was(pattern, record, dataset, tmp_path):
    def take_over(index: int, step: dict) -> dict:
        return {**step, "takeover": pattern[index] == "T"}

    record(steps=10, source="policy", change_step=take_over, edit=every(10**8))
    require_round_trip(dataset, tmp_path)


def test_the_step_before_a_gap_comes_back(record, dataset, tmp_path):
    def with_gaps(drive) -> None:
        every(10**8)(drive)
        drive.stamps[6:] += 2 * 10**9
        drive.stamps[15:] += 400_000_000

    record(steps=20, edit=with_gaps)
    require_round_trip(dataset, tmp_path)


@pytest.mark.parametrize("rate_hz", [0.5, 1.0, 3.0])
def test_a_slow_robot_comes_back(rate_hz, record, contract, dataset, tmp_path):
    slow = Contract.from_dict({**contract.model_dump(mode="json"), "control_rate_hz": rate_hz})

    def far(drive) -> None:
        every(slow.period_ns)(drive)
        # The image must change from step to step, or the camera would count as frozen.
        position(drive.states)[:] *= 5

    record(steps=8, with_contract=slow, edit=far)
    require_round_trip(dataset, tmp_path)


def test_status_topics_keep_their_newest_message_for_late_subscribers(record, dataset, tmp_path):
    record(steps=6)
    export_rosbag(dataset, tmp_path / "bags", BagExport())
    with AnyReader([tmp_path / "bags/episode_000000"]) as reader:
        latched = {
            item.topic
            for item in reader.connections
            if any(qos.durability is QosDurability.TRANSIENT_LOCAL for qos in item.ext.offered_qos_profiles)
        }
    assert latched == {"/recorder/status", "/gate/status"}


def test_an_exported_episode_comes_back_with_its_ticks_stamps_states_and_labels(record, dataset, tmp_path, run):
    path = record(steps=30, outcome="success", environment={"room": "kitchen"}, edit=every(10**8))
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
        for camera in before.cameras:
            for step in range(before.num_steps):
                assert before.jpeg(camera, step) == after.jpeg(camera, step), "a JPEG is kept to the byte"


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
