import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.storage.lock import DatasetBusyError, DatasetLock
from mobile_vla_sim.collect import CollectConfig, collect
from mobile_vla_sim.scene import Stream, scene_seed
from mobile_vla_sim.tasks import DEFAULT_TASKS, UnknownTaskError


@pytest.fixture(scope="module")
def config(contract, tmp_path_factory):
    config = CollectConfig(tmp_path_factory.mktemp("episodes"), contract, 3, DEFAULT_TASKS)
    assert len(list(collect(config, 3))) == 3
    return config


def command(*arguments, contract_path):
    return subprocess.run(
        [sys.executable, "-m", "mobile_vla_sim.cli", *map(str, arguments), "--contract", str(contract_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_collected_episodes_are_valid(config):
    result = subprocess.run(
        [sys.executable, "-m", "mobile_vla_data.cli.main", "validate", str(config.dataset)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_episode_says_what_it_is(config):
    for index, path in enumerate(Dataset.open(config.dataset).episode_paths):
        with Episode.open(path) as episode:
            assert episode.metadata.task == DEFAULT_TASKS[index]
            assert episode.metadata.category == "navigation"
            assert episode.metadata.source == "expert"
            assert episode.outcome == "success"
            assert episode.cameras == ("static", "gripper")
            assert 50 <= episode.num_steps <= 100
            assert episode.metadata.environment["scene_seed"] == scene_seed(Stream.COLLECTION, 3, index)


def test_images_are_as_old_as_live_ones_and_never_from_the_future(config):
    seen = set()
    for path in Dataset.open(config.dataset).episode_paths:
        with Episode.open(path) as episode:
            ages = (episode.timestamps_ns - episode.stamps_ns["static"]) * 1e-9
            assert ages.min() >= 0.0
            assert ages.max() < 1 / 15 + 0.011
            seen |= set(np.round(ages, 3).tolist())
    assert len(seen) > 2


def test_collecting_again_makes_nothing_and_asking_for_more_makes_the_rest(config):
    assert list(collect(config, 3)) == []
    assert len(list(collect(config, 4))) == 1
    assert len(Dataset.open(config.dataset).episode_paths) == 4


def test_top_up_counts_what_others_recorded(config, contract):
    other = CollectConfig(config.dataset, contract, 99, DEFAULT_TASKS)
    before = len(Dataset.open(config.dataset).episode_paths)
    assert len(list(collect(other, before + 1, top_up=True))) == 1
    assert list(collect(other, before + 1, top_up=True)) == []


def test_two_processes_make_the_same_episodes_as_one(config, contract, tmp_path):
    config_2 = CollectConfig(tmp_path, contract, 3, DEFAULT_TASKS)
    assert len(list(collect(config_2, 3, workers=2))) == 3
    for name in ("episode_000000.h5", "episode_000001.h5", "episode_000002.h5"):
        with Episode.open(config.dataset / name) as one, Episode.open(tmp_path / name) as two:
            assert one.metadata == two.metadata
            assert (one.actions == two.actions).all()
            assert (one.states == two.states).all()
            assert (one.timestamps_ns == two.timestamps_ns).all()
            assert (one.images("static") == two.images("static")).all()


def test_a_folder_that_is_being_recorded_is_left_alone(contract, tmp_path):
    with DatasetLock(tmp_path), pytest.raises(DatasetBusyError, match="is being recorded by pid"):
        list(collect(CollectConfig(tmp_path, contract, 0, DEFAULT_TASKS), 1))


def test_an_unknown_task_is_refused_before_anything_is_made(contract, tmp_path):
    with pytest.raises(UnknownTaskError):
        list(collect(CollectConfig(tmp_path, contract, 0, ("fly",)), 1))
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_one_json_document_and_wrong_usage_exits_with_2(contract_path, tmp_path):
    done = command("collect", "--episodes", 1, "--output", tmp_path / "d", "--json", contract_path=contract_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["made"] == 1
    wrong = command("collect", "--episodes", 1, "--output", tmp_path, "--tasks", "fly", contract_path=contract_path)
    assert wrong.returncode == 2
    assert "fly" in wrong.stderr
    missing = command("collect", "--episodes", 1, "--output", tmp_path, contract_path=tmp_path / "no.yaml")
    assert missing.returncode == 1
    assert missing.stderr.strip().count("\n") == 0
    assert "no such contract file" in missing.stderr


def test_the_picture_is_written_at_the_size_asked_for(contract_path, tmp_path):
    from PIL import Image

    done = command("render", "--output", tmp_path / "flat.png", "--size", 256, contract_path=contract_path)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "flat.png").size == (256, 256)
