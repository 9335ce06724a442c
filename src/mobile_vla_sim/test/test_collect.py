import json
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.storage.lock import DatasetBusyError, DatasetLock
from mobile_vla_sim.headless.collect import CollectConfig, collect, write_episode
from mobile_vla_sim.headless.episode import STUCK_TICKS, DemonstrationError, OutOfTimeError, drive_episode
from mobile_vla_sim.tasks.catalogue import TASKS, UnknownTaskError, instructions
from mobile_vla_sim.tasks.draw import draw
from mobile_vla_sim.tasks.schedule import Schedule
from mobile_vla_sim.world.plans import COLLECTION_FAMILIES
from mobile_vla_sim.world.scene import Stream, scene_seed

ALL = tuple(TASKS)
COUNT = 5
#: Tasks whose target is in the gripper at some time.
HOLDS = {"pick_up_object", "go_to_kitchen_and_pick_up_cup"}


@dataclass
class Chunk:
    deltas: np.ndarray
    gripper: np.ndarray


@pytest.fixture(scope="module")
def config(contract, plan, tmp_path_factory):
    config = CollectConfig(tmp_path_factory.mktemp("episodes"), contract, plan, 3, ALL)
    assert len(list(collect(config, COUNT))) == COUNT
    return config


def border_px(place):
    """Distance of a pixel (column, row) from the border of the image [px]."""
    return min(*place, *(223 - place))


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
    assert result.returncode == 0 and "0 errors" in result.stdout, result.stdout + result.stderr


def test_an_episode_says_what_it_is(config, plan):
    schedule = Schedule(ALL, plan)
    for index, path in enumerate(Dataset.open(config.dataset).episode_paths):
        slot = schedule.slot(index)
        with Episode.open(path) as episode:
            metadata = episode.metadata
            assert metadata.task == slot.tasks[slot.place]
            assert metadata.category == plan.tasks[metadata.task].category
            assert (metadata.source, episode.outcome) == ("expert", "success")
            assert episode.cameras == ("static", "gripper")
            assert 50 <= episode.num_steps <= 100
            environment = metadata.environment
            assert environment["scene_seed"] == scene_seed(Stream.COLLECTION, 3, slot.group)
            assert environment["plan_family"] in COLLECTION_FAMILIES
            assert environment["odometry"] == "drifting"
            assert episode.target is not None
            unknown = (episode.target < 0).any(1)
            # Nothing else hides it, but an object that is carried along an outer wall may leave the image.
            beyond = [step for step in np.flatnonzero(unknown) if step == 0 or not unknown[step - 1]]
            assert all(step and border_px(episode.target[step - 1]) < 10 for step in beyond)
            assert not unknown.any() or metadata.task in HOLDS
            assert episode.source_encoding("static") == "rgb8"
            assert metadata.language not in metadata.language_alternatives


def test_the_same_scene_is_demonstrated_under_different_instructions(config):
    episodes = []
    for path in Dataset.open(config.dataset).episode_paths[:2]:
        with Episode.open(path) as episode:
            episodes.append((episode.metadata, episode.image("static", 0), episode.target))
    (first, image, target), (second, other_image, other_target) = episodes
    assert first.environment["scene_seed"] == second.environment["scene_seed"]
    assert first.language != second.language
    assert (target[0] != other_target[0]).any()
    assert np.abs(image.astype(int) - other_image).mean() < 3.0, "the first image is the same, but for camera timing"


def test_no_held_out_wording_is_ever_collected(config, plan):
    for path in Dataset.open(config.dataset).episode_paths:
        with Episode.open(path) as episode:
            said = {episode.metadata.language, *episode.metadata.language_alternatives}
            goal = type("Goal", (), {"environment": episode.metadata.environment})
            assert said == set(instructions(plan, episode.metadata.task, goal))
            assert not said & set(instructions(plan, episode.metadata.task, goal, held_out=True))


def test_a_scene_on_a_plan_of_the_trials_is_never_written(config, blind, monkeypatch):
    held_out = draw(scene_seed(Stream.EVALUATION, 0, 0), ["go_to_kitchen"], config.plan)[0]
    monkeypatch.setattr("mobile_vla_sim.headless.collect.assignment_of", lambda config, index: held_out)
    with pytest.raises(DemonstrationError, match="are for trials only"):
        write_episode(blind, config, 0, "episode_000999")


def test_a_scene_that_the_expert_cannot_do_is_left_out_and_the_rest_is_made(contract, plan, tmp_path, monkeypatch):
    config = CollectConfig(tmp_path, contract, plan, 3, ALL)

    def fails_at(condition):
        def write(world, config, index, episode_id, policy=None):
            if condition(index):
                raise OutOfTimeError(f"scene {index}: not done")
            return 60

        monkeypatch.setattr("mobile_vla_sim.headless.collect.write_episode", write)

    fails_at(lambda index: index == 1)
    left_out = []
    assert list(collect(config, 4, on_left_out=left_out.append)) == [60, 60, 60]
    assert left_out == ["scene 1: not done"]
    fails_at(lambda index: index > 2)
    with pytest.raises(DemonstrationError, match="10 of 13 scenes could not be demonstrated; the last: scene 12"):
        list(collect(config, 100))


def test_images_are_as_old_as_live_ones_and_never_from_the_future(config):
    seen = set()
    for path in Dataset.open(config.dataset).episode_paths:
        with Episode.open(path) as episode:
            ages = (episode.timestamps_ns - episode.stamps_ns["static"]) * 1e-9
            assert ages.min() >= 0.0
            assert ages.max() < 1 / 15 + 0.011
            seen |= set(np.round(ages, 3).tolist())
    assert len(seen) > 2


class Astray:
    """A policy that drives forward and keeps its gripper closed, whatever it sees."""

    horizon = 1
    said = ()

    def initial_memory(self):
        return None

    def predict(self, images, state, instruction, memory, *, elapsed_periods):
        Astray.said += (instruction,)
        return Chunk(np.array([[0.04, 0.0]], np.float32), np.ones(1, np.float32)), memory


def test_where_a_policy_leads_the_expert_s_commands_are_recorded(config, contract, plan, tmp_path):
    leading = CollectConfig(tmp_path, contract, plan, 3, ALL, load_policy=Astray, policy="astray/best")
    assert len(list(collect(leading, COUNT))) == COUNT
    astray_m = 0.0
    for path, plain in zip(
        Dataset.open(tmp_path).episode_paths, Dataset.open(config.dataset).episode_paths, strict=False
    ):
        with Episode.open(path) as episode, Episode.open(plain) as demonstrated:
            metadata = episode.metadata
            assert (metadata.source, metadata.environment["policy"]) == ("expert", "astray/best")
            assert metadata.environment["scene_seed"] == demonstrated.metadata.environment["scene_seed"]
            assert metadata.language in Astray.said and episode.outcome == "success"
            # The robot went where the policy drove, while the gripper was told to do what the expert would have.
            astray_m = max(astray_m, float(np.abs(episode.states[:40, :2] - demonstrated.states[:40, :2]).max()))
            assert (episode.actions[0, :2] != np.float32([0.04, 0.0])).any()
            assert episode.actions[0, 2] == demonstrated.actions[0, 2]
    assert astray_m > 0.5
    assert list(collect(leading, COUNT)) == []


class Frozen(Astray):
    """A policy that stands still."""

    def predict(self, images, state, instruction, memory, *, elapsed_periods):
        self.asked = getattr(self, "asked", 0) + 1
        return Chunk(np.zeros((1, 2), np.float32), np.zeros(1, np.float32)), memory


def test_a_policy_that_is_stuck_leads_no_longer(blind, plan):
    policy = Frozen()
    steps = drive_episode(blind, draw(4, ["go_to_kitchen"], plan)[0], policy=policy, attempts=2)
    assert policy.asked == STUCK_TICKS
    assert np.ptp([step.snapshot.truth.pose.x for step in steps[:STUCK_TICKS]]) < 0.05
    assert np.abs([step.action[:2] for step in steps[:STUCK_TICKS]]).max() > 0.02, "the expert would drive"


def test_collecting_again_makes_nothing_and_asking_for_more_makes_the_rest(config):
    assert list(collect(config, COUNT)) == []
    assert len(list(collect(config, COUNT + 1))) == 1
    assert len(Dataset.open(config.dataset).episode_paths) == COUNT + 1


def test_top_up_counts_what_others_recorded(config, contract, plan):
    other = CollectConfig(config.dataset, contract, plan, 99, ALL)
    before = len(Dataset.open(config.dataset).episode_paths)
    assert len(list(collect(other, before + 1, top_up=True))) == 1
    assert list(collect(other, before + 1, top_up=True)) == []


def test_workers_make_the_same_episodes_as_one_process(config, contract, plan, tmp_path, spread):
    config_2 = CollectConfig(tmp_path, contract, plan, 3, ALL)
    assert len(list(collect(config_2, COUNT, spread=spread))) == COUNT
    for number in range(COUNT):
        name = f"episode_{number:06d}.h5"
        with Episode.open(config.dataset / name) as one, Episode.open(tmp_path / name) as two:
            assert one.metadata == two.metadata
            assert (one.actions == two.actions).all()
            assert (one.states == two.states).all()
            assert (one.timestamps_ns == two.timestamps_ns).all()
            assert (one.target == two.target).all()
            for camera in one.cameras:
                assert (one.images(camera) == two.images(camera)).all()


def test_the_command_collects_with_ray(contract_path, tmp_path):
    pytest.importorskip("ray")
    done = command("collect", "--episodes", 2, "--output", tmp_path, "--ray", "--json", contract_path=contract_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["made"] == len(Dataset.open(tmp_path).episode_paths) == 2


def test_a_folder_that_is_being_recorded_is_left_alone(contract, plan, tmp_path):
    with DatasetLock(tmp_path), pytest.raises(DatasetBusyError, match="is being recorded by pid"):
        list(collect(CollectConfig(tmp_path, contract, plan, 0, ALL), 1))


def test_an_unknown_task_is_refused_before_anything_is_made(contract, plan, tmp_path):
    with pytest.raises(UnknownTaskError):
        list(collect(CollectConfig(tmp_path, contract, plan, 0, ("fly",)), 1))
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
    ablated = command("evaluate", "--checkpoint", tmp_path, "--ablate", "ears", contract_path=contract_path)
    assert ablated.returncode == 2
    assert "use one of images, other-images, state, instruction" in ablated.stderr


@pytest.mark.parametrize(
    "arguments", [("evaluate", "--trials", 1, "--checkpoint"), ("collect", "--episodes", 1, "--policy")]
)
def test_a_torch_that_transformers_switches_off_is_named_in_one_line(arguments, contract_path, tmp_path, monkeypatch):
    folder = tmp_path / "transformers-99.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: transformers\nVersion: 99.1\nRequires-Dist: torch>=98.2\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    output = ("--output", tmp_path / "data") if arguments[0] == "collect" else ()
    done = command(*arguments, tmp_path, *output, "--workers", 1, contract_path=contract_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: transformers 99.1 needs torch>=98.2, and torch 2.")


def test_the_image_is_written_at_the_size_asked_for(contract_path, tmp_path):
    from PIL import Image

    for family in ("", "hub"):
        arguments = ("render", "--output", tmp_path / "flat.png", "--size", 256, "--family", family)
        done = command(*arguments, contract_path=contract_path)
        assert done.returncode == 0, done.stderr
        assert Image.open(tmp_path / "flat.png").size == (256, 256)
    wrong = command("render", "--family", "igloo", contract_path=contract_path)
    assert wrong.returncode == 2 and "use one of foyer, corridor" in wrong.stderr


def test_a_tilde_is_the_home_folder_in_every_path_of_the_command(tmp_path, contract_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    done = command("render", "--output=~/flat [/b].png", "--size", 32, contract_path=contract_path)
    assert done.returncode == 0 and (tmp_path / "flat [/b].png").is_file(), done.stderr
