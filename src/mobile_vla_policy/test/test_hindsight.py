"""What whole episodes teach without a label: where the robot is, where it can drive, and which way to go."""

import math

import pytest
import torch

from mobile_vla_policy.backbones.film import FilmSettings
from mobile_vla_policy.backbones.maps import DIRECTIONS, Maps, cell_centres
from mobile_vla_policy.samples.journeys import Journeys
from mobile_vla_policy.training.elsewhere import elsewhere, what_moved
from mobile_vla_policy.training.grounding import grounding_loss, shared_among_cells
from mobile_vla_policy.training.hindsight import fit_odometry, hindsight_loss

SIDE_PX, CELLS, STEPS, EPISODES = 64, 16, 12, 6


def drawn(place: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """The background ``[3, 64, 64]`` with a white robot of 7 x 7 px at ``place`` (right, up)."""
    image = background.clone()
    column, row = round((float(place[0]) + 1) / 2 * SIDE_PX), round((1 - float(place[1])) / 2 * SIDE_PX)
    image[:, row - 3 : row + 4, column - 3 : column + 4] = 1.0
    return image


def episodes(seed: int, frames: int = 4) -> tuple[torch.Tensor, Journeys, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images ``[N, 3, 64, 64]``, journeys, groups ``[N]``, the robot's true places ``[N, 2]`` and paths ``[N, L, 2]``.

    Odometry lies turned and scaled differently in each episode, as after being switched on elsewhere.
    """
    random = torch.Generator().manual_seed(seed)
    start = torch.rand(EPISODES, 2, generator=random) * 0.6 - 0.8
    end = torch.rand(EPISODES, 2, generator=random) * 0.6 + 0.2
    along = torch.linspace(0, 1, STEPS)[None, :, None]
    places = start[:, None] + along * (end - start)[:, None]
    angle = torch.rand(EPISODES, generator=random) * math.tau
    turn = torch.polar(torch.full((EPISODES,), 2.5), angle)[:, None]
    metres = torch.view_as_real(torch.view_as_complex(places.contiguous()) * turn) + 3.0
    motions = torch.diff(metres, dim=1, append=metres[:, -1:])
    targets = end[:, None].expand(EPISODES, STEPS, 2)
    steps = torch.stack([torch.randperm(STEPS, generator=random)[:frames] for _ in range(EPISODES)]).flatten()
    group = torch.arange(EPISODES).repeat_interleave(frames)
    backgrounds = torch.rand(EPISODES, 3, SIDE_PX, SIDE_PX, generator=random) * 0.5
    here = places[group, steps]
    images = torch.stack([drawn(place, backgrounds[e]) for place, e in zip(here, group.tolist(), strict=True)])
    recorded = torch.ones(EPISODES, STEPS, dtype=torch.bool)
    return images, Journeys(metres, motions, targets, recorded, steps[:, None]), group, here, places[group]


def perfect(here: torch.Tensor, path: torch.Tensor) -> Maps:
    """Maps that know the robot's place, and that ``path`` ``[N, L, 2]`` is free and leads to the target."""
    robot = shared_among_cells(here, CELLS).clamp(min=1e-6).log()
    driven = torch.stack([shared_among_cells(places, CELLS).amax(0) for places in path])
    toward = torch.nn.functional.normalize(path[:, -1] - path[:, 0])
    ways = (toward @ DIRECTIONS.T * 6).softmax(1)[..., None].expand(-1, -1, CELLS**2)
    return Maps(robot, robot, 2 - 4 * driven, ways)


def loss(maps: Maps, images: torch.Tensor, journeys: Journeys, group: torch.Tensor) -> float:
    valid = torch.ones(len(group), 1, dtype=torch.bool)

    def floor(pasted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert maps.robot is not None and maps.blocked is not None
        return maps.robot[::2], maps.blocked[::2]

    return float(hindsight_loss(maps, images[:, None], journeys, group, valid, floor))


def test_odometry_is_laid_into_the_image_whatever_its_frame() -> None:
    _, journeys, group, here, _ = episodes(1)
    fit = fit_odometry(here, journeys.positions[group, journeys.steps[:, 0]], group, EPISODES)
    assert fit.good.all()
    assert fit.residual.max() < 1e-4
    wrong = fit_odometry(here.flip(0), journeys.positions[group, journeys.steps[:, 0]], group, EPISODES)
    assert not wrong.good.all()


def test_a_robot_that_hardly_moves_tells_nothing_about_its_odometry() -> None:
    here = torch.zeros(4, 2) + torch.rand(4, 2) * 1e-3
    assert not fit_odometry(here, here, torch.zeros(4, dtype=torch.int64), 1).good.any()


def test_right_places_floor_and_ways_cost_less_than_wrong_ones() -> None:
    images, journeys, group, here, path = episodes(2)
    right = loss(perfect(here, path), images, journeys, group)
    assert right < loss(perfect(here, -path), images, journeys, group) - 0.1
    assert right < loss(perfect(-here, path), images, journeys, group) - 0.5
    backwards = perfect(here, path)._replace(ways=perfect(here, -path).ways)
    assert right < loss(backwards, images, journeys, group) - 0.5


def test_a_base_that_turns_faces_where_it_drives() -> None:
    images, journeys, group, here, path = episodes(2)
    ahead = torch.nn.functional.normalize(path[:, -1] - path[:, 0])
    maps, values = perfect(here, path), []
    for facing in (None, ahead, 0.1 * ahead, -ahead):
        torch.manual_seed(0)
        values.append(loss(maps._replace(facing=facing), images, journeys, group))
    # Half of one minus the cosine; the length of what is predicted does not matter.
    assert values == pytest.approx([values[0], values[0], values[0], values[0] + 1.0], abs=1e-3)


def test_images_of_an_episode_must_agree_about_what_the_robot_hides() -> None:
    images, journeys, group, here, path = episodes(2)
    agreed = perfect(here, path)
    assert agreed.blocked is not None
    near = ((cell_centres(CELLS) - here[:, None]).norm(dim=2) < 0.2).float()
    hole = agreed._replace(blocked=agreed.blocked - 3 * near)
    assert loss(agreed, images, journeys, group) < loss(hole, images, journeys, group) - 0.1


def test_a_robot_is_cut_out_and_put_down_elsewhere() -> None:
    images, _, group, here, _ = episodes(4)
    moved = what_moved(images, group, EPISODES)
    # In the others, the robot overlaps with itself in another image.
    whole = moved.mask.sum((1, 2, 3)) == 49
    assert whole.sum() > 10
    torch.manual_seed(0)
    pasted, mask = elsewhere(images, moved)
    white = (pasted > 0.99).all(1, keepdim=True)
    assert torch.equal(white[whole], mask[whole] > 0)
    assert (mask[whole].sum((1, 2, 3)) == 49).all()
    shares = torch.nn.functional.adaptive_avg_pool2d(mask, CELLS).flatten(1)
    places = (shares / shares.sum(1, keepdim=True) @ cell_centres(CELLS))[whole]
    assert (places - here[whole]).norm(dim=1).median() > 0.3
    assert places.abs().amax() < 1


def test_two_images_of_an_episode_do_not_tell_what_moved() -> None:
    images, _, group, _, _ = episodes(4, frames=2)
    assert not what_moved(images, group, EPISODES).mask.any()


def test_a_backbone_without_these_maps_is_refused_in_words() -> None:
    images, journeys, group, here, _ = episodes(3)
    with pytest.raises(ValueError, match="hindsight_weight: 0"):
        loss(Maps(torch.zeros(len(here), CELLS**2)), images, journeys, group)


def test_the_robot_is_found_without_any_annotation_of_it() -> None:
    torch.manual_seed(0)
    settings = FilmSettings(image_size=SIDE_PX, coarse=16, fine=16, blocks=1, plan_steps=16)
    backbone = settings.build(torch.float32, ["go"])
    optimiser = torch.optim.AdamW(backbone.parameters(), 3e-3)
    centres = cell_centres(CELLS)
    for seed in range(140):
        images, journeys, group, _, _ = episodes(seed)
        _, maps = backbone.encode_with_maps(images[:, None], backbone.tokenise(["go"] * len(images)))
        assert maps is not None
        valid = torch.ones(len(group), 1, dtype=torch.bool)
        total = hindsight_loss(maps, images[:, None], journeys, group, valid, backbone.floor)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    images, _, _, here, _ = episodes(1000)
    with torch.no_grad():
        _, maps = backbone.encode_with_maps(images[:, None], backbone.tokenise(["go"] * len(images)))
    assert maps is not None and maps.robot is not None
    found = maps.robot.softmax(1) @ centres
    assert (found - here).norm(dim=1).median() < 2 / CELLS


def test_targets_that_are_unknown_have_no_influence() -> None:
    torch.manual_seed(0)
    logits, places = torch.randn(3, CELLS**2, requires_grad=True), torch.rand(3, 2)
    places[1] = float("nan")
    value = grounding_loss(Maps(logits), places)
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert not logits.grad[1].any()
    assert logits.grad[0].any()
    assert grounding_loss(Maps(logits), torch.full((3, 2), float("nan"))) == 0.0


def test_a_robot_that_stands_on_its_target_teaches_little_of_where_it_is() -> None:
    centres = cell_centres(CELLS)
    places = centres[[10, 10]]
    robot = torch.full((2, CELLS**2), -30.0)
    robot[0, 10], robot[1, 200] = 30.0, 30.0
    target = torch.zeros(2, CELLS**2, requires_grad=True)
    grounding_loss(Maps(target, robot), places).backward()
    assert target.grad is not None
    on, off = target.grad.norm(dim=1)
    assert 0 < on < 0.2 * off


def test_a_label_has_its_mean_where_the_target_is() -> None:
    places = torch.tensor([[0.3, -0.62], [-0.9, 0.9], [0.0, 0.0]])
    labels = shared_among_cells(places, 28)
    assert torch.allclose(labels.sum(1), torch.ones(3))
    assert torch.allclose(labels @ cell_centres(28), places, atol=1e-5)
