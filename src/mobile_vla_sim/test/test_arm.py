import math

import numpy as np
import pytest

from mobile_vla_data.action import Velocity
from mobile_vla_sim.tasks.draw import draw
from mobile_vla_sim.tasks.goals import rests_on
from mobile_vla_sim.world.access import NOMINAL_REACH_M, stand_at_handle, stands_for_object, stands_for_placing
from mobile_vla_sim.world.arm import HANDLE, Grip
from mobile_vla_sim.world.furniture import DRAWER_TRAVEL_M
from mobile_vla_sim.world.objects import OBJECT_KINDS
from mobile_vla_sim.world.world import World


def at(scene, stand, target):
    """The scene with the robot at ``stand`` and the direction from there to the target."""
    angle = math.atan2(target[1] - stand[1], target[0] - stand[0])
    return scene.with_start(*stand, 0.0), angle


def face(world: World, angle):
    """Aim the arm: drive so slowly that the robot hardly moves, but not so slowly that the arm does not follow."""
    for _ in range(70):
        world.command(Velocity(0.21 * math.cos(angle), 0.21 * math.sin(angle)))
        world.step()
        world.data.joint("base_x").qpos, world.data.joint("base_y").qpos = world.scene.start[:2]
        world.data.joint("base_x").qvel = world.data.joint("base_y").qvel = 0.0
    world.command(Velocity())


def on_surface(plan, seed):
    scene = draw(seed, ["pick_up_object"], plan)[0].scene
    return scene, next(item for item in scene.objects if item.furniture and stands_for_object(scene, item.name))


@pytest.fixture
def ready_to_grasp(blind, plan):
    scene, item = on_surface(plan, 1)
    scene, angle = at(scene, stands_for_object(scene, item.name)[0], (item.x, item.y))
    blind.reset(scene)
    face(blind, angle)
    return blind, item


def test_closing_on_an_object_in_reach_lifts_it_and_it_travels_along(ready_to_grasp):
    world, item = ready_to_grasp
    world.command_gripper(1.0)
    world.step(150)
    assert world.arm.state is Grip.HOLDING and world.arm.held == item.name
    assert world.object_position(item.name)[2] > item.z + 0.05
    assert 0.6 < world.gripper_position < 0.95, "the fingers close around the object, not through it"
    before = world.object_position(item.name)
    world.command(Velocity(*(-0.3 * np.array([math.cos(world.arm.aim), math.sin(world.arm.aim)]))))
    world.step(60)
    assert math.dist(before[:2], world.object_position(item.name)[:2]) > 0.1


def test_closing_with_nothing_in_reach_closes_on_air(blind, plan):
    scene = draw(4, ["go_to_kitchen"], plan)[0].scene
    far = max(
        scene.room_points.values(),
        key=lambda point: min(math.dist(point, (item.x, item.y)) for item in scene.objects),
    )
    blind.reset(scene.with_start(*far, 0.0))
    blind.command_gripper(1.0)
    blind.step(120)
    assert blind.arm.state is Grip.EMPTY and not blind.arm.held
    assert blind.gripper_position == pytest.approx(1.0, abs=0.02)
    blind.command_gripper(0.0)
    blind.step(80)
    assert blind.arm.state is Grip.OPEN and blind.gripper_position == pytest.approx(0.0, abs=0.02)


def test_an_object_behind_the_robot_is_not_in_reach(ready_to_grasp):
    world, _ = ready_to_grasp
    face(world, world.arm.aim + math.pi)
    world.command_gripper(1.0)
    world.step(100)
    assert world.arm.state is Grip.EMPTY


def test_a_robot_that_drives_away_while_it_reaches_grasps_nothing(ready_to_grasp):
    world, item = ready_to_grasp
    away = 0.57 / math.dist(world.scene.start[:2], (item.x, item.y))
    start = [o + (s - o) * away for s, o in zip(world.scene.start[:2], (item.x, item.y), strict=True)]
    aim = world.arm.aim
    world.reset(world.scene.with_start(*start, 0.0))
    face(world, aim)
    world.command_gripper(1.0)
    world.command(Velocity(*(-0.8 * np.array([math.cos(world.arm.aim), math.sin(world.arm.aim)]))))
    world.step(150)
    assert world.arm.state is Grip.EMPTY


@pytest.mark.parametrize("seed", range(6))
def test_opening_sets_the_object_down_on_the_furniture_below(blind, plan, seed):
    scene = draw(seed, ["place_object"], plan)[0].scene
    kind = next(kind for kind in ("table", "bed", "desk", "sofa") if stands_for_placing(scene, kind))
    stand, spot = stands_for_placing(scene, kind)[0]
    scene, angle = at(scene, stand, spot)
    blind.reset(scene)
    assert blind.arm.held == scene.held
    face(blind, angle)
    blind.command_gripper(0.0)
    blind.step(150)
    assert not blind.arm.held and blind.arm.state is Grip.OPEN
    assert rests_on(scene, blind.truth, scene.held) == kind
    settled = blind.object_position(scene.held)
    blind.step(100)
    assert math.dist(settled, blind.object_position(scene.held)) < 0.01


def test_opening_over_the_floor_sets_the_object_down_there(blind, plan):
    scene = draw(1, ["place_object"], plan)[0].scene
    blind.reset(scene.with_start(*scene.room_points["kitchen"], 0.0))
    blind.command_gripper(0.0)
    blind.step(200)
    assert blind.object_position(scene.held)[2] < 0.02 or rests_on(scene, blind.truth, scene.held)


@pytest.mark.parametrize("opens", [True, False])
def test_a_gripped_handle_slides_the_drawer_with_the_base(blind, plan, opens):
    scene = draw(5, ["open_drawer" if opens else "close_drawer"], plan)[0].scene
    start_m = 0.0 if opens else DRAWER_TRAVEL_M
    front = np.array(scene.piece("cabinet").front, dtype=float)
    stand = stand_at_handle(scene, start_m)
    blind.reset(scene.with_start(*stand, 0.0))
    face(blind, math.atan2(-front[1], -front[0]))
    blind.command_gripper(1.0)
    blind.step(120)
    assert blind.arm.held == HANDLE and blind.drawer_m == pytest.approx(start_m, abs=0.03)
    blind.command(Velocity(*(front * (0.25 if opens else -0.25))))
    blind.step(120)
    assert blind.drawer_m == pytest.approx(DRAWER_TRAVEL_M - start_m, abs=0.03)
    assert blind.arm.held == HANDLE, "the grip holds while the drawer slides"


def test_a_handle_slips_out_when_the_robot_pulls_beyond_the_drawers_end(blind, plan):
    scene = draw(5, ["open_drawer"], plan)[0].scene
    front = np.array(scene.piece("cabinet").front, dtype=float)
    blind.reset(scene.with_start(*stand_at_handle(scene, 0.0), 0.0))
    face(blind, math.atan2(-front[1], -front[0]))
    blind.command_gripper(1.0)
    blind.step(120)
    blind.command(Velocity(*(front * 0.8)))
    blind.step(300)
    assert not blind.arm.held
    assert blind.drawer_m > 0.9 * DRAWER_TRAVEL_M


def test_the_arm_points_where_the_base_is_told_to_drive_and_keeps_pointing_there(blind, plan):
    scene = draw(2, ["go_to_kitchen"], plan)[0].scene
    blind.reset(scene.with_start(*scene.room_points["living_room"], 0.0))
    for angle in (2.0, -1.0, 3.0):
        face(blind, angle)
        blind.step(50)
        assert abs(math.remainder(blind.arm.aim - angle, math.tau)) < 0.1
        x, y, _ = blind.arm.point
        assert math.dist((x, y), (blind.pose.x, blind.pose.y)) == pytest.approx(NOMINAL_REACH_M, abs=0.05)


def test_every_object_can_be_gripped_from_the_floor_and_from_the_highest_furniture():
    from mobile_vla_sim.world.arm import _BELOW_TOP_M
    from mobile_vla_sim.world.furniture import KINDS, SURFACES
    from mobile_vla_sim.world.robot import CARRY_M

    highest = max(KINDS[kind].height_m for kind in SURFACES)
    for kind in OBJECT_KINDS.values():
        assert kind.height_m >= _BELOW_TOP_M
        assert highest + kind.height_m - _BELOW_TOP_M <= CARRY_M
