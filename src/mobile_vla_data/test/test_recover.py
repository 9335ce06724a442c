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
from mobile_vla_data.episode.journal import JournalError, read_journal
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.reader import Dataset, Episode
from mobile_vla_data.episode.recover import recover_dataset
from mobile_vla_data.episode.writer import EpisodeWriter

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
        lines = process.stdout.read().splitlines()
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


def test_a_recovered_episode_holds_what_was_written_and_says_so(dataset, contract, make_drive):
    drive = make_drive(50)
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static", "gripper"), encoding="raw")
    for index in range(50):
        writer.add_step(**drive.step(index))
    writer.abandon()
    (recovery,) = recover_dataset(dataset)
    assert (recovery.result, recovery.steps, recovery.episode_id) == ("recovered", 50, "episode_000000")
    assert os.listdir(dataset) == ["episode_000000.h5"]
    with Episode.open(recovery.path) as episode:
        assert episode.recovered and episode.outcome == "unlabelled" and episode.metadata == KITCHEN
        np.testing.assert_array_equal(episode.actions, drive.actions)
        np.testing.assert_array_equal(episode.images("gripper")[49], drive.image("gripper", 49))
        assert episode.stamps_ns["odom"][9] == drive.step(9)["stamps_ns"]["odom"]
    assert recover_dataset(dataset) == []


@pytest.mark.parametrize("torn_bytes", [1, 100, 20_000])
def test_a_torn_tail_costs_only_the_steps_it_tore(dataset, contract, make_drive, torn_bytes):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    for index in range(20):
        writer.add_step(**make_drive(20).step(index, ("static",)))
    writer.abandon()
    journal = dataset / ".episode_000000.journal"
    journal.write_bytes(journal.read_bytes()[:-torn_bytes])
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "recovered" and 15 <= recovery.steps < 20


def test_a_flipped_bit_ends_the_journal_there(dataset, contract, make_drive):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    for index in range(20):
        writer.add_step(**make_drive(20).step(index, ("static",)))
    writer.abandon()
    journal = dataset / ".episode_000000.journal"
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 1
    journal.write_bytes(data)
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "recovered" and 8 <= recovery.steps <= 11


def test_only_the_last_rename_was_missing(dataset, record):
    path = record(outcome="failure")
    path.rename(dataset / ".episode_000000.h5.part")
    (recovery,) = recover_dataset(dataset)
    assert (recovery.result, recovery.steps) == ("completed", 20)
    with Episode.open(path) as episode:
        assert episode.outcome == "failure" and not episode.recovered


def test_leftovers_of_a_committed_episode_are_removed(dataset, record):
    path = record()
    (dataset / ".episode_000000.journal").write_bytes(b"MVLAJRN1")
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "cleaned" and os.listdir(dataset) == [path.name] and check_episode(path) == []


def test_an_episode_cut_off_before_its_first_step_leaves_nothing(dataset, contract):
    EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",)).abandon()
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "cleaned" and "before its first step" in recovery.reason and os.listdir(dataset) == []


def test_what_cannot_be_read_goes_to_the_trash_with_a_reason(dataset):
    (dataset / ".episode_000003.h5.part").write_bytes(b"nonsense")
    (dataset / ".episode_000004.journal").write_bytes(b"nonsense too")
    first, second = recover_dataset(dataset)
    assert first.result == second.result == "lost"
    assert "journal is missing" in first.reason and "is not an episode journal" in second.reason
    assert sorted(os.listdir(dataset / ".trash")) == [".episode_000003.h5.part", ".episode_000004.journal"]


def test_a_truncated_part_without_a_journal_is_not_taken_for_an_episode(dataset, record):
    path = record()
    (dataset / ".episode_000001.h5.part").write_bytes(path.read_bytes()[:5000])
    (recovery,) = recover_dataset(dataset)
    assert recovery.result == "lost" and Dataset.open(dataset).episode_ids == ["episode_000000"]


def test_a_journal_that_is_none_is_refused(tmp_path):
    path = tmp_path / ".episode_000000.journal"
    path.write_bytes(b"something else entirely")
    with pytest.raises(JournalError, match="is not an episode journal"):
        read_journal(path)


def test_a_recovered_file_reads_with_plain_h5py(dataset, contract, make_drive):
    writer = EpisodeWriter(dataset, contract, KITCHEN, cameras=("static",))
    writer.add_step(**make_drive(5).step(0, ("static",)))
    writer.abandon()
    (recovery,) = recover_dataset(dataset)
    with h5py.File(recovery.path, "r") as file:
        assert file.attrs["recovered"] and file.attrs["language"] == "부엌으로 가"
