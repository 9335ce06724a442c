from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_data.repair.recover import recover_dataset

KITCHEN = EpisodeMetadata("부엌으로 가", "go_to_kitchen", "navigation", "teleop", {"room": "kitchen"})

_RECORD_FOREVER = """
import sys
import numpy as np
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter
contract = Contract.load(sys.argv[2])
rng = np.random.default_rng(0)
picture = rng.integers(0, 255, (224, 224, 3), dtype=np.uint8)
stamp = 10**18
while True:
    writer = EpisodeWriter(sys.argv[1], contract, EpisodeMetadata("go", "go", "navigation"), cameras=("static",))
    for _ in range(int(rng.integers(5, 80))):
        stamp += 10**8
        writer.add_step(stamp_ns=stamp, images={"static": np.roll(picture, stamp // 10**8)}, state=np.zeros(3),
                        action=np.zeros(3), stamps_ns={"static": stamp, "odom": stamp})
        print(writer.episode_id, writer.num_steps, flush=True)
    print("committed", writer.commit("success"), flush=True)
"""


def test_a_killed_writer_loses_no_committed_episode_and_no_step_it_had_taken(tmp_path, robot_yaml):
    moments = random.Random(4)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", _RECORD_FOREVER, tmp_path, robot_yaml], stdout=subprocess.PIPE, text=True
        )
        for _ in range(moments.randint(20, 250)):
            process.stdout.readline()
        time.sleep(moments.random() * 0.005)
        os.kill(process.pid, signal.SIGKILL)
        # The last line may be cut off.
        lines = process.stdout.read().rpartition("\n")[0].splitlines()
        process.wait()
        before = set(Dataset.open(tmp_path).episode_paths)
        recovered = {item.episode_id: item for item in recover_dataset(tmp_path)}
        assert before <= set(Dataset.open(tmp_path).episode_paths)
        assert Dataset.open(tmp_path).unfinished_paths == []
        assert "lost" not in [item.result for item in recovered.values()]
        taken = [line.split() for line in lines if line and not line.startswith("committed")]
        if taken and taken[-1][0] in recovered and recovered[taken[-1][0]].result == "recovered":
            assert recovered[taken[-1][0]].steps >= int(taken[-1][1])
    for path in Dataset.open(tmp_path).episode_paths:
        with Episode.open(path) as episode:
            assert len(episode.images("static")) == episode.num_steps == len(episode.actions)


def test_a_recovered_episode_holds_what_was_written_and_says_so(dataset, contract, make_demonstration):
    demonstration = make_demonstration(50)
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static", "gripper"), encoding="raw")
    for index in range(50):
        writer.add_step(**demonstration.step(index))
    writer.abandon()
    (recovery,) = recover_dataset(dataset)
    assert (recovery.result, recovery.steps, recovery.episode_id) == ("recovered", 50, "episode_000000")
    assert recovery.reason == "rebuilt from the log of its steps"
    assert os.listdir(dataset) == ["episode_000000.h5"]
    with Episode.open(recovery.path) as episode:
        assert episode.recovered and episode.outcome == "unlabelled" and episode.metadata == KITCHEN
        np.testing.assert_array_equal(episode.actions, demonstration.actions)
        np.testing.assert_array_equal(episode.images("gripper")[49], demonstration.image("gripper", 49))
        assert episode.stamps_ns["odom"][9] == demonstration.step(9)["stamps_ns"]["odom"]
    assert recover_dataset(dataset) == []


@pytest.mark.parametrize("torn_bytes", [1, 100, 20_000])
def test_a_torn_tail_costs_only_the_steps_it_tore(dataset, contract, make_demonstration, torn_bytes):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    for index in range(20):
        writer.add_step(**make_demonstration(20).step(index, ("static",)))
    writer.abandon()
    part = dataset / ".episode_000000.h5.part"
    part.write_bytes(part.read_bytes()[:-torn_bytes])
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "recovered" and 15 <= recovery.steps < 20


def test_a_flipped_bit_ends_the_log_there(dataset, contract, make_demonstration):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    for index in range(20):
        writer.add_step(**make_demonstration(20).step(index, ("static",)))
    writer.abandon()
    part = dataset / ".episode_000000.h5.part"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "recovered" and 8 <= recovery.steps <= 11
    assert f"step {recovery.steps} is incomplete or damaged" in recovery.reason


def test_a_log_whose_first_step_is_damaged_is_kept_in_the_trash(dataset, contract, make_demonstration):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    part = dataset / ".episode_000000.h5.part"
    begins = part.stat().st_size
    for index in range(5):
        writer.add_step(**make_demonstration(5).step(index, ("static",)))
    writer.abandon()
    data = bytearray(part.read_bytes())
    data[begins + 2000] ^= 1
    part.write_bytes(data)
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "lost" and "its first step is damaged" in recovery.reason
    assert (dataset / ".trash" / part.name).read_bytes() == data


def test_zeros_that_a_power_cut_left_behind_the_log_cost_nothing(dataset, contract, make_demonstration):
    demonstration = make_demonstration(6)
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    for index in range(6):
        writer.add_step(**demonstration.step(index, ("static",)))
    end = (dataset / ".episode_000000.h5.part").stat().st_size
    final = writer.commit("success")
    whole = final.read_bytes()
    # HDF5 reads some of these forever.
    for start in range(end, len(whole), 512):
        final.unlink()
        data = whole[:start] + bytes(len(whole[start : start + 512])) + whole[start + 512 :]
        (dataset / ".episode_000000.h5.part").write_bytes(data)
        (recovery,) = recover_dataset(dataset)
        assert recovery.steps == 6 and (recovery.result == "recovered" or data == whole)
        with Episode.open(final) as episode:
            np.testing.assert_array_equal(episode.states, demonstration.states)
            assert len(episode.images("static")) == 6


def test_only_the_last_rename_was_missing(dataset, record):
    path = record(outcome="failure")
    path.rename(dataset / ".episode_000000.h5.part")
    (recovery,) = recover_dataset(dataset)
    assert (recovery.result, recovery.steps) == ("completed", 20)
    with Episode.open(path) as episode:
        assert episode.outcome == "failure" and not episode.recovered


def test_leftovers_of_a_committed_episode_are_removed(dataset, record):
    path = record()
    (dataset / ".episode_000000.h5.part").write_bytes(path.read_bytes()[:30_000])
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "cleaned" and os.listdir(dataset) == [path.name] and check_episode(path) == []


def test_an_episode_cut_off_before_its_first_step_leaves_nothing(dataset, contract):
    EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",)).abandon()
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "cleaned" and "before its first step" in recovery.reason and os.listdir(dataset) == []


def test_a_recording_killed_while_it_began_leaves_nothing(dataset, contract):
    EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",)).abandon()
    part = dataset / ".episode_000000.h5.part"
    whole = part.read_bytes()
    for length in (0, 100, 8192, 9000):
        part.write_bytes(whole[:length])
        (recovery,) = recover_dataset(dataset)
        assert recovery.result == "cleaned" and os.listdir(dataset) == []


def test_what_cannot_be_read_goes_to_the_trash_with_a_reason(dataset):
    (dataset / ".episode_000003.h5.part").write_bytes(b"nonsense")
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "lost" and "is not the log of an episode" in recovery.reason
    assert os.listdir(dataset / ".trash") == [".episode_000003.h5.part"]


@pytest.mark.parametrize("encoding", ["jpeg", "raw"])
def test_a_commit_cut_off_anywhere_is_done_again_without_loss(dataset, contract, make_demonstration, encoding):
    demonstration = make_demonstration(20)
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static", "gripper"), encoding=encoding)
    for index in range(20):
        writer.add_step(**demonstration.step(index))
    writer.abandon()
    part = dataset / ".episode_000000.h5.part"
    log = part.read_bytes()
    (recovery,) = recover_dataset(dataset)
    final = dataset / "episode_000000.h5"
    whole = final.read_bytes()
    final.unlink()
    rng = random.Random(1)
    for _ in range(12):
        if encoding == "jpeg":
            # h5py wrote some of what it adds behind the log, and some of the first page, in an order of its own.
            head = whole[: rng.randrange(8192)]
            tail = bytearray(whole[len(log) :])
            lost = rng.randrange(len(tail))
            tail[lost : lost + rng.randrange(1, 9000)] = b""
            part.write_bytes(head + log[len(head) :] + tail)
        else:
            part.write_bytes(log)
            (dataset / ".episode_000000.h5.copy").write_bytes(whole[: rng.randrange(len(whole))])
        (recovery,) = recover_dataset(dataset)
        assert recovery.result in ("recovered", "completed") and recovery.steps == 20
        assert os.listdir(dataset) == [final.name]
        with Episode.open(final) as episode:
            np.testing.assert_array_equal(episode.states, demonstration.states)
            assert len(episode.images("gripper")) == 20 and episode.recovered
        final.unlink()


def test_a_value_that_was_not_yet_written_is_taken_from_the_log(dataset, record):
    path = record()
    with h5py.File(path, "r+") as file:
        wanted = file["actions"][()]
        file["actions"][7] = 0.0
    path.rename(dataset / ".episode_000000.h5.part")
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "recovered"
    with Episode.open(path) as episode:
        np.testing.assert_array_equal(episode.actions, wanted)


def test_a_truncated_part_without_a_log_is_not_taken_for_an_episode(dataset, record):
    path = record()
    (dataset / ".episode_000001.h5.part").write_bytes(b"\x89HDF" + path.read_bytes()[20:5000])
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "lost" and Dataset.open(dataset).episode_ids == ["episode_000000"]


def test_a_recovered_file_reads_with_plain_h5py(dataset, contract, make_demonstration):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    writer.add_step(**make_demonstration(5).step(0, ("static",)))
    writer.abandon()
    (recovery,) = recover_dataset(dataset)
    with h5py.File(recovery.path, "r") as file:
        assert file.attrs["recovered"] and file.attrs["language"] == "부엌으로 가"
