"""A robot with cameras of other names, more of them, and an action with a turn: recorded, trained, exported, driven."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from synthetic_episodes import CONTRACT, picture, policy_settings, train_settings

from mobile_vla_data.action import ActionCodec, action_names, yaw
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter
from mobile_vla_policy.evaluation.evaluate import evaluate
from mobile_vla_policy.export.export import ExportSettings, export
from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.model.loss import action_loss
from mobile_vla_policy.normalisation import NormalisationError, Range
from mobile_vla_policy.samples.episodes import TrainingDataError
from mobile_vla_policy.training.start import StartError
from mobile_vla_policy.training.train import train

QUIET = Console(quiet=True)
CAMERAS = ("ceiling", "left_eye", "hand")
TURN_RAD = 0.1
INSTRUCTIONS = {"turn left": TURN_RAD, "turn right": -TURN_RAD}


def contract() -> Contract:
    data = Contract.load(CONTRACT).model_dump(mode="json")
    camera = data["cameras"]["static"]
    data["cameras"] = {name: {**camera, "topic": f"{name}/image_raw"} for name in CAMERAS}
    data["base"] = "differential"
    data["action"]["yaw"] = True
    return Contract.from_dict(data)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten episodes in which the robot turns on the spot, to the side that the instruction names."""
    folder = tmp_path_factory.mktemp("turning") / "dataset"
    folder.mkdir()
    for number in range(10):
        language = list(INSTRUCTIONS)[number % 2]
        metadata = EpisodeMetadata(language, language.replace(" ", "_"), "navigation", "expert", {})
        writer = EpisodeWriter(folder, contract(), metadata, cameras=CAMERAS)
        for step in range(12):
            stamp = 1_000_000_000 + step * contract().period_ns
            place = np.array([0.1 * number, 0.05 * step])
            turn = INSTRUCTIONS[language] + 0.001 * number  # no two episodes alike
            writer.add_step(
                stamp_ns=stamp,
                images={camera: picture(place) for camera in CAMERAS},
                state=np.zeros(3, dtype=np.float32),
                action=np.array([0.0, 0.0, 0.0, turn], dtype=np.float32),
                stamps_ns={**dict.fromkeys(CAMERAS, stamp), "odom": stamp, "gripper_state": stamp},
            )
        writer.commit("success")
    return folder


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("turning") / "out"
    policy = policy_settings(cameras=CAMERAS, state="none")
    train(train_settings(policy=policy, max_steps=80, evaluate_every=40), dataset, output, QUIET)
    return output


def images() -> dict[str, np.ndarray]:
    return {camera: picture(np.array([0.2, 0.1])) for camera in CAMERAS}


def test_a_policy_turns_on_the_spot_to_the_side_that_it_is_told(trained: Path) -> None:
    policy = load_policy(trained, device="cpu", contract=contract())
    assert policy.cameras == CAMERAS
    codec = ActionCodec(policy.contract)
    for instruction, turn in INSTRUCTIONS.items():
        chunk, _ = policy.predict(images(), np.zeros(3, dtype=np.float32), instruction, policy.initial_memory())
        assert chunk.actions.shape == (5, 4)
        assert chunk.deltas.shape == (5, 3)
        assert np.abs(yaw(chunk.actions) - turn).max() < 0.06
        velocity = codec.to_velocity(*chunk.deltas[0].tolist())
        assert velocity.yaw_rate * turn > 0
        assert abs(velocity.x) < 0.1


def test_the_error_of_the_turn_is_evaluated_and_printed(trained: Path, dataset: Path) -> None:
    from mobile_vla_policy.evaluation.report import print_report

    result = evaluate(trained, dataset, "test", 0.01, "cpu")
    assert result.overall.yaw_error_rad is not None
    assert result.overall.yaw_error_rad < 0.06
    console = Console(record=True, width=100, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    print_report(result, console)
    assert "mrad" in console.export_text()


def test_an_export_carries_the_turn(trained: Path, tmp_path: Path) -> None:
    report = export(trained, tmp_path / "exported", ExportSettings("torchscript", "fp32", "cpu"))
    assert report.verified.deviation < 1e-3
    policy = load_policy(tmp_path / "exported", device="cpu")
    chunk, _ = policy.predict(images(), np.zeros(3, dtype=np.float32), "turn left", policy.initial_memory())
    assert chunk.actions.shape == (5, len(action_names(policy.contract)))


def test_a_missing_camera_is_named_with_those_that_the_dataset_has(dataset: Path, tmp_path: Path) -> None:
    settings = train_settings(policy=policy_settings(cameras=("static",)))
    with pytest.raises(TrainingDataError, match=r"no camera 'static'; set .*cameras=\[ceiling, left_eye, hand\]"):
        train(settings, dataset, tmp_path, QUIET)


def test_a_training_with_turns_does_not_begin_with_a_checkpoint_without(
    trained: Path, dataset: Path, tmp_path: Path
) -> None:
    policy = policy_settings(cameras=CAMERAS[:2], state="none")
    with pytest.raises(StartError, match=r"policy\.backbone\.cameras is .* there and .* here"):
        train(train_settings(policy=policy, init_from=str(trained)), dataset, tmp_path, QUIET)


def test_the_motion_loss_is_the_mean_over_all_columns_but_the_gripper() -> None:
    mask = torch.ones(1, 1, 1, dtype=torch.bool)
    predicted = torch.tensor([0.3, 0.0, 0.0, -0.6]).view(1, 1, 1, 4)
    loss = action_loss(predicted, torch.zeros(1, 1, 1, 4), mask)
    assert loss.motion.item() == pytest.approx((0.3**2 + 0.6**2) / 3)
    assert loss.gripper.item() == pytest.approx(np.log(2), rel=1e-5)


def test_normalisation_keeps_the_gripper_between_displacement_and_turn() -> None:
    ranges = Range((-0.1, -0.2, -0.4), (0.1, 0.2, 0.4))
    values = torch.tensor([[0.1, -0.2, 1.0, 0.4], [0.05, 0.0, 0.0, -0.2]])
    assert torch.allclose(ranges.normalise(values), torch.tensor([[1.0, -1.0, 1.0, 1.0], [0.5, 0.0, 0.0, -0.5]]))
    assert torch.allclose(ranges.denormalise(ranges.normalise(values)), values)
    with pytest.raises(NormalisationError, match="3 columns do not fit 3 quantiles"):
        ranges.normalise(torch.zeros(1, 3))


def test_without_a_gripper_its_loss_is_left_out_and_its_prediction_is_zero(tmp_path: Path) -> None:
    bare = Contract.from_dict({**Contract.load(CONTRACT).model_dump(mode="json"), "gripper": "none"})
    (tmp_path / "dataset").mkdir()
    for number in range(10):
        writer = EpisodeWriter(
            tmp_path / "dataset",
            bare,
            EpisodeMetadata("go on", "go_on", "navigation", "expert", {}),
            cameras=("static",),
        )
        for step in range(12):
            stamp = 1_000_000_000 + step * bare.period_ns
            writer.add_step(
                stamp_ns=stamp,
                images={"static": picture(np.array([0.1 * number, 0.05 * step]))},
                state=np.zeros(3, dtype=np.float32),
                action=np.array([0.01 + 0.001 * number, 0.0, 0.0], dtype=np.float32),
                stamps_ns={"static": stamp, "odom": stamp},
            )
        writer.commit("success")
    train(train_settings(max_steps=4, evaluate_every=2), tmp_path / "dataset", tmp_path / "out", QUIET)
    rows = [row for row in csv.DictReader((tmp_path / "out" / "metrics.csv").open()) if row["train_loss"]]
    assert rows and all(float(row["train_loss"]) == float(row["train_motion"]) for row in rows)
    policy = load_policy(tmp_path / "out", device="cpu", contract=bare)
    view = {"static": picture(np.array([0.2, 0.1]))}
    chunk, _ = policy.predict(view, np.zeros(3, dtype=np.float32), "go on", policy.initial_memory())
    assert not chunk.gripper.any()
    result = evaluate(tmp_path / "out", tmp_path / "dataset", "test", 0.01, "cpu")
    assert result.overall.gripper_accuracy == 1.0
