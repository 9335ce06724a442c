"""Learning places in training: which windows come together, what is refused, and every backbone's grounding."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from synthetic_episodes import CONTRACT, GOALS, policy_settings, train_settings, write_dataset

from mobile_vla_policy.config import ConfigError, validate
from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.model.loss import action_loss
from mobile_vla_policy.model.network import Learner, add_target_map, build_network
from mobile_vla_policy.samples.episodes import EpisodeData, TrainingDataError, open_dataset
from mobile_vla_policy.samples.journeys import in_image
from mobile_vla_policy.samples.windows import Draw, draw_windows, near_changes
from mobile_vla_policy.training.settings import TrainSettings, load_train_settings
from mobile_vla_policy.training.train import train

QUIET = Console(quiet=True)


def test_windows_of_an_episode_come_together_and_every_step_comes() -> None:
    lengths, nothing = [50, 3, 17], [frozenset[int]()] * 3
    for seed in range(10):
        windows = draw_windows(lengths, nothing, Draw(window=1, stride=1, together=4), random.Random(seed))
        assert len(windows) == 52 + 4 + 20
        groups = [windows[start : start + 4] for start in range(0, len(windows), 4)]
        assert all(len({window.episode for window in group}) == 1 for group in groups)
        seen = {(window.episode, step) for window in windows for step in window.steps}
        assert seen == {(episode, step) for episode, length in enumerate(lengths) for step in range(length)}


def test_windows_around_a_change_of_the_gripper_come_more_often() -> None:
    closed = np.zeros((40, 3), dtype=np.float32)
    closed[20:, 2] = 1.0
    episode = EpisodeData(Path("e"), "go", "go", "navigation", closed, closed)
    near = near_changes(episode, steps=3)
    assert near == frozenset(range(17, 24))
    windows = draw_windows([40], [near], Draw(window=1, stride=1, repeats=2), random.Random(0))
    times = [sum(step in window.steps for window in windows) for step in range(40)]
    assert times == [3 if step in near else 1 for step in range(40)]


def test_a_gripper_that_never_moves_has_no_changes() -> None:
    still = np.zeros((9, 3), dtype=np.float32)
    assert near_changes(EpisodeData(Path("e"), "go", "go", "navigation", still, still)) == frozenset()


def test_pixels_become_places_with_up_upwards() -> None:
    pixels = np.array([[0, 0], [223, 0], [111, 112], [-1, -1]], dtype=np.int32)
    places = in_image(pixels, (224, 224))
    assert np.allclose(places[:2], [[-1, 1], [1, 1]], atol=0.01)
    assert np.allclose(places[2], 0.0, atol=0.01)
    assert np.isnan(places[3]).all()


def test_turned_worlds_have_one_range_for_both_axes(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", episodes=10, steps=6)
    action = open_dataset(dataset, ["static"], 0, symmetric=True).normalisation.action
    assert action.q01[0] == action.q01[1] == -action.q99[0] == -action.q99[1] < 0


def refused(**changes: object) -> str:
    values = {**train_settings().model_dump(mode="json"), **changes}
    with pytest.raises(ConfigError) as error:
        validate(TrainSettings, values, "settings")
    return str(error.value)


def test_settings_that_do_not_go_together_are_refused_in_one_line() -> None:
    assert "must be a multiple of together 3" in refused(batch_size=8, together=3)
    single = policy_settings(state="gripper").model_dump(mode="json")
    single["head"]["window"] = 1
    assert "three frames of an episode in a batch, not 2" in refused(policy=single, hindsight_weight=1.0, together=2)
    assert "policy.head.state: gripper" in refused(augment={"dihedral": True})


def test_targets_are_refused_for_a_camera_that_they_are_not_in(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", episodes=10, steps=6, cameras=("static", "gripper"), targets=True)
    settings = train_settings(policy=policy_settings(cameras=("gripper", "static")), grounding_weight=1.0)
    with pytest.raises(TrainingDataError, match="put 'static' first"):
        train(settings, dataset, tmp_path / "out", QUIET)


def test_a_warning_says_that_no_episode_has_a_target(tmp_path: Path) -> None:
    said = io.StringIO()
    for name, targets in (("without", False), ("with", True)):
        dataset = write_dataset(tmp_path / name, episodes=10, steps=6, targets=targets)
        train(train_settings(grounding_weight=1.0), dataset, tmp_path / f"{name}_out", Console(file=said))
    (warning,) = (line for line in said.getvalue().splitlines() if "Warning" in line)
    assert "without: no episode says where its target is" in warning and "mobile-vla-data annotate" in warning


def test_any_backbone_learns_the_target_and_its_checkpoint_holds_nothing_of_that(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", episodes=12, steps=12, targets=True)
    settings = train_settings(grounding_weight=1.0, max_steps=60, evaluate_every=30)
    train(settings, dataset, tmp_path / "out", QUIET)
    losses = [float(row.split(",")[6]) for row in (tmp_path / "out" / "metrics.csv").read_text().splitlines()[1:]
              if row.split(",")[6]]  # fmt: skip
    assert losses[-1] < losses[0] - 2
    with safe_open(tmp_path / "out" / "best" / "model.safetensors", framework="pt") as file:
        assert not [name for name in file.keys() if name.startswith("locate")]  # noqa: SIM118
    load_policy(tmp_path / "out", device="cpu")


def test_the_target_reaches_the_act_state_of_a_backbone_without_maps() -> None:
    torch.manual_seed(0)
    network = build_network(policy_settings(), instructions=list(GOALS))
    add_target_map(network)
    tokens = network.backbone.tokenise(list(GOALS)[:1])
    images, state = torch.rand(2, 1, 3, 32, 32), torch.zeros(1, 2, 3)
    chunks, maps = Learner(network)(images, state, tokens, torch.ones(1, 2, dtype=torch.bool))
    assert maps is not None and maps.target.shape == (2, 14 * 14)
    maps.target.square().sum().backward()
    assert network.backbone.act.grad is not None and network.backbone.act.grad.any()
    assert torch.isfinite(action_loss(chunks, torch.zeros_like(chunks), torch.ones(1, 2, 5, dtype=torch.bool)).total)


@pytest.mark.parametrize(("name", "overrides"), [("small", []), ("small_head", ["init_from=somewhere"])])
def test_the_settings_of_the_small_policy_are_valid(name: str, overrides: list[str]) -> None:
    settings = load_train_settings(CONTRACT.parent / f"train_{name}.yaml", overrides)
    assert settings.policy.head.state == "gripper"
