"""Evaluation offline: numbers that can be computed by hand, and what it says in plain words."""

import shutil
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from synthetic_episodes import train_settings, write_dataset

from mobile_vla_data.action import displacement
from mobile_vla_policy.checkpoint import read_info
from mobile_vla_policy.engine.choices import EngineError
from mobile_vla_policy.evaluation.evaluate import Evaluation, _grouped, evaluate, what_it_uses
from mobile_vla_policy.evaluation.metrics import summarise
from mobile_vla_policy.evaluation.predict import EpisodePrediction
from mobile_vla_policy.evaluation.report import driven, headings, print_report, write_report
from mobile_vla_policy.evaluation.sensitivity import Sensitivity, plain_words, sensitivity
from mobile_vla_policy.samples.episodes import EpisodeData, TrainingDataError
from mobile_vla_policy.training.train import init, train

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained") / "out"
    train(train_settings(max_steps=2), dataset, output, QUIET)
    return output


def episode(actions: list[list[float]], task: str = "go", category: str = "navigation") -> EpisodeData:
    recorded = np.array(actions, dtype=np.float32)
    states = np.cumsum(np.pad(recorded, ((1, 0), (0, 0)))[:-1], axis=0).astype(np.float32)
    return EpisodeData(Path("episode_000000.h5"), task, task, category, states, recorded)


#: Two steps, two actions a chunk; off by 3 and 4 mm, by 30 mm in x, and 5 mm in the one later action that there is.
TWO = EpisodePrediction(
    episode([[0.01, 0.0, 0.0], [0.02, 0.0, 1.0]]),
    np.array([[[0.013, 0.004, 0], [0.02, 0.005, 0]], [[0.05, 0.0, 0], [9.0, 9.0, 0]]], dtype=np.float32),
    np.array([False, False]),
)
#: One step, exactly right.
ONE = EpisodePrediction(
    episode([[0.0, 0.01, 1.0]], task="pick", category="manipulation"),
    np.array([[[0.0, 0.01, 1], [9.0, 9.0, 1]]], dtype=np.float32),
    np.array([True]),
)


def test_the_metrics_are_those_computed_by_hand() -> None:
    both = summarise([TWO, ONE], tolerance_m=0.01)
    assert both.steps == 3
    assert both.dx_error_m == pytest.approx((0.003 + 0.03 + 0.0) / 3, abs=1e-7)
    assert both.dy_error_m == pytest.approx(0.004 / 3, abs=1e-7)
    assert both.error_m == pytest.approx((0.005 + 0.03 + 0.0) / 3, abs=1e-7)
    # The second action of a chunk is compared with the step after; beyond the end there is nothing to compare with.
    assert both.horizon_error_m == pytest.approx((0.005 + 0.03 + 0.005 + 0.0) / 4, abs=1e-7)
    assert both.within_tolerance == pytest.approx(2 / 3)
    assert both.gripper_accuracy == pytest.approx(2 / 3)
    assert both.transition_f1 == 0.0
    assert summarise([ONE], 0.01).transition_f1 is None
    # Near enough, but the gripper is wrong.
    assert summarise([replace(TWO, closed=np.array([True, True]))], 0.01).within_tolerance == 0.0


def test_a_turn_has_an_error_and_a_tolerance_of_its_own() -> None:
    recorded = episode([[0.0, 0.0, 0.0, 0.10], [0.0, 0.0, 0.0, 0.10]])
    predicted = np.array([[[0.0, 0.0, 0.0, 0.11]], [[0.0, 0.0, 0.0, 0.05]]], dtype=np.float32)
    found = summarise([EpisodePrediction(recorded, predicted, np.array([False, False]))], tolerance_m=0.01)
    assert found.yaw_error_rad == pytest.approx(0.03, abs=1e-6)
    assert found.within_tolerance == 0.5
    assert found.error_m == found.dx_error_m == 0.0
    assert summarise([ONE], 0.01).yaw_error_rad is None


def test_the_drawn_path_of_a_chunk_bends_with_its_turns() -> None:
    quarter = np.pi / 2
    actions = np.array([[1.0, 0.0, 0.0, quarter], [1.0, 0.0, 0.0, quarter], [1.0, 0.0, 0.0, 0.0]])
    path = driven(actions, np.array([5.0, 5.0]), heading=0.0)
    assert path == pytest.approx(np.array([[5, 5], [6, 5], [6, 6], [5, 6]], dtype=float))
    straight = driven(actions[:, :3], np.array([5.0, 5.0]), heading=quarter)
    assert straight == pytest.approx(np.array([[5, 5], [5, 6], [5, 7], [5, 8]], dtype=float))


def test_metrics_by_task_and_category_are_those_of_their_episodes() -> None:
    by_task = _grouped([TWO, ONE, TWO], lambda one: one.task, 0.01)
    by_category = _grouped([TWO, ONE, TWO], lambda one: one.category, 0.01)
    assert list(by_task) == ["go", "pick"]
    assert list(by_category) == ["manipulation", "navigation"]
    assert by_task["go"] == by_category["navigation"] == summarise([TWO, TWO], 0.01)
    assert by_task["pick"] == by_category["manipulation"] == summarise([ONE], 0.01)
    assert by_task["go"].steps == 4
    assert by_task["go"].error_m == pytest.approx((0.005 + 0.03) / 2, abs=1e-7)


def test_the_sensitivity_counts_displacements_and_gripper_decisions() -> None:
    other = replace(TWO, actions=TWO.actions + np.float32([0.03, 0.03, 0.0]), closed=np.array([True, False]))
    found = sensitivity([(TWO, other)])
    change = 0.03 * 2**0.5
    assert found.change_m == pytest.approx(change, rel=1e-4)
    assert found.relative == pytest.approx(change / 0.015, rel=1e-4)
    assert found.gripper_changed == 0.5
    assert found.error_m == pytest.approx((np.hypot(0.033, 0.034) + np.hypot(0.06, 0.03)) / 2, rel=1e-4)


def test_headings_turn_actions_into_odometry() -> None:
    turned = np.array([0.0, 0.5, 2.0, 2.0])
    actions = np.array([[0.05, 0.0, 0.0], [0.03, 0.04, 0.0], [0.05, 0.0, 0.0], [0.05, 0.0, 0.0]], dtype=np.float32)
    went = [
        np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) @ d
        for a, d in zip(turned, displacement(actions), strict=True)
    ]
    states = np.pad(np.cumsum(np.concatenate([np.zeros((1, 2)), went[:-1]]), axis=0), ((0, 0), (0, 1)))
    one = EpisodeData(Path("episode.h5"), "go", "go", "navigation", states.astype(np.float32), actions)
    assert headings(one) == pytest.approx(turned, abs=1e-5)
    assert (headings(replace(one, actions=actions * 0)) == 0).all()


def test_a_policy_that_ignores_the_instruction_is_reported_in_plain_words(
    dataset: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "best", tmp_path / "deaf")
    weights = load_file(tmp_path / "deaf" / "model.safetensors")
    weights["head.project.weight"].zero_()  # nothing of what the backbone saw and read reaches the head
    save_file(weights, tmp_path / "deaf" / "model.safetensors")
    result = evaluate(tmp_path / "deaf", dataset, "test", 0.01, "cpu")
    assert {name: found.relative for name, found in result.sensitivity.items() if name != "state"} == {
        "instruction": 0.0, "black_images": 0.0, "other_images": 0.0,
    }  # fmt: skip
    # What is left to it is the state, on which it then lives.
    assert result.sensitivity["state"].relative > 0.0
    for words in ("ignores the instruction", "ignores the images", "relies on odometry"):
        assert words in said(result, 80)
    assert any("ignores the images" in line for line in what_it_uses(tmp_path / "deaf", dataset, "cpu"))


def test_a_policy_that_uses_everything_is_not_warned_about() -> None:
    uses = Sensitivity(0.05, 0.9, 0.05, 0.0)
    seeing = {"instruction": uses, "black_images": uses, "other_images": uses}
    assert plain_words(seeing, "gripper") == []
    # A policy that is only thrown off by darkness, but acts alike on other images, does not look either.
    assert "ignores the images" in plain_words({**seeing, "other_images": replace(uses, relative=0.05)}, "none")[0]
    assert "relies on odometry" in plain_words({**seeing, "state": replace(uses, relative=1.2)}, "full")[0]


def test_an_evaluation_does_not_split_a_dataset(trained: Path, tmp_path: Path) -> None:
    unsplit = write_dataset(tmp_path / "unsplit", episodes=10, steps=3)
    with pytest.raises(TrainingDataError, match="unsplit: is not split; run mobile-vla-data split"):
        evaluate(trained, unsplit, "test", 0.01, "cpu")
    assert not (unsplit / "splits.json").exists()


def test_episodes_that_were_trained_on_are_recognised_under_any_name(
    dataset: Path, trained: Path, tmp_path: Path
) -> None:
    assert not any("trained on" in warning for warning in evaluate(trained, dataset, "test", 0.01, "cpu").warnings)
    splits = read_info(trained / "best").training["splits"]
    assert sorted(splits) == ["test", "train", "validation"]
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for number, name in enumerate([*splits["test"], *sorted(splits["train"])]):
        shutil.copy(dataset / f"{name}.h5", renamed / f"episode_{number:06d}.h5")
    count = len(splits["test"])
    ids = [f"episode_{number:06d}" for number in range(count + len(splits["train"]))]
    (renamed / "splits.json").write_text(
        f'{{"splits": {{"train": {ids[count:]}, "validation": [], "test": {ids[: count + 2]}}}}}'.replace("'", '"')
    )
    told = f"2 of the {count + 2} episodes were trained on"
    assert any(told in warning for warning in evaluate(trained, renamed, "test", 0.01, "cpu").warnings)
    # What the start of a training has seen, the training has seen.
    other = write_dataset(tmp_path / "other", episodes=10, steps=6, seed=5)
    init(train_settings(init_from=str(trained)), other, tmp_path / "initial", QUIET)
    train(train_settings(init_from=str(tmp_path / "initial"), max_steps=1), other, tmp_path / "next", QUIET)
    assert any(told in warning for warning in evaluate(tmp_path / "next", renamed, "test", 0.01, "cpu").warnings)


def test_a_device_that_is_not_there_is_refused_before_anything_is_loaded(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device, said in (("cuda", "torch sees no CUDA here"), ("tpu", "must be auto, cpu, cuda or cuda:N")):
        with pytest.raises(EngineError, match=said):
            evaluate(tmp_path / "none", dataset, "test", 0.01, device)


def test_the_report_can_be_read_in_80_columns(tmp_path: Path) -> None:
    long = "navigate_to_table_and_place_object"
    metrics = replace(summarise([TWO, ONE], 0.01), steps=98765, dx_error_m=0.1234, transition_f1=0.5)
    result = Evaluation(
        Path("/somewhere/with/a/long/name/that/does/not/matter/here/checkpoint/best"), "test", 0.01, 3, metrics,
        {"go_to_kitchen": metrics, long: metrics}, {"combined": metrics, "navigation": metrics},
        {"instruction": Sensitivity(0.01, 0.5, 0.02, 0.25)}, ["look"], [TWO, ONE],
    )  # fmt: skip
    lines = said(result, 80).splitlines()
    # The first line is the path, whole, to be copied.
    assert max(len(line) for line in lines[1:]) <= 80
    row = next(line for line in lines if long in line)
    assert row.split() == [long, "98765", "123.4", "1.3", "10.0", "67", "66.7", "0.50"]
    heading = next(number for number, line in enumerate(lines) if "steps" in line)
    assert lines[heading].split() == ["steps", "dx", "dy", "chunk", "10", "mm", "grip", "F1"]
    assert lines[heading + 1].split() == ["mm", "mm", "mm", "%", "%"]
    rows = [number for number, line in enumerate(lines) if line.rstrip().endswith(" 0.50")]
    assert [lines[number].split()[0] for number in rows] == ["combined", "navigation", "go_to_kitchen", long, "all"]
    # A line between categories, tasks and all.
    assert [after - before for before, after in pairwise(rows)] == [1, 2, 1, 2]
    write_report(result, tmp_path)
    assert (tmp_path / "paths.png").stat().st_size > 1000


def said(result: Evaluation, width: int) -> str:
    console = Console(file=StringIO(), width=width)
    print_report(result, console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text
