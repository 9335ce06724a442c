from dataclasses import replace

import numpy as np
import pytest

from mobile_vla_sim.flat import HALF_SIZE_M, ROOMS
from mobile_vla_sim.scene import LIGHTINGS, make_scene
from mobile_vla_sim.world import World


@pytest.fixture(scope="module")
def world(contract):
    world = World(contract)
    yield world
    world.close()


def pixel(x, y):
    scale = 224 / (2 * (HALF_SIZE_M + 0.12))
    return round(112 - y * scale), round(112 + x * scale)


def test_both_cameras_have_the_contracts_size_and_the_same_scene_gives_the_same_bytes(world, contract):
    for name, camera in contract.cameras.items():
        world.reset(make_scene(1))
        first = world.render(name)
        world.reset(make_scene(2))
        other = world.render(name)
        world.reset(make_scene(1))
        assert first.shape == (camera.height, camera.width, 3)
        assert first.dtype == np.uint8
        assert (world.render(name) == first).all()
        assert (other != first).any()


@pytest.mark.parametrize("lighting", LIGHTINGS)
def test_the_ceiling_camera_sees_the_robot_where_it_is_in_any_light(world, lighting):
    for seed in range(5):
        scene = replace(make_scene(seed), lighting=lighting)
        world.reset(scene)
        image = world.render("static").astype(int)
        red = (image[..., 0] > 1.9 * image[..., 1]) & (image[..., 0] > 1.9 * image[..., 2])
        rows, columns = np.nonzero(red)
        assert red.sum() > 120, "the robot is too small to be seen"
        row, column = pixel(*scene.start[:2])
        assert abs(rows.mean() - row) < 6 and abs(columns.mean() - column) < 6


def test_every_room_has_a_floor_of_its_own_colour(world):
    world.reset(replace(make_scene(0), lighting="day", tint=(1.0, 1.0, 1.0)))
    image = world.render("static").astype(int)
    colours = []
    for room in ROOMS.values():
        row, column = pixel(room.goal[0] + 0.6, room.goal[1] + 0.3)
        colours.append(np.median(image[row - 4 : row + 4, column - 4 : column + 4].reshape(-1, 3), axis=0))
    distances = [np.abs(a - b).sum() for i, a in enumerate(colours) for b in colours[:i]]
    assert min(distances) > 40


def test_the_light_changes_the_picture_but_not_the_scene(world):
    means = []
    for lighting in LIGHTINGS:
        world.reset(replace(make_scene(4), lighting=lighting))
        means.append(world.render("static").mean())
    assert len({round(mean) for mean in means}) == len(LIGHTINGS)
