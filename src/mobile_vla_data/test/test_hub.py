"""Datasets to a hub and back, against a hub on this machine; the client is the real one, in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml
from local_hub import TOKEN, LocalHub

from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import split_dataset

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub():
    with LocalHub() as running:
        yield running


@pytest.fixture
def command(hub, tmp_path):
    """The command with the hub's address in its environment: the client reads it when it is imported."""

    def run(*arguments: object, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
        reach = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token}
        return subprocess.run(
            [sys.executable, "-m", "mobile_vla_data.cli.main", *map(str, arguments)],
            env={**os.environ, **reach, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def planned(record, dataset, robot_yaml):
    for seed in range(4):
        record(seed=seed, environment={"room": "kitchen"})
    record(seed=9, outcome="failure")
    (dataset / "plan.yaml").write_text((robot_yaml.parent / "collection_plan.yaml").read_text())
    split_dataset(dataset, (0.5, 0.25, 0.25))
    (dataset / "notes.txt").write_text("not for others")
    return dataset


def test_a_dataset_comes_back_from_a_hub_to_the_byte_with_plan_and_splits(planned, hub, command, tmp_path):
    done = command("push", planned, "someone/flat", "--license", "cc-by-4.0", "--json")
    assert done.returncode == 0, done.stderr
    (_, files) = hub.commits["datasets/someone/flat"][-1]
    assert "notes.txt" not in files and json.loads(done.stdout)["repo"] == "someone/flat"
    hub.commit("datasets/someone/flat", {"evil.py": b"import os"})
    done = command("pull", "someone/flat", tmp_path / "back")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "back").iterdir()}
    assert names == {"plan.yaml", "splits.json", *(path.name for path in Dataset(planned).episode_paths)}
    for name in names:
        assert (tmp_path / "back" / name).read_bytes() == (planned / name).read_bytes()


def test_the_card_says_what_is_in_it_what_was_planned_and_what_validation_found(planned, hub, command):
    command("push", planned, "someone/flat", "--license", "cc-by-4.0")
    (_, files) = hub.commits["datasets/someone/flat"][-1]
    card = files["README.md"].decode()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "cc-by-4.0" and "robotics" in front["tags"]
    assert "5 demonstrations (100 steps" in card and "The plan asks for 1000 episodes" in card
    assert "| navigation | go_to_kitchen | 4 | 75 | 1 |" in card
    assert "| warning | `" in card or "| error | `" in card, "twenty steps are fewer than the plan wants"
    assert files["preview.jpg"].startswith(b"\xff\xd8")


def test_a_dataset_in_which_an_optional_camera_comes_and_goes_is_pushed(record, dataset, hub, command):
    record(seed=1)
    record(seed=2, cameras=("static",))
    done = command("push", dataset, "someone/flat")
    assert done.returncode == 0, done.stderr
    (_, files) = hub.commits["datasets/someone/flat"][-1]
    assert "2 demonstrations" in files["README.md"].decode()


def test_an_interrupted_pull_leaves_no_dataset_and_continues(planned, hub, command, tmp_path):
    command("push", planned, "someone/flat")
    _, files = hub.commits["datasets/someone/flat"][-1]
    missing = files.pop("episode_000003.h5")
    hub.listed = {"datasets/someone/flat": ["episode_000003.h5"]}
    done = command("pull", "someone/flat", tmp_path / "back")
    assert done.returncode == 1 and not (tmp_path / "back").exists()
    assert list((tmp_path / ".back.export").glob("episode_*.h5"))
    files["episode_000003.h5"] = missing
    hub.listed = {}
    assert command("pull", "someone/flat", tmp_path / "back").returncode == 0
    assert len(Dataset(tmp_path / "back").episode_ids) == 5


def test_what_cannot_be_is_said_in_one_line(planned, hub, command, tmp_path):
    hub.commit("datasets/someone/other", {"README.md": b"nothing here"})
    (tmp_path / "there").mkdir()
    for arguments, said, token in (
        (("push", planned, "someone/flat"), "hf auth login", "wrong"),
        (("push", planned, "no name"), "write user/name", TOKEN),
        (("pull", "someone/nothing", tmp_path / "new"), "no repository", TOKEN),
        (("pull", "someone/other", tmp_path / "new"), "holds no episodes", TOKEN),
        (("pull", "someone/other", tmp_path / "there"), "exists already", TOKEN),
    ):
        done = command(*arguments, token=token)
        assert done.returncode == 1 and said in done.stderr and done.stderr.strip().count("\n") == 0, done.stderr


def test_another_dataset_is_not_overwritten_unless_it_is_asked_for(planned, record, hub, command, tmp_path):
    command("push", planned, "someone/flat")
    for seed in (7, 8):
        record(seed=seed, folder=tmp_path / "other")
    done = command("push", tmp_path / "other", "someone/flat")
    assert done.returncode == 1 and "has another episode_000000.h5 and 1 more; choose another address" in done.stderr
    assert done.stderr.strip().count("\n") == 0 and len(hub.commits["datasets/someone/flat"]) == 1
    assert command("push", tmp_path / "other", "someone/flat", "--replace").returncode == 0
    (_, files) = hub.commits["datasets/someone/flat"][-1]
    assert files["episode_000001.h5"] == (tmp_path / "other/episode_000001.h5").read_bytes()
    assert files["episode_000004.h5"] == (planned / "episode_000004.h5").read_bytes()


def test_a_repeated_push_sends_only_new_episodes(planned, record, hub, command):
    command("push", planned, "someone/flat")
    assert len(hub.blobs) == 5
    hub.blobs.clear()
    added = record(seed=11)
    done = command("push", planned, "someone/flat")
    assert done.returncode == 0, done.stderr
    assert list(hub.blobs.values()) == [added.read_bytes()]
    (_, files) = hub.commits["datasets/someone/flat"][-1]
    assert len([name for name in files if name.endswith(".h5")]) == 6
