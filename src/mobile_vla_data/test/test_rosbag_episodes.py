"""Which parts of a recording become episodes, how many, and only once."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags")

from bags import (
    TYPES,
    Recording,
    drive,
    import_one,
    mapping,
    text,
)

from mobile_vla_data.contract import Contract
from mobile_vla_data.convert.rosbag.importing import BagImport, import_rosbags
from mobile_vla_data.dataset.folder import Dataset


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
