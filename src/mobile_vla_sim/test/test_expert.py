import math

import numpy as np
import pytest

from mobile_vla_data.action import Velocity, displacement, gripper, position, yaw
from mobile_vla_data.contract import Contract
from mobile_vla_sim.expert.noise import DrivingNoise, GripperNoise
from mobile_vla_sim.headless import episode
from mobile_vla_sim.headless.collect import CollectConfig, assignment_of
from mobile_vla_sim.headless.controls import CONTROLS, succeeds
from mobile_vla_sim.headless.episode import MAX_STEPS, MIN_STEPS, drive_episode
from mobile_vla_sim.headless.robot import HeadlessRobot
from mobile_vla_sim.tasks.catalogue import TASKS
from mobile_vla_sim.tasks.draw import draw
from mobile_vla_sim.world.planner import ROBOT_RADIUS_M
from mobile_vla_sim.world.scene import Stream, scene_seed


@pytest.mark.parametrize("stream", [Stream.COLLECTION, Stream.EVALUATION])
@pytest.mark.parametrize("task", TASKS)
def test_the_expert_does_every_task_in_50_to_100_steps_at_the_first_attempt(blind, plan, task, stream):
    for index in range(10):
        assignment = draw(scene_seed(stream, 0, index), [task], plan)[0]
        steps = drive_episode(blind, assignment, noise_m_s=0.0, attempts=1)
        assert MIN_STEPS <= len(steps) <= MAX_STEPS
        end = steps[-1].snapshot.truth
        assert assignment.goal.reached(assignment.scene, end)
        for step in steps:
            pose = step.snapshot.truth.pose
            nearest = min(rect.distance(pose.x, pose.y) for rect in assignment.scene.solids)
            assert nearest > ROBOT_RADIUS_M - 0.012


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_copes_with_noise_and_with_a_base_that_cannot_strafe(blind, blind_differential, plan, task):
    for index in range(3):
        assignment = draw(scene_seed(Stream.COLLECTION, 1, index), [task], plan)[0]
        assert drive_episode(blind, assignment)
        turned = draw(scene_seed(Stream.COLLECTION, 1, index), [task], plan, random_yaw=True)[0]
        assert drive_episode(blind_differential, turned, noise_m_s=0.0)


def test_where_an_action_carries_a_turn_the_expert_turns_on_the_spot(blind_turning, plan):
    turned = 0
    for index in range(6):
        assignment = draw(scene_seed(Stream.COLLECTION, 2, index), ["go_to_kitchen"], plan, random_yaw=True)[0]
        steps = drive_episode(blind_turning, assignment, noise_m_s=0.0)
        actions = np.array([step.action for step in steps])
        on_the_spot = (np.abs(displacement(actions)).max(axis=1) < 0.002) & (np.abs(yaw(actions)) > 0.1)
        turned += on_the_spot.sum() >= 3
    assert turned >= 2


def test_recorded_actions_obey_the_contract_and_explain_the_motion(blind, contract, plan):
    steps = drive_episode(blind, draw(5, ["go_to_kitchen"], plan)[0], noise_m_s=0.0)
    actions = np.array([step.action for step in steps])
    speeds = np.linalg.norm(displacement(actions), axis=1) / contract.period_s
    assert speeds.max() <= contract.limits.linear_m_s
    assert np.abs(np.diff(speeds)).max() <= contract.limits.linear_acceleration_m_s2 * contract.period_s + 1e-6
    assert set(gripper(actions)) == {0.0}
    states = np.array([step.snapshot.state for step in steps])
    assert np.abs(position(states)[0]).max() < 0.02, "odometry begins at zero"
    # Without noise the sum of the actions is the way that was driven, but for the base's lag and odometry's drift.
    assert np.allclose(displacement(actions)[:-1].sum(axis=0), position(states)[-1] - position(states)[0], atol=0.2)


def test_the_gripper_closes_once_and_the_state_shows_it(blind, plan):
    steps = drive_episode(blind, draw(5, ["pick_up_object"], plan)[0], noise_m_s=0.0)
    closed = np.array([step.action[2] for step in steps])
    assert list(np.unique(closed)) == [0.0, 1.0] and (np.diff(closed) >= 0).all()
    position = np.array([step.snapshot.state[2] for step in steps])
    assert position[0] < 0.05 and 0.6 < position[-1] < 0.95


def test_without_a_gripper_in_the_contract_the_state_is_zero_and_has_no_stamp(blind, contract, plan):
    world = type(blind)(Contract.from_dict({**contract.model_dump(mode="json"), "gripper": "none"}))
    robot = HeadlessRobot(world, draw(3, ["go_to_kitchen"], plan)[0], np.random.default_rng(0), 1)
    for _ in range(20):
        robot.advance(Velocity(), 1.0)
    assert world.gripper_position > 0.9
    snapshot = robot.observe()
    assert gripper(snapshot.state) == 0.0 and "gripper_state" not in snapshot.stamps_ns


def test_the_target_is_in_the_image_and_stays_until_it_is_grasped(blind, plan):
    # Pixels come from the contract's image size, not from what this world renders.
    for task in TASKS:
        steps = drive_episode(blind, draw(9, [task], plan)[0], noise_m_s=0.0)
        targets = np.array([step.snapshot.target for step in steps])
        assert ((targets >= 0) & (targets < 224)).all()
        held = np.array([bool(step.snapshot.truth.held) for step in steps])
        before = targets[: int(np.argmax(held))] if held.any() and not held[0] else targets
        assert (before == before[0]).all()


def test_noise_moves_the_robot_but_is_not_in_the_recorded_action(blind, contract, plan):
    noise = DrivingNoise(np.random.default_rng(0), contract)
    driven = [noise.disturb(Velocity(0.7, 0.0)) for _ in range(200)]
    assert np.std([velocity.y for velocity in driven]) > 0.1
    assert max(math.hypot(v.x, v.y) for v in driven) <= contract.limits.linear_m_s + 1e-9
    assignment = draw(8, ["go_to_bedroom"], plan)[0]
    quiet, noisy = (drive_episode(blind, assignment, noise_m_s=level) for level in (0.0, 0.22))
    jerk = [np.abs(np.diff([step.action[:2] for step in steps], axis=0)).max() for steps in (quiet, noisy)]
    most = contract.limits.linear_acceleration_m_s2 * contract.period_s**2
    assert max(jerk) <= most + 1e-6
    assert len(noisy) != len(quiet)


def test_a_gripper_is_late_by_at_most_eight_ticks_and_then_does_what_it_was_told():
    delays = []
    for seed in range(30):
        noise = GripperNoise(np.random.default_rng(seed))
        for told in (True, False):
            executed = [noise.disturb(told, Velocity()) for _ in range(12)]
            delays.append(executed.index(told))
            assert executed[delays[-1] :] == [told] * (12 - delays[-1]), "it changes once"
    assert set(delays) == set(range(9))


def test_an_open_gripper_closes_now_and_then_while_the_robot_drives_and_opens_again():
    noise = GripperNoise(np.random.default_rng(0))
    closed = [noise.disturb(False, Velocity(0.7)) for _ in range(400)]
    assert 0.03 < np.mean(closed) < 0.3 and not closed[0]
    standing = [noise.disturb(False, Velocity()) for _ in range(100)]
    assert not any(standing[8:]), "what began on the way ends, and nothing begins where it stands"


def test_a_demonstration_that_validate_would_refuse_is_made_again(blind, contract, plan, tmp_path, monkeypatch):
    config = CollectConfig(tmp_path, contract, plan, 0, tuple(TASKS))
    assignment = assignment_of(config, 526)
    refused = episode._refused
    assert not refused(drive_episode(blind, assignment), contract, assignment.category)
    monkeypatch.setattr(episode, "_refused", lambda steps, contract, category: False)
    assert refused(drive_episode(blind, assignment), contract, assignment.category), "else this scene shows nothing"


def test_the_same_scene_drives_the_same_way_twice(blind, plan):
    assignment = draw(21, ["pick_up_object"], plan)[0]
    first, second = (drive_episode(blind, assignment) for _ in range(2))
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a.action == b.action).all() and (a.snapshot.state == b.snapshot.state).all()
        assert a.snapshot.target == b.snapshot.target


@pytest.mark.parametrize("name", CONTROLS)
def test_robots_that_do_not_do_the_task_are_refused(blind, plan, name):
    successes = trials = 0
    for index, task in enumerate(TASKS):
        for seed in range(5):
            assignment = draw(scene_seed(Stream.EVALUATION, 3, seed), [task], plan)[0]
            successes += succeeds(blind, assignment, CONTROLS[name](np.random.default_rng([seed, index])))
            trials += 1
    assert successes / trials < 0.02


def test_passing_through_the_goal_is_not_arriving(blind, plan):
    assignment = draw(3, ["go_to_bedroom"], plan)[0]
    robot = HeadlessRobot(blind, assignment, np.random.default_rng(0), 1)
    goal = assignment.scene.room_points["bedroom"]
    blind.reset(assignment.scene.with_start(*goal, 0.0))
    for step in range(40):
        robot.advance(Velocity(0.5 if step % 2 else -0.5, 0.0))
        assert not robot.success
    for _ in range(15):
        robot.advance(Velocity())
    assert robot.success
