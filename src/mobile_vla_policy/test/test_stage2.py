"""Training the head alone, on what a frozen backbone saw: features on disk, and beginning from another checkpoint."""

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from power_cut import train_with_power_cut
from rich.console import Console
from safetensors.torch import load_file
from synthetic_episodes import CONTRACT, GOALS, policy_settings, train_settings, write_dataset, write_episode

from mobile_vla_data.contract import Contract, ContractError
from mobile_vla_data.parallel import HERE, Spread
from mobile_vla_policy.checkpoint import load_network, read_info
from mobile_vla_policy.evaluation.evaluate import evaluate
from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.model.head import StateInput
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.preprocess import to_float
from mobile_vla_policy.samples.episodes import open_dataset
from mobile_vla_policy.samples.frames import decode_frames
from mobile_vla_policy.samples.windows import Window, WindowData
from mobile_vla_policy.training import train as training
from mobile_vla_policy.training.objective import TrainingError
from mobile_vla_policy.training.resume import ResumeError
from mobile_vla_policy.training.settings import TrainSettings
from mobile_vla_policy.training.start import StartError, begin, read_start
from mobile_vla_policy.training.train import train
from mobile_vla_policy.training.views import views_of

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", episodes=12, steps=12)


@pytest.fixture(scope="module")
def stage1(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("stage1")
    train(train_settings(max_steps=3), dataset, output, QUIET)
    return output


@pytest.fixture(scope="module")
def stage1_lora(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("stage1_lora")
    train(train_settings(policy=policy_settings(lora=True), max_steps=3), dataset, output, QUIET)
    return output


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    """accelerate keeps one precision for the life of a process."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


def head_only(start: Path, state: StateInput = "full", **changes: object) -> TrainSettings:
    policy = policy_settings(state=state).model_dump()
    policy["backbone"]["freeze"] = True
    return train_settings(**{"policy": policy, "init_from": str(start), "max_steps": 4, "evaluate_every": 2, **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def said(settings: TrainSettings, dataset: Path, output: Path) -> str:
    console = Console(file=StringIO(), width=200)
    train(settings, dataset, output, console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_only_the_head_learns_and_its_checkpoint_evaluates_and_drives(
    dataset: Path, stage1: Path, tmp_path: Path
) -> None:
    train(head_only(stage1), dataset, tmp_path, QUIET)
    before, after = weights(stage1 / "best"), weights(tmp_path / "last")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("head.") for name in changed)
    assert evaluate(tmp_path, dataset, "test", 0.01, "cpu").overall.steps == 12
    policy = load_policy(tmp_path, device="cpu")
    image = np.zeros((224, 224, 3), dtype=np.uint8)
    policy.predict({"static": image}, np.zeros(3, dtype=np.float32), next(iter(GOALS)), policy.initial_memory())


def test_training_on_features_equals_training_on_images(
    dataset: Path, stage1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(head_only(stage1), dataset, tmp_path / "features", QUIET)
    # The same training with the backbone in every step: what is frozen must not tell the difference.
    monkeypatch.setattr(PolicySettings, "head_only", property(lambda _: False))
    monkeypatch.setattr("mobile_vla_policy.model.network.mark_trainable", lambda *_: None)
    monkeypatch.setattr("mobile_vla_policy.training.start.mark_trainable", only_head)
    train(head_only(stage1), dataset, tmp_path / "images", QUIET)
    one, two = weights(tmp_path / "features" / "last"), weights(tmp_path / "images" / "last")
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5


def only_head(network: torch.nn.Module, _: object) -> None:
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith("head."))


def test_features_are_computed_once_and_shared_until_something_they_depend_on_changes(
    stage1: Path, stage1_lora: Path, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "d", episodes=10, steps=5)
    assert "features: 9 episodes computed, 0 from" in said(head_only(stage1), dataset, tmp_path / "a")
    assert "features: 0 episodes computed, 9 from" in said(head_only(stage1, seed=1), dataset, tmp_path / "b")

    files = sorted((dataset / ".features").glob("*/*.safetensors"))
    files[0].write_bytes(files[0].read_bytes()[:-100])
    files[1].write_bytes(files[2].read_bytes())
    (files[3].parent / f".{files[3].name}.1.part").write_bytes(b"killed here")
    assert "features: 2 episodes computed, 7 from" in said(head_only(stage1), dataset, tmp_path / "c")

    splits = json.loads((dataset / "splits.json").read_text())["splits"]
    again = dataset / f"{splits['train'][0]}.h5"
    other = write_episode(
        tmp_path / "d", Contract.load(CONTRACT), "go to the sofa", np.random.default_rng(9), 5, ("static",)
    )
    other.rename(again)
    assert "features: 1 episodes computed, 8 from" in said(head_only(stage1), dataset, tmp_path / "e")
    assert "features: 9 episodes computed, 0 from" in said(head_only(stage1_lora), dataset, tmp_path / "f")
    elsewhere = head_only(stage1, feature_cache=str(tmp_path / "cache"))
    assert "features: 9 episodes computed, 0 from" in said(elsewhere, dataset, tmp_path / "g")


@pytest.mark.parametrize("spread", [Spread(2), Spread(ray=True, gpu=True)], ids=["processes", "ray"])
def test_features_are_the_same_wherever_they_are_computed(
    spread: Spread, stage1: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if spread.ray:
        request.getfixturevalue("local_ray")
    dataset = write_dataset(tmp_path / "d", episodes=6, steps=5)
    changed = {"feature_views": 2, "augment": {"shift": 0.1}, "max_steps": 2}
    for name, where in (("here", HERE), ("there", spread)):
        settings = head_only(stage1, feature_cache=str(tmp_path / name), **changed)
        train(settings, dataset, tmp_path / f"out_{name}", QUIET, spread=where)
    here, there = ({path.name: load_file(path) for path in (tmp_path / name).glob("*/*")} for name in ("here", "there"))
    assert here.keys() == there.keys() and len(here) > 6
    assert all(torch.equal(here[name]["features"], there[name]["features"]) for name in here)
    one, two = weights(tmp_path / "out_here" / "last"), weights(tmp_path / "out_there" / "last")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_training_without_features_has_nothing_to_spread(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--ray spreads the features of a frozen backbone, and this training has"):
        train(train_settings(), dataset, tmp_path, QUIET, spread=Spread(ray=True))


def test_training_on_features_says_that_augmentation_is_off(dataset: Path, stage1: Path, tmp_path: Path) -> None:
    assert "augment is off" in said(head_only(stage1, augment={"shift": 0.1}), dataset, tmp_path)


def test_further_views_are_learned_as_if_the_world_had_been_changed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, stage1 = policy_settings(state="gripper"), tmp_path / "stage1"
    train(train_settings(policy=policy, max_steps=1), dataset, stage1, QUIET)
    made: list[WindowData] = []
    monkeypatch.setattr(training, "WindowData", lambda *given: made.append(WindowData(*given)) or made[-1])
    changed = {"feature_views": 3, "augment": {"dihedral": True, "shift": 0.1}, "max_steps": 1}
    settings = head_only(stage1, state="gripper", **changed)
    train(settings, dataset, tmp_path / "views", QUIET)
    seen, validation = made
    count = len(seen.episodes) // 3
    assert {episode.path for episode in validation.episodes}.isdisjoint(episode.path for episode in seen.episodes)
    data = open_dataset(dataset, ("static",), 0, symmetric=True)
    network = load_network(read_info(stage1 / "best")).eval()
    for number in (1, 2):
        episodes, changes = views_of(seen.episodes[:count], number, settings.augment, data.contract, settings.seed)
        for place, (episode, change) in enumerate(zip(episodes, changes, strict=True), start=number * count):
            assert (seen.episodes[place].actions == episode.actions).all()
            images = to_float(torch.from_numpy(decode_frames(episode, [5], ["static"], network.backbone.image_size)))
            with torch.no_grad():
                act = network.backbone.encode(change(images), network.backbone.tokenise([episode.instruction]))
            stored = seen.batch([Window(place, (5,))]).frames[0, 0].float()
            torch.testing.assert_close(stored, act[0], rtol=0.02, atol=0.02)
    lengths = [np.linalg.norm(episode.actions[:, :2], axis=1) for episode in seen.episodes]
    np.testing.assert_allclose(lengths[:count], lengths[count : 2 * count], rtol=1e-5)
    assert any((a.actions != b.actions).any() for a, b in zip(seen.episodes, seen.episodes[count:], strict=False))


def test_adapters_of_an_earlier_training_are_kept_when_lora_is_off(
    dataset: Path, stage1_lora: Path, tmp_path: Path
) -> None:
    train(head_only(stage1_lora), dataset, tmp_path, QUIET)
    before, after = weights(stage1_lora / "best"), weights(tmp_path / "last")
    assert before.keys() == after.keys()
    assert any(".lora_" in name for name in after)
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("head."))
    info = read_info(tmp_path / "last")
    assert info.settings.lora.enabled
    assert not info.settings.lora.train
    assert not any(p.requires_grad for p in load_network(info).backbone.parameters())
    load_policy(tmp_path, device="cpu")


@pytest.mark.parametrize("vision", [False, True])
def test_adapters_can_be_put_on_a_tuned_backbone(vision: bool, dataset: Path, stage1: Path, tmp_path: Path) -> None:
    policy = policy_settings(lora=True).model_dump()
    policy["backbone"]["train_vision"] = vision
    train(train_settings(policy=policy, init_from=str(stage1), max_steps=2), dataset, tmp_path, QUIET)
    before, after = weights(stage1 / "best"), weights(tmp_path / "last")
    same = "backbone.model.text_model.model.layers.0.ffn.fc1.{}weight"
    assert torch.equal(before[same.format("")], after[same.format("base_layer.")])
    assert any("vision_model" in name and ".lora_A" in name for name in after) == vision
    assert evaluate(tmp_path / "last", dataset, "test", 0.01, "cpu").overall.steps == 12
    load_policy(tmp_path, device="cpu")


def test_a_resumed_training_on_features_equals_an_uninterrupted_one(
    dataset: Path, stage1: Path, tmp_path: Path, mixed_precision: None
) -> None:
    settings = head_only(stage1, max_steps=6, precision="bf16")
    train(settings, dataset, tmp_path / "whole", QUIET)
    train_with_power_cut(settings, dataset, tmp_path / "parts", step=3)
    whole, parts = weights(tmp_path / "whole" / "last"), weights(tmp_path / "parts" / "last")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_training_does_not_go_on_with_another_backbone_than_it_began_with(dataset: Path, tmp_path: Path) -> None:
    start, output = tmp_path / "stage1", tmp_path / "out"
    train(train_settings(max_steps=2), dataset, start, QUIET)
    train(head_only(start, max_steps=2), dataset, output, QUIET)
    train(head_only(start, max_steps=3), dataset, output, QUIET, resume=True)
    train(train_settings(max_steps=2, seed=7), dataset, start, QUIET, overwrite=True)
    with pytest.raises(ResumeError, match=rf"the frozen weights differ from before; restore {start}"):
        train(head_only(start, max_steps=4), dataset, output, QUIET, resume=True)


def test_a_new_training_chooses_the_dropout_of_adapters(dataset: Path, stage1_lora: Path, tmp_path: Path) -> None:
    policy = policy_settings(lora=True).model_dump()
    policy["lora"]["dropout"] = 0.3
    settings = train_settings(policy=policy, init_from=str(stage1_lora))
    info = read_start(settings)
    begun, network = begin(settings, open_dataset(dataset, ["static"], 0), info)
    shares = {module.p for name, module in network.named_modules() if name.endswith("lora_dropout.default")}
    assert (begun.policy.lora.dropout, shares) == (0.3, {0.3})


def test_adapters_that_the_checkpoint_cannot_give_are_refused(dataset: Path, stage1_lora: Path, tmp_path: Path) -> None:
    policy = policy_settings(lora=True).model_dump()
    policy["backbone"]["train_vision"] = False
    with pytest.raises(StartError, match=r"policy\.backbone\.train_vision is True there and False here"):
        train(train_settings(policy=policy, init_from=str(stage1_lora)), dataset, tmp_path, QUIET)


def test_beginning_from_another_architecture_or_robot_is_refused_by_field(
    dataset: Path, stage1: Path, tmp_path: Path
) -> None:
    policy = head_only(stage1).policy.model_dump()
    for group, field, value in (("backbone", "width", 96), ("head", "horizon", 4), ("head", "state", "none")):
        changed = {**policy, group: {**policy[group], field: value}}
        with pytest.raises(StartError, match=rf"policy\.{group}\.{field} is .* there and {value} here; set"):
            train(head_only(stage1, policy=changed), dataset, tmp_path / "out", QUIET)
    folder = tmp_path / "other_robot"
    contract = Contract.from_dict({**Contract.load(CONTRACT).model_dump(mode="json"), "control_rate_hz": 20.0})
    folder.mkdir()
    for seed in range(10):
        write_episode(folder, contract, list(GOALS)[seed % 3], np.random.default_rng(seed), 4, ("static",))
    with pytest.raises(ContractError, match="control_rate_hz"):
        train(head_only(stage1), folder, tmp_path / "out", QUIET)
