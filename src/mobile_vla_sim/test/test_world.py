import math
from dataclasses import replace

import numpy as np
import pytest

from mobile_vla_data.action import Velocity
from mobile_vla_data.contract import Contract, ContractError
from mobile_vla_sim.tasks.draw import draw
from mobile_vla_sim.world.objects import OBJECTS
from mobile_vla_sim.world.odometry import Odometry
from mobile_vla_sim.world.planner import ROBOT_RADIUS_M
from mobile_vla_sim.world.plans import FAMILIES
from mobile_vla_sim.world.scene import LIGHTINGS
from mobile_vla_sim.world.world import World

#: Contacts are soft: a robot pressed against a wall sinks in by this much [m].
SINKS_IN_M = 0.012


def scene_of(plan, seed, task="pick_up_object", **options):
    return draw(seed, [task], plan, **options)[0].scene


def test_both_cameras_have_the_contracts_size_and_the_same_scene_gives_the_same_bytes(world, contract, plan):
    for name, camera in contract.cameras.items():
        images = []
        for seed in (1, 2, 1):
            world.reset(scene_of(plan, seed))
            images.append(world.render(name))
        assert images[0].shape == (camera.height, camera.width, 3) and images[0].dtype == np.uint8
        assert (images[0] == images[2]).all()
        assert (images[0] != images[1]).any()


def test_a_camera_that_the_simulated_robot_lacks_is_named(contract):
    data = contract.model_dump(mode="json")
    cameras = {**data["cameras"], "top": {**data["cameras"]["static"], "topic": "top_camera/image_raw"}}
    with pytest.raises(ContractError, match="the simulator has the cameras static and gripper, not top"):
        World(Contract.from_dict({**data, "cameras": cameras}))


@pytest.mark.parametrize("lighting", LIGHTINGS)
def test_the_ceiling_camera_sees_the_robot_where_it_is_in_any_light_on_any_plan(world, plan, lighting):
    for family in FAMILIES:
        scene = replace(scene_of(plan, 3, "go_to_kitchen", families=[family]), lighting=lighting)
        world.reset(scene)
        image = world.render("static").astype(int)
        red = (image[..., 0] > 3.5 * image[..., 1]) & (image[..., 0] > 3.5 * image[..., 2])
        column, row = world.pixel(*scene.start[:2], 0.2)
        near = red[row - 10 : row + 11, column - 10 : column + 11]
        assert near.sum() > 60, "the robot is too small to be seen"
        rows, columns = np.nonzero(near)
        assert abs(rows.mean() - 10) < 3 and abs(columns.mean() - 10) < 3


def test_the_pixel_of_an_object_is_where_the_ceiling_camera_shows_it(world, plan):
    checked = 0
    for seed in range(12):
        scene = scene_of(plan, seed)
        item = scene.object("bottle")
        if math.dist((item.x, item.y), scene.start[:2]) < 0.8:
            continue
        world.reset(replace(scene, lighting="day", tint=(1.0, 1.0, 1.0)))
        image = world.render("static").astype(int)
        column, row = world.pixel(item.x, item.y, item.z + 0.2)
        # The cap of a bottle is the only white disc in a green one.
        assert image[row, column].min() > 150
        ring = image[row, column + 4]
        assert ring[1] > 1.3 * ring[0] and ring[1] > 1.3 * ring[2]
        checked += 1
    assert checked > 6


def test_every_object_is_at_least_10_px_across_in_the_ceiling_image(world, plan):
    for name in OBJECTS:
        widths = []
        for seed in range(4):
            scene = scene_of(plan, seed)
            item = scene.object(name)
            lit = replace(scene, lighting="day", start=(0.0, 0.0, 0.0))
            world.reset(lit)
            with_it = world.render("static").astype(int)
            moved = replace(item, x=50.0)
            world.reset(replace(lit, objects=tuple(moved if o.name == name else o for o in scene.objects)))
            rows, columns = np.nonzero(np.abs(world.render("static").astype(int) - with_it).sum(axis=2) > 12)
            points = np.stack([columns, rows], axis=1) - np.mean([columns, rows], axis=1)
            angles = np.linspace(0.0, np.pi, 36, endpoint=False)
            spans = [np.ptp(points @ np.array([np.cos(angle), np.sin(angle)])) + 1 for angle in angles]
            widths.append(min(spans))
        assert np.median(widths) >= 10.0, (name, widths)


def test_rooms_of_a_kind_look_alike_on_every_plan_and_unlike_the_others(world, plan):
    colours = {}
    for seed in range(12):
        scene = replace(scene_of(plan, seed), lighting="day", tint=(1.0, 1.0, 1.0))
        world.reset(scene)
        image = world.render("static").astype(float)
        for room, (x, y) in scene.room_points.items():
            column, row = world.pixel(x, y, 0.0)
            colours.setdefault(room, []).append(image[row - 6 : row + 7, column - 6 : column + 7].mean(axis=(0, 1)))
    means = {room: np.mean(values, axis=0) for room, values in colours.items()}
    apart = min(np.linalg.norm(means[a] - means[b]) for a in means for b in means if a < b)
    assert apart > 25


def test_the_light_changes_the_image_but_not_the_scene(world, plan):
    means = []
    for lighting in LIGHTINGS:
        world.reset(replace(scene_of(plan, 4), lighting=lighting))
        means.append(world.render("static").mean())
    assert len({round(mean) for mean in means}) == len(LIGHTINGS)


def test_walls_and_furniture_stop_a_robot_that_drives_into_them_at_full_speed(blind, plan):
    scene = scene_of(plan, 3)
    touched = 0
    for angle in np.linspace(0.0, math.tau, 16, endpoint=False):
        blind.reset(scene.with_start(*scene.room_points["bedroom"], 0.0))
        blind.command(Velocity(0.8 * math.cos(angle), 0.8 * math.sin(angle)))
        for _ in range(80):
            blind.step(10)
            x, y = blind.pose.x, blind.pose.y
            assert min(rect.distance(x, y) for rect in scene.solids) > ROBOT_RADIUS_M - SINKS_IN_M
            touched += blind.touching
    assert touched > 100


def test_a_robot_that_stands_free_touches_nothing(blind, plan):
    blind.reset(scene_of(plan, 3))
    blind.step(100)
    assert not blind.touching


def test_an_object_on_the_floor_is_pushed_along(blind, plan):
    for seed in range(20):
        scene = scene_of(plan, seed)
        item = next((item for item in scene.objects if scene.on_floor(item.name)), None)
        if item is None:
            continue
        blind.reset(scene.with_start(item.x - 0.5, item.y, 0.0))
        blind.command(Velocity(0.5, 0.0))
        blind.step(80)
        x, _, z = blind.object_position(item.name)
        assert z < 0.05
        if x > item.x + 0.1:
            return
    raise AssertionError("no object was ever pushed")


def test_objects_lie_still_where_the_scene_puts_them(blind, plan):
    scene = scene_of(plan, 6)
    blind.reset(scene)
    blind.step(300)
    for item in scene.objects:
        assert math.dist(blind.object_position(item.name), (item.x, item.y, item.z)) < 0.01


def test_odometry_is_zero_at_switch_on_and_drifts_by_a_few_percent():
    ends = []
    for seed in range(60):
        odometry = Odometry(np.random.default_rng(seed), (1.0, 2.0, 0.0), "drifting")
        assert odometry.update(1.0, 2.0, 0.0) == (0.0, 0.0, 0.0)
        for step in range(1, 401):
            x, y, yaw = odometry.update(1.0 + 0.01 * step, 2.0, 0.0)
        assert yaw == 0.0
        ends.append((x, y))
    errors = np.array(ends) - [4.0, 0.0]
    assert 0.01 < np.abs(errors[:, 0] / 4.0).mean() < 0.02
    assert 0.005 < errors[:, 1].std() < 0.05


def test_odometry_of_a_turned_robot_begins_along_its_own_x_and_its_heading_drifts():
    odometry = Odometry(np.random.default_rng(0), (0.0, 0.0, math.pi / 2), "drifting")
    for step in range(1, 101):
        x, y, yaw = odometry.update(0.0, 0.02 * step, math.pi / 2, turns=True)
    assert x == pytest.approx(2.0, abs=0.15) and abs(y) < 0.15
    assert 0.0 < abs(yaw) < 0.2


def test_localised_odometry_is_the_pose_in_the_world():
    odometry = Odometry(np.random.default_rng(0), (1.0, 2.0, 0.5), "localised")
    assert odometry.update(1.5, 2.5, 0.7) == (1.5, 2.5, 0.7)
