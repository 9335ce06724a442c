"""The small backbone that looks at places: what every backbone must do, and what only this one does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from synthetic_episodes import CONTRACT, GOALS, train_settings, write_dataset

from mobile_vla_data.contract import Contract
from mobile_vla_policy.backbones.backbone import BackboneError
from mobile_vla_policy.backbones.film import FilmBackbone, FilmSettings
from mobile_vla_policy.backbones.maps import cell_centres
from mobile_vla_policy.backbones.tokenizer import Tokens, with_other_words
from mobile_vla_policy.checkpoint import load_network, read_info, save_checkpoint
from mobile_vla_policy.export.export import ExportSettings, export
from mobile_vla_policy.export.verify import compare, random_run
from mobile_vla_policy.load_policy import load_policy
from mobile_vla_policy.model.head import HeadSettings
from mobile_vla_policy.model.lora import LoraSettings
from mobile_vla_policy.model.network import PolicyNetwork, build_network
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.normalisation import Normalisation, Range
from mobile_vla_policy.preprocess import stack_cameras, to_float
from mobile_vla_policy.samples.episodes import open_dataset
from mobile_vla_policy.samples.frames import decode_frames
from mobile_vla_policy.samples.journeys import in_image
from mobile_vla_policy.training.train import train

SIZE = 32


def settings(cameras: tuple[str, ...] = ("static",), window: int = 8) -> PolicySettings:
    return PolicySettings(
        backbone=FilmSettings(cameras=cameras, image_size=SIZE, fine=8, coarse=16, words=16, blocks=1, plan_steps=10),
        lora=LoraSettings(enabled=False),
        head=HeadSettings(input_size=32, hidden_size=32, dropout=0.0, state="gripper", window=window),
    )


def network(cameras: tuple[str, ...] = ("static",)) -> PolicyNetwork:
    torch.manual_seed(0)
    return build_network(settings(cameras), instructions=list(GOALS)).eval()


def film(cameras: tuple[str, ...] = ("static",)) -> FilmBackbone:
    backbone = network(cameras).backbone
    assert isinstance(backbone, FilmBackbone)
    return backbone


@pytest.mark.parametrize("cameras", [("static",), ("static", "gripper"), ("static", "left", "right")])
def test_the_act_state_is_unchanged_by_padding_and_neighbours_with_any_cameras(cameras: tuple[str, ...]) -> None:
    backbone, images = film(cameras), torch.rand(3, len(cameras), 3, SIZE, SIZE)
    words = ["go to the kitchen", "pick up the cup from the table in the living room", "open"]
    together = backbone.encode(images, backbone.tokenise(words))
    assert together.shape == (3, backbone.hidden_size)
    for index, text in enumerate(words):
        alone = backbone.encode(images[index : index + 1], backbone.tokenise([text]))
        assert torch.allclose(alone[0], together[index], atol=1e-4)


def test_the_act_state_depends_on_words_and_on_every_camera() -> None:
    backbone, images = film(("static", "gripper")), torch.rand(1, 2, 3, SIZE, SIZE)
    tokens = backbone.tokenise(["go to the kitchen"])
    act = backbone.encode(images, tokens)
    assert not torch.allclose(act, backbone.encode(images, backbone.tokenise(["go to the bedroom"])), atol=1e-4)
    for camera in range(2):
        other = images.clone()
        other[:, camera] = 0.0
        assert not torch.allclose(act, backbone.encode(other, tokens), atol=1e-4)


def test_with_heading_the_head_sees_the_way_as_the_base_does() -> None:
    torch.manual_seed(0)
    plain = settings()
    turning = plain.model_copy(update={"backbone": plain.backbone.model_copy(update={"heading": True})})
    backbone = build_network(turning, instructions=list(GOALS)).eval().backbone
    images = torch.rand(2, 1, 3, SIZE, SIZE)
    act = backbone.encode(images, backbone.tokenise(["go to the kitchen"] * 2))
    more = backbone.hidden_size - film().hidden_size
    assert act.shape == (2, backbone.hidden_size) and more == 4
    assert isinstance(backbone, FilmBackbone) and backbone.facing is not None
    torch.nn.init.zeros_(backbone.facing.weight)
    for facing in ((1e6, 0.0), (0.0, 1e6)):
        backbone.facing.bias.data = torch.tensor(facing)
        act = backbone.encode(images, backbone.tokenise(["go to the kitchen"] * 2))
        right, up = act[:, 6:8].unbind(1)
        expected = [right, up] if facing[0] else [up, -right]
        assert torch.allclose(act[:, -4:-2], torch.stack(expected, 1), atol=1e-4)


def test_words_never_seen_are_no_error_and_not_all_the_same() -> None:
    backbone, images = film(), torch.rand(1, 1, 3, SIZE, SIZE)
    first, second = (backbone.encode(images, backbone.tokenise([text])) for text in ("zum Kühlschrank", "부엌으로 가"))
    assert torch.isfinite(first).all() and not torch.allclose(first, second, atol=1e-4)


def test_other_words_come_between_those_of_an_instruction_and_leave_their_order() -> None:
    torch.manual_seed(0)
    ids = torch.arange(2000, 2008).repeat(200, 1)
    lengths = torch.full((200,), 5)
    found = with_other_words(Tokens(ids, lengths), 0.0)
    assert set((found.lengths - lengths).tolist()) == set(range(7))
    places = set()
    for row, length in zip(found.ids, found.lengths, strict=True):
        said = row[:length]
        assert said[said >= 2000].tolist() == list(range(2000, 2005)), "the words of the instruction, in their order"
        places.add(int((said < 2000).int().argmax()))
    assert {0, 1, 2, 3, 4, 5} <= places


def test_blocked_floor_has_bounded_logits() -> None:
    # Cells that nobody ever drives over would otherwise grow for ever, and with them the difference of two images.
    backbone = film()
    torch.nn.init.constant_(backbone.blocked.bias, 500.0)
    assert backbone.floor(torch.rand(1, 1, 3, SIZE, SIZE))[1].abs().max() <= 4


def test_streaming_one_frame_at_a_time_equals_the_window() -> None:
    model, images = network(), torch.rand(8, 1, 3, SIZE, SIZE)
    tokens, state = model.backbone.tokenise(["go to the kitchen"]), torch.rand(1, 8, 3)
    whole = model(images, state, tokens, torch.ones(1, 8, dtype=torch.bool))
    memory = None
    for step in range(8):
        features = model.backbone.encode(images[step : step + 1], tokens)
        chunk, memory = model.head(model.head.embed(features[:, None], state[:, step : step + 1]), memory)
        assert torch.allclose(chunk[0, 0], whole[0, step], atol=1e-5)


def test_the_planned_way_goes_round_a_wall_and_straight_where_there_is_none() -> None:
    backbone = film()
    planner, side = backbone.planner, 16
    planner.steps = 40
    target = torch.full((2, side, side), -30.0)
    target[:, 2, 12] = 0.0  # up, on the right
    blocked = torch.full((2, side, side), -0.2)
    blocked[1, :12, 8] = 0.5  # a wall from the upper edge down, in the second world
    distances, ways = planner(blocked, target)
    heading = torch.nn.functional.normalize(torch.einsum("ndhw,dc->nhwc", ways, backbone.directions), dim=-1)
    start = (2, 4)  # as far up, on the left
    assert heading[0][start][0] > 0.9
    assert heading[1][start][1] < -0.7
    assert distances[1][start] > distances[0][start] + 3
    assert torch.isfinite(distances).all()


@pytest.mark.parametrize("heading", [False, True])
def test_a_gradient_reaches_every_parameter(heading: bool) -> None:
    plain = settings(("static", "gripper"))
    seeing = plain.model_copy(update={"backbone": plain.backbone.model_copy(update={"heading": heading})})
    backbone = build_network(seeing, instructions=list(GOALS)).train().backbone
    act, maps = backbone.encode_with_maps(torch.rand(2, 2, 3, SIZE, SIZE), backbone.tokenise(list(GOALS)[:2]))
    assert maps is not None and maps.robot is not None and maps.blocked is not None and maps.ways is not None
    total = sum(value.float().square().sum() for value in (act, *maps) if value is not None)
    assert isinstance(total, torch.Tensor)
    total.backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_adapters_are_refused_in_words() -> None:
    with pytest.raises(BackboneError, match=r"policy\.lora\.enabled=false"):
        build_network(settings().model_copy(update={"lora": LoraSettings(enabled=True)}), instructions=list(GOALS))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ranges = Normalisation(Range((-0.06, -0.06), (0.06, 0.06)), Range((-3.0, -3.0), (3.0, 3.0)))
    folder = tmp_path_factory.mktemp("film") / "checkpoint"
    save_checkpoint(folder, network(), settings(), ranges, Contract.load(CONTRACT), {"steps": 0})
    return folder


def test_a_checkpoint_gives_the_same_network_again(checkpoint: Path) -> None:
    again, images = load_network(read_info(checkpoint)), torch.rand(2, 1, 3, SIZE, SIZE)
    tokens = network().backbone.tokenise(list(GOALS)[:2])
    assert torch.equal(again.backbone.tokenise(list(GOALS)[:2]).ids, tokens.ids)
    assert torch.allclose(again.backbone.encode(images, tokens), network().backbone.encode(images, tokens), atol=1e-6)


@pytest.mark.parametrize("format_", ["torchscript", "onnx", "pt2"])
def test_every_export_predicts_what_the_checkpoint_predicts(format_: str, checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    export(checkpoint, folder, ExportSettings(format_))
    exported, eager = load_policy(folder, device="cpu"), load_policy(checkpoint, device="cpu")
    assert compare(eager, exported, [random_run(read_info(checkpoint))]) < 1e-4


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_fewer_bits_drive_too(precision: str, checkpoint: Path) -> None:
    eager, rounded = (load_policy(checkpoint, device="cpu", precision=name) for name in ("fp32", precision))
    assert compare(eager, rounded, [random_run(read_info(checkpoint))]) < 0.3


def test_the_heatmaps_of_the_last_prediction_are_those_that_the_network_reads(checkpoint: Path) -> None:
    policy, images = load_policy(checkpoint, device="cpu"), random_run(read_info(checkpoint))[0].images
    assert policy.maps() is None
    policy.predict(images, np.zeros(3, np.float32), "go to the kitchen", policy.initial_memory())
    maps = policy.maps()
    pixels = to_float(torch.from_numpy(stack_cameras(images, policy.cameras, SIZE)))
    _, expected = network().backbone.encode_with_maps(pixels[None], network().backbone.tokenise(["go to the kitchen"]))
    assert maps.target.shape == maps.robot.shape == (SIZE // 4, SIZE // 4)
    assert maps.target.sum() == pytest.approx(1.0, abs=1e-4)
    assert maps.target.ravel() == pytest.approx(expected.target[0].softmax(0).detach().numpy(), abs=1e-5)
    assert maps.robot.ravel() == pytest.approx(expected.robot[0].softmax(0).detach().numpy(), abs=1e-5)


def test_targets_are_learned_from_annotations_and_the_head_goes_on_alone(tmp_path: Path) -> None:
    """Stage 1 on single frames with all losses, stage 2 with the window of eight on features computed once."""
    dataset = write_dataset(tmp_path / "dataset", episodes=12, steps=20, targets=True)
    first = train_settings(
        policy=settings(window=1), together=4, batch_size=16, grounding_weight=1.0, hindsight_weight=0.3,
        gripper_repeats=1, max_steps=120, evaluate_every=60, learning_rate=3e-3,
        augment={"shift": 0.05},
    )  # fmt: skip
    console = Console(quiet=True)
    train(first, dataset, tmp_path / "looks", console)
    error = target_error(tmp_path / "looks" / "best", dataset)
    assert error < 0.3, "of an image's side of 2"
    frozen = settings().model_copy(update={"backbone": settings().backbone.model_copy(update={"freeze": True})})
    second = train_settings(policy=frozen, init_from=str(tmp_path / "looks"))
    train(second, dataset, tmp_path / "drives", console)
    policy = load_policy(tmp_path / "drives", device="cpu", contract=Contract.load(CONTRACT))
    assert policy.engine.shape.window == 8
    assert target_error(tmp_path / "drives" / "best", dataset) == pytest.approx(error)


def target_error(checkpoint: Path, dataset: Path) -> float:
    """Median distance of the heatmap's mean from the annotated target, over the episodes' first frames."""
    backbone = load_network(read_info(checkpoint)).backbone
    errors = []
    data = open_dataset(dataset, ["static"], None)
    camera = data.contract.cameras["static"]
    for episode in data.splits["train"]:
        images = to_float(torch.from_numpy(decode_frames(episode, [0], ["static"], SIZE)))
        _, maps = backbone.encode_with_maps(images, backbone.tokenise([episode.instruction]))
        assert maps is not None
        found = maps.target.softmax(1) @ cell_centres(SIZE // 4)
        errors.append(found[0] - torch.from_numpy(in_image(episode.target_px()[:1], (camera.width, camera.height)))[0])
    return float(torch.stack(errors).norm(dim=1).median())


def test_planning_by_sums_equals_planning_by_logarithms_which_an_export_does() -> None:
    torch.manual_seed(0)
    planner = film().planner
    planner.steps = 30
    blocked, target = torch.randn(3, 16, 16) / 4, torch.randn(3, 16, 16) * 8
    exported = torch.jit.trace(planner, (blocked, target), check_trace=False)
    distances, ways = planner(blocked, target)
    assert torch.allclose(distances, exported(blocked, target)[0], atol=1e-3)
    assert torch.allclose(ways, exported(blocked, target)[1], atol=1e-4)


def test_the_planner_s_gradient_is_that_of_its_formula() -> None:
    torch.manual_seed(0)
    planner = film().planner
    planner.steps = 12
    blocked, target = torch.randn(2, 8, 8, requires_grad=True), torch.randn(2, 8, 8) * 8
    weights = torch.randn(2, 8, 8, 8)

    def gradients() -> tuple[torch.Tensor, ...]:
        total = (planner.taught(blocked, target) * weights).sum()
        return torch.autograd.grad(total, [blocked, planner.log_temperature, planner.log_contrast])

    by_sums = gradients()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "_by_sums", planner._by_logarithms)
        by_logarithms = gradients()
    for mine, theirs in zip(by_sums, by_logarithms, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-3)


def test_floor_that_is_surely_blocked_gives_finite_gradients() -> None:
    planner = film().planner
    blocked = (torch.randn(1, 8, 8) * 100).requires_grad_()
    planner.taught(blocked, torch.randn(1, 8, 8)).square().sum().backward()
    assert blocked.grad is not None and torch.isfinite(blocked.grad).all()
