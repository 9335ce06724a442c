import math

import numpy as np
import pytest

from mobile_vla_data.action import Velocity
from mobile_vla_sim.collect import MAX_STEPS, MIN_STEPS, drive_episode
from mobile_vla_sim.expert import DrivingNoise
from mobile_vla_sim.flat import OBSTACLES, ROBOT_RADIUS_M
from mobile_vla_sim.headless import HeadlessRobot
from mobile_vla_sim.scene import make_scene
from mobile_vla_sim.tasks import TASKS
from mobile_vla_sim.world import World

#: Contacts are soft: a robot pressed against a wall sinks in by this much [m].
SINKS_IN_M = 0.01


class BlindWorld(World):
    """The same physics without rendering, which these tests do not look at."""

    def render(self, camera):
        return np.zeros((1, 1, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def world(contract):
    return BlindWorld(contract)


def distance_to(rect, x, y):
    return math.hypot(max(rect.x0 - x, 0.0, x - rect.x1), max(rect.y0 - y, 0.0, y - rect.y1))


def assert_outside_everything(x, y):
    assert min(distance_to(rect, x, y) for rect in OBSTACLES) > ROBOT_RADIUS_M - SINKS_IN_M, (x, y)


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_reaches_the_room_from_40_starts_within_50_to_100_steps(world, task):
    for seed in range(40):
        steps = drive_episode(world, make_scene(seed, task), 0, noise_m_s=0.22)
        assert MIN_STEPS <= len(steps) <= MAX_STEPS
        end = steps[-1].snapshot.pose
        assert TASKS[task].reached(end.x, end.y)
        for step in steps:
            assert_outside_everything(step.snapshot.pose.x, step.snapshot.pose.y)


def test_recorded_actions_obey_the_contract_and_explain_the_motion(world, contract):
    steps = drive_episode(world, make_scene(5), 0, noise_m_s=0.0)
    actions = np.array([step.action for step in steps])
    speeds = np.linalg.norm(actions[:, :2], axis=1) / contract.period_s
    assert speeds.max() <= contract.limits.linear_m_s
    assert np.abs(np.diff(speeds)).max() <= contract.limits.linear_acceleration_m_s2 * contract.period_s + 1e-6
    assert set(actions[:, 2]) == {0.0}
    states = np.array([step.snapshot.state for step in steps])
    # Without noise the sum of the actions is the way that was driven, but for the base's lag.
    assert np.allclose(actions[:-1, :2].sum(axis=0), states[-1, :2] - states[0, :2], atol=0.05)


def test_noise_moves_the_robot_but_is_not_in_the_recorded_action(world, contract):
    random = np.random.default_rng(0)
    noise = DrivingNoise(random, contract)
    driven = [noise.disturb(Velocity(0.7, 0.0)) for _ in range(200)]
    assert np.std([velocity.y for velocity in driven]) > 0.1
    assert max(math.hypot(v.x, v.y) for v in driven) <= contract.limits.linear_m_s + 1e-9
    with_noise = drive_episode(world, make_scene(8), 0, noise_m_s=0.22)
    sideways = [abs(step.action[1]) for step in with_noise]
    assert max(sideways) <= 0.7 * contract.period_s + 1e-6


def test_the_same_scene_drives_the_same_way_twice(world):
    first, second = (drive_episode(world, make_scene(21), 0, noise_m_s=0.22) for _ in range(2))
    assert len(first) == len(second)
    assert all((a.action == b.action).all() for a, b in zip(first, second, strict=True))
    assert all((a.snapshot.state == b.snapshot.state).all() for a, b in zip(first, second, strict=True))


def test_success_never_holds_at_a_reset_nor_for_a_robot_that_stays(world):
    for seed in range(60):
        robot = HeadlessRobot(world, make_scene(seed), np.random.default_rng(0), 1)
        for _ in range(15):
            assert not robot.success
            robot.advance(Velocity())
        assert not robot.success


def test_an_aimless_robot_reaches_the_room_in_at_most_one_of_twelve_scenes(world):
    reached = 0
    for seed in range(48):
        random = np.random.default_rng(seed)
        robot = HeadlessRobot(world, make_scene(seed), random, 1)
        heading, speed = random.uniform(0, math.tau), random.uniform(0.05, 0.7)
        while robot.time_s < 15.0 and not robot.success:
            heading += random.normal(0.0, 0.3)
            robot.advance(Velocity(speed * math.cos(heading), speed * math.sin(heading)))
        reached += robot.success
    assert reached <= 48 // 12


def test_walls_stop_a_robot_that_drives_into_them_at_full_speed(world):
    for angle in np.linspace(0.0, math.tau, 16, endpoint=False):
        world.reset(make_scene(3))
        world.command(Velocity(0.8 * math.cos(angle), 0.8 * math.sin(angle)))
        for _ in range(100):
            world.step(10)
            assert_outside_everything(world.pose.x, world.pose.y)


def test_the_gripper_closes_and_opens(world):
    world.reset(make_scene(0))
    assert world.gripper_position == pytest.approx(0.0, abs=0.02)
    world.command_gripper(1.0)
    world.step(100)
    assert world.gripper_position == pytest.approx(1.0, abs=0.02)
    world.command_gripper(0.0)
    world.step(100)
    assert world.gripper_position == pytest.approx(0.0, abs=0.02)


def test_a_differential_base_arrives_without_strafing(differential):
    world = BlindWorld(differential)
    for seed in range(3):
        scene = make_scene(seed, random_yaw=True)
        steps = drive_episode(world, scene, 0, noise_m_s=0.0)
        assert scene.task.reached(steps[-1].snapshot.pose.x, steps[-1].snapshot.pose.y)
    world.reset(make_scene(0))
    start = world.pose
    world.command(Velocity(0.0, 0.5))
    world.step(100)
    assert math.hypot(world.pose.x - start.x, world.pose.y - start.y) < 1e-3
