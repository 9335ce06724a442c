"""Turned and mirrored worlds: images, places and motions change alike."""

import numpy as np
import pytest
import torch
import yaml
from synthetic_episodes import CONTRACT

from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.stats import Statistics, VectorStatistics
from mobile_vla_policy.samples.episodes import normalisation_of
from mobile_vla_policy.samples.journeys import Journeys
from mobile_vla_policy.training.geometry import SYMMETRIES, View, camera_turn, mirror_actions

SIDE = 16


def spot(right: float, up: float) -> torch.Tensor:
    """An image ``[1, 1, 3, 16, 16]`` with one bright pixel at this place."""
    image = torch.zeros(1, 1, 3, SIDE, SIDE)
    image[..., round((1 - up) / 2 * SIDE - 0.5), round((right + 1) / 2 * SIDE - 0.5)] = 1.0
    return image


def place_of(image: torch.Tensor) -> torch.Tensor:
    row, column = divmod(int(image[0].flatten().argmax()), SIDE)
    return torch.tensor([(column + 0.5) / SIDE * 2 - 1, 1 - (row + 0.5) / SIDE * 2])


def journeys(places: torch.Tensor) -> Journeys:
    """One episode whose positions, motions and targets are all ``places`` ``[L, 2]``."""
    length = len(places)
    recorded, steps = torch.ones(1, length, dtype=torch.bool), torch.arange(length)[None]
    return Journeys(places[None], places[None], places[None], recorded, steps)


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_a_place_moves_to_where_its_pixel_moves(symmetry: int) -> None:
    place = torch.tensor([[0.4375, -0.8125]])
    view = View(torch.tensor([symmetry]), torch.zeros(1, 2))
    image = view.images(spot(*place[0].tolist()), torch.tensor([0]))
    moved = view.journeys(journeys(place), camera_turn(0))
    assert torch.allclose(place_of(image[0, 0]), moved.targets[0, 0])


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
@pytest.mark.parametrize("turn_deg", [0, 90, 180, 270])
def test_driving_leads_to_the_changed_place_whichever_way_the_camera_hangs(symmetry: int, turn_deg: int) -> None:
    camera = camera_turn(turn_deg)
    start, motion = torch.tensor([0.1, 0.2]), torch.tensor([0.3, -0.15])
    path = torch.stack([start, start + camera @ motion])
    view = View(torch.tensor([symmetry]), torch.tensor([[0.05, -0.1]]))
    changed = view.journeys(journeys(path), camera)
    seen, wanted = changed.targets[0], changed.motions[0]
    driven = view.motions(motion[None], torch.tensor([0]), camera)[0]
    assert torch.allclose(seen[1] - seen[0], camera @ driven, atol=1e-6)
    moved = view.motions(path.diff(dim=0), torch.tensor([0]), camera)[0]
    assert torch.allclose(wanted[1] - wanted[0], moved, atol=1e-6)


def test_the_eight_views_differ_and_keep_lengths() -> None:
    matrices = View(torch.arange(SYMMETRIES), torch.zeros(SYMMETRIES, 2)).matrices()
    assert len({tuple(matrix.flatten().tolist()) for matrix in matrices}) == SYMMETRIES
    assert torch.allclose(matrices @ matrices.transpose(1, 2), torch.eye(2).expand(SYMMETRIES, 2, 2))


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_a_camera_on_the_robot_is_mirrored_with_the_world_and_never_turned(symmetry: int) -> None:
    images = torch.rand(1, 2, 3, SIDE, SIDE)
    view = View(torch.tensor([symmetry]), torch.zeros(1, 2))
    mirrored = bool(torch.linalg.det(view.matrices()[0]) < 0)
    ridden = view.images(images, torch.tensor([0]))[:, 1]
    assert torch.equal(ridden, images[:, 1].flip(-1) if mirrored else images[:, 1])


def test_in_a_mirrored_world_a_base_that_turns_goes_left_instead_of_right() -> None:
    robot = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    turning = Contract.from_dict(robot | {"base": "differential", "action": {**robot["action"], "yaw": True}})
    driven = VectorStatistics.of(np.array([[0.0, -0.01, 0.0, -0.15], [0.08, 0.005, 1.0, 0.1]]))
    range_ = normalisation_of(Statistics(1, 2, driven, driven), turning, symmetric=True).action
    assert np.allclose(range_.q99, [0.0792, 0.00985, 0.1475]) and np.allclose(range_.q01, -np.array(range_.q99))
    actions = torch.tensor([[[0.5, 0.1, 1.0, 0.3]]] * SYMMETRIES)
    view = View(torch.arange(SYMMETRIES), torch.zeros(SYMMETRIES, 2))
    mirror_actions(actions, view.mirrored)
    assert torch.equal(actions[[0, 3, 5, 6], 0], torch.tensor([[0.5, 0.1, 1.0, 0.3]] * 4)), "turned only"
    assert torch.equal(actions[[1, 2, 4, 7], 0], torch.tensor([[0.5, -0.1, 1.0, -0.3]] * 4))
